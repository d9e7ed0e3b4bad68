//! The messages to and from the relay. They are the same within one process and over a socket.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::SandboxId;

/// One sandbox, as far as the relay needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which one.
    #[serde(with = "id")]
    pub sandbox: SandboxId,
    /// Its name, to show to clients that wait. An older server does not say it.
    #[serde(default)]
    pub name: String,
    /// The number of its start. A connection belongs to one start, and never reaches another.
    pub generation: u64,
    /// What happens to those who connect now.
    pub target: Target,
    /// How many milliseconds the connections of an earlier start, or of one that has ended, may go on.
    pub cut_after_ms: u64,
    /// Where it listens.
    pub ports: Vec<Listen>,
}

/// What happens to a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// It is closed.
    Shut,
    /// It waits. Once it has spoken, the sandbox's wake is asked for.
    Asleep,
    /// It is carried to the sandbox.
    Open {
        /// The sandbox's address on our network.
        address: IpAddr,
        /// The sandbox's first process, by its number on this machine. While it lives, nobody else has the address.
        /// `None` if the engine does not tell.
        pid: Option<u32>,
    },
}

impl Target {
    /// Whether connections are carried.
    pub fn is_open(&self) -> bool {
        matches!(self, Target::Open { .. })
    }
}

/// One port of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where clients connect.
    pub outside: SocketAddr,
    /// The port inside.
    pub inside: u16,
    /// Whether a silent connection wakes the sandbox, because in its protocol the server speaks first.
    pub wakes_silent: bool,
    /// Whether a client that speaks HTTP gets an HTTP answer while it waits.
    pub http: bool,
    /// Whether the app wants the client's address, by the PROXY protocol, version 2.
    pub proxy_protocol: bool,
}

/// What can be asked of the relay. It answers when the request is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// These are all sandboxes; listeners of others are closed. Answer: [`Response::Held`].
    Table(Vec<Route>),
    /// One sandbox has changed. Answer: [`Response::Held`].
    Put(Route),
    /// A sandbox is gone: its listeners are closed when this is answered.
    Remove(#[serde(with = "id")] SandboxId),
    /// A sandbox will not be woken: connections that wait for it are turned away.
    Refuse(#[serde(with = "id")] SandboxId),
    /// For so many milliseconds, what a sandbox sends to its clients comes from us, and is not use.
    Overlook {
        /// Which one.
        #[serde(with = "id")]
        sandbox: SandboxId,
        /// How long.
        for_ms: u64,
    },
    /// What has been counted. Answer: [`Response::Counts`].
    Counts,
    /// How much is open. Answer: [`Response::Load`].
    Load,
}

/// The relay's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is done.
    Done,
    /// It is done, but for these ports.
    Held(Vec<Unopened>),
    /// The counts of every port that was ever used.
    Counts(Vec<Count>),
    /// How much is open.
    Load(Load),
}

/// The relay cannot be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the relay does not answer: {0}")]
pub struct Unreachable(pub String);

impl Unreachable {
    /// Adds the place where the relay was looked for.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        Self(format!("{} at {}; is `spindle relay` running?", self.0, path.display()))
    }
}

/// A port on which the relay cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unopened {
    /// Which one.
    pub at: SocketAddr,
    /// Why; `None`: somebody else listens there.
    pub why: Option<String>,
}

/// What one port has carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Whose port.
    #[serde(with = "id")]
    pub sandbox: SandboxId,
    /// The port inside.
    pub inside: u16,
    /// The connections that are open.
    pub open: u32,
    /// How many of them were used lately: bytes above the floor moved on them. An older relay does not say.
    #[serde(default)]
    pub in_use: u32,
    /// Bytes from clients, counted since the relay first knew the port.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// When the last byte was seen to have moved: at most a second late.
    pub last_byte: Option<Timestamp>,
    /// The start to which the last use (bytes above the floor) belongs, and when that use was.
    pub last_use: Option<(u64, Timestamp)>,
}

/// How much is open in the relay's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Ports that it listens on.
    pub listeners: u64,
    /// Connections that it carries or that wait in it, and those that older relays still carry.
    pub connections: u64,
    /// File descriptors that its process has open, and may have.
    pub descriptors: (u64, u64),
}

/// All that a newer relay must know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Estate {
    /// The table.
    pub routes: Vec<Route>,
    /// What has been counted.
    pub counts: Vec<Count>,
    /// Where the sockets that follow listen.
    pub listeners: Vec<SocketAddr>,
}

/// What the relay says unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// What the relay knows is not certain: tell it the whole table.
    Fresh,
    /// Somebody wants to use a sandbox that is asleep.
    Wake {
        /// Which one.
        #[serde(with = "id")]
        sandbox: SandboxId,
        /// Who.
        peer: SocketAddr,
        /// On which port inside.
        inside: u16,
    },
    /// Counts that have changed.
    Counts(Vec<Count>),
}

/// Ids as their text.
mod id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::domain::SandboxId;

    pub fn serialize<S: Serializer>(id: &SandboxId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SandboxId, D::Error> {
        let text = String::deserialize(deserializer)?;
        SandboxId::parse(&text).ok_or_else(|| D::Error::custom("no sandbox's id"))
    }
}
