//! `/v1/containers/{id}/exec`: a program is run in a container, and its caller waits.

use std::sync::Arc;

use rocket::{
    Request, Route, State, post,
    request::{FromRequest, Outcome},
    serde::json::Json,
};

use super::{
    auth::Caller,
    error::ApiError,
    fields::{Body, Fields, Taken},
    gate, strict,
    wishes::{self, length},
};
use crate::{
    api,
    app::{App, Error, ExecWish, Executed, LONGEST, Written},
    domain::Program,
};

const EXEC: Taken = Taken {
    names: &[&["command", "user", "workdir", "env", "stdin", "timeout"]],
    elsewhere: &[(&["tty", "cols", "rows"], "GET /v1/containers/{id}/terminal has a terminal")],
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::with_body(rocket::routes![exec])
}

/// Knows when the client leaves.
pub struct Client(Option<gate::Gone>);

impl Client {
    /// Returns when the client has left.
    pub async fn gone(self) {
        if let Some(gone) = self.0 {
            gone.told().await;
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Client {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        Outcome::Success(Self(gate::gone(request)))
    }
}

#[post("/v1/containers/<id>/exec", data = "<body>")]
async fn exec(
    caller: Caller,
    client: Client,
    app: &State<Arc<App>>,
    id: &str,
    body: Result<Body, ApiError>,
) -> Result<Json<api::Executed>, ApiError> {
    let wish = wish(&body?.only(&EXEC)?)?;
    Ok(Json(shown(app.asked.exec(&caller.0, id, wish, client.gone()).await?)))
}

fn wish(fields: &Fields) -> Result<ExecWish, ApiError> {
    let allowed = "it is a list of words in JSON, or a line for the shell: -d command='ls -l'";
    let command = fields.command("command", Program::shell)?.ok_or_else(|| ApiError::missing("command", allowed))?;
    let timeout = match fields.text("timeout")? {
        None => None,
        Some(text) => match length("timeout", &text)? {
            length if length <= LONGEST && !length.is_zero() => Some(length),
            _ => return Err(ApiError::invalid("timeout", &text, "it is longer than nothing, and at most 1h")),
        },
    };
    let program = Program {
        command,
        user: fields.text("user")?.filter(|user| !user.is_empty()),
        workdir: fields.string("workdir")?.filter(|place| !place.is_empty()),
        env: wishes::env(fields.object("env", None)?)?,
        ..Program::default()
    };
    let stdin = fields.text("stdin")?.unwrap_or_default().into_bytes();
    Ok(ExecWish { program: program.check().map_err(Error::from)?, stdin, timeout })
}

/// Text, and whether some of its bytes are none. A character that was cut in two at the end is left out.
fn text(written: &Written) -> (String, bool) {
    let is_cut = written.total > written.bytes.len() as u64;
    let bytes = match std::str::from_utf8(&written.bytes) {
        Err(e) if is_cut && e.error_len().is_none() => &written.bytes[..e.valid_up_to()],
        _ => &written.bytes[..],
    };
    match String::from_utf8_lossy(bytes) {
        std::borrow::Cow::Borrowed(text) => (text.to_owned(), false),
        std::borrow::Cow::Owned(text) => (text, true),
    }
}

fn shown(executed: Executed) -> api::Executed {
    let Executed { code, stdout, stderr, timed_out } = executed;
    let ((out, out_lossy), (err, err_lossy)) = (text(&stdout), text(&stderr));
    let is_cut = |written: &Written| written.total > written.bytes.len() as u64;
    api::Executed {
        exit_code: code,
        stdout: out,
        stderr: err,
        stdout_bytes: stdout.total,
        stderr_bytes: stderr.total,
        truncated: is_cut(&stdout) || is_cut(&stderr),
        lossy: out_lossy || err_lossy,
        timed_out: timed_out.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_was_cut_is_left_out_and_rubbish_is_told() {
        let of = |bytes: &[u8], total| text(&Written { bytes: bytes.to_vec(), total });
        assert_eq!(of("aä".as_bytes(), 3), ("aä".into(), false));
        assert_eq!(of(&"aä".as_bytes()[..2], 3), ("a".into(), false));
        assert_eq!(of(&"aä".as_bytes()[..2], 2), ("a\u{fffd}".into(), true), "nothing was cut");
        assert_eq!(of(b"a\xffb", 3), ("a\u{fffd}b".into(), true));
    }
}
