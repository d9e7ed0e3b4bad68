//! Names and references, parsed once where they come in. Every value of these types is valid.

use std::fmt;

use deunicode::deunicode;

/// A value from a caller that is not allowed: the field, the value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value:?} is not allowed; {allowed}")]
pub struct Invalid {
    /// The field as the caller spells it.
    pub field: &'static str,
    /// The offending value, shortened to 80 characters.
    pub value: String,
    /// What is allowed, as the end of a sentence.
    pub allowed: String,
}

impl Invalid {
    /// Builds the error, shortening a value that is too long to show.
    pub fn new(field: &'static str, value: &str, allowed: impl Into<String>) -> Self {
        Self { field, value: shortened(value), allowed: allowed.into() }
    }
}

/// A caller's text as a message shows it: 80 characters at most.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn is_lower_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Spindle's own id of a sandbox: 32 lower-case hex digits, known before the engine makes anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(String);
text_type!(SandboxId);

impl SandboxId {
    /// An id from 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }

    /// Parses what [`SandboxId::as_str`] gave; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && is_lower_hex(text)).then(|| Self(text.to_owned()))
    }
}

/// The engine's id of a container: 64 lower-case hex digits (`CONTRACT.md` 8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);
text_type!(ContainerId);

impl ContainerId {
    /// Parses a full container id; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 64 && is_lower_hex(text)).then(|| Self(text.to_owned()))
    }
}

/// The secret that identifies a sandbox at a check-in: 32 lower-case hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token from 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }

    /// Parses what [`Token::reveal`] gave; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && is_lower_hex(text)).then(|| Self(text.to_owned()))
    }

    /// The secret itself; never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// An image reference exactly as the caller sent it (`CONTRACT.md` 8: no tag is added).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(String);
text_type!(ImageRef);

impl ImageRef {
    /// The longest reference that is allowed: a registry's limit of 255, a tag of 128, and room for a digest.
    pub const MAX_LEN: usize = 512;

    /// Parses a reference. The engine knows whether such an image exists; this only refuses what cannot be an image's
    /// name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b);
        // Each part between slashes begins with a letter or digit, so ".." cannot climb out of the engine's path.
        let parts = text.split('/').all(|part| part.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric));
        if text.len() > Self::MAX_LEN || !parts || !text.bytes().all(plain) {
            let allowed = format!(
                "an image reference has 1 to {} letters, digits and . _ - / : @ +, each part beginning with a letter or digit",
                Self::MAX_LEN
            );
            return Err(Invalid::new("image", text, allowed));
        }
        Ok(Self(text.to_owned()))
    }

    /// The same reference with its tag; `latest` if it has neither tag nor digest.
    pub fn tagged(&self) -> String {
        let name = self.0.rsplit('/').next().unwrap_or_default();
        if name.contains([':', '@']) { self.0.clone() } else { format!("{}:latest", self.0) }
    }
}

/// A sandbox's name, unique among Spindle's sandboxes and the engine's containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SandboxName(String);
text_type!(SandboxName);

impl SandboxName {
    /// Parses a name that a person chose. A name that reads like an id is refused, because `{id}` in a
    /// path may be either (`CONTRACT.md` 13).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let tail = bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let like_id = text.len() >= 12 && is_lower_hex(text);
        if !head || !tail || !(2..=63).contains(&text.len()) || like_id {
            let allowed = "a name has 2 to 63 letters (a to z, A to Z), digits and _ . -, begins with a letter or digit, \
                           and does not read like an id (12 or more hex digits)";
            let clean = Self::cleaned(text).map(|clean| format!("; {clean:?} would do")).unwrap_or_default();
            return Err(Invalid::new("name", text, format!("{allowed}{clean}")));
        }
        Ok(Self(text.to_owned()))
    }

    /// An allowed name like `text`: letters in their plain form, and a dash for everything else.
    fn cleaned(text: &str) -> Option<String> {
        // A few times the longest name is enough.
        let plain = deunicode(&text.chars().take(256).collect::<String>());
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        let words: Vec<&str> = plain.split(|c| !allowed(c)).filter(|word| !word.is_empty()).collect();
        let mut clean = words.join("-").trim_start_matches(['_', '.']).to_owned();
        clean.truncate(63);
        clean.truncate(clean.trim_end_matches('-').len());
        (clean != text && Self::parse(&clean).is_ok()).then_some(clean)
    }

    /// The name of a sandbox for which nobody chose one.
    pub fn generated(id: &SandboxId) -> Self {
        Self(format!("sandbox-{}", &id.as_str()[..12]))
    }
}

