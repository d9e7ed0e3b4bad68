//! The launch: with what a sandbox's program is started. It never changes; a reset needs it again.

use std::fmt;

use super::names::Invalid;

/// The most words of a command, and the most bytes of all of them.
const MOST_WORDS: usize = 128;
const MOST_BYTES: usize = 16 << 10;

/// With what a sandbox's program is started; what is `None` is as the image says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// The creator's environment variables, ordered by name.
    pub env: Vec<(String, String)>,
    /// The words of the command.
    pub command: Option<Vec<String>>,
    /// The words of the entrypoint, to which the command is handed.
    pub entrypoint: Option<Vec<String>>,
    /// The directory in which it is started.
    pub workdir: Option<String>,
    /// The user, and perhaps the group, as which it is started.
    pub user: Option<String>,
    /// What the sandbox calls itself.
    pub hostname: Option<String>,
}

/// Variables and commands may hold secrets.
impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Launch(..)")
    }
}

impl Launch {
    /// Checks the words of a command or an entrypoint.
    ///
    /// # Errors
    /// If there are none, too many, or such as no program can be given.
    pub fn words(field: &'static str, words: Vec<String>) -> Result<Vec<String>, Invalid> {
        let bytes: usize = words.iter().map(String::len).sum();
        let is_program = words.first().is_some_and(|program| !program.trim().is_empty());
        if is_program && words.len() <= MOST_WORDS && bytes <= MOST_BYTES && !words.iter().any(|w| w.contains('\0')) {
            return Ok(words);
        }
        let allowed = format!(
            "it is a list of words, the first one a program: at most {MOST_WORDS}, of {MOST_BYTES} bytes in all, \
             without NUL"
        );
        Err(Invalid::new(field, &words.join(" "), allowed))
    }

    /// Checks a directory.
    ///
    /// # Errors
    /// If it is no absolute path.
    pub fn workdir(path: String) -> Result<String, Invalid> {
        if path.starts_with('/') && path.len() <= 1_024 && !path.chars().any(char::is_control) {
            return Ok(path);
        }
        Err(Invalid::new("workdir", &path, "it is an absolute path inside, such as /home/student"))
    }

    /// Checks a user, and perhaps a group.
    ///
    /// # Errors
    /// If it is neither names nor numbers.
    pub fn user(text: String) -> Result<String, Invalid> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let is_name =
            |name: &str| !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.bytes().all(plain);
        let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
        if is_name(user) && group.is_none_or(is_name) {
            return Ok(text);
        }
        Err(Invalid::new("user", &text, "it is a user's name or number, perhaps with a group: student, 1000:1000"))
    }

    /// Checks a host name.
    ///
    /// # Errors
    /// If it is none.
    pub fn hostname(text: String) -> Result<String, Invalid> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_label = !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(plain);
        if (1..=63).contains(&text.len()) && is_label {
            return Ok(text);
        }
        let allowed = "it has 1 to 63 letters, digits and -, and neither begins nor ends with -";
        Err(Invalid::new("hostname", &text, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_program_can_be_started_with_is_refused() {
        let words = |text: &str| Launch::words("command", text.split(' ').map(str::to_owned).collect());
        assert_eq!(words("sleep 60").unwrap(), ["sleep", "60"]);
        assert!(Launch::words("command", vec!["sh".into(), String::new()]).is_ok(), "an empty argument is one");
        for bad in [vec![], vec![String::new()], vec!["a\0".into()], vec!["x".into(); 129], vec!["x".repeat(20_000)]] {
            assert!(Launch::words("command", bad).is_err());
        }
        assert!(Launch::workdir("/home/student".into()).is_ok());
        for bad in ["", "home", "./x", "/a\nb"] {
            assert!(Launch::workdir(bad.into()).is_err(), "{bad:?}");
        }
        for good in ["student", "1000", "1000:1000", "www-data:adm"] {
            assert!(Launch::user(good.into()).is_ok(), "{good}");
        }
        for bad in ["", ":", "a:", "-a", "a b", "a:b:c"] {
            assert!(Launch::user(bad.into()).is_err(), "{bad:?}");
        }
        assert!(Launch::hostname("lab-7".into()).is_ok());
        for bad in ["", "-a", "a-", "a.b", "a_b", &"x".repeat(64)] {
            assert!(Launch::hostname(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let launch = Launch { env: vec![("PASSWORD".into(), "hunter2".into())], ..Launch::default() };
        assert_eq!(format!("{launch:?}"), "Launch(..)");
    }
}
