//! A relay of its own process: sessions outlive the server, and a newer relay takes over without turning anybody away.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use spindle::{
    clock::SystemClock,
    relay::{Ended, Event, Process, Relay, Request, Response},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::stand::*;

/// A relay's process, as a task.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

async fn start(at: &Path) -> Running {
    let process = Process::start(at, "test", LIMITS, Arc::new(SystemClock)).await.unwrap();
    let stop = CancellationToken::new();
    let told = stop.clone();
    Running { stop, task: tokio::spawn(async move { process.run(told.cancelled_owned()).await }) }
}

impl Running {
    async fn end(self) -> Ended {
        self.stop.cancel();
        self.ended().await
    }

    async fn ended(self) -> Ended {
        soon("the relay's end", self.task).await.unwrap()
    }
}

/// A server's handle on it, until dropped.
struct Server {
    relay: Arc<Relay>,
    task: JoinHandle<()>,
}

impl Server {
    async fn connect(at: &Path) -> Self {
        let relay = Arc::new(Relay::there(at.to_path_buf(), "test"));
        let speaking = Arc::clone(&relay);
        let task = tokio::spawn(async move { speaking.run().await });
        let server = Self { relay, task };
        server.fresh().await;
        server
    }

    /// Waits until it is to tell everything.
    async fn fresh(&self) {
        soon("a relay that wants to know", async { while self.relay.event().await != Some(Event::Fresh) {} }).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("spindle-test-relay-{}-{number}", std::process::id()))
}

/// A relay's process, a server at it, and a sandbox that is reached through both.
async fn stage() -> (PathBuf, SocketAddr, Named, Running, Server) {
    let (at, inner, outer) = (socket(), place(), outside());
    let named = Named::start(inner, "me").await;
    let relay = start(&at).await;
    let server = Server::connect(&at).await;
    put(&server.relay, route(1, 1, open(inner), listen(outer))).await;
    (at, outer, named, relay, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_the_server_and_the_relays_successors() {
    let (at, outer, _named, first, server) = stage().await;
    let mut session = connect(outer).await;
    assert_eq!(exchange(&mut session, "1", 3).await.unwrap(), "me1");
    drop(server);
    assert_eq!(exchange(&mut session, "2", 1).await.unwrap(), "2", "the server is gone");
    assert_eq!(exchange(&mut connect(outer).await, "x", 3).await.unwrap(), "mex", "new ones come in");
    let server = Server::connect(&at).await;

    let second = start(&at).await;
    server.fresh().await;
    let third = start(&at).await;
    server.fresh().await;
    assert_eq!(exchange(&mut session, "3", 1).await.unwrap(), "3", "two relays later");
    assert!(!first.task.is_finished(), "it serves the session");
    until("the session is counted by the one who is asked", async || {
        counts(&server.relay).await.iter().any(|c| (c.open, c.bytes_in, c.bytes_out) == (1, 4, 8))
    })
    .await;
    let load = || async {
        match server.relay.ask(Request::Load).await.unwrap() {
            Response::Load(load) => load.connections,
            other => panic!("{other:?}"),
        }
    };
    let new = connect(outer).await;
    until("the relay's own connection and its elders' are its load", async || load().await == 2).await;
    drop(new);
    until("only the session is left", async || load().await == 1).await;
    drop(session);
    assert_eq!(first.ended().await, Ended::Replaced);
    assert_eq!(second.ended().await, Ended::Replaced);
    until("nothing is open", async || counts(&server.relay).await.iter().all(|c| c.open == 0)).await;
    assert_eq!(third.end().await, Ended::Told);
    std::fs::remove_file(at).unwrap();
}

/// Whoever knocks while the listeners change hands is let in by one or the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_turned_away_while_a_relay_is_replaced() {
    let (at, outer, _named, first, server) = stage().await;
    let mut relays = vec![first];
    let enough = Arc::new(AtomicBool::new(false));
    let knocking: Vec<_> = (0..4)
        .map(|_| {
            let enough = Arc::clone(&enough);
            tokio::spawn(async move {
                let mut served = 0;
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(exchange(&mut connect(outer).await, "x", 3).await.unwrap(), "mex");
                    served += 1;
                }
                served
            })
        })
        .collect();
    for _ in 0..5 {
        relays.push(start(&at).await);
        server.fresh().await;
    }
    enough.store(true, Ordering::Relaxed);
    for client in knocking {
        assert!(client.await.unwrap() > 0);
    }
    let last = relays.pop().unwrap();
    for relay in relays {
        assert_eq!(relay.ended().await, Ended::Replaced);
    }
    last.end().await;
    std::fs::remove_file(at).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_has_handed_over_still_does_what_it_is_told() {
    let (at, outer, _named, first, server) = stage().await;
    let mut session = connect(outer).await;
    assert_eq!(exchange(&mut session, "1", 3).await.unwrap(), "me1");
    let second = start(&at).await;
    server.fresh().await;
    assert_eq!(server.relay.ask(Request::Remove(id(1))).await, Ok(Response::Done));
    assert!(matches!(end_of(&mut session).await, Ok(0) | Err(_)), "its sandbox is gone");
    assert_eq!(first.ended().await, Ended::Replaced);
    second.end().await;
    std::fs::remove_file(at).unwrap();
}

/// The server is away; whoever comes back is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_that_nobody_heard_is_asked_for_again() {
    let at = socket();
    let outer = outside();
    let relay = start(&at).await;
    let server = Server::connect(&at).await;
    let sleeping = route(1, 1, spindle::relay::Target::Asleep, listen(outer));
    put(&server.relay, sleeping.clone()).await;
    drop(server);
    let mut client = connect(outer).await;
    tokio::io::AsyncWriteExt::write_all(&mut client, b"anybody?").await.unwrap();
    let server = Server::connect(&at).await;
    assert_eq!(server.relay.ask(Request::Table(vec![sleeping])).await, Ok(Response::Held(vec![])));
    assert_eq!(wake(&server.relay).await, id(1));
    relay.end().await;
    std::fs::remove_file(at).unwrap();
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_said_to_be_away() {
    let relay = Relay::there(socket(), "test");
    assert!(relay.ask(Request::Counts).await.unwrap_err().to_string().contains("does not answer"));
}

/// Whoever says that it is a newer relay and then goes, or talks nonsense, changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_that_fails_leaves_everything_as_it_was() {
    use std::io::{Read, Write};
    let (at, outer, _named, first, server) = stage().await;
    for words in [
        "{\"spindle_relay\":1,\"deployment\":\"test\",\"caller\":\"Successor\"}\n",
        "{\"spindle_relay\":1,\"deployment\":\"other\"}\n",
        "GET / HTTP/1.1\r\n\r\n",
        "{\"spindle_relay\":9}\n",
        "",
    ] {
        let mut stranger = std::os::unix::net::UnixStream::connect(&at).unwrap();
        stranger.write_all(words.as_bytes()).unwrap();
        assert_eq!(stranger.read(&mut [0]).unwrap(), 1, "it is greeted");
    }
    until("the server is spoken to again", async || server.relay.ask(Request::Counts).await.is_ok()).await;
    assert_eq!(exchange(&mut connect(outer).await, "x", 3).await.unwrap(), "mex");
    assert_eq!(server.relay.ask(Request::Remove(id(1))).await, Ok(Response::Done));
    let _freed = std::net::TcpListener::bind(outer).unwrap();
    first.end().await;
    std::fs::remove_file(at).unwrap();
}

