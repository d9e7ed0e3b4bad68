//! Notable: which decisions to keep a sandbox are worth a line.
//!
//! Every pass decides to keep sandboxes. Such a decision is notable only when the awaited deadline has come.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{decision::Decided, idle::Deadline, names::SandboxId, sandbox::Sandbox};

/// A deadline that we wait for.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    generation: u64,
    due: Timestamp,
    /// It has come, and we noted once that the sandbox is only held.
    refused: bool,
}

/// The deadlines we wait for, one for each sandbox that has one.
#[derive(Debug, Default)]
pub struct Awaiting(HashMap<SandboxId, Awaited>);

impl Awaiting {
    /// Forgets all awaited deadlines, for example after the clock was set.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The notable ones of `known`, which has each sandbox with its deadline: those whose awaited deadline was moved by
    /// use, and those that are only held. `is_held` says whether a sandbox is spared though its deadline has come.
    pub fn notable<'s>(
        &mut self,
        known: &[(&'s Sandbox, Option<Deadline>)],
        now: Timestamp,
        is_held: impl Fn(&Sandbox, Deadline) -> bool,
    ) -> Vec<(&'s Sandbox, Decided)> {
        let mut notable = Vec::new();
        for &(sandbox, deadline) in known {
            let Some(deadline) = deadline else {
                self.0.remove(&sandbox.id);
                continue;
            };
            let fresh = Awaited { generation: sandbox.life.generation, due: deadline.at, refused: false };
            let Some(awaited) = self.0.get_mut(&sandbox.id) else {
                self.0.insert(sandbox.id.clone(), fresh);
                continue;
            };
            let has_come = awaited.generation == fresh.generation && now >= awaited.due;
            if has_come && now >= deadline.at {
                if !awaited.refused && is_held(sandbox, deadline) {
                    awaited.refused = true;
                    notable.push((sandbox, Decided::Refused));
                }
            } else if has_come {
                *awaited = fresh;
                notable.push((sandbox, Decided::Kept));
            } else if awaited.generation != fresh.generation || deadline.at < awaited.due {
                *awaited = fresh;
            }
        }
        if self.0.len() > known.len() {
            let ids: HashSet<_> = known.iter().map(|(sandbox, _)| &sandbox.id).collect();
            self.0.retain(|id, _| ids.contains(id));
        }
        notable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Evidence, Source, deadline,
        fixtures::{POLICY, at, running},
    };

    #[test]
    fn who_was_used_is_noted_once_when_the_deadline_has_come_and_who_is_held_once() {
        let mut awaiting = Awaiting::default();
        let mut look = |sandbox: &Sandbox, second, held| {
            let known = [(sandbox, deadline(&POLICY, sandbox))];
            awaiting
                .notable(&known, at(second), |_, _| held)
                .into_iter()
                .map(|(_, decided)| decided)
                .collect::<Vec<_>>()
        };
        let mut sandbox = running(0);
        assert_eq!(look(&sandbox, 0, false), []);
        sandbox.life.evidence.record(Evidence { source: Source::CheckIn, at: at(100) });
        assert_eq!(look(&sandbox, 8_999, false), [], "its deadline has not come");
        assert_eq!(look(&sandbox, 9_000, false), [Decided::Kept]);
        assert_eq!(look(&sandbox, 9_001, false), []);
        assert_eq!(look(&sandbox, 9_100, true), [Decided::Refused]);
        assert_eq!(look(&sandbox, 9_101, true), [], "once");
    }
}
