//! `/v1/tokens`, `/v1/session`, `/v1/sessions`, and invitations to one container.

use std::{sync::Arc, time::Duration};

use rocket::{
    Request, Route, State, delete, get,
    http::{CookieJar, Method, Status, uri::Host},
    patch, post,
    request::{FromRequest, Outcome},
    response::Redirect,
    serde::json::Json,
};

use super::{
    arrival::arrival,
    auth::{self, Base, Caller, Client},
    error::ApiError,
    fields::{Body, Fields, Taken},
    made::Made,
    strict,
    users::namespaces,
    wire::instant,
    wishes::length,
};
use crate::{
    api::{self, Instant},
    app::{App, Error, Given, NewToken, SignIn},
    domain::{Actor, Grant, Invalid, Kind, Scope, Who, names::shortened},
};

const TOKEN: Taken = Taken { names: &[&["name", "scopes", "namespaces", "expires_in"]], elsewhere: &[] };
const CHANGE: Taken = Taken {
    names: &[&["name", "expires_in"]],
    elsewhere: &[(&["scopes", "namespaces"], "a token keeps its rights; make another one and revoke this")],
};
const SIGN_IN: Taken = Taken { names: &[&["name", "password", "invitation"]], elsewhere: &[] };
const INVITE: Taken = Taken { names: &[&["expires_in"]], elsewhere: &[] };

/// The longest life that a caller may ask for.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Where an invitation's link leads. What follows is the secret.
const LINK: &str = "/v1/invitation/";

/// The routes of this file for callers with credentials.
pub fn routes() -> Vec<Route> {
    let mut routes =
        strict::bare(rocket::routes![tokens, delete_token, sessions, delete_session, invitations, uninvite]);
    routes.extend(strict::with_body(rocket::routes![make_token, patch_token, invite]));
    routes
}

/// The routes of this file for everybody: they let in whoever has a secret.
pub fn open() -> Vec<Route> {
    let mut routes = strict::open(rocket::routes![follow_link, sign_out]);
    routes.extend(strict::open_with_body(rocket::routes![sign_in]));
    routes
}

#[get("/v1/tokens?<user>")]
async fn tokens(
    caller: Caller,
    app: &State<Arc<App>>,
    user: Option<&str>,
) -> Result<Json<Vec<api::Credential>>, ApiError> {
    Ok(Json(app.asked.credentials(&caller.0, Kind::Token, user).await?.iter().map(shown).collect()))
}

#[post("/v1/tokens", data = "<body>")]
async fn make_token(
    caller: Caller,
    app: &State<Arc<App>>,
    body: Result<Body, ApiError>,
) -> Result<Made<api::Credential>, ApiError> {
    let fields = body?.only(&TOKEN)?;
    let missing = "it is a list of read, operate, create and admin; each of them includes read";
    let scopes = fields.list("scopes")?.filter(|scopes| !scopes.is_empty());
    let scopes = scopes.ok_or_else(|| ApiError::missing("scopes", missing))?;
    let wish = NewToken {
        name: name(&fields)?.ok_or_else(|| ApiError::missing("name", "it tells you later what the token is for"))?,
        scopes: scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<_, _>>()?,
        namespaces: namespaces(fields.list("namespaces")?)?.unwrap_or_default(),
        expires_in: expires_in(&fields)?,
    };
    let given = app.asked.make_token(&caller.0, wish).await?;
    Ok(Made::at(format!("/v1/tokens/{}", given.0.id), with_secret(given)))
}

