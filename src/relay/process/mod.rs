//! The relay as a process: it serves one server at a time on a Unix socket, and goes on carrying while there is none.

mod before;
mod elders;
mod hand_over;
pub mod remote;
mod serving;

use std::{
    fs::Permissions,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixListener, sync::mpsc};

use super::{hall::Hall, message::Event, table::Table};
use crate::{clock::Clock, domain::TrafficLimits};
use elders::Elders;
use remote::Line;
use serving::{Client, Serving};

/// Why a relay's process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// A newer one has taken over, and the last connection has ended.
    Replaced,
}

/// How long a relay rests when it cannot accept, and before it asks another relay again.
const REST: Duration = Duration::from_millis(50);

/// A relay at its socket.
#[derive(Debug)]
pub struct Process {
    serving: Serving,
    socket: UnixListener,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl Process {
    /// Begins to listen at `at`. If a relay listens there already, takes over everything from it.
    ///
    /// # Errors
    /// If it cannot listen there, or the other relay does not let go.
    pub async fn start(at: &Path, deployment: &str, limits: TrafficLimits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (hall, heard) = Hall::new(limits, clock);
        let table = Table::new(hall);
        let elders = Elders::new(Arc::clone(&table));
        let before = before::ask(at, deployment).await?;
        let (socket, fresh) = bind(at)?;
        if let Some((mut before, estate, sockets)) = before {
            // Take the other relay's place only together with all that it has.
            if let Err(e) = hand_over::confirm(&mut before) {
                let _ = std::fs::remove_file(&fresh);
                return Err(e);
            }
            std::fs::rename(&fresh, at)?;
            // Until here this relay accepted no connection; from here on the other one accepts none.
            let elder = elders.take_number();
            table.adopt(elder, estate, sockets).await;
            tracing::info!("the listeners of the relay before this one are taken over");
            elders.talk(elder, hand_over::into_conversation(before)?);
        } else {
            std::fs::rename(&fresh, at)?;
        }
        let (at, deployment) = (at.to_owned(), deployment.to_owned());
        Ok(Self { serving: Serving { table, elders, at, deployment, client: Client::default() }, socket, heard })
    }

    /// Carries, counts and answers, until `stop` ends or a newer relay has taken over.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Ended {
        let Self { serving, socket, mut heard } = self;
        let tell = async {
            while let Some(event) = heard.recv().await {
                if let Some(client) = &*serving.client.lock().expect("no holder panics") {
                    // A caller that has gone will ask for everything when it is back.
                    let _ = client.send(Line::Event(event));
                }
            }
        };
        tokio::select! {
            () = stop => {
                serving.table.close().await;
                // Leave the socket's file: it may belong to another relay by now.
                Ended::Told
            }
            () = serving.serve(socket) => Ended::Replaced,
            () = serving.table.tell_counts() => Ended::Told,
            () = tell => Ended::Told,
        }
    }
}

/// A socket that can be moved to `at`. The move replaces a socket there, and no other file.
fn bind(at: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let there = std::fs::symlink_metadata(at);
    if there.is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(io::Error::other("something that is no socket is there"));
    }
    let mut fresh = at.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let socket = UnixListener::bind(&fresh)?;
    // Only we may write to it: a caller can open any sandbox's ports.
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    Ok((socket, fresh.into()))
}
