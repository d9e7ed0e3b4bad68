//! `/v1/containers/{id}/stats`, `/processes` and `/configuration`: what a sandbox uses, runs and is.

use std::sync::Arc;

use rocket::{
    Either, Route, State,
    futures::StreamExt,
    get,
    http::{ContentType, uri::Host},
    serde::json::Json,
};

use super::{auth::Caller, error::ApiError, gate::Line, live::Live, strict, wire};
use crate::{
    api,
    app::{App, Asked, Sample},
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::bare(rocket::routes![stats, processes, configuration])
}

#[get("/v1/containers/<id>/stats?<stream>")]
async fn stats(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    line: Line,
    stream: Option<&str>,
) -> Result<Either<Json<api::Stats>, Live>, ApiError> {
    match stream {
        None | Some("" | "false") => Ok(Either::Left(Json(shown(app.asked.sample(&caller.0, id).await?)))),
        Some("true") => {
            let samples = app.asked.samples(&caller.0, id).await?;
            let lines = samples.map(|sample| {
                let value = match sample {
                    Ok(sample) => serde_json::to_value(shown(sample)).expect("its keys are strings"),
                    Err(e) => {
                        let e = ApiError::from(e);
                        serde_json::json!({ "error": e.message(), "code": e.code() })
                    }
                };
                Ok(format!("{value}\n").into())
            });
            let kind = ContentType::new("application", "x-ndjson");
            Ok(Either::Right(Live::new(kind, line, lines.boxed()).unbuffered()))
        }
        Some(other) => Err(ApiError::invalid("stream", other, "it is \"true\" or \"false\"")),
    }
}

fn shown(sample: Sample) -> api::Stats {
    let Sample { at, cores, figures, carried } = sample;
    let rounded = |number: f64| (number * 1_000.0).round() / 1_000.0;
    let bytes = |(received, sent)| api::Bytes { received, sent };
    api::Stats {
        at: api::Instant(at),
        cpu: rounded(cores),
        cpu_seconds: rounded(figures.cpu.as_secs_f64()),
        memory: api::MemoryUse { used: figures.memory, limit: figures.memory_limit, peak: figures.memory_peak },
        processes: figures.processes,
        network: figures.network.map(bytes),
        relay: bytes(carried),
        disk_written: figures.written,
    }
}

#[get("/v1/containers/<id>/processes")]
async fn processes(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<api::Processes>, ApiError> {
    let all = app.asked.processes(&caller.0, id).await?;
    let process = |p: crate::app::Process| api::Process {
        pid: p.pid,
        uid: p.user,
        cpu_seconds: p.cpu.as_secs(),
        command: p.command,
    };
    Ok(Json(api::Processes { processes: all.shown.into_iter().map(process).collect(), truncated: all.is_cut }))
}

#[get("/v1/containers/<id>/configuration")]
async fn configuration(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
) -> Result<Json<api::Configuration>, ApiError> {
    let configured = app.asked.configuration(&caller.0, id).await?;
    let asked = wire::container(&configured.asked, host);
    let may_enter = Asked::may_enter(&caller.0, &configured.asked.sandbox);
    let asked = if may_enter { asked } else { api::Container { access: None, ..asked } };
    let is = configured.effective;
    let mount = |m: crate::app::Mounted| api::Mount { at: m.at, kind: m.kind.into(), writable: m.is_writable };
    let effective = api::Effective {
        image_id: is.image,
        env: is.env.into_iter().collect(),
        entrypoint: is.entrypoint,
        command: is.command,
        user: is.user,
        workdir: is.workdir,
        hostname: is.hostname,
        networks: is.networks.into_iter().collect(),
        mounts: is.mounts.into_iter().map(mount).collect(),
        processes_limit: is.processes_limit,
        capabilities: is.capabilities,
        no_new_privileges: is.no_new_privileges,
    };
    Ok(Json(api::Configuration { asked, effective }))
}
