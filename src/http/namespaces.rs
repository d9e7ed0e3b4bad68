//! `/v1/namespaces`: one for each course, with its quota.

use std::sync::Arc;

use rocket::{Route, State, delete, get, http::Status, patch, post, serde::json::Json};

use super::{
    auth::Caller,
    error::ApiError,
    fields::{Body, Fields, Taken},
    made::Made,
    strict,
    wishes::pairs,
};
use crate::{
    api::{self, Instant},
    app::{App, CourseChange},
    domain::{Actor, Course, Memory, Namespace, Quota, Usage, names::shortened},
};

const CREATE: Taken = Taken { names: &[&["name", "title", "quota", "owner_quota", "assistant_exec"]], elsewhere: &[] };

const PATCH: Taken = Taken {
    names: &[&["title", "quota", "owner_quota", "assistant_exec"]],
    elsewhere: &[(&["name"], "a namespace keeps its name; make another one and move the containers")],
};

const MOST_OF_TITLE: usize = 200;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![list, get_one, delete_one]);
    routes.extend(strict::with_body(rocket::routes![create, patch_one]));
    routes
}

#[get("/v1/namespaces")]
async fn list(caller: Caller, app: &State<Arc<App>>) -> Result<Json<Vec<api::Namespace>>, ApiError> {
    Ok(Json(app.asked.namespaces(&caller.0).await?.iter().map(shown).collect()))
}

#[get("/v1/namespaces/<name>")]
async fn get_one(caller: Caller, app: &State<Arc<App>>, name: &str) -> Result<Json<api::Namespace>, ApiError> {
    Ok(Json(shown(&app.asked.namespace(&caller.0, name).await?)))
}

/// One as it is now.
pub async fn now(app: &App, by: &Actor, name: &str) -> Result<api::Namespace, ApiError> {
    Ok(shown(&app.asked.namespace(by, name).await?))
}

#[post("/v1/namespaces", data = "<body>")]
async fn create(
    caller: Caller,
    app: &State<Arc<App>>,
    body: Result<Body, ApiError>,
) -> Result<Made<api::Namespace>, ApiError> {
    let fields = body?.only(&CREATE)?;
    let name = fields.text("name")?.ok_or_else(|| ApiError::missing("name", "it is the namespace's name"))?;
    let name = Namespace::parse("name", &name)?;
    let made = app.asked.make_namespace(&caller.0, name, change(&fields)?).await?;
    Ok(Made::at(format!("/v1/namespaces/{}", made.0.name), shown(&made)))
}

#[patch("/v1/namespaces/<name>", data = "<body>")]
async fn patch_one(
    caller: Caller,
    app: &State<Arc<App>>,
    name: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Namespace>, ApiError> {
    let fields = body?.only(&PATCH)?;
    Ok(Json(shown(&app.asked.change_namespace(&caller.0, name, change(&fields)?).await?)))
}

#[delete("/v1/namespaces/<name>")]
async fn delete_one(caller: Caller, app: &State<Arc<App>>, name: &str) -> Result<Status, ApiError> {
    app.asked.remove_namespace(&caller.0, name).await?;
    Ok(Status::NoContent)
}

fn change(fields: &Fields) -> Result<CourseChange, ApiError> {
    let title = fields.text("title")?;
    if let Some(long) = title.as_ref().filter(|t| t.len() > MOST_OF_TITLE || t.chars().any(char::is_control)) {
        let allowed = format!("a title has at most {MOST_OF_TITLE} bytes and no control characters");
        return Err(ApiError::invalid("title", &shortened(long), allowed));
    }
    Ok(CourseChange {
        title,
        quota: quota(fields, "quota")?,
        owner_quota: quota(fields, "owner_quota")?,
        assistant_exec: fields.flag("assistant_exec")?,
    })
}

/// Reads a quota. What it does not name has no limit.
fn quota(fields: &Fields, name: &'static str) -> Result<Option<Quota>, ApiError> {
    let Some(pairs) = fields.amounts(name, |text| pairs("quota", text))? else { return Ok(None) };
    let allowed = "it has containers and running, each a whole number or none, and memory, a size such as 8g or none";
    let mut quota = Quota::default();
    for (key, value) in pairs {
        let invalid = || ApiError::invalid(name, &format!("{key}={value}"), allowed);
        let number = || match value.as_str() {
            "none" => Ok(None),
            number => number.parse().map(Some).map_err(|_| invalid()),
        };
        match key.as_str() {
            "containers" => quota.containers = number()?,
            "running" => quota.running = number()?,
            "memory" if value == "none" => quota.memory = None,
            "memory" => quota.memory = Some(Memory::parse(&value).map_err(|_| invalid())?),
            _ => return Err(ApiError::unknown("part", &key, &["containers", "running", "memory"], None)),
        }
    }
    Ok(Some(quota))
}

fn shown((course, used): &(Course, Usage)) -> api::Namespace {
    let quota = |quota: &Quota| api::Amounts {
        containers: quota.containers,
        running: quota.running,
        memory: quota.memory.map(Memory::bytes),
    };
    api::Namespace {
        name: course.name.to_string(),
        title: course.title.clone(),
        quota: quota(&course.quota),
        owner_quota: quota(&course.owner_quota),
        assistant_exec: course.assistant_exec,
        used: api::Amounts {
            containers: Some(used.containers),
            running: Some(used.running),
            memory: Some(used.memory),
        },
        created_at: Instant(course.created_at),
    }
}
