//! The relay as a process: it listens on a Unix socket for the server, of which there is one at a time, and goes on
//! carrying while there is none.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    sync::mpsc,
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    hall::{Hall, TELL_EVERY, TELL_REST},
    hand_over::{self, Estate},
    message::{Event, Request, Response},
    remote::{Ask, Caller, Line, Lines, Remote, greet, write_lines},
    table::Table,
};
use crate::{clock::Clock, domain::TrafficLimits};

/// Why a relay's process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// A newer one has taken over, and the last connection has ended.
    Replaced,
}

/// How long nobody is accepted when nobody can be, and nobody asked who has just hung up.
const REST: Duration = Duration::from_millis(50);

/// How long until a relay whose successor has gone looks for another.
const KNOCK: Duration = Duration::from_millis(200);

/// How often whoever hangs up while it is asked for everything is asked.
const ATTEMPTS: u8 = 3;

/// Whoever is spoken to now.
type Client = Arc<Mutex<Option<mpsc::UnboundedSender<Line>>>>;

/// A relay at its socket.
#[derive(Debug)]
pub struct Process {
    table: Arc<Table>,
    at: PathBuf,
    deployment: String,
    socket: UnixListener,
    client: Client,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl Process {
    /// Begins to listen at `at`. From a relay that listens there already it takes over everything.
    ///
    /// # Errors
    /// If it cannot listen there, or the other relay does not let go.
    pub async fn start(at: &Path, deployment: &str, limits: TrafficLimits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (hall, heard) = Hall::new(limits, clock);
        let table = Table::new(hall);
        let before = before(at, deployment).await?;
        let (socket, fresh) = bind(at)?;
        let Some((mut before, estate, sockets)) = before else {
            std::fs::rename(&fresh, at)?;
            return Ok(Self::at(table, at, deployment, socket, heard));
        };
        // The other one's place is taken only together with all that it has.
        if let Err(e) = hand_over::taken(&mut before) {
            let _ = std::fs::remove_file(&fresh);
            return Err(e);
        }
        std::fs::rename(&fresh, at)?;
        // From here on the other one accepts no connection; until here this one did not.
        let elder = number();
        table.adopt(elder, estate, sockets).await;
        tracing::info!("the listeners of the relay before this one are taken over");
        inherit(&table, elder, hand_over::conversing(before)?);
        Ok(Self::at(table, at, deployment, socket, heard))
    }

    fn at(
        table: Arc<Table>,
        at: &Path,
        deployment: &str,
        socket: UnixListener,
        heard: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        Self { table, at: at.to_owned(), deployment: deployment.to_owned(), socket, client: Client::default(), heard }
    }

    /// Carries, counts and answers, until `stop` ends or a newer relay has taken over.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Ended {
        let Self { table, at, deployment, socket, client, mut heard } = self;
        let told = Arc::clone(&client);
        let serving = Serving { table: Arc::clone(&table), at, deployment, client };
        let tell = async {
            while let Some(event) = heard.recv().await {
                if let Some(client) = &*told.lock().expect("no holder panics") {
                    // One that has gone asks for everything when it is back.
                    let _ = client.send(Line::Event(event));
                }
            }
        };
        tokio::select! {
            () = stop => {
                table.close().await;
                // The socket's file stays: it may be another relay's by now.
                Ended::Told
            }
            () = serving.serve(socket) => Ended::Replaced,
            () = table.tell_counts() => Ended::Told,
            () = tell => Ended::Told,
        }
    }
}

/// What a relay needs to answer.
struct Serving {
    table: Arc<Table>,
    at: PathBuf,
    deployment: String,
    client: Client,
}

