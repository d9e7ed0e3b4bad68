//! The amendment: the values of a sandbox that may change after its creation, as a text. The labels of a container never
//! change. So an engine keeps this text beside the container, and rebuilds a lost sandbox from both.

use std::{collections::BTreeMap, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::domain::{Cpus, Label, Memory, Namespace, OwnPolicy, Sandbox, SandboxName, UserName, Wake};

/// The text of a sandbox's values. Equal values give equal texts.
pub fn of(sandbox: &Sandbox) -> String {
    let recipe = &sandbox.recipe;
    let labels: BTreeMap<_, _> = recipe.labels.iter().map(|l| (l.key(), l.value())).collect();
    let policy = OwnPolicy::KEYS.into_iter().zip(recipe.own.words());
    let policy: BTreeMap<_, _> = policy.filter_map(|(key, word)| Some((key, word?))).collect();
    json!({
        "name": sandbox.name.as_str(),
        "namespace": sandbox.ownership.namespace.as_str(),
        "owner": sandbox.ownership.owner.as_ref().map(UserName::as_str),
        "labels": labels,
        "memory": recipe.memory.bytes(),
        "nano_cpus": recipe.cpus.nano(),
        "policy": policy,
        "wake": recipe.wake.map(Wake::word),
        "keep_until": sandbox.life.keep_until,
        "ssh_key": recipe.ssh_key,
    })
    .to_string()
}

/// Puts the values of a text over those of a sandbox that was rebuilt from labels. A value that is absent or does not
/// read stays; the log tells of the latter. Unknown values are for another version, and are ignored.
pub fn put_over(sandbox: &mut Sandbox, text: &str) {
    let mut values = Values::of(text);
    let (life, recipe, whose) = (&mut sandbox.life, &mut sandbox.recipe, &mut sandbox.ownership);
    values.put("name", &mut sandbox.name, |name: String| SandboxName::parse(&name).ok());
    let namespace = |name: String| Namespace::parse("namespace", &name).ok();
    values.put("namespace", &mut whose.namespace, namespace);
    let owner = |name: &str| UserName::parse("owner", name).ok();
    values.put("owner", &mut whose.owner, |name: Option<String>| unless_unset(name, owner));
    values.put("labels", &mut recipe.labels, labels);
    values.put("memory", &mut recipe.memory, Memory::in_force);
    values.put("nano_cpus", &mut recipe.cpus, Cpus::in_force);
    values.put("policy", &mut recipe.own, |words| policy(&words));
    values.put("wake", &mut recipe.wake, |wake: Option<String>| unless_unset(wake, Wake::from_word));
    values.put("keep_until", &mut life.keep_until, Some);
    values.put("ssh_key", &mut recipe.ssh_key, Some);
    if !values.unread.is_empty() {
        let unread = values.unread.join(", ");
        tracing::warn!(sandbox = %sandbox.id, unread, "what was changed since its creation does not read; it is as its labels say");
    }
}

/// The values of a text, and what does not read.
struct Values {
    read: Map<String, Value>,
    unread: Vec<&'static str>,
}

impl Values {
    fn of(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(read) => Self { read, unread: Vec::new() },
            Err(_) => Self { read: Map::new(), unread: vec!["all"] },
        }
    }

    /// Puts the value of `key` into its `place`, if it is there and reads.
    fn put<V: DeserializeOwned, T>(&mut self, key: &'static str, place: &mut T, read: impl FnOnce(V) -> Option<T>) {
        let Some(value) = self.read.remove(key) else { return };
        match serde_json::from_value(value).ok().and_then(read) {
            Some(value) => *place = value,
            None => self.unread.push(key),
        }
    }
}

/// Reads a value that may be unset, which JSON's null says.
fn unless_unset<T>(text: Option<String>, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| read(&text).map(Some))
}

fn labels(all: BTreeMap<String, String>) -> Option<Vec<Label>> {
    all.into_iter().map(|(key, value)| Label::parse(&key, &value).ok()).collect()
}

fn policy(words: &BTreeMap<String, String>) -> Option<OwnPolicy> {
    OwnPolicy::parse(OwnPolicy::KEYS, Duration::ZERO, |key| words.get(key).map(String::as_str)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Limit,
        fixtures::{at, running},
    };

    /// A sandbox whose every value was changed.
    fn changed() -> Sandbox {
        let mut sandbox = running(0);
        sandbox.name = SandboxName::parse("another").unwrap();
        sandbox.ownership.namespace = Namespace::parse("n", "db").unwrap();
        sandbox.ownership.owner = UserName::parse("n", "alice").ok();
        sandbox.recipe.labels =
            vec![Label::parse("course", "db, \"101\"").unwrap(), Label::parse("year", "2").unwrap()];
        sandbox.recipe.memory = Memory::in_force(8 << 20).unwrap();
        sandbox.recipe.cpus = Cpus::parse("0.25").unwrap();
        sandbox.recipe.own = OwnPolicy { idle_limit: Some(Limit::Never), ..OwnPolicy::default() };
        sandbox.recipe.wake = Some(Wake::Always);
        sandbox.life.keep_until = Some(at(3_600));
        sandbox.recipe.ssh_key = Some("ssh-ed25519 AAAA another".into());
        sandbox
    }

    fn put(mut sandbox: Sandbox, text: &str) -> Sandbox {
        put_over(&mut sandbox, text);
        sandbox
    }

    #[test]
    fn every_value_comes_back_set_or_unset() {
        let (before, after) = (running(0), changed());
        assert_eq!(put(before.clone(), &of(&after)), after);
        assert_eq!(put(after.clone(), &of(&before)), before, "what was unset is unset again");
    }

    #[test]
    fn what_is_absent_is_as_the_labels_say_and_what_is_unknown_is_ignored() {
        assert_eq!(put(changed(), r#"{"tomorrow": [1, 2], "memory": 8388608}"#), changed());
        let kept = put(running(0), r#"{"wake": "never"}"#);
        assert_eq!((kept.recipe.wake, kept.recipe.memory), (Some(Wake::Never), running(0).recipe.memory));
    }

    #[test]
    fn what_does_not_read_leaves_the_rest() {
        for text in ["", "[]", "null", "\u{0}", r#"{"wake":"#] {
            assert_eq!(put(changed(), text), changed(), "{text:?}");
        }
        let half = r#"{"name": "-", "memory": "x", "nano_cpus": 0, "labels": {"spindle.id": "x"},
                       "policy": {"idle_timeout": "soon"}, "keep_until": "later", "wake": "never"}"#;
        let after = put(running(0), half);
        let mut expected = running(0);
        expected.recipe.wake = Some(Wake::Never);
        assert_eq!(after, expected);
    }
}
