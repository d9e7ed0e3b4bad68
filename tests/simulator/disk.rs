//! The disk under the store. For a while or for one write it is full, locked by others, read-only or slow.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};

use super::{
    clock::pass,
    life::Life,
    world::{PERIOD, World},
};
use crate::store::Fault;

/// How long a write waits for a locked database, as in the real store.
const BUSY: i64 = 5_000;

/// What is wrong with the disk for a while.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Full,
    Locked,
    ReadOnly,
    /// How long a write takes at most, in milliseconds.
    Slow(i64),
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    wrong: Mutex<Option<Wrong>>,
    /// How many of a thousand writes go wrong.
    faults: AtomicI64,
    /// Writers that wait are served in turn.
    turns: tokio::sync::Mutex<()>,
}

impl Disk {
    fn wrong(&self) -> Option<Wrong> {
        *self.wrong.lock().expect("no holder panics")
    }

    fn set(&self, wrong: Option<Wrong>) {
        *self.wrong.lock().expect("no holder panics") = wrong;
    }

    pub fn set_faults(&self, faults: i64) {
        self.faults.store(faults, Ordering::Relaxed);
    }
}

impl World {
    /// A write on its way to the disk, or its answer on its way back. Returns how it fails, if it fails.
    pub async fn write(&self, life: &Life) -> Option<Fault> {
        let since = self.clock.elapsed();
        let wrong = self.disk.wrong();
        if matches!(wrong, Some(Wrong::Locked)) {
            pass(self.dice.of(0..BUSY)).await;
        }
        {
            let _turn = self.disk.turns.lock().await;
            if let Some(Wrong::Slow(longest)) = wrong {
                pass(self.dice.of(0..longest) - (self.clock.elapsed() - since)).await;
            }
        }
        life.point().await;
        // The disk may have been mended meanwhile.
        match self.disk.wrong() {
            Some(Wrong::Full) => Some(self.some_fault()),
            Some(Wrong::Locked | Wrong::ReadOnly) => Some(Fault::Begin),
            None if self.dice.in_thousand(self.disk.faults.load(Ordering::Relaxed)) => {
                let fault = self.some_fault();
                let mut oracle = self.oracle();
                oracle.tell(|| format!("disk: a write may fail: {fault:?}"));
                oracle.trouble(None, true);
                oracle.trouble(None, false);
                Some(fault)
            }
            Some(Wrong::Slow(_)) | None => None,
        }
    }

    fn some_fault(&self) -> Fault {
        match self.dice.of(0..4) {
            0 => Fault::Begin,
            1 => Fault::Commit,
            _ => Fault::After(self.dice.of(10..60)),
        }
    }

    /// Something is wrong with the disk for a while.
    pub async fn break_disk(&self) {
        if self.disk.wrong().is_some() {
            return;
        }
        let wrong = match self.dice.of(0..5) {
            0 | 1 => Wrong::Full,
            2 => Wrong::Locked,
            3 => Wrong::ReadOnly,
            _ => Wrong::Slow(self.dice.of(500..15_000)),
        };
        let long = self.dice.in_thousand(300);
        let takes = self.dice.of(if long { 2 * PERIOD..80_000 } else { 200..15_000 });
        self.oracle().tell(|| format!("disk: {wrong:?}"));
        self.oracle().disk(true);
        self.disk.set(Some(wrong));
        pass(takes).await;
        self.excuse_what_is_unseen(&self.rows());
        self.disk.set(None);
        self.oracle().tell(|| "disk: well again".into());
        self.oracle().disk(false);
    }
}