#[patch("/v1/tokens/<id>", data = "<body>")]
async fn patch_token(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Credential>, ApiError> {
    let fields = body?.only(&CHANGE)?;
    let changed = app.asked.change_token(&caller.0, id, name(&fields)?, expires_in(&fields)?).await?;
    Ok(Json(shown(&changed)))
}

#[delete("/v1/tokens/<id>")]
async fn delete_token(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Status, ApiError> {
    app.asked.revoke(&caller.0, Kind::Token, id).await?;
    Ok(Status::NoContent)
}

#[get("/v1/sessions?<user>")]
async fn sessions(
    caller: Caller,
    app: &State<Arc<App>>,
    user: Option<&str>,
) -> Result<Json<Vec<api::Credential>>, ApiError> {
    Ok(Json(app.asked.credentials(&caller.0, Kind::Session, user).await?.iter().map(shown).collect()))
}

#[delete("/v1/sessions/<id>")]
async fn delete_session(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Status, ApiError> {
    app.asked.revoke(&caller.0, Kind::Session, id).await?;
    Ok(Status::NoContent)
}

/// Signs in with a name and a password, or with an invitation; the session is in the cookie.
#[post("/v1/session", data = "<body>")]
async fn sign_in(
    _site: auth::SameSite,
    client: Client,
    tried: &auth::Tried,
    app: &State<Arc<App>>,
    cookies: &CookieJar<'_>,
    body: Result<Body, ApiError>,
) -> Result<(Status, Json<api::Credential>), ApiError> {
    let fields = body?.only(&SIGN_IN)?;
    let with = match (fields.text("name")?, fields.text("password")?, fields.text("invitation")?) {
        (Some(name), Some(password), None) => {
            tried.note(&name);
            SignIn::Password(name, password)
        }
        (None, None, Some(invitation)) => SignIn::Invitation(invitation),
        _ => return Err(ApiError::missing("name", "sign in with name and password, or with invitation alone")),
    };
    let (_, (grant, secret)) = app.asked.begin_session(with, client.from, &client.program, &client.request).await?;
    cookies.add(auth::cookie(Some(secret), client.is_secure));
    Ok((Status::Created, Json(shown(&grant))))
}

/// How somebody comes by a link.
enum Follower {
    /// To be signed in.
    Guest,
    /// Signed in as a user, whose session the link of somebody else must not replace.
    User,
    /// Only to see whether it leads anywhere, as chat programs do.
    Onlooker,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Follower {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        Outcome::Success(match auth::caller(request).await {
            _ if arrival(request).method == Method::Head => Self::Onlooker,
            Ok(actor) if matches!(actor.who, Who::User(_)) => Self::User,
            _ => Self::Guest,
        })
    }
}

/// Signs in whoever follows an invitation's link, and leads on to the container.
#[get("/v1/invitation/<secret>")]
async fn follow_link(
    follower: Follower,
    client: Client,
    app: &State<Arc<App>>,
    cookies: &CookieJar<'_>,
    secret: &str,
) -> Result<Redirect, ApiError> {
    match follower {
        Follower::Guest => {}
        Follower::User => {
            let message = "You are signed in already: sign out first (DELETE /v1/session), or use another browser";
            return Err(ApiError::new(Status::Conflict, "signed_in", message));
        }
        Follower::Onlooker => return Err(ApiError::new(Status::NoContent, "not_signed_in", "")),
    }
    let with = SignIn::Invitation(secret.to_owned());
    let (actor, (_, secret)) = app.asked.begin_session(with, client.from, &client.program, &client.request).await?;
    cookies.add(auth::cookie(Some(secret), client.is_secure));
    Ok(Redirect::to(app.asked.own_path(&actor).await.unwrap_or_else(|| "/v1/me".into())))
}

/// Signs out: ends the session in the cookie, whatever other credentials come along. Whoever has none is out already.
#[delete("/v1/session")]
async fn sign_out(
    _site: auth::SameSite,
    client: Client,
    app: &State<Arc<App>>,
    cookies: &CookieJar<'_>,
) -> Result<Status, ApiError> {
    if let Some(secret) = cookies.get(auth::cookie_name(client.is_secure)) {
        match app.identity.by_secret(secret.value(), &[Kind::Session], client.from).await {
            Ok(actor) => app.asked.end_session(&Actor { request: Some(client.request), ..actor }).await?,
            Err(Error::Unauthorized) => {}
            Err(e) => return Err(e.into()),
        }
    }
    cookies.add(auth::cookie(None, client.is_secure));
    Ok(Status::NoContent)
}

#[post("/v1/containers/<id>/invite", data = "<body>")]
async fn invite(
    caller: Caller,
    app: &State<Arc<App>>,
    base: &State<Base>,
    host: Option<&Host<'_>>,
    client: Client,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<(Status, Json<api::Credential>), ApiError> {
    let given = app.asked.invite(&caller.0, id, expires_in(&body?.only(&INVITE)?)?).await?;
    let scheme = if client.is_secure { "https" } else { "http" };
    let asked = || host.map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    let base = base.0.clone().unwrap_or_else(asked);
    let url = Some(format!("{base}{LINK}{}", given.1));
    Ok((Status::Created, Json(api::Credential { url, ..with_secret(given) })))
}

#[get("/v1/containers/<id>/invitations")]
async fn invitations(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<Vec<api::Credential>>, ApiError> {
    Ok(Json(app.asked.invitations(&caller.0, id).await?.iter().map(shown).collect()))
}

#[delete("/v1/containers/<id>/invitations/<invitation>")]
async fn uninvite(caller: Caller, app: &State<Arc<App>>, id: &str, invitation: &str) -> Result<Status, ApiError> {
    app.asked.uninvite(&caller.0, id, invitation).await?;
    Ok(Status::NoContent)
}

fn name(fields: &Fields) -> Result<Option<String>, ApiError> {
    let name = fields.text("name")?;
    match name.filter(|name| !name.is_empty()) {
        Some(bad) if bad.len() > 80 || bad.chars().any(char::is_control) => {
            Err(ApiError::invalid("name", &shortened(&bad), "it has at most 80 bytes and no control characters"))
        }
        name => Ok(name),
    }
}

fn expires_in(fields: &Fields) -> Result<Option<Duration>, ApiError> {
    let Some(text) = fields.text("expires_in")? else { return Ok(None) };
    match length("expires_in", &text)? {
        length if length <= LONGEST && !length.is_zero() => Ok(Some(length)),
        _ => Err(Invalid::new("expires_in", &text, "it is longer than nothing, and at most 366 days").into()),
    }
}

fn with_secret((grant, secret): Given) -> api::Credential {
    api::Credential { token: Some(secret), ..shown(&grant) }
}

fn shown(grant: &Grant) -> api::Credential {
    api::Credential {
        id: grant.id.clone(),
        user: grant.user.clone(),
        name: grant.name.clone(),
        scopes: grant.scopes.iter().map(|scope| scope.word().into()).collect(),
        namespaces: grant.namespaces.iter().map(ToString::to_string).collect(),
        created_at: Instant(grant.created_at),
        expires_at: instant(grant.expires_at),
        used_at: instant(grant.used_at),
        used_from: grant.used_from.clone(),
        token: None,
        url: None,
    }
}
