//! `/v1/containers`: the sandboxes, by the name that the v1 API has for them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rocket::{
    Route, State, delete, get,
    http::{Header, Status, uri::Host},
    patch, post,
    serde::json::Json,
};

use super::{
    activity::Activity,
    auth::Admin,
    error::ApiError,
    fields::{Fields, Pairs},
    wire::Container,
};
use crate::{
    app::{App, Change, CreateSpec},
    domain::{
        Cpus, ImageRef, Invalid, Label, Memory, OwnPolicy, SandboxName, Wake,
        policy::{least_idle_limit, parse_span},
    },
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    rocket::routes![list, create, get_one, patch_one, delete_one, activity, extend]
}

#[derive(rocket::Responder)]
struct Created {
    body: Json<Container>,
    location: Header<'static>,
}

#[get("/v1/containers?<audit>")]
async fn list(
    _admin: Admin,
    app: &State<Arc<App>>,
    asked: Option<&Host<'_>>,
    audit: Option<&str>,
) -> Result<Json<Vec<Container>>, ApiError> {
    audit_if_asked(app, audit).await?;
    let sandboxes = app.list().await?;
    Ok(Json(sandboxes.iter().map(|s| Container::new(app, s, asked)).collect()))
}

#[get("/v1/containers/<id>?<audit>")]
async fn get_one(
    _admin: Admin,
    app: &State<Arc<App>>,
    asked: Option<&Host<'_>>,
    id: &str,
    audit: Option<&str>,
) -> Result<Json<Container>, ApiError> {
    audit_if_asked(app, audit).await?;
    Ok(Json(Container::new(app, &app.get(id).await?, asked)))
}

#[post("/v1/containers", data = "<fields>")]
async fn create(
    _admin: Admin,
    app: &State<Arc<App>>,
    asked: Option<&Host<'_>>,
    fields: Result<Fields, ApiError>,
) -> Result<(Status, Created), ApiError> {
    let spec = create_spec(app, &fields?)?;
    let container = Container::new(app, &app.create(spec).await?, asked);
    let location = Header::new("Location", container.uri());
    Ok((Status::Created, Created { body: Json(container), location }))
}

#[patch("/v1/containers/<id>", data = "<fields>")]
async fn patch_one(
    admin: Admin,
    app: &State<Arc<App>>,
    asked: Option<&Host<'_>>,
    id: &str,
    fields: Result<Fields, ApiError>,
) -> Result<Json<Container>, ApiError> {
    let fields = fields?;
    let status = fields.string("status")?;
    app.get(id).await?;
    // All of it is read before any of it is done: what is refused changes nothing.
    if let Some(other) = status.as_deref().filter(|s| !["running", "stopped"].contains(s)) {
        return Err(ApiError::invalid("status", other, "it is \"running\" or \"stopped\""));
    }
    let wake = fields.string("wake")?.map(|w| Wake::parse("wake", &w)).transpose()?;
    let (own, to_default) = own_policy(app, &fields)?;
    let change = Change { own, to_default, keep_until: keep_until(&fields)? };
    if !change.is_empty() {
        app.change(id, admin.user(), change).await?;
    }
    if let Some(wake) = wake {
        app.set_wake(id, wake).await?;
    }
    let sandbox = match status.as_deref() {
        Some("running") => app.start(id).await?,
        Some("stopped") => app.stop(id).await?,
        _ => app.get(id).await?,
    };
    Ok(Json(Container::new(app, &sandbox, asked)))
}

#[delete("/v1/containers/<id>")]
async fn delete_one(_admin: Admin, app: &State<Arc<App>>, id: &str) -> Result<Status, ApiError> {
    app.delete(id).await?;
    Ok(Status::NoContent)
}

#[get("/v1/containers/<id>/activity")]
async fn activity(_admin: Admin, app: &State<Arc<App>>, id: &str) -> Result<Json<Activity>, ApiError> {
    let activity = app.activity(id).await?;
    Ok(Json(Activity::new(app, &activity)))
}

#[post("/v1/containers/<id>/extend", data = "<fields>")]
async fn extend(
    admin: Admin,
    app: &State<Arc<App>>,
    asked: Option<&Host<'_>>,
    id: &str,
    fields: Result<Fields, ApiError>,
) -> Result<Json<Container>, ApiError> {
    let length = fields?.text(&["for"])?.map(|text| length("for", &text)).transpose()?;
    let sandbox = app.extend(id, admin.user(), length).await?;
    Ok(Json(Container::new(app, &sandbox, asked)))
}

async fn audit_if_asked(app: &Arc<App>, audit: Option<&str>) -> Result<(), ApiError> {
    match audit.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false") => Ok(()),
        Some("true") => Ok(app.audit().await?),
        Some(other) => Err(ApiError::invalid("audit", other, "it is \"true\" or \"false\"")),
    }
}

/// Reads what a caller wants. Nothing that is not parsed here reaches the engine.
fn create_spec(app: &App, fields: &Fields) -> Result<CreateSpec, ApiError> {
    let image = fields.string("image")?.filter(|i| !i.trim().is_empty());
    let Some(image) = image else {
        return Err(ApiError::new(Status::BadRequest, "image_blank", "Image cannot be blank"));
    };
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    Ok(CreateSpec {
        image: ImageRef::parse(&image)?,
        name: filled(fields.string("name")?).map(|n| SandboxName::parse(&n)).transpose()?,
        ssh_key: filled(fields.string("ssh_key")?).map(|k| ssh_key("ssh_key", &k)).transpose()?,
        env: env(fields.object("env", None)?)?,
        own: own_policy(app, fields)?.0,
        keep_until: keep_until(fields)?.flatten(),
        memory: fields.text(&["memory"])?.map(|m| Memory::parse(&m)).transpose()?,
        cpus: fields.text(&["cpus"])?.map(|c| Cpus::parse(&c)).transpose()?,
        labels: labels(fields.object("labels", Some(label_list))?)?,
        wake: filled(fields.string("wake")?).map(|w| Wake::parse("wake", &w)).transpose()?,
    })
}

