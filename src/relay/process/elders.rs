//! Elders: older relays, which serve their connections to the end. This relay tells them what it is told, and asks for
//! their counts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{net::UnixStream, sync::mpsc};
use tokio_util::task::TaskTracker;

use super::remote::Remote;
use crate::relay::{
    hall::TELL_EVERY,
    message::{Event, Request, Response},
    table::Table,
};

/// The older relays, by numbers that we give them.
#[derive(Debug)]
pub struct Elders {
    table: Arc<Table>,
    remotes: Mutex<HashMap<u64, Arc<Remote>>>,
    /// The number of the next one.
    next: AtomicU64,
    /// The talks with them. Each ends with the elder's last connection.
    pub talks: TaskTracker,
}

impl Elders {
    /// No elders yet. What they count will go into `table`.
    pub fn new(table: Arc<Table>) -> Arc<Self> {
        let (remotes, next, talks) = (Mutex::default(), AtomicU64::new(0), TaskTracker::new());
        Arc::new(Self { table, remotes, next, talks })
    }

    /// Takes a number for an older relay.
    pub fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Does what is asked, here and in the older relays that still live.
    pub async fn handle(&self, request: Request) -> Response {
        if !matches!(request, Request::Counts | Request::Load) {
            self.remotes.lock().expect("no holder panics").values().for_each(|elder| elder.say(request.clone()));
        }
        self.table.handle(request).await
    }

    /// Talks with an older relay until its last connection has ended.
    pub fn talk(self: &Arc<Self>, elder: u64, stream: UnixStream) {
        let (elders, remote) = (Arc::clone(self), Arc::new(Remote::default()));
        self.remotes.lock().expect("no holder panics").insert(elder, Arc::clone(&remote));
        let (events, mut heard) = mpsc::unbounded_channel();
        self.talks.spawn(async move {
            let table = &elders.table;
            let listen = async {
                while let Some(event) = heard.recv().await {
                    match event {
                        Event::Counts(counts) => table.inherit(elder, &counts),
                        Event::Wake { .. } => table.hall.tell(event),
                        // Tell what we know sandbox by sandbox: only the server can say that there are no others.
                        Event::Fresh => table.routes().into_iter().for_each(|route| remote.say(Request::Put(route))),
                    }
                }
            };
            // Ask for the counts. The elder may have told them unasked before we knew the sandbox.
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
            elders.remotes.lock().expect("no holder panics").remove(&elder);
            table.disinherit(elder);
            tracing::info!("the last connection of an older relay has ended");
        });
    }
}
