//! `/v1/users` and `/v1/me`: who may use the API.

use std::{collections::BTreeSet, sync::Arc};

use rocket::{Route, State, delete, get, http::Status, patch, post, serde::json::Json};

use super::{
    auth::Caller,
    error::ApiError,
    fields::{Body, Fields, Taken},
    keys::ssh_keys,
    made::Made,
    strict,
};
use crate::{
    api::{self, Instant},
    app::{App, NewPassword, NewUser, UserChange},
    domain::{Actor, Namespace, Role, User, UserName},
};

const CREATE: Taken = Taken { names: &[&["name", "role", "password", "namespaces", "ssh_key"]], elsewhere: &[] };

const PATCH: Taken = Taken {
    names: &[&["role", "password", "namespaces", "ssh_key"]],
    elsewhere: &[(&["name"], "a user keeps the name; make another user instead")],
};

const OWN: Taken = Taken {
    names: &[&["current_password", "password"]],
    elsewhere: &[(&["role", "namespaces", "name", "ssh_key"], "PATCH /v1/users/{name} takes it")],
};

/// The word in place of a password that Spindle shall make.
pub const GENERATE: &str = "generate";

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![list, get_one, delete_one, me]);
    routes.extend(strict::with_body(rocket::routes![create, patch_one, patch_me]));
    routes
}

#[get("/v1/me")]
async fn me(caller: Caller, app: &State<Arc<App>>) -> Json<api::Me> {
    let Caller(actor) = caller;
    let rights = &actor.rights;
    let container = app.asked.own_path(&actor).await;
    Json(api::Me {
        name: actor.to_string(),
        role: rights.role.word().into(),
        namespaces: rights.namespaces.iter().map(ToString::to_string).collect(),
        scopes: rights.scopes.iter().map(|scope| scope.word().into()).collect(),
        credential: actor.credential.word().into(),
        container,
    })
}

#[patch("/v1/me", data = "<body>")]
async fn patch_me(caller: Caller, app: &State<Arc<App>>, body: Result<Body, ApiError>) -> Result<Status, ApiError> {
    let fields = body?.only(&OWN)?;
    match (fields.text("current_password")?, fields.text("password")?) {
        (_, Some(new)) if new == GENERATE => {
            return Err(ApiError::invalid("password", GENERATE, "it is a word of other requests; choose a password"));
        }
        (Some(current), Some(new)) => app.asked.change_own_password(&caller.0, &current, new).await?,
        (None, _) => return Err(ApiError::missing("current_password", "it is the password until now")),
        (_, None) => return Err(ApiError::missing("password", "it is the new password")),
    }
    Ok(Status::NoContent)
}

#[get("/v1/users")]
async fn list(caller: Caller, app: &State<Arc<App>>) -> Result<Json<Vec<api::User>>, ApiError> {
    let users = app.asked.users(&caller.0).await?;
    Ok(Json(users.iter().map(|user| shown(&caller.0, user, None)).collect()))
}

#[get("/v1/users/<name>", rank = 2)]
async fn get_one(caller: Caller, app: &State<Arc<App>>, name: &str) -> Result<Json<api::User>, ApiError> {
    Ok(Json(shown(&caller.0, &app.asked.user(&caller.0, name).await?, None)))
}

#[post("/v1/users", data = "<body>")]
async fn create(
    caller: Caller,
    app: &State<Arc<App>>,
    body: Result<Body, ApiError>,
) -> Result<Made<api::User>, ApiError> {
    let fields = body?.only(&CREATE)?;
    let name =
        fields.text("name")?.ok_or_else(|| ApiError::missing("name", "it is the name that the user signs in with"))?;
    let wish = NewUser {
        name: UserName::parse("name", &name)?,
        role: role(&fields)?.unwrap_or(Role::Learner),
        namespaces: namespaces(fields.list("namespaces")?)?.unwrap_or_default(),
        password: password(&fields)?.unwrap_or(NewPassword::None),
        ssh_key: ssh_key(&fields)?.flatten(),
    };
    let (user, password) = app.asked.make_user(&caller.0, wish).await?;
    Ok(Made::at(format!("/v1/users/{}", user.name), shown(&caller.0, &user, password)))
}

#[patch("/v1/users/<name>", data = "<body>", rank = 2)]
async fn patch_one(
    caller: Caller,
    app: &State<Arc<App>>,
    name: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::User>, ApiError> {
    let fields = body?.only(&PATCH)?;
    let change = UserChange {
        role: role(&fields)?,
        namespaces: namespaces(fields.list("namespaces")?)?,
        password: password(&fields)?,
        ssh_key: ssh_key(&fields)?,
    };
    let (user, password) = app.asked.change_user(&caller.0, name, change).await?;
    Ok(Json(shown(&caller.0, &user, password)))
}

#[delete("/v1/users/<name>")]
async fn delete_one(caller: Caller, app: &State<Arc<App>>, name: &str) -> Result<Status, ApiError> {
    app.asked.remove_user(&caller.0, name).await?;
    Ok(Status::NoContent)
}

fn role(fields: &Fields) -> Result<Option<Role>, ApiError> {
    Ok(fields.string("role")?.map(|role| Role::parse(&role)).transpose()?)
}

/// Reads names of namespaces.
pub fn namespaces(names: Option<Vec<String>>) -> Result<Option<BTreeSet<Namespace>>, ApiError> {
    let parse = |names: Vec<String>| names.iter().map(|name| Namespace::parse("namespaces", name)).collect();
    Ok(names.map(parse).transpose()?)
}

fn password(fields: &Fields) -> Result<Option<NewPassword>, ApiError> {
    Ok(fields.text("password")?.map(|password| match password.as_str() {
        GENERATE => NewPassword::Generated,
        "" | "none" => NewPassword::None,
        _ => NewPassword::This(password),
    }))
}

fn ssh_key(fields: &Fields) -> Result<Option<Option<String>>, ApiError> {
    match fields.string("ssh_key")?.as_deref() {
        None => Ok(None),
        Some("" | "none") => Ok(Some(None)),
        Some(keys) => Ok(Some(Some(ssh_keys("ssh_key", keys)?))),
    }
}

/// The object for `user`, as `by` may see it, with a password that was just made.
fn shown(by: &Actor, user: &User, password: Option<String>) -> api::User {
    api::User {
        name: user.name.to_string(),
        role: user.role.word().into(),
        namespaces: user.namespaces.iter().filter(|name| by.may_know(name)).map(ToString::to_string).collect(),
        has_password: user.password.is_some(),
        ssh_key: user.ssh_key.clone(),
        created_at: Instant(user.created_at),
        password,
    }
}
