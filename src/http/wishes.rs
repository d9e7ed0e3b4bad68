//! Reads what a caller wants for a container, field by field, into the domain's types.

use std::time::Duration;

use jiff::Timestamp;
use rocket::http::Status;

use super::{
    error::ApiError,
    fields::{Fields, Pairs, Taken},
    keys::ssh_keys,
};
use crate::{
    app::{App, Asked, Change, CreateSpec, MOST_AT_ONCE, Power},
    domain::{
        Cpus, ImageRef, Invalid, Label, Launch, Memory, Namespace, OwnPolicy, Sandbox, SandboxName, UserName, Wake,
        Zone,
        policy::{least_idle_limit, parse_span},
    },
};

/// Fields that can be set only at creation.
const AT_CREATION: &[&str] =
    &["image", "env", "tz", "command", "entrypoint", "workdir", "user", "hostname", "start", "names", "count"];

/// Fields of one container alone, that can be set at any time.
const OF_ONE: &[&str] = &["name"];

/// Fields that can be set at any time, besides the policy.
const AT_ANY_TIME: &[&str] = &["wake", "keep_until", "namespace", "owner", "ssh_key", "memory", "cpus", "labels"];

/// The fields that `POST /v1/containers` takes.
pub const CREATE: Taken = Taken {
    names: &[AT_CREATION, OF_ONE, AT_ANY_TIME, &OwnPolicy::KEYS],
    elsewhere: &[(&["status"], "a new container is started; PATCH changes its status"), (&["for"], FOR)],
};

/// The fields that `PATCH /v1/containers/{id}` takes.
pub const PATCH: Taken = Taken {
    names: &[&["status"], OF_ONE, AT_ANY_TIME, &OwnPolicy::KEYS],
    elsewhere: &[(AT_CREATION, "it can be set at creation only"), (&["for"], FOR)],
};

/// The fields that `PATCH /v1/containers?…` takes, which is about several.
pub const BULK: Taken = Taken {
    names: &[&["status"], AT_ANY_TIME, &OwnPolicy::KEYS],
    elsewhere: &[
        (OF_ONE, "no two containers have one name: PATCH /v1/containers/{id} takes it"),
        (AT_CREATION, "it can be set at creation only"),
        (&["for"], "POST /v1/containers/extend takes it"),
    ],
};

/// The fields that `POST /v1/containers/{id}/extend` takes.
pub const EXTEND: Taken = Taken { names: &[&["for"]], elsewhere: &[(&["keep_until"], "PATCH takes it")] };

/// The fields that `POST /v1/containers/{id}/reset` takes.
pub const RESET: Taken = Taken { names: &[&["confirm"]], elsewhere: &[] };

/// The fields that `POST /v1/containers/{id}/message` takes.
pub const MESSAGE: Taken = Taken { names: &[&["text"]], elsewhere: &[] };

const FOR: &str = "POST /v1/containers/{id}/extend takes it";

const MOST_LABELS: usize = 64;

/// OpenSSH refuses a session with more than about 990 variables, the image's and its own included. It takes 250,000
/// bytes in all, and the kernel 131,071 in one, but the limit of a body is lower than both. This limit leaves room
/// beside it.
const MOST_VARIABLES: usize = 512;
const MOST_OF_VARIABLES: usize = 32 * 1024;

/// The warning to the creator of `made`, whose name differs from `other`'s only in case.
pub fn namesake(made: &Sandbox, other: &Sandbox) -> String {
    let id = other.container.as_ref().map(|id| id.as_str()[..12].to_owned()).unwrap_or_default();
    format!(
        "name: {:?} differs only in case from {:?}, the name of container {id}",
        made.name.as_str(),
        other.name.as_str()
    )
}

/// Reads what a caller wants. Nothing that is not parsed here reaches the engine.
pub fn create_spec(app: &App, fields: &Fields) -> Result<CreateSpec, ApiError> {
    let image = fields.string("image")?.filter(|i| !i.trim().is_empty());
    let Some(image) = image else {
        return Err(ApiError::new(Status::BadRequest, "image_blank", "Image cannot be blank"));
    };
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
    let mut env = env(fields.object("env", None)?)?;
    Ok(CreateSpec {
        image: ImageRef::parse(&image)?,
        namespace: filled(fields.string("namespace")?).map(|n| Namespace::parse("namespace", &n)).transpose()?,
        owner: filled(fields.string("owner")?).map(|o| UserName::parse("owner", &o)).transpose()?,
        name: filled(fields.string("name")?).map(|n| SandboxName::parse(&n)).transpose()?,
        ssh_keys: filled(fields.string("ssh_key")?).map(|k| ssh_keys("ssh_key", &k)).transpose()?,
        zone: zone(filled(fields.string("tz")?), &mut env)?,
        launch: launch(fields, env)?,
        starts: fields.flag("start")?.unwrap_or(true),
        own: own_policy(app, fields)?.0,
        keep_until: keep_until(fields)?.flatten(),
        memory: fields.text("memory")?.map(|m| Memory::parse(&m)).transpose()?,
        cpus: fields.text("cpus")?.map(|c| Cpus::parse(&c)).transpose()?,
        labels: labels(fields.object("labels", Some(label_list))?)?,
        wake: filled(fields.string("wake")?).map(|w| Wake::parse("wake", &w)).transpose()?,
    })
}

