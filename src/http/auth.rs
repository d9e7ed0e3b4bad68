//! Who asks: reads the credentials of a request once, and has the app say whose they are.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use http_auth_basic::Credentials as Basic;
use rocket::{
    Request,
    http::{Cookie, Method, SameSite as CookieSite, Status, uri::Host},
    request::{FromRequest, Outcome},
};

use super::{arrival::request_id, error::ApiError, gate, ticket::Tickets};
use crate::{
    app::{App, Error},
    domain::{Actor, Kind, Role},
};

/// The name of a session's cookie. Over TLS a browser holds it to this one host and to TLS, by the prefix of its name.
pub fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-spindle" } else { "spindle" }
}

/// Managed by the API's server: where people reach it, if that is set.
pub struct Base(pub Option<String>);

/// Where a request comes from.
pub fn from(request: &Request<'_>) -> Option<IpAddr> {
    gate::peer(request).map(|peer| peer.address)
}

/// Whether nobody between can read it.
fn is_secure(request: &Request<'_>) -> bool {
    gate::peer(request).is_some_and(|peer| peer.is_tls)
}

/// Who asks, or why the request is refused. The credentials are looked at once per request.
pub async fn caller<'r>(request: &'r Request<'_>) -> &'r Result<Actor, ApiError> {
    request.local_cache_async(known(request)).await
}

async fn known(request: &Request<'_>) -> Result<Actor, ApiError> {
    let Some(app) = request.rocket().state::<Arc<App>>() else { return Err(Error::Unauthorized.into()) };
    let from = from(request);
    let header = request.headers().get_one("Authorization").map(str::trim);
    let ticket = request.query_value::<&str>("ticket").and_then(Result::ok);
    if let Some(ticket) = ticket.filter(|_| header.is_none()) {
        let tickets = request.rocket().state::<Tickets>().ok_or(Error::Unauthorized)?;
        let by = tickets.redeem(ticket, request.uri().path().as_str()).ok_or(Error::Unauthorized)?;
        let actor = app.identity.again(&by).await?;
        return Ok(Actor { request: Some(request_id(request).to_owned()), from, ..actor });
    }
    let actor = match header.map(|header| header.split_once(' ').unwrap_or((header, ""))) {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
            app.identity.by_secret(secret.trim(), &[Kind::Token, Kind::Invitation], from).await?
        }
        Some(_) => {
            let basic = basic(request).ok_or(Error::Unauthorized)?;
            app.identity.by_password(&basic.user_id, &basic.password, from).await?
        }
        None => {
            let secret = request.cookies().get(cookie_name(is_secure(request))).ok_or(Error::Unauthorized)?;
            app.identity.by_secret(secret.value(), &[Kind::Session], from).await?
        }
    };
    same_site(request)?;
    Ok(Actor { request: Some(request_id(request).to_owned()), ..actor })
}

/// # Errors
/// `cross_site` if another site's page makes a browser change something here: a browser adds a cookie and Basic
/// credentials by itself. Programs other than browsers send neither of these headers.
pub fn same_site(request: &Request<'_>) -> Result<(), ApiError> {
    if matches!(request.method(), Method::Get | Method::Head | Method::Options) { Ok(()) } else { our_page(request) }
}

/// # Errors
/// `cross_site` if another site's page makes a browser ask, whatever it asks for.
fn our_page(request: &Request<'_>) -> Result<(), ApiError> {
    let header = |name| request.headers().get_one(name);
    let site = header("Sec-Fetch-Site").is_none_or(|site| ["same-origin", "none"].contains(&site));
    let ours = request.host().map(Host::to_string);
    let host = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
    let public = request.rocket().state::<Base>().and_then(|base| base.0.as_deref());
    let origin = header("Origin").is_none_or(|origin| host(origin) == ours || public == Some(origin));
    if site && origin {
        return Ok(());
    }
    Err(ApiError::new(Status::Forbidden, "cross_site", "A page of another site may not change anything here"))
}

/// Why a guard refused the request with `status`.
pub async fn refusal(request: &Request<'_>, status: Status) -> Option<ApiError> {
    let reasons = [same_site(request).err(), caller(request).await.as_ref().err().cloned()];
    reasons.into_iter().flatten().find(|e| e.status() == status)
}

fn basic(request: &Request<'_>) -> Option<Basic> {
    let header = request.headers().get_one("Authorization")?;
    Basic::from_header(header.trim().to_owned()).ok()
}

/// The user name that came with a request, if any. Rubbish in the header has none. It is for the log, so a password in
/// its place is not repeated.
pub fn user_tried(request: &Request<'_>) -> Option<String> {
    let user = match request.local_cache(Tried::default).0.get() {
        Some(user) => user.clone(),
        None => {
            request.headers().get_one("Authorization")?;
            basic(request).map(|basic| basic.user_id).unwrap_or_default()
        }
    };
    let app = request.rocket().state::<Arc<App>>();
    let is_password = app.is_some_and(|app| app.identity.is_admin_password(&user)) || user.starts_with("spindle_");
    Some(if is_password { "(the password)".into() } else { user })
}

/// The user name in the form of a sign-in.
#[derive(Default)]
pub struct Tried(OnceLock<String>);

impl Tried {
    /// Notes who tries to sign in.
    pub fn note(&self, user: &str) {
        // A request has one form.
        let _ = self.0.set(user.to_owned());
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Tried {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        Outcome::Success(request.local_cache(Tried::default))
    }
}

/// The cookie of a session; without a `secret` the one that removes it. Scripts cannot read it, and other sites' forms
/// do not send it.
pub fn cookie(secret: Option<String>, is_secure: bool) -> Cookie<'static> {
    let age = if secret.is_some() { rocket::time::Duration::days(7) } else { rocket::time::Duration::ZERO };
    Cookie::build((cookie_name(is_secure), secret.unwrap_or_default()))
        .http_only(true)
        .secure(is_secure)
        .same_site(CookieSite::Lax)
        .path("/")
        .max_age(age)
        .build()
}

/// Who asks, once their credentials are known to be right.
pub struct Caller(pub Actor);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Caller {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match caller(request).await {
            Ok(actor) => {
                // The reserve is for those who must get in to mend things.
                if actor.rights.role >= Role::Assistant {
                    gate::signed_in(request);
                }
                Outcome::Success(Self(actor.clone()))
            }
            // The catcher answers the error itself.
            Err(e) => Outcome::Error((e.status(), ())),
        }
    }
}

/// Proof that no other site's page made the request.
pub struct SameSite;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for SameSite {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match same_site(request) {
            Ok(()) => Outcome::Success(Self),
            Err(e) => Outcome::Error((e.status(), ())),
        }
    }
}

/// Proof that no other site's page opens a WebSocket: a browser lets every page open one, with our cookie.
pub struct OurPage;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for OurPage {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ApiError> {
        match our_page(request) {
            Ok(()) => Outcome::Success(Self),
            Err(e) => Outcome::Error((e.status(), e)),
        }
    }
}

/// Where a request comes from, and by which program: for a sign-in.
pub struct Client {
    /// The address.
    pub from: Option<IpAddr>,
    /// What the program calls itself.
    pub program: String,
    /// The request's id.
    pub request: String,
    /// Whether nobody between can read it.
    pub is_secure: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Client {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let program = request.headers().get_one("User-Agent").unwrap_or_default().to_owned();
        let is_secure = is_secure(request);
        let request_id = request_id(request).to_owned();
        Outcome::Success(Self { from: from(request), program, request: request_id, is_secure })
    }
}
