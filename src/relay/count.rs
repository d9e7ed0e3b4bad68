//! Counts the bytes that move on each port, and tells use from what only keeps a connection alive.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::message::Count;
use crate::domain::{RECENT, SandboxId};

/// The length of time over which the floor is measured.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The bytes of one connection, counted while they are carried.
#[derive(Debug, Default)]
pub struct Bytes {
    /// From the client.
    pub up: AtomicU64,
    /// To the client.
    pub down: AtomicU64,
}

/// What was seen of a connection at the last look.
#[derive(Debug)]
struct Seen {
    bytes: Arc<Bytes>,
    generation: u64,
    up: u64,
    down: u64,
    window: Option<(Timestamp, u64)>,
    used: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Totals {
    open: Vec<Seen>,
    bytes_in: u64,
    bytes_out: u64,
    last_byte: Option<Timestamp>,
    last_use: Option<(u64, Timestamp)>,
    /// What each older relay carries on the same port.
    inherited: HashMap<u64, Inherited>,
    /// In this time bytes to clients are not use.
    overlooked: Option<Range<Timestamp>>,
    /// Something differs from what was last told.
    changed: bool,
}

/// What this relay has added from another relay's counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Inherited {
    open: u32,
    in_use: u32,
    bytes_in: u64,
    bytes_out: u64,
}

/// The counts of one port.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Totals>);

impl Meter {
    /// A connection that belongs to `generation` begins.
    pub fn begin(&self, generation: u64) -> Arc<Bytes> {
        let bytes = Arc::new(Bytes::default());
        let mut totals = self.0.lock().expect("no holder panics");
        totals.open.push(Seen { bytes: Arc::clone(&bytes), generation, up: 0, down: 0, window: None, used: None });
        totals.changed = true;
        bytes
    }

    /// A connection has ended.
    pub fn end(&self, bytes: &Arc<Bytes>, now: Timestamp, floor: u64) {
        let mut totals = self.0.lock().expect("no holder panics");
        if let Some(at) = totals.open.iter().position(|s| Arc::ptr_eq(&s.bytes, bytes)) {
            let mut seen = totals.open.swap_remove(at);
            totals.look(&mut seen, now, floor);
            totals.changed = true;
        }
    }

    /// From now on, for as long as `lasting`, bytes to clients are not use. Bytes before still are.
    pub fn overlook(&self, now: Timestamp, lasting: SignedDuration, floor: u64) {
        let mut totals = self.0.lock().expect("no holder panics");
        totals.look_at_all(now, floor);
        totals.overlooked = Some(now..now.checked_add(lasting).unwrap_or(Timestamp::MAX));
    }

    /// Looks at all connections. Returns the counts if there is anything new, with `all` even if there is not.
    pub fn read(&self, sandbox: &SandboxId, inside: u16, now: Timestamp, floor: u64, all: bool) -> Option<Count> {
        let mut totals = self.0.lock().expect("no holder panics");
        totals.look_at_all(now, floor);
        // A time ahead of now comes from a clock that has been set back since.
        totals.last_byte = totals.last_byte.map(|at| at.min(now));
        totals.last_use = totals.last_use.map(|(generation, at)| (generation, at.min(now)));
        let others = |of: fn(&Inherited) -> u32| totals.inherited.values().map(of).sum::<u32>();
        let (open, in_use) = (totals.open.len() as u32 + others(|i| i.open), totals.in_use(now) + others(|i| i.in_use));
        let used = totals.last_byte.is_some() || open > 0;
        let changed = std::mem::take(&mut totals.changed);
        (changed || (all && used)).then(|| Count {
            sandbox: sandbox.clone(),
            inside,
            open,
            in_use,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            last_byte: totals.last_byte,
            last_use: totals.last_use,
        })
    }
}

impl Meter {
    /// Adds what an older relay has counted. Its counts only grow.
    pub fn inherit(&self, elder: u64, count: &Count) {
        let mut totals = self.0.lock().expect("no holder panics");
        let now =
            Inherited { open: count.open, in_use: count.in_use, bytes_in: count.bytes_in, bytes_out: count.bytes_out };
        let before = totals.inherited.insert(elder, now).unwrap_or_default();
        totals.bytes_in += count.bytes_in.saturating_sub(before.bytes_in);
        totals.bytes_out += count.bytes_out.saturating_sub(before.bytes_out);
        if before == now {
            return;
        }
        totals.last_byte = totals.last_byte.max(count.last_byte);
        totals.last_use = totals.last_use.max(count.last_use);
        totals.changed = true;
    }

