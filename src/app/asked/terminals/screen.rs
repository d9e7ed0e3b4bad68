//! Screen: what a terminal has shown, and who looks at it. Whoever reads too slowly is dropped, so that it costs
//! bounded memory and stops nobody else for long.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::domain::Who;

/// How many bytes whoever comes back, or comes to look, is shown.
const SCROLLBACK: usize = 64 * 1024;

/// How many pieces wait for a slow reader. Each has at most 16 KiB.
const PIECES: usize = 16;

/// How long a terminal waits for somebody who types in it and does not read.
pub const STALL: Duration = Duration::from_secs(10);

/// Somebody at a terminal.
#[derive(Debug)]
struct Viewer {
    who: Who,
    writes: bool,
    queue: mpsc::Sender<Vec<u8>>,
}

/// The queue of one of those to whom something is to be shown.
pub struct Waiting {
    number: u64,
    writes: bool,
    queue: mpsc::Sender<Vec<u8>>,
}

impl Waiting {
    /// Shows it. Returns the viewer's number if it is too slow, or gone.
    pub async fn show(self, bytes: Vec<u8>) -> Option<u64> {
        let shown = if self.writes {
            tokio::time::timeout(STALL, self.queue.send(bytes)).await.is_ok_and(|sent| sent.is_ok())
        } else {
            // Whoever only looks stops nobody.
            self.queue.try_send(bytes).is_ok()
        };
        Some(self.number).filter(|_| !shown)
    }
}

/// What a terminal has shown, and who looks at it.
#[derive(Debug, Default)]
pub struct Screen {
    shown: VecDeque<u8>,
    viewers: BTreeMap<u64, Viewer>,
    next: u64,
}

fn line(text: &str) -> Vec<u8> {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\r\n[Spindle] {plain}\r\n").into_bytes()
}

impl Screen {
    /// Adds what the program wrote. Returns those who are to be shown it.
    pub fn write(&mut self, bytes: &[u8]) -> Vec<Waiting> {
        self.shown.extend(bytes);
        let old = self.shown.len().saturating_sub(SCROLLBACK);
        self.shown.drain(..old);
        let waiting = |(number, viewer): (&u64, &Viewer)| Waiting {
            number: *number,
            writes: viewer.writes,
            queue: viewer.queue.clone(),
        };
        self.viewers.iter().map(waiting).collect()
    }

    /// Somebody comes. Returns the viewer's number, what was shown before, and what will be shown. Whoever types here
    /// is told.
    pub fn join(&mut self, who: &Who, writes: bool) -> (u64, Vec<u8>, mpsc::Receiver<Vec<u8>>) {
        let mut before: Vec<u8> = self.shown.iter().copied().collect();
        if writes {
            let watching = self.viewers.values().filter(|viewer| !viewer.writes);
            before.extend(watching.flat_map(|viewer| line(&format!("{} watches this terminal", viewer.who))));
        }
        self.tell(who, if writes { "has joined this terminal" } else { "watches this terminal" });
        let (queue, told) = mpsc::channel(PIECES);
        let number = self.next;
        self.next += 1;
        self.viewers.insert(number, Viewer { who: who.clone(), writes, queue });
        (number, before, told)
    }

    /// Somebody leaves.
    pub fn leave(&mut self, number: u64) {
        if let Some(gone) = self.viewers.remove(&number) {
            self.tell(
                &gone.who,
                if gone.writes { "has left this terminal" } else { "no longer watches this terminal" },
            );
        }
    }

    /// Tells those who type here what `who` does, unless they are the same.
    fn tell(&self, who: &Who, does: &str) {
        let others = self.viewers.values().filter(|viewer| viewer.writes && viewer.who != *who);
        for other in others {
            // If the queue is full, there is more important to read.
            let _ = other.queue.try_send(line(&format!("{who} {does}")));
        }
    }

    /// Everybody leaves: the terminal has ended.
    pub fn clear(&mut self) {
        self.viewers.clear();
    }

    /// How many type here.
    pub fn writers(&self) -> usize {
        self.viewers.values().filter(|viewer| viewer.writes).count()
    }

    /// Who is here: those who type, or those who watch.
    pub fn people(&self, writes: bool) -> Vec<Who> {
        self.viewers.values().filter(|viewer| viewer.writes == writes).map(|viewer| viewer.who.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(name: &str) -> Who {
        Who::User(name.into())
    }

    async fn write(screen: &mut Screen, bytes: &[u8]) {
        for waiting in screen.write(bytes) {
            if let Some(number) = waiting.show(bytes.to_vec()).await {
                screen.leave(number);
            }
        }
    }

    #[tokio::test]
    async fn whoever_comes_is_shown_the_end_of_what_was() {
        let mut screen = Screen::default();
        for n in 0..200 {
            write(&mut screen, &[n; 1_000]).await;
        }
        let (_, before, mut told) = screen.join(&somebody("ann"), true);
        assert_eq!((before.len(), before[SCROLLBACK - 1]), (SCROLLBACK, 199));
        write(&mut screen, b"next").await;
        assert_eq!(told.recv().await.unwrap(), b"next");
    }

    #[tokio::test]
    async fn whoever_types_is_told_who_watches_and_not_of_themselves() {
        let mut screen = Screen::default();
        let (_, _, mut told) = screen.join(&somebody("lea"), true);
        let (watcher, ..) = screen.join(&somebody("ina\x1b[2J"), false);
        assert_eq!(told.recv().await.unwrap(), b"\r\n[Spindle] ina[2J watches this terminal\r\n");
        let (_, before, _again) = screen.join(&somebody("lea"), true);
        assert_eq!(before, b"\r\n[Spindle] ina[2J watches this terminal\r\n");
        screen.leave(watcher);
        assert_eq!(told.recv().await.unwrap(), b"\r\n[Spindle] ina[2J no longer watches this terminal\r\n");
        assert!(told.try_recv().is_err());
        assert_eq!(screen.writers(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_read_is_dropped_and_who_only_looks_at_once() {
        let mut screen = Screen::default();
        let (_, _, _looks) = screen.join(&somebody("ina"), false);
        let (_, _, mut reads) = screen.join(&somebody("lea"), true);
        let (_, _, _types) = screen.join(&somebody("bob"), true);
        for _ in 0..PIECES {
            write(&mut screen, b"x").await;
            reads.recv().await.unwrap();
        }
        assert_eq!(screen.people(false).len(), 1, "the queue has room until now");
        let began = tokio::time::Instant::now();
        write(&mut screen, b"x").await;
        assert!(screen.people(false).is_empty());
        assert_eq!(screen.people(true), [somebody("lea")], "who reads stays");
        assert!(began.elapsed() >= STALL, "who types is waited for");
    }
}
