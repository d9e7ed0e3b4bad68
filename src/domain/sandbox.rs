//! The sandbox: one learner's container, its ports, and the state it is in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    evidence::EvidenceLog,
    image::Access,
    limits::{Cpus, Memory},
    names::{ContainerId, ImageRef, Label, SandboxId, SandboxName, Token},
    policy::OwnPolicy,
    rhythm::Rhythm,
    seen::Seen,
    traffic::{Carrier, Traffic, Wake, WakeFailure},
    zone::Zone,
};

/// The transport of a port. SCTP is not carried: images that expose it get their other ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word that Docker and the API use.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Reads [`Protocol::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.word() == word)
    }
}

/// A port that an image exposes. Orders by protocol, then by number, tcp first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the sandbox.
    pub port: u16,
}

impl PortSpec {
    /// The port of SSH, which the API shows apart (`CONTRACT.md` 9).
    pub const SSH: PortSpec = PortSpec { protocol: Protocol::Tcp, port: 22 };

    /// Parses Docker's notation, `22/tcp` or `22`.
    pub fn parse(text: &str) -> Option<Self> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let port = port.parse().ok().filter(|&p| p != 0)?;
        Some(Self { protocol: Protocol::parse(protocol)?, port })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol.word())
    }
}

/// Where clients reach something: a host and a port. With one machine the host is the publish address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The host's address.
    pub host: IpAddr,
    /// The port on it.
    pub port: u16,
}

/// A port of a sandbox and the endpoint that is reserved for it until the sandbox is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// The port inside.
    pub inside: PortSpec,
    /// The endpoint outside.
    pub outside: Endpoint,
    /// Who carries what comes in there.
    pub carrier: Carrier,
}

/// Why a sandbox stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Nobody used it.
    Idle,
    /// Somebody asked for it through the API.
    Requested,
    /// It ended by itself, or something other than Spindle stopped it.
    Exited,
    /// It had run for its greatest age.
    MaxAge,
    /// It ended while the engine was away, as when the engine is restarted and takes its containers with it.
    Engine,
    /// The machine was started anew.
    Reboot,
}

impl StopReason {
    /// The word for it in the API, the store and the log.
    pub fn word(self) -> &'static str {
        match self {
            StopReason::Idle => "idle",
            StopReason::Requested => "requested",
            StopReason::Exited => "exited",
            StopReason::MaxAge => "max_age",
            StopReason::Engine => "engine",
            StopReason::Reboot => "reboot",
        }
    }

    /// Whether its deadline did it, and nobody asked for it.
    pub fn is_by_deadline(self) -> bool {
        matches!(self, StopReason::Idle | StopReason::MaxAge)
    }

    /// Whether nobody meant it, so that whoever comes to use the sandbox finds it running. Of what has ended unasked the
    /// reason alone does not tell: [`Sandbox::is_undone_by_use`] does.
    fn is_undone_by_use(self) -> bool {
        matches!(self, StopReason::Idle | StopReason::Engine | StopReason::Reboot)
    }

    /// Reads [`StopReason::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        use StopReason::{Engine, Exited, Idle, MaxAge, Reboot, Requested};
        [Idle, Requested, Exited, MaxAge, Engine, Reboot].into_iter().find(|r| r.word() == word)
    }
}

/// The state of a sandbox. Data exists only where it is true.
///
/// ```text
/// Creating ─► Running ─► Stopping ─► Stopped ─► Starting ─► Running
///                └────── exits by itself ──►┘        (each start: a new generation)
/// any of them ─► Deleting ─► gone
/// ```
///
/// `Creating`, `Starting`, `Stopping` and `Deleting` are intents, written before the engine is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Ports are reserved; nothing has answered a caller yet. Invisible in the API.
    Creating,
    /// A stopped sandbox is being started.
    Starting {
        /// When it had stopped.
        stopped_at: Timestamp,
        /// Why it had stopped.
        reason: StopReason,
    },
    /// The engine shows it running.
    Running {
        /// When this start was recorded.
        since: Timestamp,
        /// Its address on our network, by which a check-in without a token is recognised.
        address: Option<IpAddr>,
        /// The engine's own mark of this start; another one means that it was restarted behind our back.
        mark: String,
        /// Its first process, as this machine numbers it; `None` where the engine does not tell.
        pid: Option<u32>,
        /// The machine's start in which it was seen to run; `None` in records of before that was kept.
        boot: Option<Boot>,
    },
    /// The decision to stop it is recorded; the engine may or may not know yet.
    Stopping {
        /// When the decision was recorded.
        since: Timestamp,
        /// Why.
        reason: StopReason,
    },
    /// The engine shows it stopped.
    Stopped {
        /// When that was recorded.
        at: Timestamp,
        /// Why.
        reason: StopReason,
    },
    /// Somebody deleted it. Invisible in the API; its ports are released when the engine has removed it.
    Deleting,
}

impl State {
    /// Whether callers of the API may see a sandbox in this state.
    pub fn is_visible(&self) -> bool {
        !matches!(self, State::Creating | State::Deleting)
    }
}

/// One start of the machine, told from every other whatever the clock says.
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

/// That somebody said that a sandbox shall be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// When.
    pub at: Timestamp,
    /// Who: a user of the API, or [`Extension::INSIDE`].
    pub by: String,
    /// Until when at least.
    pub until: Timestamp,
}

impl Extension {
    /// Whoever is logged in inside.
    pub const INSIDE: &str = "inside";
}