impl Serving {
    /// Serves one caller after the other, until a newer relay has taken over and all connections have ended.
    async fn serve(&self, socket: UnixListener) {
        let mut current: Option<CancellationToken> = None;
        loop {
            let Ok((mut stream, _)) = socket.accept().await else {
                // Out of descriptors: a moment's rest, instead of a loop that finds the same.
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
                inherit(&self.table, number(), stream);
                continue;
            }
            // The newer one is spoken to: a server that was restarted, or a relay that wants everything.
            let _ = current.take().map(|c| c.cancel());
            if hello.caller == Caller::Successor {
                match self.give_away(stream).await {
                    Ok(successor) => {
                        // A server that knocks here shall knock at the other one.
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
            tokio::spawn(converse(Arc::clone(&self.table), stream, Arc::clone(&self.client), done.clone()));
            current = Some(done);
        }
    }

    async fn give_away(&self, stream: UnixStream) -> io::Result<UnixStream> {
        let (estate, sockets) = self.table.estate().await;
        let given = spawn_blocking(move || hand_over::give(stream, &estate, &sockets)).await?;
        hand_over::conversing(given?)
    }

    async fn serve_to_the_end(&self, successor: UnixStream) {
        self.table.retire().await;
        tracing::info!(at = %self.at.display(), "a newer relay has taken over; this one serves its connections to their end");
        self.table.hall.connections.close();
        self.table.elders.talks.close();
        let ended = async {
            // One that has handed over to this one speaks to the successor through it.
            tokio::join!(self.table.hall.connections.wait(), self.table.elders.talks.wait());
            // What was counted last is told before the end.
            self.table.hall.hurry_counts();
            tokio::time::sleep(TELL_REST * 3).await;
        };
        let talk = async {
            let mut successor = Some(successor);
            loop {
                if let Some(stream) = successor.take() {
                    converse(Arc::clone(&self.table), stream, Arc::clone(&self.client), CancellationToken::new()).await;
                }
                // It has gone. Whoever stands in its place shall know of the connections that are left.
                tokio::time::sleep(KNOCK).await;
                successor = self.knock().await.ok();
            }
        };
        tokio::select! {
            () = ended => {}
            () = talk => {}
        }
    }

    /// Says to the relay that is at our place now that we still carry something.
    async fn knock(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.at).await?;
        greet(&mut stream, &self.deployment, Caller::Elder).await?;
        Ok(stream)
    }
}

/// Answers one caller until it goes, or until `done`. What has been begun is finished.
async fn converse(table: Arc<Table>, stream: UnixStream, client: Client, done: CancellationToken) {
    let (read, write) = stream.into_split();
    let (lines, written) = mpsc::unbounded_channel();
    *client.lock().expect("no holder panics") = Some(lines.clone());
    // The writer ends only together with this.
    let _ = lines.send(Line::Event(Event::Fresh));
    let answer = async {
        let mut reader = Lines::new(read);
        loop {
            let heard = tokio::select! {
                () = done.cancelled() => return,
                heard = reader.next::<Ask>() => heard,
            };
            match heard {
                Ok(Some(ask)) => drop(lines.send(Line::Answer(ask.id, table.handle(ask.request).await))),
                Ok(None) => return,
                Err(e) => return tracing::warn!(error = %e, "the server at the relay's socket is not understood"),
            }
        }
    };
    let write = async {
        let _ = write_lines(write, written).await;
        done.cancel();
        std::future::pending().await
    };
    tokio::select! {
        () = answer => {}
        () = write => {}
    }
}

/// A socket that can be moved to `at`, into the place of one that may be there. Nothing else is replaced.
fn bind(at: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let there = std::fs::symlink_metadata(at);
    if there.is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(io::Error::other("something that is no socket is there"));
    }
    let mut fresh = at.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let socket = UnixListener::bind(&fresh)?;
    // Whoever may speak to it may open any sandbox's ports.
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    Ok((socket, fresh.into()))
}

/// What a relay gives, and the connection on which it waits to hear that it was taken.
type Given = (std::os::unix::net::UnixStream, Estate, Vec<TcpListener>);

/// What the relay at `at` gives. None is there, or one that has ended left its socket behind: nothing.
async fn before(at: &Path, deployment: &str) -> io::Result<Option<Given>> {
    let mut attempts = ATTEMPTS;
    loop {
        let Ok(stream) = UnixStream::connect(at).await else {
            return Ok(None);
        };
        attempts -= 1;
        match take_over(stream, deployment).await {
            // It has just ended, or is handing over to another one: whoever is there in a moment is asked.
            Err(e) if attempts > 0 && has_hung_up(&e) => tokio::time::sleep(REST).await,
            given => return given.map(Some),
        }
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Everything from the relay at the other end, which is its own until it hears that it was taken.
async fn take_over(mut stream: UnixStream, deployment: &str) -> io::Result<Given> {
    greet(&mut stream, deployment, Caller::Successor).await?;
    let (stream, estate, sockets) = spawn_blocking(|| hand_over::take(stream)).await??;
    let listening = |socket: std::net::TcpListener| {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    let sockets = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
    Ok((stream, estate, sockets))
}

/// A number for an older relay.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Passes on to an older relay what we are told, and takes up what it says, until its last connection has ended.
fn inherit(table: &Arc<Table>, elder: u64, stream: UnixStream) {
    let remote = Arc::new(Remote::default());
    table.elders.add(elder, Arc::clone(&remote));
    let (events, mut heard) = mpsc::unbounded_channel();
    let table = Arc::clone(table);
    let elders = table.elders.talks.clone();
    elders.spawn(async move {
        let listen = async {
            while let Some(event) = heard.recv().await {
                match event {
                    Event::Counts(counts) => table.inherit(elder, &counts),
                    Event::Wake { .. } => table.hall.tell(event),
                    // What we know; not that there is nothing else, which only the server can say.
                    Event::Fresh => table.routes().into_iter().for_each(|route| remote.say(Request::Put(route))),
                }
            }
        };
        // Not only what it says unasked: it may have said it before we knew the sandbox.
        let ask = async {
            loop {
                if let Ok(Response::Counts(counts)) = remote.ask(Request::Counts).await {
                    table.inherit(elder, &counts);
                }
                tokio::time::sleep(TELL_EVERY).await;
            }
        };
        tokio::select! {
            _ = remote.speak(stream, &events) => {}
            () = listen => {}
            () = ask => {}
        }
        table.remove_elder(elder);
        tracing::info!("the last connection of an older relay has ended");
    });
}
