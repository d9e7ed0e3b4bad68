//! What happens to the server: outages, a shut door, lost events, held ports, a clock that is set, a crash.

use std::sync::Arc;

use super::{
    actions::Action,
    clock::pass,
    world::{GRACE, LIMIT, PERIOD, Server, World},
};
use crate::{
    app::CheckInDoor,
    domain::{Sandbox, State},
};

impl World {
    /// The engine or the relay cannot be reached for a while.
    pub async fn outage(&self, action: Action) {
        let long = self.dice.in_thousand(300);
        let takes = self.dice.of(if long { 2 * PERIOD..80_000 } else { 200..15_000 });
        let set = |away: bool| {
            self.oracle().tell(|| format!("{action:?}: {away}"));
            match action {
                Action::EngineAway => std::mem::replace(&mut self.troubles().away, away),
                _ => self.relay.set_away(away),
            }
        };
        let since = self.clock.elapsed();
        if set(true) {
            return;
        }
        self.oracle().outage(None);
        pass(takes).await;
        self.excuse_what_is_unseen(&self.rows());
        set(false);
        self.oracle().outage(Some(since));
    }

    pub async fn shut_door(&self, server: &Arc<Server>) {
        if !server.take_door() {
            return;
        }
        let since = self.clock.elapsed();
        self.oracle().tell(|| "the check-in door is shut".into());
        self.oracle().outage(None);
        server.app.vitals.set_door(CheckInDoor::Shut("scripted".into()));
        pass(self.dice.of(200..30_000)).await;
        server.open_door();
        self.oracle().tell(|| "the check-in door is open".into());
        // The door of the next process was not shut.
        let since = if server.life.is_dead() { self.clock.elapsed() } else { since };
        self.oracle().outage(Some(since));
    }

    /// The stream of events ends, and something happens before the next stream begins.
    pub async fn break_events(&self, server: &Server) {
        self.oracle().tell(|| "the engine's events break off".into());
        server.cut.notify_waiters();
        pass(self.dice.of(1..900)).await;
        if self.dice.in_thousand(500) {
            self.meddle(Action::RestartBehindBack);
        }
    }

    pub async fn hold_ports(&self) {
        let first = self.dice.of(10_000..10_012) as u16;
        self.relay.hold(first..first + self.dice.of(1..4) as u16);
        pass(self.dice.of(1_000..30_000)).await;
        self.relay.hold([]);
    }

    /// Sets the clock, but only after the last time has been noticed.
    pub fn jump(&self) {
        if !self.oracle().may_jump() {
            return;
        }
        let size = match self.dice.of(0..4) {
            0 => self.dice.of(1_000..8_000),
            1 => self.dice.of(15_000..LIMIT),
            2 => self.dice.of(LIMIT..600_000),
            _ => self.dice.of(600_000..10_000_000),
        };
        let by = if self.dice.in_thousand(500) { size } else { -size };
        self.clock.jump(by);
        self.relay.set_back(self.clock.wall());
        self.oracle().tell(|| format!("the clock jumps by {by} ms"));
        self.oracle().jumped(by);
    }

    /// The process is cut off between two steps, and the next begins after a while.
    pub async fn crash(self: &Arc<Self>, server: &Arc<Server>) {
        if server.life.is_lit() {
            return;
        }
        server.life.light(self.dice.of(0..40));
        server.life.ends_within(self.dice.of(1..8_000)).await;
        // Only the record tells that a sandbox is being made or removed. That cannot be rebuilt.
        let tells = |r: &Sandbox| matches!(r.life.state, State::Running { .. } | State::Stopped { .. });
        let quiet = self.rows().iter().all(tells);
        let records_too = quiet && self.dice.in_thousand(100);
        self.bury(server, self.relay_is_ours, records_too);
        let long = self.dice.in_thousand(300);
        pass(self.dice.of(if long { GRACE..100_000 } else { 50..6_000 })).await;
        self.boot();
    }
}
