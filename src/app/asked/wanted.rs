//! Wanted: what a caller wants to be created, one or several.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::{
    Cpus, ImageRef, Invalid, Label, Launch, Memory, Namespace, OwnPolicy, SandboxName, UserName, Wake, Zone,
};

/// The most sandboxes that one request makes.
pub const MOST: usize = 1_000;

/// What a caller wants. Its fields are those of the request, one for each.
#[derive(Debug, Clone)]
pub struct CreateSpec {
    /// The image; it must be on the server.
    pub image: ImageRef,
    /// In which namespace it shall be.
    pub namespace: Option<Namespace>,
    /// The learner whose own it shall be.
    pub owner: Option<UserName>,
    /// A name of the caller's choice.
    pub name: Option<SandboxName>,
    /// The public keys of those who may log in, one per line.
    pub ssh_keys: Option<String>,
    /// The time zone of those inside.
    pub zone: Option<Zone>,
    /// With what its program is started; its variables are without `TZ`.
    pub launch: Launch,
    /// Its own policy of stopping; the image's labels fill the gaps.
    pub own: OwnPolicy,
    /// Until when it is kept.
    pub keep_until: Option<Timestamp>,
    /// A memory limit of its own.
    pub memory: Option<Memory>,
    /// A cpu limit of its own.
    pub cpus: Option<Cpus>,
    /// The caller's labels.
    pub labels: Vec<Label>,
    /// Which connections wake it.
    pub wake: Option<Wake>,
    /// Whether it is started at once; else it is stopped, as if somebody had asked for that.
    pub starts: bool,
}

impl CreateSpec {
    /// Nothing but the image.
    pub fn of(image: ImageRef) -> Self {
        Self {
            image,
            namespace: None,
            owner: None,
            name: None,
            ssh_keys: None,
            zone: None,
            launch: Launch::default(),
            own: OwnPolicy::default(),
            keep_until: None,
            memory: None,
            cpus: None,
            labels: Vec::new(),
            wake: None,
            starts: true,
        }
    }

    /// The names of what the caller says.
    pub fn names(&self) -> Vec<&'static str> {
        let said = [
            ("image", true),
            ("name", self.name.is_some()),
            ("ssh_key", self.ssh_keys.is_some()),
            ("tz", self.zone.is_some()),
            ("env", !self.launch.env.is_empty()),
            ("keep_until", self.keep_until.is_some()),
            ("memory", self.memory.is_some()),
            ("cpus", self.cpus.is_some()),
            ("labels", !self.labels.is_empty()),
            ("wake", self.wake.is_some()),
            ("command", self.launch.command.is_some()),
            ("entrypoint", self.launch.entrypoint.is_some()),
            ("workdir", self.launch.workdir.is_some()),
            ("user", self.launch.user.is_some()),
            ("hostname", self.launch.hostname.is_some()),
            ("start", !self.starts),
        ];
        let own = OwnPolicy::KEYS.into_iter().zip(self.own.words().map(|value| value.is_some()));
        said.into_iter().chain(own).filter_map(|(name, is_said)| is_said.then_some(name)).collect()
    }
}

impl CreateSpec {
    /// As many of it as `names`, or `count` of them: with a name, they are called `name-1`, `name-2` and so on.
    ///
    /// # Errors
    /// If a name is not allowed, or there twice, or there are too many.
    pub fn several(self, names: Vec<String>, count: Option<usize>) -> Result<Vec<Self>, Invalid> {
        let names = match (&self.name, count) {
            (Some(name), Some(count)) => (1..=count).map(|n| format!("{name}-{n}")).collect(),
            (None, Some(count)) => return Ok(vec![self; count]),
            (_, None) => names,
        };
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Invalid::new("names", twice, "each name is there once"));
        }
        if names.is_empty() || names.len() > MOST {
            let allowed = format!("there are 1 to {MOST}");
            return Err(Invalid::new("names", &format!("{} names", names.len()), allowed));
        }
        let called = |name: &String| {
            let name = SandboxName::parse(name).map_err(|e| Invalid { field: "names", ..e })?;
            Ok(Self { name: Some(name), ..self.clone() })
        };
        names.iter().map(called).collect()
    }
}
