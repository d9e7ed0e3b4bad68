//! `/v1/containers`: the sandboxes, which the v1 API calls containers.

use std::sync::Arc;

use rocket::{
    Route, State, delete, get,
    http::{Header, Status, uri::Host},
    patch, post,
    serde::json::Json,
};

use super::{
    activity::shown,
    auth::Admin,
    error::ApiError,
    fields::Body,
    strict,
    wire::container,
    wishes::{self, CREATE, EXTEND, PATCH},
};
use crate::{
    api,
    app::{App, Change},
    domain::Wake,
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![list, get_one, delete_one, activity]);
    routes.extend(strict::with_body(rocket::routes![create, patch_one, extend]));
    routes
}

#[derive(rocket::Responder)]
struct Created {
    body: Json<api::Created>,
    location: Header<'static>,
}

#[get("/v1/containers?<audit>")]
async fn list(
    _admin: Admin,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    audit: Option<&str>,
) -> Result<Json<Vec<api::Container>>, ApiError> {
    audit_if_asked(app, audit).await?;
    Ok(Json(app.asked.views().await?.iter().map(|view| container(view, host)).collect()))
}

#[get("/v1/containers/<id>?<audit>")]
async fn get_one(
    _admin: Admin,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    audit: Option<&str>,
) -> Result<Json<api::Container>, ApiError> {
    audit_if_asked(app, audit).await?;
    Ok(Json(container(&app.asked.view(app.asked.get(id).await?), host)))
}

#[post("/v1/containers", data = "<body>")]
async fn create(
    admin: Admin,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    body: Result<Body, ApiError>,
) -> Result<(Status, Created), ApiError> {
    let spec = wishes::create_spec(app, &body?.only(&CREATE)?)?;
    let sandbox = app.asked.create(&admin.actor(), spec).await?;
    // The sandbox is made: a failed look for warnings must not turn the answer into an error.
    let warnings = app.asked.namesakes(&sandbox).await.unwrap_or_default();
    let warnings = warnings.iter().map(|other| wishes::namesake(&sandbox, other)).collect();
    let container = container(&app.asked.view(sandbox), host);
    let location = Header::new("Location", container.uri.clone());
    Ok((Status::Created, Created { body: Json(api::Created { container, warnings }), location }))
}

#[patch("/v1/containers/<id>", data = "<body>")]
async fn patch_one(
    admin: Admin,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Container>, ApiError> {
    let fields = body?.only(&PATCH)?;
    let status = fields.string("status")?;
    app.asked.get(id).await?;
    // Read all fields before doing anything, so that a refused request changes nothing.
    if let Some(other) = status.as_deref().filter(|s| !["running", "stopped"].contains(s)) {
        return Err(ApiError::invalid("status", other, "it is \"running\" or \"stopped\""));
    }
    let wake = fields.string("wake")?.map(|w| Wake::parse("wake", &w)).transpose()?;
    let (own, to_default) = wishes::own_policy(app, &fields)?;
    let change = Change { own, to_default, keep_until: wishes::keep_until(&fields)? };
    if !change.is_empty() {
        app.asked.change(&admin.actor(), id, change).await?;
    }
    if let Some(wake) = wake {
        app.asked.set_wake(&admin.actor(), id, wake).await?;
    }
    let sandbox = match status.as_deref() {
        Some("running") => app.asked.start(&admin.actor(), id).await?,
        Some("stopped") => app.asked.stop(&admin.actor(), id).await?,
        _ => app.asked.get(id).await?,
    };
    Ok(Json(container(&app.asked.view(sandbox), host)))
}

#[delete("/v1/containers/<id>")]
async fn delete_one(admin: Admin, app: &State<Arc<App>>, id: &str) -> Result<Status, ApiError> {
    app.asked.delete(&admin.actor(), id).await?;
    Ok(Status::NoContent)
}

#[get("/v1/containers/<id>/activity")]
async fn activity(_admin: Admin, app: &State<Arc<App>>, id: &str) -> Result<Json<api::Activity>, ApiError> {
    Ok(Json(shown(&app.asked.activity(id).await?)))
}

#[post("/v1/containers/<id>/extend", data = "<body>")]
async fn extend(
    admin: Admin,
    app: &State<Arc<App>>,
    host: Option<&Host<'_>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Container>, ApiError> {
    let length = body?.only(&EXTEND)?.text("for")?.map(|text| wishes::length("for", &text)).transpose()?;
    let sandbox = app.asked.extend(&admin.actor(), id, length).await?;
    Ok(Json(container(&app.asked.view(sandbox), host)))
}

async fn audit_if_asked(app: &Arc<App>, audit: Option<&str>) -> Result<(), ApiError> {
    match audit.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false") => Ok(()),
        Some("true") => Ok(app.audit().await?),
        Some(other) => Err(ApiError::invalid("audit", other, "it is \"true\" or \"false\"")),
    }
}
