//! Tells systemd the state of a service that it started.

use std::{
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Tells systemd our state, in lines of `sd_notify`, if it started us.
pub fn tell(state: &str) {
    let Some(at) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = || {
        let address = match at.as_encoded_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(e) = told() {
        tracing::warn!(error = %e, "systemd cannot be told that this runs");
    }
}
