//! Many containers at once: one request, one result for each.

use std::sync::Arc;

use rocket::{Route, State, delete, futures::FutureExt, http::Status, patch, post, serde::json::Json};

use super::{
    auth::Caller,
    containers::confirm_required,
    error::ApiError,
    fields::Body,
    selecting::{self, Parameters},
    strict, wire,
    wishes::{self, BULK, EXTEND, MESSAGE},
};
use crate::{
    api,
    app::{Announced, App, Result as Done},
    domain::{Actor, Sandbox, Selection, Verb},
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::selecting(rocket::routes![delete_all], &selecting::CONFIRMED, false);
    routes.extend(strict::selecting(rocket::routes![restart_all], &Selection::KEYS, false));
    routes.extend(strict::selecting(rocket::routes![patch_all, extend_all, message_all], &Selection::KEYS, true));
    routes
}

/// Results, one for each container.
type Results = Result<Json<Vec<api::Result>>, ApiError>;

/// Those whom the request selects, to whom `by` may do `verb` in general.
async fn selected(app: &App, by: &Actor, verb: Verb, parameters: &Parameters) -> Result<Vec<Arc<Sandbox>>, ApiError> {
    let selection = parameters.selection()?;
    if selection.is_all() {
        let keys = Selection::KEYS.map(|key| format!("?{key}=")).join(", ");
        let message = format!("say which containers: {keys} (?name=* means all that you may see)");
        return Err(ApiError::new(Status::BadRequest, "no_selection", message));
    }
    Ok(app.asked.select(by, verb, &selection).await?)
}

/// The id by which a sandbox is found again, whatever it is called meanwhile.
fn id(sandbox: &Sandbox) -> String {
    wire::id(sandbox)
}

#[patch("/v1/containers", data = "<body>")]
async fn patch_all(
    caller: Caller,
    app: &State<Arc<App>>,
    parameters: Result<Parameters, ApiError>,
    body: Result<Body, ApiError>,
) -> Results {
    let (parameters, fields, by) = (parameters?, body?.only(&BULK)?, &caller.0);
    let (change, power) = (wishes::change(app, &fields)?, wishes::power(&fields)?);
    let verb = match power {
        Some(power) if change.is_empty() => power.verb(),
        _ => Verb::Change,
    };
    let all = selected(app, by, verb, &parameters).await?;
    let (change, asked) = (&change, &app.asked);
    let done = asked.each(all, |sandbox| {
        async move {
            let done = asked.patch(by, &id(&sandbox), change.clone(), power).await;
            result(&sandbox, Status::Ok, done.map(|_| None))
        }
        .boxed()
    });
    Ok(Json(done.await))
}

#[delete("/v1/containers")]
async fn delete_all(caller: Caller, app: &State<Arc<App>>, parameters: Result<Parameters, ApiError>) -> Results {
    let (parameters, by, asked) = (parameters?, &caller.0, &app.asked);
    let all = selected(app, by, Verb::Delete, &parameters).await?;
    let number = all.len();
    match parameters.get("confirm") {
        _ if number == 0 => {}
        None => {
            let what = if number == 1 { "1 container".to_owned() } else { format!("{number} containers") };
            return Err(confirm_required(format!("{what} would be deleted with all files; send confirm={number}")));
        }
        Some(text) => match text.parse::<usize>() {
            Ok(confirmed) if confirmed == number => {}
            Ok(_) => {
                let message =
                    format!("confirm: {text} were confirmed, and {number} are selected now; nothing is deleted");
                return Err(ApiError::new(Status::Conflict, "confirm_mismatch", message));
            }
            Err(_) => return Err(ApiError::invalid("confirm", text, format!("it is their number, {number}"))),
        },
    }
    let done = asked.each(all, |sandbox| {
        async move {
            let done = asked.delete(by, &id(&sandbox)).await;
            result(&sandbox, Status::NoContent, done.map(|()| None))
        }
        .boxed()
    });
    Ok(Json(done.await))
}

#[post("/v1/containers/restart")]
async fn restart_all(caller: Caller, app: &State<Arc<App>>, parameters: Result<Parameters, ApiError>) -> Results {
    let (by, asked) = (&caller.0, &app.asked);
    let all = selected(app, by, Verb::Restart, &parameters?).await?;
    let done = asked.each(all, |sandbox| {
        async move {
            let done = asked.restart(by, &id(&sandbox)).await;
            result(&sandbox, Status::Ok, done.map(|_| None))
        }
        .boxed()
    });
    Ok(Json(done.await))
}

#[post("/v1/containers/extend", data = "<body>")]
async fn extend_all(
    caller: Caller,
    app: &State<Arc<App>>,
    parameters: Result<Parameters, ApiError>,
    body: Result<Body, ApiError>,
) -> Results {
    let (parameters, fields, by, asked) = (parameters?, body?.only(&EXTEND)?, &caller.0, &app.asked);
    let length = fields.text("for")?.map(|text| wishes::length("for", &text)).transpose()?;
    let all = selected(app, by, Verb::Extend, &parameters).await?;
    let done = asked.each(all, |sandbox| {
        async move {
            let done = asked.extend(by, &id(&sandbox), length).await;
            result(&sandbox, Status::Ok, done.map(|_| None))
        }
        .boxed()
    });
    Ok(Json(done.await))
}

#[post("/v1/containers/message", data = "<body>")]
async fn message_all(
    caller: Caller,
    app: &State<Arc<App>>,
    parameters: Result<Parameters, ApiError>,
    body: Result<Body, ApiError>,
) -> Results {
    let (parameters, by, asked) = (parameters?, &caller.0, &app.asked);
    let text = &wishes::message(&body?.only(&MESSAGE)?)?;
    let all = selected(app, by, Verb::Message, &parameters).await?;
    let done = asked.each(all, |sandbox| {
        async move {
            let done = asked.message(by, &id(&sandbox), text).await;
            result(&sandbox, Status::Ok, done.map(|(_, announced)| Some(announced)))
        }
        .boxed()
    });
    Ok(Json(done.await))
}

/// What became of one container: `status` if it was done.
fn result(sandbox: &Sandbox, status: Status, done: Done<Option<Announced>>) -> api::Result {
    let result = api::Result {
        name: wire::name(sandbox),
        container_id: Some(id(sandbox)),
        status: status.code,
        shown: None,
        container: None,
        error: None,
    };
    match done {
        Ok(announced) => api::Result { shown: announced.map(wire::announced), ..result },
        Err(e) => {
            let (status, error) = ApiError::from(e).into_result();
            api::Result { status, error: Some(error), ..result }
        }
    }
}
