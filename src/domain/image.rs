//! Image labels: what they say about the sandboxes made from an image.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Cpus, Invalid, Memory, OwnPolicy, Token, Traffic, Wake, Zone};

/// An image's labels for us, parsed. The configuration decides what they leave open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLabels {
    /// Which exposed port is the app's; a wrong value is ignored.
    pub app_port: Option<String>,
    /// Limits of the policy of stopping.
    pub own: OwnPolicy,
    /// How its ports are carried.
    pub traffic: Traffic,
    /// Which connections wake its sandboxes.
    pub wake: Option<Wake>,
    /// Their memory limit.
    pub memory: Option<Memory>,
    /// Their cpu limit.
    pub cpus: Option<Cpus>,
    /// The time zone of those inside.
    pub zone: Option<Zone>,
    /// How their app is reached.
    pub access: Option<Access>,
    /// Whether no program in them may gain privileges: true unless the image needs `sudo` or something like it.
    pub no_new_privileges: bool,
}

impl ImageLabels {
    /// Reads all labels of an image, other people's included. An empty one counts as absent: in this way an image that
    /// is built on another removes a label.
    ///
    /// # Errors
    /// The label that is not allowed.
    pub fn parse(labels: &BTreeMap<String, String>, least_idle_limit: Duration) -> Result<Self, Invalid> {
        let label = |key: &str| labels.get(&format!("spindle.{key}")).map(String::as_str).filter(|v| !v.is_empty());
        let word = |key| label(key).unwrap_or_default();
        let named = |field| move |invalid: Invalid| Invalid { field, ..invalid };
        let (memory, cpus) = ("the image's label spindle.memory", "the image's label spindle.cpus");
        Ok(Self {
            app_port: label("app_port").map(str::to_owned),
            own: OwnPolicy::of_labels(label, least_idle_limit)?,
            traffic: Traffic::parse(word("wake_on"), word("app_protocol"), word("proxy_protocol"))?,
            wake: label("wake").map(|w| Wake::parse("the image's label spindle.wake", w)).transpose()?,
            memory: label("memory").map(Memory::parse).transpose().map_err(named(memory))?,
            cpus: label("cpus").map(Cpus::parse).transpose().map_err(named(cpus))?,
            zone: label("tz").map(|tz| Zone::parse("the image's label spindle.tz", tz)).transpose()?,
            access: label("access").map(Access::parse).transpose()?,
            no_new_privileges: label("no_new_privileges").map(truth).transpose()?.unwrap_or(true),
        })
    }
}

/// The labels that we know on an image, besides those of [`OwnPolicy::KEYS`].
const KNOWN: [&str; 14] = [
    "title",
    "description",
    "image",
    "app_port",
    "app_protocol",
    "proxy_protocol",
    "wake",
    "wake_on",
    "memory",
    "cpus",
    "access",
    "tz",
    "no_new_privileges",
    "user",
];

/// What is wrong with an image's labels, in sentences: a label that makes us refuse its sandboxes, and labels that we
/// do not know.
pub fn problems(labels: &BTreeMap<String, String>, least_idle_limit: Duration) -> Vec<String> {
    let refused = ImageLabels::parse(labels, least_idle_limit).err().map(|e| e.to_string());
    let ours = labels.keys().filter_map(|key| key.strip_prefix("spindle."));
    // An image that was made from a sandbox has its labels too.
    let is_known = |key: &&str| KNOWN.contains(key) || OwnPolicy::KEYS.contains(key);
    let of_a_sandbox = labels.contains_key("spindle.id");
    let unknown = ours.filter(|key| !of_a_sandbox && !is_known(key));
    refused.into_iter().chain(unknown.map(|key| format!("the image's label spindle.{key} means nothing"))).collect()
}

fn truth(text: &str) -> Result<bool, Invalid> {
    text.parse().map_err(|_| {
        Invalid::new("the image's label spindle.no_new_privileges", text, "it is \"true\" or \"false\" (for sudo)")
    })
}

/// How a sandbox's app is reached: a URL in which `{host}`, `{port}` and `{token}` stand for the sandbox's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(String);

impl Access {
    /// The longest URL that is allowed, with its placeholders as they are written.
    const MAX_LEN: usize = 255;