/// Reads how many containers are wanted; `None`: one, as v1 knows it.
pub fn several(spec: &CreateSpec, fields: &Fields) -> Result<Option<Vec<CreateSpec>>, ApiError> {
    let names = fields.list("names")?;
    let count = fields.text("count")?;
    let allowed = "say name, names, or count with or without a name: alice and 3 are alice-1, alice-2, alice-3";
    match (names, count) {
        (None, None) => Ok(None),
        (Some(names), None) if spec.name.is_none() => Ok(Some(spec.clone().several(names, None)?)),
        (None, Some(text)) => {
            let count = text.parse().ok().filter(|count| (1..=MOST_AT_ONCE).contains(count));
            let allowed = format!("it is a whole number, 1 to {MOST_AT_ONCE}");
            let count = count.ok_or_else(|| ApiError::invalid("count", &text, allowed))?;
            Ok(Some(spec.clone().several(Vec::new(), Some(count))?))
        }
        (Some(names), _) => Err(ApiError::invalid("names", &names.join(","), allowed)),
    }
}

/// Reads with what its program shall be started.
fn launch(fields: &Fields, env: Pairs) -> Result<Launch, ApiError> {
    let filled = |name| Ok::<_, ApiError>(fields.string(name)?.filter(|text| !text.is_empty()));
    let words = |name| Ok::<_, ApiError>(fields.words(name)?.map(|words| Launch::words(name, words)).transpose()?);
    Ok(Launch {
        env,
        command: words("command")?,
        entrypoint: words("entrypoint")?,
        workdir: filled("workdir")?.map(Launch::workdir).transpose()?,
        user: fields.text("user")?.filter(|text| !text.is_empty()).map(Launch::user).transpose()?,
        hostname: filled("hostname")?.map(Launch::hostname).transpose()?,
    })
}

/// Reads how a container shall be different.
pub fn change(app: &App, fields: &Fields) -> Result<Change, ApiError> {
    let (own, to_default) = own_policy(app, fields)?;
    let keys = match fields.string("ssh_key")?.as_deref() {
        None => None,
        Some("" | "none") => Some(app.asked.keys(None)),
        Some(keys) => Some(app.asked.keys(Some(&ssh_keys("ssh_key", keys)?))),
    };
    Ok(Change {
        own,
        to_default,
        keep_until: keep_until(fields)?,
        wake: fields.string("wake")?.map(|w| Wake::parse("wake", &w)).transpose()?,
        namespace: fields.string("namespace")?.map(|n| Namespace::parse("namespace", &n)).transpose()?,
        owner: match fields.string("owner")?.as_deref() {
            None => None,
            Some("" | "none") => Some(None),
            Some(name) => Some(Some(UserName::parse("owner", name)?)),
        },
        name: fields.string("name")?.map(|n| SandboxName::parse(n.trim_start_matches('/'))).transpose()?,
        memory: fields.text("memory")?.map(|m| Memory::parse(&m)).transpose()?,
        cpus: fields.text("cpus")?.map(|c| Cpus::parse(&c)).transpose()?,
        labels: if fields.has("labels") { Some(labels(fields.object("labels", Some(label_list))?)?) } else { None },
        ssh_key: keys,
    })
}

/// Reads what shall be written on terminals.
pub fn message(fields: &Fields) -> Result<String, ApiError> {
    let text = fields.text("text")?.ok_or_else(|| ApiError::missing("text", "it is what the terminals show"))?;
    Ok(Asked::message_text(&text)?)
}

/// Reads whether a container shall run.
pub fn power(fields: &Fields) -> Result<Option<Power>, ApiError> {
    match fields.string("status")?.as_deref() {
        None => Ok(None),
        Some("running") => Ok(Some(Power::On)),
        Some("stopped") => Ok(Some(Power::Off)),
        Some(other) => Err(ApiError::invalid("status", other, "it is \"running\" or \"stopped\"")),
    }
}

/// Reads the time zone for users inside, from the field or from the variable `TZ`, which is taken out of `env`.
fn zone(field: Option<String>, env: &mut Pairs) -> Result<Option<Zone>, ApiError> {
    let zone = field.map(|tz| Zone::parse("tz", &tz)).transpose()?;
    let Some(at) = env.iter().position(|(key, _)| key == "TZ") else { return Ok(zone) };
    let (_, value) = env.remove(at);
    // For programs an empty `TZ` is UTC.
    let variable = if value.is_empty() { Zone::default() } else { Zone::parse("env.TZ", &value)? };
    match zone.filter(|zone| *zone != variable) {
        Some(zone) => {
            Err(ApiError::invalid("tz", zone.name(), format!("env says TZ={}; say it once", variable.name())))
        }
        None => Ok(Some(variable)),
    }
}

