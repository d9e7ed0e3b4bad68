//! Lost: what was changed must survive the loss of the records, whatever was cut off before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use super::{
    actions::person,
    clock::pass,
    life::{Dawdle, Dice},
    oracle::Oracle,
    violation::Kind,
    world::{Flavour, PERIOD, Server, World, limit_of},
};
use crate::{
    app::{Change, Error},
    domain::{Cpus, Label, Memory, OwnPolicy, Sandbox, SandboxId, SandboxName, Wake},
};

/// The values that people change here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    own: OwnPolicy,
    wake: Option<Wake>,
    name: SandboxName,
    limits: (Memory, Cpus),
    labels: Vec<Label>,
    keys: Option<String>,
    /// In milliseconds since the epoch.
    keep_until: Option<i64>,
}

impl Changed {
    fn of(row: &Sandbox) -> Self {
        let keep_until = row.life.keep_until.map(Timestamp::as_millisecond);
        let recipe = &row.recipe;
        Self {
            own: recipe.own,
            wake: recipe.wake,
            name: row.name.clone(),
            limits: (recipe.memory, recipe.cpus),
            labels: recipe.labels.clone(),
            keys: recipe.ssh_key.clone(),
            keep_until,
        }
    }
}

/// Whether a sandbox is certainly written down as its row says.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Changes that are not answered yet.
    asking: u32,
    /// The last attempt to write it down failed.
    failed: bool,
    /// A change failed or was cut off, and the next pass has not looked yet.
    unclear: bool,
    /// What its row said when it was lost, if that was certain.
    lost: Option<Changed>,
}

impl Oracle {
    /// Somebody asks for a change.
    pub fn change_asked(&mut self, id: &SandboxId) {
        self.subject(id).into_iter().for_each(|s| s.written.asking += 1);
    }

    /// A change is answered.
    pub fn change_answered<T>(&mut self, id: &SandboxId, answer: &Result<T, Error>) {
        let Some(s) = self.subject(id) else { return };
        s.written.asking = s.written.asking.saturating_sub(1);
        s.written.unclear |= matches!(answer, Err(Error::NotWritten(_) | Error::DatabaseAway(_) | Error::Store(_)));
    }

    /// A sandbox was written down, or could not be.
    pub fn written_down(&mut self, id: &SandboxId, is_done: bool) {
        let Some(s) = self.subject(id) else { return };
        s.written.failed = !is_done;
        s.written.unclear &= !is_done || s.written.asking > 0;
        let what = format!("disk: {} is written down: {is_done}", s.name);
        self.tell(|| what);
    }

    /// The process is gone, and what it had begun.
    pub fn changes_are_cut_off(&mut self) {
        for s in &mut self.subjects {
            s.written.unclear |= std::mem::take(&mut s.written.asking) > 0;
        }
    }

    /// The rows are lost.
    pub fn changes_are_lost(&mut self, rows: &[Sandbox]) {
        for s in &mut self.subjects {
            let row = rows.iter().find(|r| r.id == s.id && !s.written.failed && !s.written.unclear);
            s.written.lost = row.map(Changed::of);
        }
    }

    /// A sandbox was rebuilt.
    pub fn rebuilt(&mut self, sandbox: &Sandbox) {
        let was_set = self.jumped.is_some();
        let Some(s) = self.subject(&sandbox.id) else { return };
        let Some(mut lost) = s.written.lost.clone() else { return };
        let rebuilt = Changed::of(sandbox);
        // Who was kept for a length is kept until another instant after the clock was set.
        if was_set {
            lost.keep_until = rebuilt.keep_until;
        }
        if rebuilt != lost {
            let what = format!("{}'s row said {lost:?}, and was rebuilt as {rebuilt:?}", s.name);
            self.violated(Kind::Forgotten, what);
        }
    }
}

/// What somebody wants.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Limits,
    Keep,
    KeepInside,
    Wake,
    /// What the engine has too, and what it has not.
    All,
}

fn far() -> Timestamp {
    "2036-11-20T09:00:00Z".parse().expect("an instant")
}

