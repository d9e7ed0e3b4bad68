//! Answers callers at the relay's socket: the server, one at a time, and older or newer relays.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    REST,
    elders::Elders,
    hand_over,
    remote::{Ask, Caller, Line, Lines, greet, write_lines},
};
use crate::relay::{hall::TELL_REST, message::Event, table::Table};

/// How long an old relay waits before it looks for another successor, when the first has gone.
const KNOCK: Duration = Duration::from_millis(200);

/// The caller that is served now.
pub type Client = Arc<Mutex<Option<mpsc::UnboundedSender<Line>>>>;

/// What a relay needs to answer.
#[derive(Debug)]
pub struct Serving {
    /// What is carried.
    pub table: Arc<Table>,
    /// The relays before this one.
    pub elders: Arc<Elders>,
    /// Where it listens.
    pub at: PathBuf,
    /// Whose sandboxes it carries.
    pub deployment: String,
    /// The caller that is served now.
    pub client: Client,
}

impl Serving {
    /// Serves one caller after another, until a newer relay has taken over and all connections have ended.
    pub async fn serve(&self, socket: UnixListener) {
        let mut current: Option<CancellationToken> = None;
        loop {
            let Ok((mut stream, _)) = socket.accept().await else {
                // Out of descriptors: rest a moment, instead of failing in a tight loop.
                tokio::time::sleep(REST).await;
                continue;
            };
            let hello = match greet(&mut stream, &self.deployment, Caller::Server).await {
                Ok(hello) => hello,
                Err(e) => {
                    tracing::warn!(error = %e, "somebody at the relay's socket is not understood");
                    continue;
                }
            };
            if hello.caller == Caller::Elder {
                tracing::info!("an older relay that still carries connections is here");
                self.elders.talk(self.elders.take_number(), stream);
                continue;
            }
            // Speak to the newest caller: a server that was restarted, or a relay that wants everything.
            let _ = current.take().map(|c| c.cancel());
            if hello.caller == Caller::Successor {
                match self.give_away(stream).await {
                    Ok(successor) => {
                        // From now on a server must connect to the newer relay.
                        drop(socket);
                        return self.serve_to_the_end(successor).await;
                    }
                    Err(e) => {
                        tracing::error!(error = %e, "a newer relay did not take over; this one goes on");
                        self.table.resume().await;
                    }
                }
                continue;
            }
            let done = CancellationToken::new();
            tokio::spawn(converse(Arc::clone(&self.elders), stream, Arc::clone(&self.client), done.clone()));
            current = Some(done);
        }
    }

    /// Gives everything to a newer relay.
    async fn give_away(&self, stream: UnixStream) -> io::Result<UnixStream> {
        let (estate, sockets) = self.table.estate().await;
        let given = spawn_blocking(move || hand_over::give(stream, &estate, &sockets)).await?;
        hand_over::into_conversation(given?)
    }

    /// Serves the connections that are left, with the newer relay as the caller.
    async fn serve_to_the_end(&self, successor: UnixStream) {
        self.table.retire().await;
        tracing::info!(at = %self.at.display(), "a newer relay has taken over; this one serves its connections to their end");
        self.table.hall.connections.close();
        self.elders.talks.close();
        let ended = async {
            // An elder speaks to the successor through this relay.
            tokio::join!(self.table.hall.connections.wait(), self.elders.talks.wait());
            // Tell the last counts before the end.
            self.table.hall.hurry_counts();
            tokio::time::sleep(TELL_REST * 3).await;
        };
        let talk = async {
            let mut successor = Some(successor);
            loop {
                if let Some(stream) = successor.take() {
                    converse(Arc::clone(&self.elders), stream, Arc::clone(&self.client), CancellationToken::new())
                        .await;
                }
                // The successor has gone. The relay in its place must know of the connections that are left.
                tokio::time::sleep(KNOCK).await;
                successor = self.knock().await.ok();
            }
        };
        tokio::select! {
            () = ended => {}
            () = talk => {}
        }
    }

    /// Tells the relay that now has our place that this relay still carries connections.
    async fn knock(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.at).await?;
        greet(&mut stream, &self.deployment, Caller::Elder).await?;
        Ok(stream)
    }
}

/// Answers one caller until it goes, or until `done`. It finishes a request that it has begun.
async fn converse(elders: Arc<Elders>, stream: UnixStream, client: Client, done: CancellationToken) {
    let (read, write) = stream.into_split();
    let (lines, written) = mpsc::unbounded_channel();
    *client.lock().expect("no holder panics") = Some(lines.clone());
    // The writer lives as long as this function.
    let _ = lines.send(Line::Event(Event::Fresh));
    let answer = async {
        let mut reader = Lines::new(read);
        loop {
            let heard = tokio::select! {
                () = done.cancelled() => return,
                heard = reader.next::<Ask>() => heard,
            };
            match heard {
                Ok(Some(ask)) => drop(lines.send(Line::Answer(ask.id, elders.handle(ask.request).await))),
                Ok(None) => return,
                Err(e) => return tracing::warn!(error = %e, "the server at the relay's socket is not understood"),
            }
        }
    };
    let write = async {
        let _ = write_lines(write, written).await;
        done.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = answer => {}
        () = write => {}
    }
}
