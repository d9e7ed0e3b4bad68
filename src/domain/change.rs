//! A change of one sandbox: all that people may change after its creation, at once.

use jiff::Timestamp;

use super::{
    limits::{Cpus, Memory},
    names::{Label, SandboxName},
    people::{Namespace, UserName},
    policy::OwnPolicy,
    sandbox::Sandbox,
    traffic::Wake,
};

/// A change of a sandbox; what is `None` stays.
/// Its fields are those of a request, one for each.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Its own values of the policy; those that are `None` stay.
    pub own: OwnPolicy,
    /// The values of the policy that become as configured again, by their names in [`OwnPolicy::KEYS`].
    pub to_default: Vec<&'static str>,
    /// Until when it is kept; `Some(None)`: no longer.
    pub keep_until: Option<Option<Timestamp>>,
    /// Which connections wake it.
    pub wake: Option<Wake>,
    /// In which namespace it is.
    pub namespace: Option<Namespace>,
    /// Whose it is; `Some(None)`: nobody's.
    pub owner: Option<Option<UserName>>,
    /// What it is called.
    pub name: Option<SandboxName>,
    /// Its memory limit.
    pub memory: Option<Memory>,
    /// Its cpu limit.
    pub cpus: Option<Cpus>,
    /// All its labels.
    pub labels: Option<Vec<Label>>,
    /// The public keys of those who log in, one a line; an empty text: nobody's.
    pub ssh_key: Option<String>,
}

/// Keys are long.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({})", self.words())
    }
}

impl Change {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Change::default()
    }

    /// Whether it says to whom the sandbox belongs.
    pub fn assigns(&self) -> bool {
        self.namespace.is_some() || self.owner.is_some()
    }

    /// Whether the engine has to change something too.
    pub fn is_for_engine(&self) -> bool {
        self.name.is_some() || self.memory.is_some() || self.cpus.is_some() || self.ssh_key.is_some()
    }

    /// The names of what it says about whose the sandbox is.
    pub fn assigned(&self) -> Vec<&'static str> {
        let said = [("namespace", self.namespace.is_some()), ("owner", self.owner.is_some())];
        said.into_iter().filter_map(|(name, is_said)| is_said.then_some(name)).collect()
    }

    /// The names of what is changed, but for [`Change::assigned`].
    pub fn names(&self) -> Vec<&'static str> {
        let own = OwnPolicy::KEYS.into_iter().zip(self.own.words()).filter_map(|(key, value)| value.map(|_| key));
        let rest = [
            ("keep_until", self.keep_until.is_some()),
            ("wake", self.wake.is_some()),
            ("name", self.name.is_some()),
            ("memory", self.memory.is_some()),
            ("cpus", self.cpus.is_some()),
            ("labels", self.labels.is_some()),
            ("ssh_key", self.ssh_key.is_some()),
        ];
        let rest = rest.into_iter().filter_map(|(name, is_said)| is_said.then_some(name));
        own.chain(self.to_default.iter().copied()).chain(rest).collect()
    }

    /// What is changed, in words.
    pub fn words(&self) -> String {
        let own = OwnPolicy::KEYS.into_iter().zip(self.own.words());
        let mut words: Vec<String> = own.filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        words.extend(self.to_default.iter().map(|key| format!("{key}=default")));
        let until = |until: Timestamp| format!("{until:.0}");
        let rest = [
            ("keep_until", self.keep_until.map(|at| at.map_or("none".to_owned(), until))),
            ("wake", self.wake.map(|wake| wake.word().to_owned())),
            ("namespace", self.namespace.as_ref().map(ToString::to_string)),
            ("owner", self.owner.as_ref().map(|owner| owner.as_ref().map_or("none".into(), ToString::to_string))),
            ("name", self.name.as_ref().map(ToString::to_string)),
            ("memory", self.memory.map(|memory| memory.to_string())),
            ("cpus", self.cpus.map(|cpus| cpus.to_string())),
            ("labels", self.labels.as_ref().map(|labels| labels.len().to_string())),
            ("ssh_key", self.ssh_key.as_ref().map(|_| "another".to_owned())),
        ];
        words.extend(rest.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))));
        words.join(", ")
    }

    /// `sandbox` with the change in force.
    pub fn apply(&self, sandbox: &Sandbox) -> Sandbox {
        let mut after = self.apply_to_engine(sandbox);
        let recipe = &mut after.recipe;
        recipe.own = self.to_default.iter().fold(self.own.or(recipe.own), |own, key| own.without(key));
        recipe.wake = self.wake.or(recipe.wake);
        recipe.labels = self.labels.clone().unwrap_or(std::mem::take(&mut recipe.labels));
        after.life.keep_until = self.keep_until.unwrap_or(after.life.keep_until);
        let whose = &mut after.ownership;
        whose.namespace = self.namespace.clone().unwrap_or(std::mem::take(&mut whose.namespace));
        whose.owner = self.owner.clone().unwrap_or(whose.owner.take());
        after
    }

    /// `sandbox` with that part of the change in force which the engine has to make too.
    pub fn apply_to_engine(&self, sandbox: &Sandbox) -> Sandbox {
        let mut after = sandbox.clone();
        after.name = self.name.clone().unwrap_or(after.name);
        after.recipe.memory = self.memory.unwrap_or(after.recipe.memory);
        after.recipe.cpus = self.cpus.unwrap_or(after.recipe.cpus);
        after.recipe.ssh_key = self.ssh_key.clone().or(after.recipe.ssh_key);
        after
    }
}