/// One learner's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Our id.
    pub id: SandboxId,
    /// The engine's id, once the engine has made it.
    pub container: Option<ContainerId>,
    /// Unique name.
    pub name: SandboxName,
    /// The image as sent at creation.
    pub image: ImageRef,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The state.
    pub state: State,
    /// Grows by one at every start. What was decided for an old generation never touches a new one.
    pub generation: u64,
    /// The exposed ports with their reserved endpoints, tcp first, then by number.
    pub ports: Vec<PortMapping>,
    /// Which of [`Sandbox::ports`] the API shows as `app_port` (`CONTRACT.md` 9).
    pub app_port: Option<PortSpec>,
    /// The last value reported since the last start.
    pub active: u64,
    /// When it last reported anything, zero included; `None` if it never did.
    pub last_report: Option<Timestamp>,
    /// How often it is seen to report.
    pub rhythm: Rhythm,
    /// The newest evidence of each source.
    pub evidence: EvidenceLog,
    /// What it has of its own of the policy of stopping.
    pub own: OwnPolicy,
    /// Until when it shall be kept, used or not, if its age allows.
    pub keep_until: Option<Timestamp>,
    /// Not before this it is stopped, since its limits were changed.
    pub spared_until: Option<Timestamp>,
    /// The moment of the stop of which those inside have been warned.
    pub warned_for: Option<Timestamp>,
    /// Who last said that it shall be kept.
    pub extension: Option<Extension>,
    /// Its memory limit.
    pub memory: Memory,
    /// Its cpu limit.
    pub cpus: Cpus,
    /// The caller's labels, ordered by key.
    pub labels: Vec<Label>,
    /// Its check-in secret.
    pub token: Token,
    /// Whether a connection wakes it; `None`: the configured rule applies.
    pub wake: Option<Wake>,
    /// Why it could not be woken the last time that somebody tried, unless it has been started since.
    pub wake_failure: Option<WakeFailure>,
    /// The time zone of those inside.
    pub zone: Zone,
    /// How its ports are carried.
    pub traffic: Traffic,
    /// How its app is reached, if its image says so.
    pub access: Option<Access>,
    /// What the engine shows of it besides its state.
    pub seen: Seen,
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.host, endpoint.port)
    }
}

impl Sandbox {
    /// The latest moment of which anything is recorded as having happened.
    pub fn latest(&self) -> Timestamp {
        let changed = match self.state {
            State::Running { since, .. } | State::Stopping { since, .. } => Some(since),
            State::Stopped { at, .. } | State::Starting { stopped_at: at, .. } => Some(at),
            State::Creating | State::Deleting => None,
        };
        let used = self.evidence.newest(|_| true).map(|e| e.at);
        [changed, used, self.last_report].into_iter().flatten().fold(self.created_at, Timestamp::max)
    }

    /// Whether it is stopped, or being stopped, and nobody meant that, so that whoever comes to use it finds it running.
    pub fn is_undone_by_use(&self) -> bool {
        match self.state {
            State::Stopped { reason: StopReason::Exited, .. } => {
                self.seen.ended_by_itself() && !self.seen.keeps_ending()
            }
            State::Stopped { reason, .. } | State::Stopping { reason, .. } => reason.is_undone_by_use(),
            _ => false,
        }
    }

    /// Those of its ports that the relay carries.
    pub fn relayed(&self) -> impl Iterator<Item = &PortMapping> {
        self.ports.iter().filter(|p| p.carrier == Carrier::Relay)
    }

    /// The endpoint of one of its ports.
    pub fn endpoint(&self, inside: PortSpec) -> Option<Endpoint> {
        self.ports.iter().find(|p| p.inside == inside).map(|p| p.outside)
    }

    /// Which exposed port is the app's: the one that the image's label names, else the lowest tcp port
    /// other than SSH's, else the lowest udp port (`CONTRACT.md` 9).
    pub fn pick_app_port(exposed: &[PortSpec], label: Option<&str>) -> Option<PortSpec> {
        let others = || exposed.iter().copied().filter(|&p| p != PortSpec::SSH);
        let named = label.and_then(PortSpec::parse).filter(|p| exposed.contains(p));
        named.or_else(|| others().min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &[&str]) -> Vec<PortSpec> {
        list.iter().map(|p| PortSpec::parse(p).unwrap()).collect()
    }

    #[test]
    fn contract_09_app_port_is_the_labelled_else_lowest_tcp_else_lowest_udp() {
        let pick = |list: &[&str], label| {
            Sandbox::pick_app_port(&ports(list), label).map(|p| p.to_string()).unwrap_or_default()
        };
        assert_eq!(pick(&["22/tcp", "9000/udp", "8000/tcp", "7000/tcp"], None), "7000/tcp");
        assert_eq!(pick(&["22/tcp", "9000/udp", "8000/tcp", "7000/tcp"], Some("8000")), "8000/tcp");
        assert_eq!(pick(&["22/tcp", "9000/udp"], Some("8000")), "9000/udp");
        assert_eq!(pick(&["22/tcp", "9000/udp", "53/udp"], Some("rubbish")), "53/udp");
        assert_eq!(pick(&["22/tcp"], None), "");
        assert_eq!(pick(&[], None), "");
    }

    #[test]
    fn ports_are_read_in_dockers_notation() {
        assert_eq!(PortSpec::parse("22"), Some(PortSpec::SSH));
        for bad in ["0/tcp", "22/sctp", "70000/tcp", "x", "-1/udp"] {
            assert_eq!(PortSpec::parse(bad), None, "{bad:?}");
        }
    }
}