/// Reads what a caller says of the policy of stopping, and what of it shall be as configured again.
fn own_policy(app: &App, fields: &Fields) -> Result<(OwnPolicy, Vec<&'static str>), ApiError> {
    let (mut texts, mut to_default) = (Vec::new(), Vec::new());
    for key in OwnPolicy::KEYS {
        match fields.text(&[key])? {
            Some(text) if text == "default" => to_default.push(key),
            text => texts.push((key, text)),
        }
    }
    let text = |key| texts.iter().find(|(k, _)| *k == key).and_then(|(_, text)| text.as_deref());
    Ok((OwnPolicy::parse(OwnPolicy::KEYS, least_idle_limit(app.report_period()), text)?, to_default))
}

/// Reads until when a sandbox shall be kept; `Some(None)`: no longer.
fn keep_until(fields: &Fields) -> Result<Option<Option<Timestamp>>, ApiError> {
    let allowed = "it is an instant with its zone, such as 2026-12-24T18:00:00Z, or \"none\"";
    match fields.string("keep_until")?.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(text) => {
            // A form takes the + of a zone for a space.
            let until =
                text.trim().replace(' ', "+").parse().map_err(|_| ApiError::invalid("keep_until", text, allowed))?;
            Ok(Some(Some(until)))
        }
    }
}

/// Reads a length of time. `field` is the caller's name for it.
///
/// # Errors
/// If it is none.
pub fn length(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    let allowed = "it is a length of time, such as 90m, 3h, 2d, or whole seconds";
    parse_span(text.trim()).ok_or_else(|| Invalid::new(field, text, allowed))
}

/// Reads one public key; what is written to `authorized_keys` is made anew from what was understood, so
/// that no option and no second line slips in.
///
/// # Errors
/// If `text` is no public key, or more than one. `field` is the caller's name for it.
pub fn ssh_key(field: &'static str, text: &str) -> Result<String, Invalid> {
    let allowed = "it is one public key as in ~/.ssh/id_ed25519.pub: type, key, comment";
    // A private key that was pasted by mistake is not sent back, nor kept in anybody's terminal.
    let shown = if text.contains("PRIVATE KEY") { "a private key" } else { text };
    let invalid = || Invalid::new(field, shown, allowed);
    let key = readings(text.trim()).find_map(|t| ssh_key::PublicKey::from_openssh(&t).ok()).ok_or_else(invalid)?;
    if key.comment().chars().any(char::is_control) {
        return Err(invalid());
    }
    key.to_openssh().map_err(|_| invalid())
}

/// The texts that a key may have been: as it came, and with its first spaces turned back into the `+` that
/// a form takes for one. Only the right one reads as a key, because a key tells its own length.
fn readings(text: &str) -> impl Iterator<Item = String> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    (0..=rest.matches(' ').count().min(64)).map(move |spaces| format!("{kind} {}", rest.replacen(' ', "+", spaces)))
}

/// `a=1,b=2`, as a form has no objects.
fn label_list(text: &str) -> Pairs {
    let pairs = text.split(',').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap_or((p, ""))).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn labels(pairs: Pairs) -> Result<Vec<Label>, ApiError> {
    let mut labels = pairs.iter().map(|(k, v)| Label::parse(k, v)).collect::<Result<Vec<_>, _>>()?;
    labels.sort();
    if labels.len() > 64 || labels.windows(2).any(|w| w[0].key() == w[1].key()) {
        return Err(ApiError::invalid("labels", "", "there are at most 64, each key once"));
    }
    Ok(labels)
}

fn env(pairs: Pairs) -> Result<Pairs, ApiError> {
    for (key, value) in &pairs {
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain
            || key.is_empty()
            || key.len() > 255
            || key.as_bytes()[0].is_ascii_digit()
            || key.starts_with("SPINDLE_")
        {
            let allowed =
                "a variable's name has 1 to 255 letters, digits and _, does not begin with a digit or SPINDLE_";
            return Err(ApiError::invalid("env", key, allowed));
        }
        if value.contains('\0') {
            return Err(ApiError::invalid("env", key, "a variable's value has no NUL"));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example";

    #[test]
    fn one_plain_key_is_taken_and_nothing_else() {
        assert_eq!(ssh_key("ssh_key", &format!(" {KEY}\n")).unwrap(), KEY);
        let from_form = KEY.replace('+', " ");
        assert_ne!(from_form, KEY);
        assert_eq!(ssh_key("ssh_key", &from_form).unwrap(), KEY);
        for bad in [
            format!("command=\"rm -rf /\" {KEY}"),
            format!("{KEY}\n{KEY}"),
            format!("{KEY}\r\nx"),
            "ssh-ed25519 AAAA".into(),
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti".into(),
            "-----BEGIN OPENSSH PRIVATE KEY-----".into(),
            String::new(),
        ] {
            assert!(ssh_key("ssh_key", &bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn variables_and_labels_are_checked() {
        let pair = |k: &str, v: &str| vec![(k.to_owned(), v.to_owned())];
        assert!(env(pair("PATH_2", "a=b\nc")).is_ok());
        for bad in ["", "A=B", "1A", "A-B", "SPINDLE_X", "é"] {
            assert!(env(pair(bad, "")).is_err(), "{bad:?} was taken");
        }
        assert!(labels(label_list("course=db,group=a")).unwrap().len() == 2);
        assert!(labels(label_list("a=1,a=2")).is_err());
        assert!(labels(label_list("spindle.id=1")).is_err());
    }
}
