//! The life of one process of the server: where it is slow, and where it is cut off.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{clock::pass, world::World};
use crate::store::Hook;

/// The dice of one trace: all that is random in it.
#[derive(Debug)]
pub struct Dice(Mutex<fastrand::Rng>);

impl Dice {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number of `range`.
    pub fn of(&self, range: impl std::ops::RangeBounds<i64>) -> i64 {
        self.0.lock().expect("no holder panics").i64(range)
    }

    /// True `times` in a thousand.
    pub fn in_thousand(&self, times: i64) -> bool {
        times > 0 && self.of(0..1_000) < times
    }
}

/// How slow a process is between two steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dawdle {
    /// In how many of a thousand steps other tasks go first.
    pub yields: i64,
    /// In how many of a thousand steps it waits.
    pub waits: i64,
    /// The longest wait, in milliseconds.
    pub longest: i64,
}

/// One process.
#[derive(Debug)]
pub struct Life {
    dead: AtomicBool,
    /// How many points are left until it is cut off; negative: it is not cut off.
    fuse: AtomicI64,
    points: AtomicU32,
    died: Notify,
    dawdle: Dawdle,
    dice: Arc<Dice>,
}

impl Life {
    pub fn new(dawdle: Dawdle, dice: Arc<Dice>) -> Arc<Self> {
        Arc::new(Self {
            dead: AtomicBool::new(false),
            fuse: AtomicI64::new(-1),
            points: AtomicU32::new(0),
            died: Notify::new(),
            dawdle,
            dice,
        })
    }

    /// Cuts the process off at the point after the next `points`.
    pub fn light(&self, points: i64) {
        self.fuse.store(points, Ordering::Relaxed);
    }

    /// Whether the process will be cut off.
    pub fn is_lit(&self) -> bool {
        self.is_dead() || self.fuse.load(Ordering::Relaxed) >= 0
    }

    /// Ends the process here and now.
    pub fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// How many points the process has passed.
    pub fn points(&self) -> u32 {
        self.points.load(Ordering::Relaxed)
    }

    /// Waits for the end of the process, at most so many milliseconds.
    pub async fn ends_within(&self, milliseconds: i64) {
        let limit = Duration::from_millis(milliseconds as u64);
        let _ = tokio::time::timeout(limit, self.died.notified()).await;
    }

    /// A point at which the process may be cut off. A dead process goes no further.
    pub async fn point(&self) {
        self.points.fetch_add(1, Ordering::Relaxed);
        if self.fuse.load(Ordering::Relaxed) >= 0 && self.fuse.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.end();
        }
        self.dawdle().await;
    }

    /// As [`Life::point`], but the process is not cut off here.
    pub async fn dawdle(&self) {
        if self.dice.in_thousand(self.dawdle.yields) {
            tokio::task::yield_now().await;
        }
        if self.dice.in_thousand(self.dawdle.waits) {
            pass(self.dice.of(1..=self.dawdle.longest)).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// The hooks of the store for this process, on reads and on writes.
    pub fn hooks(self: &Arc<Self>, world: &Arc<World>) -> (Hook, Hook) {
        let (reads, writes, world) = (Arc::clone(self), Arc::clone(self), Arc::clone(world));
        (
            Hook(Arc::new(move || {
                let life = Arc::clone(&reads);
                Box::pin(async move {
                    life.dawdle().await;
                    None
                })
            })),
            Hook(Arc::new(move || {
                let (life, world) = (Arc::clone(&writes), Arc::clone(&world));
                Box::pin(async move { world.write(&life).await })
            })),
        )
    }
}
