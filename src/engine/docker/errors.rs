//! Translates Docker's errors into ours. Docker tells some things only in its sentences.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bollard::errors::Error;

use crate::engine::{Call, EngineError, Result};

/// Phrases by which Docker 20.10 to 29 say that a host port is not free.
const PORT_HELD: [&str; 3] = ["port is already allocated", "address already in use", "failed to bind host port"];

/// The phrase by which Docker says that a name is taken. The container's id follows in quotes.
const BY_CONTAINER: &str = "is already in use by container";

/// The phrase by which Docker says that somebody else is already removing a container.
const REMOVING: &str = "is already in progress";

/// Translates an error of a call; a 404 becomes `missing`. The words of a 404 differ from version to version, so they
/// do not decide. Where several things may be missing, the caller looks which one is, or says `None`: then the 404
/// stays a refusal in Docker's words.
pub fn translate(error: Error, missing: impl Into<Option<EngineError>>) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => match (status_code, missing.into()) {
            (404, Some(missing)) => missing,
            (400, _) if message.contains("invalid reference format") => EngineError::NoImage,
            (409, _) if message.contains(REMOVING) => EngineError::Removing,
            (409, _) if message.contains(BY_CONTAINER) => EngineError::NameTaken(holder(&message)),
            (409, _) if ["is using", "being used"].iter().any(|p| message.contains(p)) => {
                EngineError::ImageInUse(plain(&message))
            }
            // A change is refused with another status, and from 28 on in other letters.
            _ if message.to_lowercase().contains("range of cpus") => EngineError::TooManyCpus(plain(&message)),
            _ if PORT_HELD.iter().any(|p| message.contains(p)) => EngineError::PortHeld(plain(&message)),
            _ => EngineError::Refused(plain(&message)),
        },
        Error::DockerStreamError { error } => EngineError::Refused(plain(&error)),
        Error::RequestTimeoutError => EngineError::Unavailable("a request timed out".to_owned()),
        Error::JsonDataError { message, .. } => EngineError::Refused(format!("its answer does not read: {message}")),
        other => EngineError::Unavailable(root_cause(&other)),
    }
}

/// The engine's words on one line. Some are others', such as a registry's, and must not steer a terminal or forge a line
/// of the log.
fn plain(words: &str) -> String {
    words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn holder(message: &str) -> String {
    message.split(BY_CONTAINER).nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or_default().to_owned()
}

/// The first cause of an error. The HTTP client's layers above it tell a reader nothing.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Puts a deadline on a call.
pub async fn within<T>(
    deadline: Duration,
    call: &'static str,
    future: impl Future<Output = std::result::Result<T, Error>>,
    missing: impl Into<Option<EngineError>>,
) -> Result<T> {
    let done = match tokio::time::timeout(deadline, future).await {
        Ok(result) => result.map_err(|e| translate(e, missing)),
        Err(_) => Err(EngineError::Timeout { call, deadline }),
    };
    let outcome = match &done {
        Ok(_) => "ok",
        Err(EngineError::Timeout { .. }) => "timeout",
        Err(EngineError::Unavailable(_)) => "unavailable",
        Err(_) => "refused",
    };
    *counted().entry((call, outcome)).or_default() += 1;
    done
}

/// The calls of this process. It has one engine.
fn counted() -> MutexGuard<'static, BTreeMap<(&'static str, &'static str), u64>> {
    static CALLS: Mutex<BTreeMap<(&str, &str), u64>> = Mutex::new(BTreeMap::new());
    CALLS.lock().expect("no holder panics")
}

/// What the engine was asked, by call and outcome.
pub fn calls() -> Vec<Call> {
    counted().iter().map(|((call, outcome), count)| Call { call, outcome, count: *count }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_stay_on_their_line() {
        let error = Error::DockerStreamError { error: "oops\n2026 INFO signed in by=admin\u{1b}[31m\n".into() };
        let said = translate(error, None).to_string();
        assert_eq!(said, "oops 2026 INFO signed in by=admin [31m");
    }

    #[test]
    fn dockers_sentences_are_understood() {
        let of = |status_code, message: &str| {
            translate(
                Error::DockerResponseServerError { status_code, message: message.into() },
                EngineError::NoContainer,
            )
        };
        let held = "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:20000 failed: port is already allocated";
        assert_eq!(of(500, held), EngineError::PortHeld(held.into()));
        let held = "listen tcp4 127.0.0.1:20000: bind: address already in use";
        assert_eq!(of(500, held), EngineError::PortHeld(held.into()));
        assert_eq!(of(404, "No such container: x"), EngineError::NoContainer);
        let taken = "Conflict. The container name \"/a\" is already in use by container \"b\".";
        assert_eq!(of(409, taken), EngineError::NameTaken("b".into()));
        let removing = "removal of container 1 is already in progress";
        assert_eq!(of(409, removing), EngineError::Removing);
        let used = "conflict: unable to remove repository reference \"a:b\" (must force) - container 1 is using its referenced image 2";
        assert_eq!(of(409, used), EngineError::ImageInUse(used.into()));
        assert_eq!(of(500, "boom\n"), EngineError::Refused("boom".into()));
    }

    /// What versions of Docker say when a container starts whose network was removed.
    const NETWORK_GONE: [&str; 3] = [
        "network 5e1f not found",                                        // 20.10, 26
        "failed to set up container networking: network 5e1f not found", // 28, 29
        "failed to set up container networking: a sentence of years to come",
    ];

    #[test]
    fn the_words_of_a_404_do_not_decide_what_is_missing() {
        for said in NETWORK_GONE {
            let error = || Error::DockerResponseServerError { status_code: 404, message: said.into() };
            assert_eq!(translate(error(), EngineError::NoContainer), EngineError::NoContainer);
            assert_eq!(translate(error(), EngineError::NoNetwork), EngineError::NoNetwork);
            assert_eq!(translate(error(), None), EngineError::Refused(said.into()));
        }
    }
}