/// Reads what a caller says about the policy, and which values shall be as configured again.
pub fn own_policy(app: &App, fields: &Fields) -> Result<(OwnPolicy, Vec<&'static str>), ApiError> {
    let (mut texts, mut to_default) = (Vec::new(), Vec::new());
    for key in OwnPolicy::KEYS {
        match fields.text(key)? {
            Some(text) if text == "default" => to_default.push(key),
            text => texts.push((key, text)),
        }
    }
    let text = |key| texts.iter().find(|(k, _)| *k == key).and_then(|(_, text)| text.as_deref());
    Ok((OwnPolicy::parse(OwnPolicy::KEYS, least_idle_limit(app.asked.report_period()), text)?, to_default))
}

/// Reads until when a sandbox shall be kept; `Some(None)`: it shall not be kept any more.
pub fn keep_until(fields: &Fields) -> Result<Option<Option<Timestamp>>, ApiError> {
    let allowed = "it is an instant with its zone, such as 2026-12-24T18:00:00Z, or \"none\"";
    match fields.string("keep_until")?.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(text) => {
            // A form turns the + of a zone into a space.
            let until =
                text.trim().replace(' ', "+").parse().map_err(|_| ApiError::invalid("keep_until", text, allowed))?;
            Ok(Some(Some(until)))
        }
    }
}

/// Reads a length of time. `field` is the caller's name for it.
///
/// # Errors
/// If the text is not a length.
pub fn length(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    let allowed = "it is a length of time, such as 90m, 3h, 2d, or whole seconds";
    parse_span(text.trim()).ok_or_else(|| Invalid::new(field, text, allowed))
}

fn label_list(text: &str) -> Result<Pairs, ApiError> {
    pairs("labels", text)
}

/// Reads `a=1,b=2`: a form has no objects.
pub fn pairs(field: &'static str, text: &str) -> Result<Pairs, ApiError> {
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => {
            let allowed = format!("{field} are written key=value, as in {field}=a=1,b=2");
            Err(ApiError::invalid(field, text, allowed))
        }
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn labels(pairs: Pairs) -> Result<Vec<Label>, ApiError> {
    if pairs.len() > MOST_LABELS {
        let allowed = format!("there are at most {MOST_LABELS}");
        return Err(ApiError::invalid("labels", &format!("{} labels", pairs.len()), allowed));
    }
    let mut labels = pairs.into_iter().map(|(k, v)| Label::parse(&k, &v)).collect::<Result<Vec<_>, _>>()?;
    labels.sort();
    Ok(labels)
}

/// Checks variables that a caller sets.
pub fn env(pairs: Pairs) -> Result<Pairs, ApiError> {
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    if pairs.len() > MOST_VARIABLES || bytes > MOST_OF_VARIABLES {
        let shown = format!("{} variables, {bytes} bytes", pairs.len());
        let allowed = format!(
            "there are at most {MOST_VARIABLES} variables of {MOST_OF_VARIABLES} bytes in all, names and values: \
             with many more nobody can log in by SSH; put the rest into a file"
        );
        return Err(ApiError::invalid("env", &shown, allowed));
    }
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

    #[test]
    fn variables_and_labels_are_checked() {
        let pair = |k: &str, v: &str| vec![(k.to_owned(), v.to_owned())];
        assert!(env(pair("PATH_2", "a=b\nc")).is_ok());
        for bad in ["", "A=B", "1A", "A-B", "SPINDLE_X", "é"] {
            assert!(env(pair(bad, "")).is_err(), "{bad:?} was taken");
        }
        let list = |text| label_list(text).and_then(labels);
        assert!(list("course=db,group=a").unwrap().len() == 2);
        assert_eq!(list("a=b=c,").unwrap()[0].value(), "b=c");
        for bad in ["group", "a=1,group", "=1", "spindle.id=1"] {
            assert!(list(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn so_many_variables_that_nobody_could_log_in_are_refused() {
        let many = |number, each: usize| (0..number).map(|n| (format!("V{n:04}"), "x".repeat(each - 5))).collect();
        assert!(env(many(512, 64)).is_ok());
        for (number, each) in [(513, 10), (2, 16 * 1024 + 1)] {
            let message = env(many(number, each)).unwrap_err().message().to_owned();
            assert!(message.contains(&format!("{number} variables")) && message.contains("at most 512"), "{message}");
        }
    }

    #[test]
    fn contract_24_what_a_field_is_for_is_said_of_each() {
        for key in OwnPolicy::KEYS {
            assert!(CREATE.has(key) && PATCH.has(key), "{key}");
        }
        let at_creation = PATCH.elsewhere[0].0;
        let all = CREATE.names.concat();
        assert!(all.iter().all(|name| PATCH.has(name) == (BULK.has(name) || OF_ONE.contains(name))));
        let only_there = all.iter().filter(|name| !PATCH.has(name));
        assert_eq!(only_there.copied().collect::<Vec<_>>(), at_creation);
    }
}
