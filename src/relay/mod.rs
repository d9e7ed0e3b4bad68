//! The relay: Spindle's own listeners on the sandboxes' host ports. It carries, counts and asks; it never decides.
//!
//! The same table runs in this process or in one of its own (`spindle relay`). A caller does not see which.

mod carry;
mod connection;
mod count;
mod courtesy;
mod door;
mod entry;
mod hall;
pub mod message;
mod process;
mod proxy_protocol;
#[cfg(test)]
mod script;
mod shares;
mod sockets;
mod state;
mod table;

use std::{io::ErrorKind, net::UdpSocket, path::PathBuf, sync::Arc};

use tokio::sync::{
    Mutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::{
    clock::Clock,
    domain::{PortMapping, Protocol, TrafficLimits},
};
use hall::Hall;
pub use message::{Count, Event, Listen, Load, Request, Response, Route, Target, Unopened, Unreachable};
use process::remote::Remote;
pub use process::{Ended, Process};
#[cfg(test)]
pub use script::Script;
use table::Table;

/// A handle on the relay, wherever it runs.
#[derive(Debug)]
pub struct Relay {
    link: Link,
    events: Mutex<UnboundedReceiver<Event>>,
}

#[derive(Debug)]
enum Link {
    Here(Arc<Table>),
    There {
        remote: Remote,
        at: PathBuf,
        deployment: String,
        events: UnboundedSender<Event>,
    },
    #[cfg(test)]
    Scripted(Arc<dyn Script>),
}

impl Relay {
    /// A relay in this process. It counts while [`Relay::run`] runs.
    pub fn here(limits: TrafficLimits, clock: Arc<dyn Clock>) -> Self {
        let (hall, events) = Hall::new(limits, clock);
        hall.tell(Event::Fresh);
        Self { link: Link::Here(Table::new(hall)), events: Mutex::new(events) }
    }

    /// A relay in a process of its own, spoken to at the socket `at` while [`Relay::run`] runs.
    pub fn there(at: PathBuf, deployment: &str) -> Self {
        let (events, heard) = unbounded_channel();
        Self {
            link: Link::There { remote: Remote::default(), at, deployment: deployment.to_owned(), events },
            events: Mutex::new(heard),
        }
    }

    /// A relay whose answers a test gives. It passes on the events that come in at `events`.
    #[cfg(test)]
    pub fn scripted(script: Arc<dyn Script>, events: UnboundedReceiver<Event>) -> Self {
        Self { link: Link::Scripted(script), events: Mutex::new(events) }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If the relay's process does not answer; whether it was done is unknown.
    pub async fn ask(&self, request: Request) -> Result<Response, Unreachable> {
        match &self.link {
            Link::Here(table) => Ok(table.handle(request).await),
            Link::There { remote, at, .. } => remote.ask(request).await.map_err(|e| e.at(at)),
            #[cfg(test)]
            Link::Scripted(script) => script.ask(request).await,
        }
    }

    /// The relay's next event. There is one listener.
    pub async fn event(&self) -> Option<Event> {
        self.events.lock().await.recv().await
    }

    /// Closes every listener and every connection of a relay in this process. A relay in its own process goes on
    /// carrying.
    pub async fn close(&self) {
        if let Link::Here(table) = &self.link {
            table.close().await;
        }
    }

    /// Does the relay's continuous work. Never ends by itself.
    pub async fn run(&self) {
        match &self.link {
            Link::Here(table) => table.tell_counts().await,
            Link::There { remote, at, deployment, events } => remote.keep(at, deployment, events).await,
            #[cfg(test)]
            Link::Scripted(_) => std::future::pending().await,
        }
    }
}

/// The `ports` that the engine shall publish and another program holds now. It finds out by binding them.
pub fn held_by_others(ports: &[PortMapping]) -> Vec<u16> {
    let udp = ports.iter().filter(|p| p.inside.protocol == Protocol::Udp);
    // Any other error is not about this port: other ports would have it too.
    let held = |p: &&PortMapping| {
        UdpSocket::bind((p.outside.host, p.outside.port)).is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    };
    udp.filter(held).map(|p| p.outside.port).collect()
}
