//! Whose a file is that is put into a sandbox: the learner's, as the sandbox itself knows its users.

use futures_util::StreamExt;

use crate::{
    app::{Error, Result},
    domain::{ContainerId, Invalid},
    engine::{
        Engine,
        archive::{Kind, Reader},
    },
};

/// The learner's name in all images of ours.
const LEARNER: &str = "student";

/// Where a system has its users.
const USERS: &str = "/etc/passwd";

/// How much of that is read.
const MOST: usize = 1 << 20;

/// The numbers of user and group of `wanted`, a name or numbers; without one the learner's, or root's where there is no
/// such user.
///
/// # Errors
/// [`Error::Invalid`] if the sandbox knows no such user.
pub async fn owner(engine: &dyn Engine, container: &ContainerId, wanted: Option<&str>) -> Result<(u64, u64)> {
    if let Some(numbers) = wanted.and_then(numbers) {
        return Ok(numbers);
    }
    let users = users(engine, container).await?;
    let found = named(&users, wanted.unwrap_or(LEARNER));
    match wanted {
        None => Ok(found.unwrap_or_default()),
        Some(name) => found.ok_or_else(|| {
            let allowed = "it is a user that the container knows, or numbers, such as 1000 or 1000:1000";
            Invalid::new("owner", name, allowed).into()
        }),
    }
}

/// `1000` or `1000:1001`.
fn numbers(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    match text.split_once(':') {
        Some((user, group)) => Some((number(user)?, number(group)?)),
        None => number(text).map(|user| (user, user)),
    }
}

fn named(users: &str, name: &str) -> Option<(u64, u64)> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let user = fields.nth(1)?.parse::<u32>().ok()?;
        let group = fields.next()?.parse::<u32>().ok()?;
        is_it.then_some((user.into(), group.into()))
    };
    users.lines().find_map(line)
}

/// The table of users. One that is a link, or no file, is none: whoever is inside may have made it so.
async fn users(engine: &dyn Engine, container: &ContainerId) -> Result<String> {
    use crate::engine::EngineError;
    let taken = match engine.take(container, USERS).await {
        Err(EngineError::NoPath) => return Ok(String::new()),
        taken => taken.map_err(|e| Error::engine("the container's users cannot be looked up", e))?,
    };
    let mut reader = Reader::new(taken.map(|piece| piece.map_err(std::io::Error::other)).boxed());
    let mut text = Vec::new();
    if let Ok(Some(entry)) = reader.entry().await
        && entry.kind == Kind::File
    {
        while text.len() < MOST
            && let Ok(Some(piece)) = reader.piece().await
        {
            text.extend_from_slice(&piece);
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_numbers() {
        assert_eq!(numbers("1000"), Some((1000, 1000)));
        assert_eq!(numbers("0:5"), Some((0, 5)));
        for text in ["student", "", ":", "1000:", "-1", "4294967296"] {
            assert_eq!(numbers(text), None, "{text:?}");
        }
        let users = "root:x:0:0::/root:/bin/sh\nrubbish\nstudent:x:1000:1001:,,,:/home/student:/bin/bash\n";
        assert_eq!(named(users, "student"), Some((1000, 1001)));
        assert_eq!(named(users, "stud"), None);
        assert_eq!(named(users, "rubbish"), None);
    }
}
