//! One connection: takes it from its acceptance to a running sandbox, waking the sandbox if need be, and carries it.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    carry::carry,
    courtesy::{HttpRequest, Matter, Notice},
    entry::Entry,
    hall::Hall,
    message::{Event, Listen, Target},
    proxy_protocol,
    sockets::{break_off, keep_alive},
    state::State,
};

/// How long a client that wants a sleeping sandbox may take to say its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long one attempt to connect to a sandbox may take. The way there is a bridge on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// How long to wait before a port of a sandbox that was just started is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// How long a browser waits before it is shown that it waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many bytes of a request are looked at.
const PEEK: usize = 4096;

/// How long a client may take to read what it is told.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a connection was not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// The sandbox does not run, and is not woken.
    Shut,
    /// The client said nothing, or broke off.
    Silent,
    /// There were too many wakes.
    TooMany,
    /// The sandbox could not be woken, or not in time.
    NotWoken,
    /// The sandbox runs, and nothing listens on that port.
    Refused,
    /// The sandbox is being started. The client is a browser, and is told so.
    Soon,
}

/// A connection that has reached its sandbox.
struct Reached {
    server: TcpStream,
    generation: u64,
    state: watch::Receiver<State>,
}

/// Serves a connection to its end.
pub async fn serve(hall: Arc<Hall>, entry: Arc<Entry>, listen: Listen, client: TcpStream, peer: SocketAddr) {
    let visit = Visit { hall: &hall, entry: &entry, listen: &listen, client: &client, peer };
    match visit.reach().await {
        Ok(reached) => carry_through(&hall, &entry, &listen, client, peer, reached).await,
        Err(away) => {
            tracing::debug!(sandbox = %entry.sandbox, %peer, port = listen.inside, ?away, "not carried");
            turn_away(client, &hall, &entry, &listen, away).await;
        }
    }
}

/// Carries a connection that has reached its sandbox, and counts it.
async fn carry_through(
    hall: &Hall,
    entry: &Entry,
    listen: &Listen,
    client: TcpStream,
    peer: SocketAddr,
    reached: Reached,
) {
    let Reached { mut server, generation, state } = reached;
    keep_alive(&server);
    if listen.proxy_protocol {
        let to = client.local_addr().unwrap_or(listen.outside);
        if server.write_all(&proxy_protocol::header(peer, to)).await.is_err() {
            return;
        }
    }
    let meter = entry.meter(listen.inside);
    let bytes = meter.begin(generation);
    hall.hurry_counts();
    carry(client, server, &bytes, cut(state, generation)).await;
    meter.end(&bytes, hall.clock.now(), hall.limits.floor);
    hall.hurry_counts();
}

/// Waits until the start `generation` has ended, and then for the grace of its connections.
async fn cut(mut state: watch::Receiver<State>, generation: u64) {
    loop {
        let now = state.borrow_and_update().clone();
        let ended = now.generation != generation || !now.target.is_open();
        let grace = async {
            if ended {
                sleep(now.cut_after).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = grace => return,
            _ = state.changed() => {}
        }
    }
}

struct Visit<'a> {
    hall: &'a Hall,
    entry: &'a Entry,
    listen: &'a Listen,
    client: &'a TcpStream,
    peer: SocketAddr,
}

