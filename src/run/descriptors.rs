//! Raises the limit on file descriptors, and lets in no more connections than it allows.

use spindle::{config::Config, host};

/// Raises the limit. A connection takes two descriptors, a port one; the soft limit of 1,024 is too low for a class. If
/// even the raised limit is too low, fewer connections are let in, so that the API and the check-in door keep theirs.
pub fn raise_limit(config: &mut Config) {
    let (limit, raised) = host::raise_descriptors();
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit on file descriptors stays as it is");
    }
    let Some(limit) = limit else { return };
    let room = host::room_for_connections(limit);
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
