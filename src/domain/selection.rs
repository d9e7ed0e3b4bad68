//! Selection: which sandboxes a request is about, by what they are.

use super::{
    names::{ImageRef, Invalid, Label, SandboxName},
    people::{Namespace, UserName},
    sandbox::{Sandbox, State},
};

/// A label that a sandbox must have, with any value or with this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HasLabel {
    key: String,
    value: Option<String>,
}

/// Sandboxes, by what they are: each condition that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    labels: Vec<HasLabel>,
    status: Option<&'static str>,
    image: Option<String>,
    /// `Some(None)`: nobody's own.
    owner: Option<Option<UserName>>,
    namespace: Option<Namespace>,
    /// A name; each `*` in it stands for any text.
    name: Option<String>,
}

impl Selection {
    /// The conditions, by the names that callers use. Only `label` may be there more than once.
    pub const KEYS: [&str; 6] = ["label", "status", "image", "owner", "namespace", "name"];

    /// What `status` may be.
    const STATUSES: [&str; 3] = ["running", "stopping", "stopped"];

    /// Reads conditions; other names than [`Selection::KEYS`] are ignored.
    ///
    /// # Errors
    /// The condition whose value is not allowed.
    pub fn parse<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, Invalid> {
        let mut selection = Self::default();
        for (key, value) in pairs {
            match key {
                "label" => selection.labels.push(has_label(value)?),
                "status" => selection.status = Some(status(value)?),
                "image" => selection.image = Some(ImageRef::parse(value)?.tagged()),
                "owner" => selection.owner = Some(owner(value)?),
                "namespace" => selection.namespace = Some(Namespace::parse("namespace", value)?),
                "name" => selection.name = Some(name(value)?),
                _ => {}
            }
        }
        Ok(selection)
    }

    /// Whether it has no condition, and so means all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all conditions hold of `sandbox`.
    pub fn has(&self, sandbox: &Sandbox) -> bool {
        let Self { labels, status, image, owner, namespace, name } = self;
        let labelled = |wanted: &HasLabel| sandbox.recipe.labels.iter().any(|label| wanted.is(label));
        status.is_none_or(|status| status == sandbox.life.state.status())
            && namespace.as_ref().is_none_or(|namespace| *namespace == sandbox.ownership.namespace)
            && owner.as_ref().is_none_or(|owner| *owner == sandbox.ownership.owner)
            && name.as_ref().is_none_or(|name| is_like(name, sandbox.name.as_str()))
            && labels.iter().all(labelled)
            && image.as_ref().is_none_or(|image| *image == sandbox.recipe.image.tagged())
    }
}

impl HasLabel {
    fn is(&self, label: &Label) -> bool {
        self.key == label.key() && self.value.as_ref().is_none_or(|value| value == label.value())
    }
}

impl State {
    /// The word for it in the API, which knows three (`CONTRACT.md` 8).
    pub fn status(&self) -> &'static str {
        match self {
            State::Running { .. } => "running",
            State::Stopping { .. } => "stopping",
            State::Creating
            | State::Starting { .. }
            | State::Stopped { .. }
            | State::Resetting { .. }
            | State::Deleting => "stopped",
        }
    }
}

fn has_label(text: &str) -> Result<HasLabel, Invalid> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    let allowed = "it is a label's key (group), or a key and its value (group=a)";
    Label::parse(key, value.unwrap_or_default()).map_err(|_| Invalid::new("label", text, allowed))?;
    Ok(HasLabel { key: key.to_owned(), value: value.map(str::to_owned) })
}

fn status(text: &str) -> Result<&'static str, Invalid> {
    let found = Selection::STATUSES.into_iter().find(|status| *status == text);
    found.ok_or_else(|| Invalid::new("status", text, "it is \"running\", \"stopping\" or \"stopped\""))
}

fn owner(text: &str) -> Result<Option<UserName>, Invalid> {
    if text == "none" { Ok(None) } else { UserName::parse("owner", text).map(Some) }
}