/// What a caller may put for `{id}` in a path (`CONTRACT.md` 13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxRef {
    /// The full container id, or a prefix of 12 or more hex digits of one.
    Prefix(String),
    /// A name, without the slash that the API shows before it.
    Name(String),
}

impl SandboxRef {
    /// Every text is one or the other; the store knows whether anything has it.
    pub fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        if (12..=64).contains(&lower.len()) && is_lower_hex(&lower) {
            Self::Prefix(lower)
        } else {
            // The API shows names with a slash before them.
            Self::Name(text.strip_prefix('/').unwrap_or(text).to_owned())
        }
    }
}

/// A caller's own label on a sandbox: kept and shown, never interpreted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    key: String,
    value: String,
}

impl Label {
    /// Parses a key and a value. Keys beginning with `spindle.` are ours and refused.
    pub fn parse(key: &str, value: &str) -> Result<Self, Invalid> {
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b));
        if key.is_empty() || key.len() > 63 || !plain || key.starts_with("spindle.") {
            let allowed = "a label's key has 1 to 63 letters, digits and _ . - /, and does not begin with spindle.";
            return Err(Invalid::new("labels", key, allowed));
        }
        if value.len() > 255 || value.chars().any(char::is_control) {
            return Err(Invalid::new(
                "labels",
                value,
                "a label's value has at most 255 bytes and no control characters",
            ));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_read_like_ids_are_refused() {
        assert!(SandboxName::parse("abcdef012345").is_err());
        assert!(SandboxName::parse("abcdef01234").is_ok());
        assert!(SandboxName::parse("alice.db-1_x").is_ok());
        for bad in ["", "a", "-a", "a/b", "a b", "é", &"x".repeat(64)] {
            assert!(SandboxName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_is_no_name_comes_back_as_one() {
        for (text, clean) in [
            ("Jörg Müller", "Jorg-Muller"),
            ("  anna  ", "anna"),
            ("-a.b_c-", "a.b_c"),
            ("Straße 7", "Strasse-7"),
            ("Łukasz Żółć!", "Lukasz-Zolc"),
            ("Зоя", "Zoia"),
            ("北京", "Bei-Jing"),
            ("a\nb", "a-b"),
        ] {
            let message = SandboxName::parse(text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("; {clean:?} would do")), "{message}");
        }
        let long = SandboxName::parse(&"ab ".repeat(100)).unwrap_err().to_string();
        assert!(long.ends_with(&format!("{}\" would do", "ab-".repeat(21).trim_end_matches('-'))), "{long}");
        for text in ["", "a", "!", "é", "0123456789abcdef", "0123456789 abcdef01234567"] {
            let message = SandboxName::parse(text).unwrap_err().to_string();
            assert!(text.contains(' ') || !message.contains("would do"), "{message}");
        }
    }

    #[test]
    fn generated_names_are_no_ids() {
        let name = SandboxName::generated(&SandboxId::from_bytes([0xab; 16]));
        assert!(SandboxName::parse(name.as_str()).is_ok());
    }

    #[test]
    fn references_are_prefixes_only_from_twelve_hex_digits() {
        assert_eq!(SandboxRef::parse("abcdef01234"), SandboxRef::Name("abcdef01234".into()));
        assert_eq!(SandboxRef::parse("ABCDEF012345"), SandboxRef::Prefix("abcdef012345".into()));
        assert_eq!(SandboxRef::parse("../etc"), SandboxRef::Name("../etc".into()));
    }

    #[test]
    fn image_references_cannot_climb() {
        for good in ["spindle/base", "spindle/base:latest", "host:5000/a/b@sha256:00", "sha256:ab", "UPPER"] {
            assert!(ImageRef::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", "../containers", "a/../b", "/a", "a//b", "a b", "a?b", "a%2e", "é", "a\n"] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        let tagged = |text| ImageRef::parse(text).unwrap().tagged();
        assert_eq!(tagged("host:5000/a/b"), "host:5000/a/b:latest");
        assert_eq!((tagged("a:1"), tagged("a@sha256:00")), ("a:1".into(), "a@sha256:00".into()));
    }

    #[test]
    fn an_invalid_value_is_shortened_in_its_message() {
        let message = ImageRef::parse(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(message.starts_with("image: ") && message.len() < 300, "{message}");
    }
}
