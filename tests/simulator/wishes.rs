//! Wishes of people: they keep sandboxes, from outside and from inside, change their limits, and put files in.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    actions::{Aim, person},
    world::{LIMIT, Server, World, limit_of},
};
use crate::{
    app::{Change, Error, ExecWish},
    domain::{OwnPolicy, Program, Sandbox, Source, State},
};

/// For how long use is not recorded anew.
const LITTLE: i64 = 1_000;

impl World {
    /// Keeps a sandbox for a while, or for its limit.
    pub async fn keep(&self, server: &Server, aim: &Aim) {
        let length = self.dice.of(10..150);
        let since = self.clock.elapsed();
        let (for_limit, inside) = (self.dice.in_thousand(300), self.dice.in_thousand(400));
        let Some(token) = self.oracle().subject(&aim.id).map(|s| s.token.clone()) else { return };
        // The exact limit does not matter here: it is not longer than this.
        let at_most = if for_limit { 4 * LIMIT } else { length * 1_000 };
        self.oracle().wished(&aim.id, Some(since + at_most), None);
        let length = Duration::from_secs(length as u64);
        self.oracle().change_asked(&aim.id);
        let kept = if inside {
            let kept = server.app.asked.keep_from_inside(Some(&token), None, length).await;
            kept.map(|kept| kept.is_some())
        } else {
            let length = Some(length).filter(|_| !for_limit);
            server.app.asked.extend(&person(), &aim.name, length).await.map(|_| true)
        };
        if server.life.is_dead() {
            return;
        }
        let (row, rows) = (self.row(&aim.id), self.rows());
        let mut oracle = self.oracle();
        oracle.change_answered(&aim.id, &kept);
        oracle.tell(|| format!("keep {} for {length:?}: {kept:?}", aim.name));
        oracle.takes_from(row.as_slice());
        match kept {
            Ok(kept) if kept => oracle.checked_in(&aim.id, since, true),
            Err(Error::DatabaseAway(_)) => oracle.unrecorded(since, &rows),
            _ => {}
        }
    }

    /// Somebody types in a terminal of the API's.
    pub async fn type_in(&self, server: &Server, aim: &Aim) {
        let Some(before) = self.row(&aim.id).filter(|r| matches!(r.life.state, State::Running { .. })) else { return };
        let since = self.clock.elapsed();
        let typed = server.app.asked.typed(&person(), &before).await;
        self.worked(server, aim, since, &typed, Some(&before));
    }

    /// Somebody runs a program through the API, and waits for it.
    pub async fn run_program(&self, server: &Server, aim: &Aim) {
        let before = self.row(&aim.id);
        let since = self.clock.elapsed();
        let command = vec!["echo".to_owned()];
        let wish = ExecWish { program: Program { command, ..Program::default() }, ..ExecWish::default() };
        let run = server.app.asked.exec(&person(), &aim.name, wish, std::future::pending()).await;
        self.worked(server, aim, since, &run, before.as_ref());
    }

    /// Somebody has worked in a sandbox since `since`, or `done` says why not; `before`: its row then.
    fn worked<T>(&self, server: &Server, aim: &Aim, since: i64, done: &Result<T, Error>, before: Option<&Sandbox>) {
        if server.life.is_dead() {
            return;
        }
        let (row, rows) = (self.row(&aim.id), self.rows());
        let runs = |r: &&Sandbox| matches!(r.life.state, State::Running { .. });
        let before = before.filter(|_| done.is_ok());
        let steady =
            before.is_some_and(|b| row.as_ref().filter(runs).is_some_and(|r| r.life.generation == b.life.generation));
        let mut oracle = self.oracle();
        let now = oracle.now;
        oracle.tell(|| format!("somebody works in {}; recorded: {steady}", aim.name));
        // What is a moment older than a record waits for the next pass.
        oracle.checked_in(&aim.id, since - LITTLE, steady);
        oracle.checked_in(&aim.id, now, false);
        oracle.takes_from(row.as_slice());
        if let Err(Error::DatabaseAway(_)) = done {
            oracle.unrecorded(since, &rows);
        }
    }

    /// Changes a sandbox's limits, or until when it is kept.
    pub async fn change(&self, server: &Server, aim: &Aim) {
        let some = || Some(limit_of(Some(self.dice.of(10..150) * 1_000)));
        let mut change = Change::default();
        match self.dice.of(0..5) {
            0 | 1 => change.own.idle_limit = some(),
            2 => change.own.max_age = some(),
            3 => change.own = OwnPolicy { idle_limit: Some(limit_of(None)), max_age: some(), ..OwnPolicy::default() },
            _ => {
                let until = self.clock.wall() + self.dice.of(10_000..150_000);
                let until = Timestamp::from_millisecond(until).expect("near");
                change.keep_until = Some(Some(until).filter(|_| self.dice.in_thousand(600)));
            }
        }
        if let Some(Some(until)) = change.keep_until {
            self.oracle().wished(&aim.id, None, Some(until.as_millisecond()));
        }
        // A sandbox that does not run has no deadline to spare.
        let running = self.row(&aim.id).filter(|r| matches!(r.life.state, State::Running { .. }));
        let spared = running.and_then(|row| self.oracle().sparing(&aim.id, &row));
        self.oracle().change_asked(&aim.id);
        let changed = server.app.asked.change(&person(), &aim.name, change.clone()).await;
        if server.life.is_dead() {
            return;
        }
        let row = self.row(&aim.id);
        let mut oracle = self.oracle();
        oracle.change_answered(&aim.id, &changed);
        oracle.tell(|| format!("change {}: {change:?}: {}", aim.name, changed.is_ok()));
        if changed.is_ok() {
            oracle.spares(&aim.id, spared);
        }
        oracle.takes_from(row.as_slice());
    }

    /// Puts files into a sandbox. What the engine does with them is told elsewhere; here they are evidence.
    pub async fn put_files(&self, server: &Server, aim: &Aim) {
        let Some(before) = self.row(&aim.id) else { return };
        let since = self.clock.elapsed();
        let put = server.app.asked.note_files(&person(), &before).await;
        if server.life.is_dead() {
            return;
        }
        let (row, rows) = (self.row(&aim.id), self.rows());
        let mut oracle = self.oracle();
        oracle.tell(|| format!("files are put into {}: {put:?}", aim.name));
        oracle.takes_from(row.as_slice());
        match put {
            Ok(()) => {
                let newest = row.and_then(|row| row.life.evidence.last_of(Source::Staff));
                let recorded = newest.is_some_and(|at| at.as_millisecond() - oracle.kept >= since);
                oracle.checked_in(&aim.id, since, recorded);
            }
            Err(Error::DatabaseAway(_)) => oracle.unrecorded(since, &rows),
            Err(_) => {}
        }
    }
}