async fn grant(wish: Wish, server: &Server, row: &Sandbox) -> Result<(), Error> {
    let (asked, name, length) = (&server.app.asked, row.name.as_str(), Duration::from_secs(500));
    match wish {
        Wish::Limits => {
            let own = OwnPolicy { idle_limit: Some(limit_of(Some(99_000))), ..OwnPolicy::default() };
            let change = Change { own, keep_until: Some(Some(far())), ..Change::default() };
            asked.change(&person(), name, change).await.map(drop)
        }
        Wish::Keep => asked.extend(&person(), name, Some(length)).await.map(drop),
        Wish::KeepInside => asked.keep_from_inside(Some(row.token.reveal()), None, length).await.map(drop),
        Wish::Wake => {
            let change = Change { wake: Some(Wake::Always), ..Change::default() };
            asked.change(&person(), name, change).await.map(drop)
        }
        Wish::All => {
            let change = Change {
                name: SandboxName::parse("another").ok(),
                memory: Memory::parse("96m").ok(),
                cpus: Cpus::parse("0.25").ok(),
                labels: Some(vec![Label::parse("group", "b").expect("a label")]),
                ssh_key: Some("ssh-ed25519 another".into()),
                wake: Some(Wake::Never),
                keep_until: Some(Some(far())),
                ..Change::default()
            };
            asked.change(&person(), name, change).await.map(drop)
        }
    }
}

/// Grants a wish, cut off after `fuse` points or not at all. Then the records are lost: `at_once`, or after the next
/// process has made its passes. Returns how many points there were.
fn tell(wish: Wish, fuse: Option<u32>, at_once: bool) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs no more than memory").block_on(async {
        let flavour = Flavour {
            cap: None,
            max_age: None,
            warn_before: None,
            longest_end: 100,
            contrary: 0,
            loses_events: false,
            relay_is_ours: true,
            dawdle: Dawdle::default(),
        };
        let world = World::new(Dice::new(4), &flavour, false);
        let server = world.boot();
        pass(PERIOD).await;
        world.create(&server, None).await;
        let row = world.rows().pop().expect("it was created");
        let (id, old) = (row.id.clone(), Changed::of(&row));
        let before = server.life.points();
        if let Some(fuse) = fuse {
            server.life.light(i64::from(fuse));
        }
        let is_answered = Arc::new(AtomicBool::new(false));
        let (there, acting, answered) = (Arc::clone(&world), Arc::clone(&server), Arc::clone(&is_answered));
        tokio::spawn(async move {
            there.oracle().change_asked(&row.id);
            let answer = grant(wish, &acting, &row).await;
            there.oracle().change_answered(&row.id, &answer);
            answer.expect("nothing is wrong");
            answered.store(true, Ordering::Relaxed);
        });
        // Shorter than a period: no pass comes in between.
        server.life.ends_within(100).await;
        let points = server.life.points() - before;
        let shown = |world: &World| world.row(&id).map(|row| Changed::of(&row));
        let mut seen = shown(&world);
        let mut dies = server;
        if !at_once {
            world.bury(&dies, true, false);
            dies = world.boot();
            pass(3 * PERIOD).await;
            seen = shown(&world);
        }
        world.bury(&dies, true, true);
        world.boot();
        pass(3 * PERIOD).await;
        let (told, after) = (format!("{wish:?}, cut off at {fuse:?}, lost at once: {at_once}"), shown(&world));
        let (is_new, is_answered) = (after.as_ref() != Some(&old), is_answered.load(Ordering::Relaxed));
        assert!(after.is_some() && (is_new || !is_answered), "{told}: {after:?}");
        assert!(after == seen || at_once && !is_answered, "{told}: {seen:?} was shown, and {after:?} is rebuilt");
        assert!(world.oracle().violations.is_empty(), "{told}: {:?}", world.oracle().violations);
        points
    })
}

#[test]
fn what_was_changed_survives_the_loss_of_the_records_wherever_it_was_cut_off() {
    for wish in [Wish::Limits, Wish::Keep, Wish::KeepInside, Wish::Wake, Wish::All] {
        let points = tell(wish, None, true);
        assert!(points >= 4, "{wish:?}: a row and a file are written, each with a point before and after: {points}");
        for at_once in [true, false] {
            tell(wish, None, at_once);
            for point in 0..points {
                tell(wish, Some(point), at_once);
            }
        }
    }
}
