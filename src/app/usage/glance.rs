//! Glance: what we know of sandboxes besides their rows, at one moment.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{Usage, cpu::Samples};
use crate::{
    domain::{Carrier, PortMapping, PortUse, Protocol, Sandbox, Sight, explain},
    relay::{Count, Unopened},
};

/// What we know of one sandbox besides its row.
pub struct Glance {
    /// What each of its ports has carried, as far as the relay told us.
    pub ports: Vec<(PortMapping, Option<Count>)>,
    /// What matters for whether it is stopped.
    pub sight: Sight,
    /// Nobody sees what its connections carry.
    pub is_unseen: bool,
}

impl Usage {
    /// A glance at each of `sandboxes`, all as of `now`: the counters do not move in between.
    pub fn glances<'s>(&self, sandboxes: impl IntoIterator<Item = &'s Sandbox>, now: Timestamp) -> Vec<Glance> {
        let (grace, held) = (self.vitals.grace(now), self.records.held());
        let is_relay_away = self.is_relay_away.load(Ordering::Relaxed);
        let (counts, samples) = (self.counts(), self.cpu());
        let look = |sandbox: &Sandbox| {
            let count = |port: &PortMapping| {
                let key = (sandbox.id.clone(), port.inside.port);
                counts.get(&key).filter(|_| port.inside.protocol == Protocol::Tcp).cloned()
            };
            let ports: Vec<_> = sandbox.ports.iter().map(|port| (*port, count(port))).collect();
            let relayed = ports.iter().filter(|(port, _)| port.carrier == Carrier::Relay);
            let uses = relayed.filter_map(|(_, count)| count.as_ref()).map(port_use).collect();
            let is_held = is_held(&held, sandbox);
            let blind = self.blindness(sandbox, is_held, &samples);
            Glance { ports, sight: Sight { grace, ports: uses, blind }, is_unseen: is_held || is_relay_away }
        };
        sandboxes.into_iter().map(look).collect()
    }

    /// A glance at one sandbox.
    pub fn glance(&self, sandbox: &Sandbox, now: Timestamp) -> Glance {
        self.glances([sandbox], now).pop().expect("one for each sandbox")
    }

    /// Why we cannot see whether a sandbox is used; such a sandbox is not stopped for being idle. `None`: we can.
    pub fn is_blind(&self, sandbox: &Sandbox) -> Option<&'static str> {
        self.blindness(sandbox, is_held(&self.records.held(), sandbox), &self.cpu())
    }

    /// As [`Usage::is_blind`], with `is_held` given: whether others hold a port of the sandbox.
    fn blindness(&self, sandbox: &Sandbox, is_held: bool, samples: &Samples) -> Option<&'static str> {
        if self.settings.policy.of(sandbox).evidence.connection && is_held {
            Some("another program listens on one of its ports, and nobody sees whether that is used")
        } else if !self.is_cpu_known(sandbox, samples) {
            Some("its cpu use counts and is not known")
        } else {
            None
        }
    }

    /// Why `sandbox` is as it is `now`, in a sentence.
    pub fn why(&self, sandbox: &Sandbox, now: Timestamp) -> String {
        explain(&self.settings.policy, sandbox, &self.glance(sandbox, now).sight, now)
    }
}

/// Whether another program listens on one of a sandbox's ports, so that nobody counts its use.
fn is_held(held: &[Unopened], sandbox: &Sandbox) -> bool {
    sandbox.relayed().any(|port| held.iter().any(|held| held.at == port.outside.into()))
}

fn port_use(count: &Count) -> PortUse {
    PortUse {
        inside: count.inside,
        connections: count.open,
        in_use: count.in_use,
        last_byte: count.last_byte,
        last_use: count.last_use.map(|(_, at)| at),
    }
}
