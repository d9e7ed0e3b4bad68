//! One connection: from its acceptance to a sandbox that runs, and through it.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    carry::{break_off, carry},
    courtesy::{HttpRequest, Matter, Notice},
    door::keep_alive,
    entry::Entry,
    message::{Event, Listen, Target},
    proxy_protocol,
    state::State,
    table::Core,
};

/// How long a client that wants a sleeping sandbox may take to say its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long one attempt to connect to a sandbox may take. The way there is a bridge on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// How long until a sandbox that has just been started is asked again whether its port is open.
const RETRY: Duration = Duration::from_millis(20);

/// After how long a browser is shown that it waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of a request is looked at.
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
    /// It could not be woken, or was not in time.
    NotWoken,
    /// It runs, and nothing listens on that port.
    Refused,
    /// It is on its way, and the client is a browser that shall not wait without a word.
    Soon,
}

/// A connection that has reached its sandbox.
struct Reached {
    server: TcpStream,
    generation: u64,
    state: watch::Receiver<State>,
}

/// Serves a connection to its end.
pub async fn serve(core: Arc<Core>, entry: Arc<Entry>, listen: Listen, client: TcpStream, peer: SocketAddr) {
    let visit = Visit { core: &core, entry: &entry, listen: &listen, client: &client, peer };
    match visit.reach().await {
        Ok(reached) => carry_through(&core, &entry, &listen, client, peer, reached).await,
        Err(away) => {
            tracing::debug!(sandbox = %entry.sandbox, %peer, port = listen.inside, ?away, "not carried");
            turn_away(client, &core, &entry, &listen, away).await;
        }
    }
}

/// Carries a connection that has reached its sandbox, and counts it.
async fn carry_through(
    core: &Core,
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
    core.changed();
    carry(client, server, &bytes, cut(state, generation)).await;
    meter.end(&bytes, core.clock.now(), core.limits.floor);
    core.changed();
}

/// Waits until a connection that belongs to `generation` has had its grace after that start has ended.
async fn cut(mut state: watch::Receiver<State>, generation: u64) {
    loop {
        let now = state.borrow_and_update().clone();
        let ended = now.generation != generation || !now.target.is_open();
        let grace = async {
            if ended {
                sleep(now.cut_after).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = grace => return,
            _ = state.changed() => {}
        }
    }
}

struct Visit<'a> {
    core: &'a Core,
    entry: &'a Entry,
    listen: &'a Listen,
    client: &'a TcpStream,
    peer: SocketAddr,
}

impl Visit<'_> {
    /// A connection to the sandbox, once there can be one.
    async fn reach(&self) -> Result<Reached, Away> {
        let waiting = async {
            tokio::select! {
                () = sleep(self.core.limits.wake_timeout) => Away::NotWoken,
                () = self.browser_is_impatient() => Away::Soon,
                // It has broken off: nobody waits any more.
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
        let mut state = self.entry.subscribe();
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
                    // It runs no more, whatever the table says, or says otherwise by now.
                    _ if !now.is_alive() => drop(state.changed().await),
                    Some(_) => {}
                    // What was started a moment ago may not listen yet.
                    None if now.since.elapsed() < self.core.limits.wake_timeout => {
                        let _ = timeout(RETRY, state.changed()).await;
                    }
                    None => return Err(Away::Refused),
                },
            }
        }
    }

    /// Waits until the client has said something, or need not. A scan of ports says nothing.
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
        if self.entry.asked.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // It may have changed since it was looked at; then what was changed has reset the question.
        if state.has_changed().unwrap_or(true) {
            self.entry.asked.store(false, Ordering::Release);
            return Ok(());
        }
        if !self.core.wakes.allow(self.peer.ip(), &self.core.limits) {
            // Somebody else may ask who was told that this one does.
            self.entry.ask_again();
            return Err(Away::TooMany);
        }
        self.entry.begins(self.core.clock.now());
        let sandbox = self.entry.sandbox.clone();
        self.core.tell(Event::Wake { sandbox, peer: self.peer, inside: self.listen.inside });
        Ok(())
    }

    /// One attempt; `None` if nothing answers there now.
    async fn connect(&self, address: IpAddr, now: &State) -> Option<TcpStream> {
        if !now.is_alive() {
            return None;
        }
        timeout(CONNECT, TcpStream::connect((address, self.listen.inside))).await.ok()?.ok()
    }

    /// Waits until a browser has waited long enough to be told so. Others are not told, and wait to the end.
    async fn browser_is_impatient(&self) {
        sleep(PATIENCE).await;
        match peek_http(self.client, self.listen).await {
            Some(request) if request.repeatable => {}
            _ => std::future::pending().await,
        }
    }
}

/// What the client asks for, if it speaks HTTP where that may be; waits for its first bytes.
async fn peek_http(client: &TcpStream, listen: &Listen) -> Option<HttpRequest> {
    if !listen.http {
        return None;
    }
    let mut begun = vec![0; PEEK];
    let length = client.peek(&mut begun).await.ok()?;
    HttpRequest::parse(&begun[..length])
}

/// Tells who speaks HTTP how it is, and breaks off with the others.
async fn turn_away(mut client: TcpStream, core: &Core, entry: &Entry, listen: &Listen, away: Away) {
    let now = core.clock.now();
    let (name, begun) = entry.started(now);
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
    // Read it, since a socket that is closed with something unread takes the answer back.
    let mut unread = vec![0; PEEK];
    loop {
        match client.try_read(&mut unread) {
            Ok(1..) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            // It has ended its side, and listens.
            Ok(0) => break,
            Err(_) => return None,
        }
    }
    client.write_all(&request.answer(notice)).await.ok()?;
    client.shutdown().await.ok()?;
    while client.read(&mut unread).await.is_ok_and(|n| n > 0) {}
    Some(())
}
