//! Raises the limit on file descriptors, and lets in no more connections than it allows.

use spindle::{config::Config, host};

/// A limit that leaves every part as much as it needs.
const PLENTY: u64 = 1 << 20;

/// How many connections the API and the check-in door may have, within the limit as it is now.
pub fn at_gates() -> (u32, u32) {
    let room = host::room(host::descriptors().unwrap_or(PLENTY));
    (room.api as u32, room.door as u32)
}

/// Raises the limit. A connection takes two descriptors, a port one; the soft limit of 1,024 is too low for a class. If
/// even the raised limit is too low, fewer connections are let in, so that the API and the check-in door keep theirs.
pub fn raise_limit(config: &mut Config) {
    let (limit, raised) = host::raise_descriptors();
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit on file descriptors stays as it is");
    }
    let Some(limit) = limit else { return };
    let room = host::room(limit).relay;
    let connections = &mut config.relay.limits.connections;
    if room < u64::from(*connections) {
        tracing::warn!(
            limit,
            wanted = *connections,
            allowed = room,
            "too few file descriptors for SPINDLE_CONNECTIONS; raise LimitNOFILE or ulimit -n"
        );
        *connections = room as u32;
    }
}