/// The relay that took over dies; what the one before it still carries is counted by the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_relay_whose_successor_died_are_counted() {
    let (at, outer, _named, first, server) = stage().await;
    let mut session = connect(outer).await;
    assert_eq!(exchange(&mut session, "1", 3).await.unwrap(), "me1");
    // A runtime of its own, that can die with all that is in it, as a process does.
    let second = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = at.clone();
    second.spawn(async move { start(&place).await.ended().await });
    server.fresh().await;
    second.shutdown_background();
    let third = start(&at).await;
    server.fresh().await;
    let again = route(1, 1, spindle::relay::Target::Shut, listen(outer));
    let again = spindle::relay::Route { cut_after_ms: 60_000, ports: vec![], ..again };
    assert_eq!(server.relay.ask(Request::Table(vec![again])).await, Ok(Response::Held(vec![])));
    assert_eq!(exchange(&mut session, "2", 1).await.unwrap(), "2");
    until("it is counted", async || {
        counts(&server.relay).await.iter().any(|c| (c.open, c.bytes_in, c.bytes_out) == (1, 2, 4))
    })
    .await;
    drop(session);
    assert_eq!(first.ended().await, Ended::Replaced);
    until("it has ended", async || counts(&server.relay).await.iter().all(|c| c.open == 0)).await;
    third.end().await;
    std::fs::remove_file(at).unwrap();
}

/// Whoever knocks at one that is just ending finds that nobody is there.
#[tokio::test]
async fn a_relay_that_ends_while_it_is_asked_is_no_obstacle() {
    let at = socket();
    let ending = tokio::net::UnixListener::bind(&at).unwrap();
    let (next, ()) = tokio::join!(start(&at), async {
        let asked = soon("a relay that asks", ending.accept()).await.unwrap();
        drop(ending);
        drop(asked);
    });
    let server = Server::connect(&at).await;
    assert_eq!(counts(&server.relay).await, []);
    next.end().await;
    std::fs::remove_file(at).unwrap();
}

#[tokio::test]
async fn nothing_but_a_socket_is_replaced() {
    let at = socket();
    std::fs::write(&at, "precious").unwrap();
    let refused = Process::start(&at, "test", LIMITS, Arc::new(SystemClock)).await.unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&at).unwrap(), "precious");
    std::fs::remove_file(at).unwrap();
}
