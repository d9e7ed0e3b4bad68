//! Reach: where this machine finds a running sandbox.

use std::{net::IpAddr, sync::Arc};

/// Where a running sandbox is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Its address on our network; it identifies a check-in without a token.
    pub address: Option<IpAddr>,
    /// Its first process, as this machine numbers it; `None` where the engine does not tell.
    pub pid: Option<u32>,
    /// The machine's start in which it was seen running; `None` where nobody has seen that yet.
    pub boot: Option<Boot>,
}

/// One start of the machine, different from every other, whatever the clock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot(Arc<str>);

impl From<&str> for Boot {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl Boot {
    /// Its id, as the kernel gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