impl Visit<'_> {
    /// Connects to the sandbox, as soon as that is possible.
    async fn reach(&self) -> Result<Reached, Away> {
        let waiting = async {
            tokio::select! {
                () = sleep(self.hall.limits.wake_timeout) => Away::NotWoken,
                () = self.browser_is_impatient() => Away::Soon,
                // The client has broken off: nobody waits.
                _ = self.client.ready(Interest::ERROR) => Away::Silent,
            }
        };
        tokio::select! {
            biased;
            reached = self.try_reach() => reached,
            away = waiting => Err(away),
        }
    }

    async fn try_reach(&self) -> Result<Reached, Away> {
        let mut state = self.entry.follow();
        let refused = state.borrow().refused;
        loop {
            let now = state.borrow_and_update().clone();
            if now.refused != refused {
                return Err(Away::NotWoken);
            }
            match now.target {
                Target::Shut => return Err(Away::Shut),
                Target::Asleep => {
                    tokio::select! {
                        // Somebody else may have woken it.
                        _ = state.changed() => continue,
                        wanted = self.wants_it() => wanted?,
                    }
                    self.ask_to_wake(&state)?;
                    let _ = state.changed().await;
                }
                Target::Open { address, .. } => match self.connect(address, &now).await {
                    Some(server) if state.borrow().is_same_start(&now) && now.is_alive() => {
                        return Ok(Reached { server, generation: now.generation, state });
                    }
                    // The sandbox has ended. The table will say so.
                    _ if !now.is_alive() => drop(state.changed().await),
                    Some(_) => {}
                    // A program that was started a moment ago may not listen yet.
                    None if now.since.elapsed() < self.hall.limits.wake_timeout => {
                        let _ = timeout(RETRY, state.changed()).await;
                    }
                    None => return Err(Away::Refused),
                },
            }
        }
    }

    /// Waits until the client has said something, unless the port wakes without. A scan of ports says nothing.
    async fn wants_it(&self) -> Result<(), Away> {
        if self.listen.wakes_silent {
            return Ok(());
        }
        match timeout(FIRST_BYTE, self.client.peek(&mut [0])).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) | Err(_) => Err(Away::Silent),
        }
    }

    /// Asks for the sandbox's wake, unless that has been done.
    fn ask_to_wake(&self, state: &watch::Receiver<State>) -> Result<(), Away> {
        if !self.entry.take_question(state) {
            return Ok(());
        }
        if !self.hall.wakes.allow(self.peer.ip(), &self.hall.limits) {
            // Others rely on this connection to ask. One of them may be allowed to.
            self.entry.ask_again();
            return Err(Away::TooMany);
        }
        self.entry.begin_wake(self.hall.clock.now());
        let sandbox = self.entry.sandbox.clone();
        self.hall.tell(Event::Wake { sandbox, peer: self.peer, inside: self.listen.inside });
        Ok(())
    }

    /// One attempt; `None` if nothing answers there now.
    async fn connect(&self, address: IpAddr, now: &State) -> Option<TcpStream> {
        if !now.is_alive() {
            return None;
        }
        timeout(CONNECT, TcpStream::connect((address, self.listen.inside))).await.ok()?.ok()
    }

    /// Ends when a browser has waited long enough to be told so. Other clients are not told, and wait on.
    async fn browser_is_impatient(&self) {
        sleep(PATIENCE).await;
        match peek_http(self.client, self.listen).await {
            Some(request) if request.repeatable => {}
            _ => std::future::pending().await,
        }
    }
}

/// What the client asks for, if it speaks HTTP and the port allows that. Waits for the first bytes.
async fn peek_http(client: &TcpStream, listen: &Listen) -> Option<HttpRequest> {
    if !listen.http {
        return None;
    }
    let mut begun = vec![0; PEEK];
    let length = client.peek(&mut begun).await.ok()?;
    HttpRequest::parse(&begun[..length])
}

/// Tells a client that speaks HTTP why it is turned away. Breaks off with other clients.
async fn turn_away(mut client: TcpStream, hall: &Hall, entry: &Entry, listen: &Listen, away: Away) {
    let now = hall.clock.now();
    let (name, begun) = (entry.name(), entry.started_at(now));
    let matter = match away {
        Away::Silent => return break_off(&client),
        Away::Soon => Matter::Starting(begun),
        Away::NotWoken => Matter::NotStarted,
        Away::Shut => Matter::Stopped,
        Away::Refused => Matter::Silent(listen.inside),
        Away::TooMany => Matter::Busy,
    };
    let notice = Notice { name: &name, matter, now };
    let told = timeout(FAREWELL, explain(&mut client, listen, &notice)).await;
    if !matches!(told, Ok(Some(()))) {
        break_off(&client);
    }
}

async fn explain(client: &mut TcpStream, listen: &Listen, notice: &Notice<'_>) -> Option<()> {
    let request = peek_http(client, listen).await?;
    // Read the request first: closing a socket with unread bytes destroys the answer.
    let mut unread = vec![0; PEEK];
    loop {
        match client.try_read(&mut unread) {
            Ok(1..) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            // The client has ended its side, and still reads.
            Ok(0) => break,
            Err(_) => return None,
        }
    }
    client.write_all(&request.answer(notice)).await.ok()?;
    client.shutdown().await.ok()?;
    while client.read(&mut unread).await.is_ok_and(|n| n > 0) {}
    Some(())
}
