//! The data path: Spindle's own listeners on the sandboxes' host ports. It carries, counts and asks; it never decides.
//!
//! The same table runs in this process or in one of its own (`spindle relay`); whoever asks does not see which.

mod carry;
mod connection;
mod count;
mod courtesy;
mod door;
pub mod message;
mod proxy_protocol;
mod shares;
mod table;

use std::{io::ErrorKind, net::UdpSocket, sync::Arc};

use tokio::sync::{Mutex, mpsc::UnboundedReceiver};

use crate::{
    clock::Clock,
    domain::{PortMapping, Protocol, TrafficLimits},
};
pub use message::{Count, Event, Listen, Load, Request, Response, Route, Target};
use table::Core;

/// The relay cannot be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the relay does not answer: {0}")]
pub struct Unreachable(pub String);

/// A handle on the relay, wherever it runs.
#[derive(Debug)]
pub struct Relay {
    core: Arc<Core>,
    events: Mutex<UnboundedReceiver<Event>>,
}

impl Relay {
    /// A relay in this process. It counts while [`Relay::run`] runs.
    pub fn here(limits: TrafficLimits, clock: Arc<dyn Clock>) -> Self {
        let (core, events) = Core::new(limits, clock);
        core.tell(Event::Fresh);
        Self { core, events: Mutex::new(events) }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If the relay's process does not answer; whether it was done is unknown.
    pub async fn ask(&self, request: Request) -> Result<Response, Unreachable> {
        Ok(self.core.handle(request).await)
    }

    /// What the relay says next, to one listener.
    pub async fn event(&self) -> Option<Event> {
        self.events.lock().await.recv().await
    }

    /// Closes every listener and every connection.
    pub async fn close(&self) {
        self.core.close().await;
    }

    /// Does what must be done all the time. Never ends by itself.
    pub async fn run(&self) {
        self.core.tell_counts().await;
    }
}

/// Which of `ports` that the engine shall publish another program holds at this moment, by trying to have them.
pub fn held_by_others(ports: &[PortMapping]) -> Vec<u16> {
    let udp = ports.iter().filter(|p| p.inside.protocol == Protocol::Udp);
    // Any other trouble is not the port's: other ports would have it too.
    let held = |p: &&PortMapping| {
        UdpSocket::bind((p.outside.host, p.outside.port)).is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    };
    udp.filter(held).map(|p| p.outside.port).collect()
}