/// A name, or part of one with `*` for the rest.
fn name(text: &str) -> Result<String, Invalid> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-*".contains(&b);
    let is_pattern = text.contains('*') && text.len() <= 63 && text.bytes().all(plain);
    // Nothing is called an id, so a name that is none finds nothing.
    if is_pattern || SandboxName::parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(Invalid::new("name", text, "it is a name, or part of one with * for the rest, such as alice*"))
}

/// Whether `text` is as `pattern` says, in which each `*` stands for any text.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    let Some(mut left) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
    middle.into_iter().flat_map(|middle| middle.split('*')).all(|part| match left.split_once(part) {
        Some((_, after)) => {
            left = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        StopReason,
        fixtures::{at, running},
    };

    fn selection(query: &str) -> Selection {
        Selection::parse(query.split('&').filter_map(|pair| pair.split_once('='))).unwrap()
    }

    fn alice() -> Sandbox {
        let mut sandbox = running(0);
        sandbox.name = SandboxName::parse("alice-1").unwrap();
        sandbox.recipe.image = ImageRef::parse("spindle/base").unwrap();
        sandbox.recipe.labels = vec![Label::parse("group", "a").unwrap(), Label::parse("year", "2").unwrap()];
        sandbox.ownership.namespace = Namespace::parse("n", "db").unwrap();
        sandbox.ownership.owner = UserName::parse("n", "alice").ok();
        sandbox
    }

    #[test]
    fn every_condition_must_hold() {
        for (query, has) in [
            ("", true),
            ("label=group", true),
            ("label=group=a", true),
            ("label=group=b", false),
            ("label=group=", false),
            ("label=course", false),
            ("label=group=a&label=year=2", true),
            ("label=group=a&label=year=3", false),
            ("status=running", true),
            ("status=stopped", false),
            ("image=spindle/base", true),
            ("image=spindle/base:latest", true),
            ("image=spindle/base:2", false),
            ("owner=alice", true),
            ("owner=bob", false),
            ("owner=none", false),
            ("namespace=db", true),
            ("namespace=default", false),
            ("name=alice-1&status=running&owner=alice", true),
            ("name=alice-1&status=stopped&owner=alice", false),
        ] {
            assert_eq!(selection(query).has(&alice()), has, "{query}");
        }
        let nobodys = Sandbox { ownership: super::super::Ownership::default(), ..alice() };
        assert!(selection("owner=none").has(&nobodys));
        let sleeping = alice().in_state(State::Stopped { at: at(0), reason: StopReason::Idle });
        assert!(selection("status=stopped").has(&sleeping));
        let starting = State::Starting { stopped_at: at(0), reason: StopReason::Idle };
        assert!(selection("status=stopped").has(&alice().in_state(starting)), "as the API shows it");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, is) in [
            ("alice", "alice", true),
            ("alice", "alice-1", false),
            ("alice*", "alice", true),
            ("alice*", "alice-1", true),
            ("*-1", "alice-1", true),
            ("*", "x", true),
            ("a*e", "alice", true),
            ("a*e", "a", false),
            ("aa*aa", "aaa", false),
            ("*li*", "alice", true),
            ("*li*li*", "alice", false),
            ("a*l*c*e", "alice", true),
            ("a*c*l*e", "alice", false),
            ("**", "", true),
        ] {
            assert_eq!(is_like(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_name() {
        for (key, bad) in [
            ("label", "=a"),
            ("label", ""),
            ("label", "spindle.id=1"),
            ("status", "paused"),
            ("status", ""),
            ("image", "../x"),
            ("owner", "A B"),
            ("namespace", "a/b"),
            ("name", "a b"),
            ("name", ""),
            ("name", "a/*"),
        ] {
            let error = Selection::parse([(key, bad)]).expect_err(bad);
            assert_eq!((error.field, error.value.as_str()), (key, bad));
        }
        assert!(selection("x=1").is_all() && !selection("name=*").is_all());
    }
}
