//! `/v1/containers`: the sandboxes, which the v1 API calls containers.

use std::sync::{Arc, Mutex, PoisonError};

use rocket::{
    Either, Route, State, delete,
    futures::FutureExt,
    get,
    http::{
        Header, Status,
        uri::{Host, Origin},
    },
    patch, post,
    serde::json::Json,
};

use super::{
    activity::shown as activity_shown,
    auth::Caller,
    error::ApiError,
    fields::Body,
    made::Made,
    selecting::{self, Parameters},
    strict,
    wire::{self, container},
    wishes::{self, CREATE, EXTEND, MESSAGE, PATCH, RESET},
};
use crate::{
    api,
    app::{App, Asked, CreateSpec, View},
    domain::{Actor, Sandbox, SandboxName},
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![get_one, delete_one, activity, restart]);
    routes.extend(strict::selecting(rocket::routes![list], &selecting::LIST, false));
    routes.extend(strict::with_body(rocket::routes![create, patch_one, extend, reset, message]));
    routes
}

#[derive(rocket::Responder)]
enum Listed {
    Page(Json<Vec<api::Container>>),
    More(Json<Vec<api::Container>>, Header<'static>),
}

#[get("/v1/containers")]
async fn list(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    origin: &Origin<'_>,
    parameters: Result<Parameters, ApiError>,
) -> Result<Listed, ApiError> {
    let parameters = parameters?;
    let (selection, page) = (parameters.selection()?, parameters.page()?);
    audit_if_asked(app, &caller.0, parameters.get("audit")).await?;
    let (views, next) = app.asked.views(&caller.0, &selection, page).await?;
    let shown = Json(views.iter().map(|view| shown(&caller.0, view, host)).collect());
    Ok(match next {
        Some(last) => Listed::More(shown, selecting::next(origin, &last.to_string())),
        None => Listed::Page(shown),
    })
}

#[get("/v1/containers/<id>?<audit>")]
async fn get_one(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    audit: Option<&str>,
) -> Result<Json<api::Container>, ApiError> {
    audit_if_asked(app, &caller.0, audit).await?;
    Ok(Json(shown(&caller.0, &app.asked.view(app.asked.get(&caller.0, id).await?), host)))
}

#[post("/v1/containers", data = "<body>")]
async fn create(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    body: Result<Body, ApiError>,
) -> Result<Either<Made<api::Created>, Json<Vec<api::Result>>>, ApiError> {
    let (fields, by) = (body?.only(&CREATE)?, &caller.0);
    let spec = wishes::create_spec(app, &fields)?;
    // What an earlier try has made before the server was killed.
    let before = Mutex::new(app.asked.made_before(by).await?);
    let found = |name: Option<&SandboxName>| {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        let at = before.iter().position(|sandbox| name.is_none_or(|name| *name == sandbox.name))?;
        Some(before.swap_remove(at))
    };
    let Some(all) = wishes::several(&spec, &fields)? else {
        let made = found(spec.name.as_ref());
        let created = created(app, by, host, Wanted::of(spec, made)).await?;
        return Ok(Either::Left(Made::at(created.container.uri.clone(), created)));
    };
    app.asked.may_create(by)?;
    let done = app.asked.each(all, |spec| {
        async move {
            let name = spec.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            let before = found(spec.name.as_ref());
            let wanted = Wanted::of(spec, before);
            made(name, created(app, by, host, wanted).await)
        }
        .boxed()
    });
    Ok(Either::Right(Json(done.await)))
}

/// One as it is now.
pub async fn now(app: &App, by: &Actor, host: Option<&Host<'_>>, id: &str) -> Result<api::Container, ApiError> {
    Ok(shown(by, &app.asked.view(app.asked.get(by, id).await?), host))
}

/// As [`now`], as the result of one of several.
pub async fn result_now(app: &App, by: &Actor, host: Option<&Host<'_>>, id: &str) -> api::Result {
    let created = |container| api::Created { container, warnings: Vec::new() };
    let result = made(String::new(), now(app, by, host, id).await.map(created));
    let status = if result.error.is_none() { Status::Ok.code } else { result.status };
    api::Result { status, container_id: Some(id.to_owned()), ..result }
}

/// What became of one of several.
fn made(name: String, created: Result<api::Created, ApiError>) -> api::Result {
    let result = api::Result {
        name,
        container_id: None,
        status: Status::Created.code,
        shown: None,
        container: None,
        error: None,
    };
    match created {
        Ok(created) => api::Result {
            name: created.container.name.clone(),
            container_id: Some(created.container.container_id.clone()),
            container: Some(created),
            ..result
        },
        Err(e) => {
            let (status, error) = e.into_result();
            api::Result { status, error: Some(error), ..result }
        }
    }
}

/// One that is to be created, or was before the request was cut off.
enum Wanted {
    New(Box<CreateSpec>),
    Made(Box<Sandbox>),
}

impl Wanted {
    fn of(spec: CreateSpec, made: Option<Sandbox>) -> Self {
        made.map_or_else(|| Self::New(Box::new(spec)), |made| Self::Made(Box::new(made)))
    }
}

/// Creates one.
async fn created(app: &App, by: &Actor, host: Option<&Host<'_>>, wanted: Wanted) -> Result<api::Created, ApiError> {
    let sandbox = match wanted {
        Wanted::New(spec) => app.asked.create(by, *spec).await?,
        Wanted::Made(sandbox) => *sandbox,
    };
    // The sandbox is made: a failed look for warnings must not turn the answer into an error.
    let warnings = app.asked.namesakes(by, &sandbox).await.unwrap_or_default();
    let warnings = warnings.iter().map(|other| wishes::namesake(&sandbox, other)).collect();
    Ok(api::Created { container: shown(by, &app.asked.view(sandbox), host), warnings })
}

#[patch("/v1/containers/<id>", data = "<body>")]
async fn patch_one(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Container>, ApiError> {
    let fields = body?.only(&PATCH)?;
    app.asked.get(&caller.0, id).await?;
    // Read all fields before doing anything, so that a refused request changes nothing.
    let (change, power) = (wishes::change(app, &fields)?, wishes::power(&fields)?);
    let sandbox = app.asked.patch(&caller.0, id, change, power).await?;
    Ok(Json(shown(&caller.0, &app.asked.view(sandbox), host)))
}

#[delete("/v1/containers/<id>")]
async fn delete_one(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Status, ApiError> {
    app.asked.delete(&caller.0, id).await?;
    Ok(Status::NoContent)
}

#[get("/v1/containers/<id>/activity")]
async fn activity(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<api::Activity>, ApiError> {
    Ok(Json(activity_shown(&app.asked.activity(&caller.0, id).await?)))
}

#[post("/v1/containers/<id>/extend", data = "<body>")]
async fn extend(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Container>, ApiError> {
    let length = body?.only(&EXTEND)?.text("for")?.map(|text| wishes::length("for", &text)).transpose()?;
    let sandbox = app.asked.extend(&caller.0, id, length).await?;
    Ok(Json(shown(&caller.0, &app.asked.view(sandbox), host)))
}

#[post("/v1/containers/<id>/restart")]
async fn restart(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
) -> Result<Json<api::Container>, ApiError> {
    Ok(Json(shown(&caller.0, &app.asked.view(app.asked.restart(&caller.0, id).await?), host)))
}

#[post("/v1/containers/<id>/reset", data = "<body>")]
async fn reset(
    caller: Caller,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Container>, ApiError> {
    let fields = body?.only(&RESET)?;
    // Whoever may not do it hears only that.
    app.asked.may_reset(&caller.0, id).await?;
    match fields.flag("confirm")? {
        Some(true) => {}
        _ => return Err(confirm_required("all files of this container go; send confirm=true".into())),
    }
    Ok(Json(shown(&caller.0, &app.asked.view(app.asked.reset(&caller.0, id).await?), host)))
}

#[post("/v1/containers/<id>/message", data = "<body>")]
async fn message(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Shown>, ApiError> {
    let text = wishes::message(&body?.only(&MESSAGE)?)?;
    let (_, announced) = app.asked.message(&caller.0, id, &text).await?;
    Ok(Json(wire::announced(announced)))
}

/// The error about a word that is missing before something goes for good.
pub fn confirm_required(what: String) -> ApiError {
    ApiError::new(Status::BadRequest, "confirm_required", what)
}

/// A container as `by` may see it: the URL of its app has its secret.
fn shown(by: &Actor, view: &View, host: Option<&Host<'_>>) -> api::Container {
    let container = container(view, host);
    if Asked::may_enter(by, &view.sandbox) { container } else { api::Container { access: None, ..container } }
}

async fn audit_if_asked(app: &Arc<App>, by: &Actor, audit: Option<&str>) -> Result<(), ApiError> {
    match audit.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false") => Ok(()),
        Some("true") => Ok(app.audit(by).await?),
        Some(other) => Err(ApiError::invalid("audit", other, "it is \"true\" or \"false\"")),
    }
}
