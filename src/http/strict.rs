//! Examines every request of the API before its route gets it: refuses a query or a body that the route would ignore
//! (`CONTRACT.md` 24).

use std::borrow::Cow;

use rocket::{
    Data, Request, Route,
    http::RawStr,
    route::{Handler, Outcome},
};

use super::{
    auth,
    error::ApiError,
    fields::{self, Body, Taken},
    once,
};

/// How many bytes of a body show whether there is one: more than an empty object and the space around it.
const BEGINNING: usize = 64;

/// Routes for callers with credentials. They take the query parameters that they declare, and no body.
pub fn bare(routes: Vec<Route>) -> Vec<Route> {
    wrapped(routes, None, false, false)
}

/// The same, for routes that read the query parameters `names` themselves.
pub fn asking(routes: Vec<Route>, names: &[&str]) -> Vec<Route> {
    wrapped(routes, Some(names), false, false)
}

/// The same, for routes that select containers, with a body or without. Only they take `label`, and it may come more
/// than once.
pub fn selecting(routes: Vec<Route>, names: &[&str], body: bool) -> Vec<Route> {
    wrapped(routes, Some(names), body, false)
}

/// The same, for routes that also read the body themselves, as it comes.
pub fn asking_with_body(routes: Vec<Route>, names: &[&str]) -> Vec<Route> {
    wrapped(routes, Some(names), true, false)
}

/// The same with a body. Each route examines its fields itself.
pub fn with_body(routes: Vec<Route>) -> Vec<Route> {
    wrapped(routes, None, true, false)
}

/// Routes for everybody. They take the query parameters that they declare, and no body.
pub fn open(routes: Vec<Route>) -> Vec<Route> {
    wrapped(routes, None, false, true)
}

/// The same with a body. Each route examines its fields itself.
pub fn open_with_body(routes: Vec<Route>) -> Vec<Route> {
    wrapped(routes, None, true, true)
}

fn wrapped(mut routes: Vec<Route>, names: Option<&[&str]>, body: bool, open: bool) -> Vec<Route> {
    for route in &mut routes {
        let declared = route.uri.query().unwrap_or_default().split('&').filter(|name| !name.is_empty());
        let declared = declared.map(|name| name.trim_matches(['<', '>', '.']));
        let query = names.map_or_else(|| declared.collect(), <[_]>::to_vec).into_iter().map(str::to_owned).collect();
        route.handler = Box::new(Strict { inner: route.handler.clone(), query, body, open });
    }
    routes
}

#[derive(Clone)]
struct Strict {
    inner: Box<dyn Handler>,
    /// The names that the query may have.
    query: Vec<String>,
    /// Whether the route takes a body.
    body: bool,
    /// Whether the route needs no credentials.
    open: bool,
}

#[rocket::async_trait]
impl Handler for Strict {
    async fn handle<'r>(&self, request: &'r Request<'_>, mut data: Data<'r>) -> Outcome<'r> {
        // A caller without credentials hears only that, from the route.
        let heard = (self.open || auth::caller(request).await.is_ok()) && !fields::is_lenient(request);
        if heard && let Err(e) = self.examine_query(request) {
            return Outcome::from(request, e);
        }
        if heard && !self.body {
            let begins = data.peek(BEGINNING).await;
            if ![&b""[..], b"{}"].contains(&begins.trim_ascii()) {
                let stray = self.stray(request, data).await;
                return once::answered(request, Outcome::from(request, stray)).await;
            }
        }
        // A body is claimed where it is read.
        if !self.body
            && !self.open
            && let Err(e) = once::claim(request, b"").await
        {
            return once::answered(request, Outcome::from(request, e)).await;
        }
        let outcome = self.inner.handle(request, data).await;
        once::answered(request, outcome).await
    }
}

impl Strict {
    fn examine_query(&self, request: &Request<'_>) -> Result<(), ApiError> {
        let query = request.uri().query().map_or("", |query| query.as_str());
        let given = query.split('&').filter(|pair| !pair.is_empty());
        let given = given.map(|pair| RawStr::new(pair.split('=').next().unwrap_or_default()).url_decode_lossy());
        let given: Vec<String> = given.map(Cow::into_owned).collect();
        let takes: Vec<&str> = self.query.iter().map(String::as_str).collect();
        for (at, name) in given.iter().enumerate() {
            if !self.query.contains(name) {
                let elsewhere = self.body.then_some("fields belong into the body (curl -d)");
                return Err(ApiError::unknown("query parameter", name, &takes, elsewhere));
            }
            if given[..at].contains(name) && name != "label" {
                return Err(ApiError::duplicate(None, name, "send it once"));
            }
        }
        Ok(())
    }

    /// The error about a body where none belongs.
    async fn stray<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> ApiError {
        let body = match Body::read(request, data).await {
            Ok(body) => body,
            Err(e) => return e,
        };
        match body.first() {
            Some(name) if self.query.iter().any(|parameter| parameter == name) => {
                let elsewhere = format!("it belongs into the query, as ?{name}=…");
                ApiError::unknown("field", name, &[], Some(&elsewhere))
            }
            Some(name) => Taken::NOTHING.unknown(name),
            None => ApiError::unknown("field", "", &[], None),
        }
    }
}