    /// How many connections older relays carry on the port.
    pub fn elsewhere(&self) -> u32 {
        self.0.lock().expect("no holder panics").inherited.values().map(|i| i.open).sum()
    }

    /// An older relay has ended, and with it its connections.
    pub fn disinherit(&self, elder: u64) {
        let mut totals = self.0.lock().expect("no holder panics");
        totals.changed |= totals.inherited.remove(&elder).is_some_and(|i| i.open > 0);
    }
}

impl Totals {
    /// How many open connections were used lately.
    fn in_use(&self, now: Timestamp) -> u32 {
        // A time ahead of now, left by a clock that was set back, is recent.
        let is_recent = |at| Duration::try_from(now.duration_since(at)).unwrap_or_default() <= RECENT;
        self.open.iter().filter(|s| s.used.is_some_and(is_recent)).count() as u32
    }

    fn look_at_all(&mut self, now: Timestamp, floor: u64) {
        let mut open = std::mem::take(&mut self.open);
        for seen in &mut open {
            self.look(seen, now, floor);
        }
        self.open = open;
    }

    fn look(&mut self, seen: &mut Seen, now: Timestamp, floor: u64) {
        let (up, down) = (seen.bytes.up.load(Ordering::Relaxed), seen.bytes.down.load(Ordering::Relaxed));
        let (sent, answered) = (up - seen.up, down - seen.down);
        if sent + answered == 0 {
            return;
        }
        self.bytes_in += sent;
        self.bytes_out += answered;
        (seen.up, seen.down) = (up, down);
        self.last_byte = self.last_byte.max(Some(now));
        self.changed = true;
        let overlooked = self.overlooked.as_ref().is_some_and(|o| o.contains(&now));
        let moved = if overlooked { sent } else { sent + answered };
        if moved == 0 {
            return;
        }
        // When the clock was set back, a new window begins too.
        let fresh =
            seen.window.filter(|(begun, _)| (SignedDuration::ZERO..WINDOW).contains(&now.duration_since(*begun)));
        let (begun, before) = fresh.unwrap_or((now, 0));
        seen.window = Some((begun, before + moved));
        if before + moved >= floor {
            seen.used = Some(now);
            self.last_use = self.last_use.max(Some((seen.generation, now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, running};

    const FLOOR: u64 = 1_024;

    fn read(meter: &Meter, now: i64) -> Option<Count> {
        meter.read(&running(0).id, 22, at(now), FLOOR, false)
    }

    fn read_all(meter: &Meter, now: i64) -> Count {
        meter.read(&running(0).id, 22, at(now), FLOOR, true).unwrap()
    }

    fn last_use(meter: &Meter, now: i64) -> Option<(u64, Timestamp)> {
        read_all(meter, now).last_use
    }

    #[test]
    fn keepalives_are_no_use_and_work_is() {
        let meter = Meter::default();
        let bytes = meter.begin(3);
        for second in (0..600).step_by(15) {
            bytes.up.fetch_add(100, Ordering::Relaxed);
            bytes.down.fetch_add(100, Ordering::Relaxed);
            assert_eq!(last_use(&meter, second), None, "800 bytes a minute, at {second}");
        }
        bytes.down.fetch_add(1_024, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 601), Some((3, at(601))));
        bytes.down.fetch_add(1, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 630), Some((3, at(630))), "once above the floor, every byte of that minute counts");
        bytes.down.fetch_add(1, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 700), Some((3, at(630))));
    }

    #[test]
    fn what_we_make_a_sandbox_say_is_no_use_of_it() {
        let meter = Meter::default();
        let bytes = meter.begin(1);
        bytes.down.fetch_add(2_000, Ordering::Relaxed);
        meter.overlook(at(100), SignedDuration::from_secs(15), FLOOR);
        bytes.down.fetch_add(5_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 101), Some((1, at(100))), "what went before is use, what went then is not");
        bytes.up.fetch_add(1, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 102), Some((1, at(102))), "a client that says something uses it");
        bytes.down.fetch_add(5_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 115), Some((1, at(115))), "it is over");
        meter.overlook(at(1_000), SignedDuration::from_secs(15), FLOOR);
        bytes.down.fetch_add(5_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 1_001), Some((1, at(115))));
        bytes.up.fetch_add(30, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 1_020), Some((1, at(115))), "the floor holds for what comes after");
    }

    #[test]
    fn many_quiet_connections_are_not_one_busy_one() {
        let meter = Meter::default();
        let all: Vec<_> = (0..50).map(|_| meter.begin(1)).collect();
        for bytes in &all {
            bytes.up.fetch_add(1_000, Ordering::Relaxed);
        }
        assert_eq!(last_use(&meter, 5), None);
    }

    #[test]
    fn a_connection_on_which_nothing_moved_is_open_and_not_in_use() {
        let meter = Meter::default();
        let silent: Vec<_> = (0..120).map(|_| meter.begin(1)).collect();
        let busy = meter.begin(1);
        for bytes in &silent {
            bytes.down.fetch_add(40, Ordering::Relaxed);
        }
        busy.up.fetch_add(2_000, Ordering::Relaxed);
        let shown = |now| read_all(&meter, now);
        assert_eq!((shown(5).open, shown(5).in_use), (121, 1));
        assert_eq!((shown(125).in_use, shown(126).in_use), (1, 0), "nor is one that has fallen silent");
    }

    #[test]
    fn what_has_not_changed_is_not_told_twice_and_nothing_is_lost_at_the_end() {
        let meter = Meter::default();
        assert_eq!(read(&meter, 0), None);
        let bytes = meter.begin(1);
        assert_eq!(read(&meter, 1).unwrap().open, 1);
        assert_eq!(read(&meter, 2), None);
        bytes.up.fetch_add(5_000, Ordering::Relaxed);
        bytes.down.fetch_add(7, Ordering::Relaxed);
        meter.end(&bytes, at(3), FLOOR);
        let told = read(&meter, 9).unwrap();
        assert_eq!((told.open, told.bytes_in, told.bytes_out), (0, 5_000, 7));
        assert_eq!((told.last_byte, told.last_use), (Some(at(3)), Some((1, at(3)))));
    }

    #[test]
    fn what_another_relay_counted_is_added_once() {
        let meter = Meter::default();
        let bytes = meter.begin(2);
        bytes.up.fetch_add(10, Ordering::Relaxed);
        let told = |open, bytes_in, second| Count {
            sandbox: running(0).id,
            inside: 22,
            open,
            in_use: open - 1,
            bytes_in,
            bytes_out: 0,
            last_byte: Some(at(second)),
            last_use: Some((1, at(second))),
        };
        meter.inherit(7, &told(3, 100, 50));
        meter.inherit(7, &told(2, 150, 60));
        let count = read(&meter, 60).unwrap();
        assert_eq!((count.open, count.in_use, count.bytes_in), (3, 1, 160));
        assert_eq!((count.last_byte, count.last_use), (Some(at(60)), Some((1, at(60)))));
        bytes.up.fetch_add(5_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 65), Some((2, at(65))));
        meter.disinherit(7);
        assert_eq!(read(&meter, 70).map(|c| (c.open, c.bytes_in)), Some((1, 5_160)));
    }

    #[test]
    fn after_a_clock_was_set_back_use_is_as_of_now_and_counts_on() {
        let meter = Meter::default();
        let bytes = meter.begin(1);
        bytes.up.fetch_add(2_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 1_000), Some((1, at(1_000))));
        assert_eq!(last_use(&meter, 10), Some((1, at(10))));
        assert_eq!(last_use(&meter, 12), Some((1, at(10))));
        bytes.up.fetch_add(2_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 15), Some((1, at(15))));
        let next = meter.begin(2);
        next.up.fetch_add(2_000, Ordering::Relaxed);
        assert_eq!(last_use(&meter, 20), Some((2, at(20))), "another start has another time");
    }
}