    /// Parses a URL, or only its path, which then means HTTP.
    ///
    /// # Errors
    /// If it does not lead to `{host}:{port}`, or has characters that do not belong in a URL.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let url = if text.starts_with('/') { format!("http://{{host}}:{{port}}{text}") } else { text.to_owned() };
        let leads_there = url.split_once("://").is_some_and(|(scheme, rest)| {
            // Cut at the characters that end a URL's place, for a browser too, before the login is taken off.
            let place = rest.split(['/', '?']).next().unwrap_or_default();
            let place = place.rsplit('@').next().unwrap_or_default();
            let is_script = ["javascript", "data", "vbscript"].contains(&scheme);
            place == "{host}:{port}"
                && !scheme.is_empty()
                && scheme.bytes().all(|b| b.is_ascii_lowercase())
                && !is_script
        });
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?=&%+:@!$,;*".contains(&b);
        let rest = ["{host}", "{port}", "{token}"].iter().fold(url.clone(), |rest, word| rest.replacen(word, "", 1));
        if !leads_there || text.starts_with("//") || url.len() > Self::MAX_LEN || !rest.bytes().all(plain) {
            let allowed = "it is a path, such as /lab?token={token}, or a URL, such as \
                           postgresql://student:{token}@{host}:{port}/student, of at most 230 characters";
            return Err(Invalid::new("the image's label spindle.access", text, allowed));
        }
        Ok(Self(url))
    }

    /// The URL of a sandbox's app, reached at `host` (a name or an address as it stands in URLs).
    pub fn url(&self, host: &str, port: u16, token: &Token) -> String {
        self.0.replace("{host}", host).replace("{port}", &port.to_string()).replace("{token}", token.reveal())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &[(&str, &str)]) -> Result<ImageLabels, Invalid> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        ImageLabels::parse(&labels, Duration::ZERO)
    }

    #[test]
    fn labels_say_what_the_creator_does_not() {
        let none = parse(&[("memory", "1g"), ("maintainer", "me"), ("spindle.memory", "")]).unwrap();
        assert_eq!((none.memory, none.access, none.no_new_privileges), (None, None, true));
        let some = parse(&[("spindle.memory", "2g"), ("spindle.cpus", "0.5"), ("spindle.no_new_privileges", "false")]);
        let some = some.unwrap();
        assert_eq!((some.memory, some.cpus), (Some(Memory::parse("2g").unwrap()), Some(Cpus::parse("0.5").unwrap())));
        assert!(!some.no_new_privileges);
        for (key, value) in [
            ("spindle.memory", "lots"),
            ("spindle.cpus", "0"),
            ("spindle.no_new_privileges", "no"),
            ("spindle.access", "lab"),
            ("spindle.idle_timeout", "0"),
            ("spindle.wake", "x"),
            ("spindle.tz", "Europe/Berln"),
        ] {
            let message = parse(&[(key, value)]).unwrap_err().to_string();
            assert!(message.contains(&format!("the image's label {key}: {value:?}")), "{message}");
        }
    }

    #[test]
    fn a_label_that_means_nothing_is_told() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let wrong = labels(&[("spindle.idle_timout", "5m"), ("spindle.memory", "0"), ("title", "x")]);
        let told = problems(&wrong, Duration::ZERO);
        assert!(told[0].starts_with("the image's label spindle.memory: \"0\" is not allowed"), "{told:?}");
        assert_eq!(told[1..], ["the image's label spindle.idle_timout means nothing"]);
        let right = labels(&[("spindle.idle_timeout", "5m"), ("spindle.title", "x")]);
        assert!(problems(&right, Duration::ZERO).is_empty());
        let committed = labels(&[("spindle.id", "x"), ("spindle.ports", "")]);
        assert!(problems(&committed, Duration::ZERO).is_empty());
    }

    #[test]
    fn a_url_has_the_token_where_the_image_wants_it() {
        let token = Token::from_bytes([0xab; 16]);
        let url = |text, host| Access::parse(text).unwrap().url(host, 20_001, &token);
        assert_eq!(url("/lab?token={token}", "[::1]"), format!("http://[::1]:20001/lab?token={}", "ab".repeat(16)));
        let postgres = url("postgresql://student:{token}@{host}:{port}/student", "lab.example");
        assert_eq!(postgres, format!("postgresql://student:{}@lab.example:20001/student", "ab".repeat(16)));
        assert!(Access::parse("/").is_ok());
        for bad in [
            "",
            "lab",
            "//evil.example",
            "/a b",
            "/<script>",
            "/{name}",
            "/{token}{token}",
            "/\n",
            "http://evil.example/{host}:{port}",
            "http://{host}:{port}.evil.example/",
            "http://evil.example?@{host}:{port}/{token}",
            "javascript:alert(1)//{host}:{port}",
            "javascript://{host}:{port}/%0aalert",
            &format!("/{}", "x".repeat(250)),
            "http://{host}/",
        ] {
            assert!(Access::parse(bad).is_err(), "{bad:?} was taken");
        }
        let shown = Access::parse(&format!("/{}", "x".repeat(229))).unwrap().to_string();
        assert_eq!(Access::parse(&shown).unwrap().to_string(), shown, "it is read from a row as it was written");
    }
}
