//! The actions of a trace: what learners, instructors, monitors and strangers do to the server.

use std::sync::Arc;

use super::{
    clock::pass,
    violation::word,
    world::{IMAGE, Server, World, limit_of},
};
use crate::{
    app::CreateSpec,
    domain::{Actor, ImageRef, OwnPolicy, SandboxId, SandboxName, Source, State},
};

/// A user of the API.
pub fn person() -> Actor {
    Actor::admin("somebody")
}

/// One thing that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    /// A report of use.
    Report,
    /// Somebody works for a while, and reports are rare.
    Work,
    /// A report of no use.
    ReportZero,
    /// Bytes move on a connection for a while.
    Use,
    /// Somebody connects to a sleeping sandbox.
    Knock,
    Stop,
    Start,
    Delete,
    /// Somebody types in a terminal of the API's.
    Type,
    /// Somebody runs a program through the API.
    Run,
    /// Somebody keeps it, from outside or from inside.
    Keep,
    /// Somebody changes its limits.
    Change,
    /// Somebody puts files into it.
    PutFiles,
    /// Its program ends by itself.
    EndBehindBack,
    /// Somebody kills it through the engine.
    KillBehindBack,
    StartBehindBack,
    RestartBehindBack,
    RemoveBehindBack,
    /// Somebody looks through the API.
    Look,
    EngineAway,
    RelayAway,
    DiskFails,
    EventsBreak,
    DoorShut,
    PortsHeld,
    Jump,
    Crash,
}

/// Which sandbox an action is about.
#[derive(Debug, Clone)]
pub struct Aim {
    pub id: SandboxId,
    pub name: String,
}

impl World {
    /// Any sandbox that still exists; often the one that is nearest to its deadline.
    pub fn aim(&self) -> Option<Aim> {
        let oracle = self.oracle();
        let there: Vec<_> = oracle.subjects.iter().filter(|s| s.exists && !s.delete_asked).collect();
        let now = oracle.now;
        let nearest = || there.iter().min_by_key(|s| oracle.due_of(&s.id).map_or(i64::MAX, |due| (due - now).abs()));
        let picked = match there.len() {
            0 => return None,
            n if self.dice.in_thousand(500) => there.get(self.dice.of(0..n as i64) as usize),
            _ => nearest(),
        };
        picked.map(|s| Aim { id: s.id.clone(), name: s.name.clone() })
    }

    /// Does one action, as a task of its own if it takes a while.
    pub fn act(self: &Arc<Self>, action: Action) {
        let world = Arc::clone(self);
        let server = self.server();
        match (action, server) {
            (Action::Create, Some(server)) => {
                drop(tokio::spawn(async move { world.create(&server, world.some_limit()).await }));
            }
            (Action::Look, Some(server)) => drop(tokio::spawn(async move { world.look(&server).await })),
            (
                Action::Report
                | Action::ReportZero
                | Action::Stop
                | Action::Start
                | Action::Delete
                | Action::Type
                | Action::Run
                | Action::Keep
                | Action::Change
                | Action::PutFiles,
                Some(server),
            ) => {
                if let Some(aim) = self.aim() {
                    tokio::spawn(async move { world.ask(&server, action, aim).await });
                }
            }
            (Action::EventsBreak, Some(server)) => drop(tokio::spawn(async move { world.break_events(&server).await })),
            (Action::DoorShut, Some(server)) => drop(tokio::spawn(async move { world.shut_door(&server).await })),
            (Action::Crash, Some(server)) => drop(tokio::spawn(async move { world.crash(&server).await })),
            (Action::EngineAway | Action::RelayAway, _) => {
                drop(tokio::spawn(async move { world.outage(action).await }));
            }
            (Action::DiskFails, _) => drop(tokio::spawn(async move { world.break_disk().await })),
            (Action::Jump, _) => self.jump(),
            (Action::PortsHeld, _) => drop(tokio::spawn(async move { world.hold_ports().await })),
            (Action::Work, _) => drop(self.aim().map(|aim| tokio::spawn(async move { world.work(aim).await }))),
            (Action::Use, _) => {
                drop(self.aim().map(|aim| tokio::spawn(async move { world.use_for_a_while(aim).await })));
            }
            (Action::Knock, _) => {
                if let Some(aim) = self.aim()
                    && self.relay.knock(&aim.id)
                {
                    self.oracle().tell(|| format!("somebody connects to {}, which sleeps", aim.name));
                    self.wants(&aim.id);
                }
            }
            (
                Action::EndBehindBack
                | Action::KillBehindBack
                | Action::StartBehindBack
                | Action::RestartBehindBack
                | Action::RemoveBehindBack,
                _,
            ) => self.meddle(action),
            (_, None) => {}
        }
    }

    fn some_limit(&self) -> Option<Option<i64>> {
        match self.dice.of(0..8) {
            0 => Some(None),
            1 | 2 => Some(Some(self.dice.of(30..120) * 1_000)),
            _ => None,
        }
    }

    /// Creates a sandbox with a limit of its own; `Some(None)`: never.
    pub async fn create(&self, server: &Server, own: Option<Option<i64>>) {
        let number = self.oracle().created();
        let name = SandboxName::parse(&format!("box-{number}")).expect("plain");
        let image = ImageRef::parse(IMAGE).expect("plain");
        let own = OwnPolicy { idle_limit: own.map(limit_of), ..OwnPolicy::default() };
        let spec = CreateSpec { name: Some(name.clone()), own, ..CreateSpec::of(image) };
        self.oracle().tell(|| format!("create {name}"));
        let made = server.app.asked.create(&person(), spec).await;
        if server.life.is_dead() {
            return;
        }
        let mut oracle = self.oracle();
        match made {
            Ok(made) => {
                oracle.tell(|| format!("{name} is created: {}", word(&made.life.state)));
                if let Some(s) = oracle.subject(&made.id) {
                    s.answered = true;
                }
            }
            Err(e) => oracle.tell(|| format!("{name} is not created: {e}")),
        }
    }

    pub async fn ask(&self, server: &Arc<Server>, action: Action, aim: Aim) {
        let (id, name) = (&aim.id, &aim.name);
        match action {
            Action::Report => self.report(server, &aim, self.dice.of(1..5) as u64).await,
            Action::ReportZero => self.report(server, &aim, 0).await,
            Action::Stop => {
                self.oracle().tell(|| format!("stop {name}"));
                self.oracle().stop_asked(id, false);
                let answer = server.app.asked.stop(&person(), name).await;
                if server.life.is_dead() {
                    return;
                }
                self.oracle().stop_asked(id, true);
                self.oracle().tell(|| format!("stop {name}: {:?}", answer.map(|s| word(&s.life.state))));
                // Another user wants it to run.
                if self.dice.in_thousand(self.contrary) {
                    pass(self.dice.of(0..2_000)).await;
                    self.start(server, &aim).await;
                }
            }
            Action::Start => self.start(server, &aim).await,
            Action::Type => self.type_in(server, &aim).await,
            Action::Run => self.run_program(server, &aim).await,
            Action::Keep => self.keep(server, &aim).await,
            Action::Change => self.change(server, &aim).await,
            Action::PutFiles => self.put_files(server, &aim).await,
            Action::Delete => {
                self.oracle().tell(|| format!("delete {name}"));
                self.oracle().delete_asked(id);
                let answer = server.app.asked.delete(&person(), name).await;
                if !server.life.is_dead() {
                    self.oracle().tell(|| format!("delete {name}: {answer:?}"));
                    if answer.is_ok() {
                        self.oracle().deleted(id);
                    }
                }
            }
            _ => {}
        }
    }

    /// Somebody wants it to run. If it is being stopped, that stop comes first.
    fn wants(&self, id: &SandboxId) {
        if self.row(id).is_some_and(|r| matches!(r.life.state, State::Stopping { .. })) {
            self.oracle().wanted(id);
        }
    }

    async fn start(&self, server: &Server, aim: &Aim) {
        self.oracle().tell(|| format!("start {}", aim.name));
        self.wants(&aim.id);
        let since = self.clock.elapsed();
        let answer = server.app.asked.start(&person(), &aim.name).await;
        if !server.life.is_dead() {
            let row = self.row(&aim.id);
            let mut oracle = self.oracle();
            oracle.takes_from(row.as_slice());
            oracle.tell(|| format!("start {}: {:?}", aim.name, answer.as_ref().map(|s| word(&s.life.state))));
            match answer {
                Ok(s) => oracle.start_answered(&aim.id, since, &s.life.state),
                // While the start was under way, nothing else about the sandbox was recorded.
                Err(_) => oracle.excuse(&aim.id),
            }
        }
    }

    pub async fn report(&self, server: &Arc<Server>, aim: &Aim, value: u64) {
        let Some(token) = self.oracle().subject(&aim.id).map(|s| s.token.clone()) else { return };
        let since = self.clock.elapsed();
        let before = self.row(&aim.id).filter(|r| matches!(r.life.state, State::Running { .. }));
        self.oracle().subject(&aim.id).into_iter().for_each(|s| s.reports(since));
        let done = server.app.asked.check_in(Some(&token), None, value).await;
        if server.life.is_dead() || done.is_err() {
            if let (false, Err(e)) = (server.life.is_dead(), done) {
                self.oracle().tell(|| format!("{} reports {value}: {e}", aim.name));
                if value > 0 {
                    self.oracle().unrecorded(since, &self.rows());
                }
            }
            return;
        }
        let row = self.row(&aim.id);
        let state = row.as_ref().map(|r| r.life.state.clone());
        let mut oracle = self.oracle();
        oracle.tell(|| format!("{} reports {value}; its row: {:?}", aim.name, state.as_ref().map(word)));
        let steady = before.is_some_and(|b| {
            row.as_ref().is_some_and(|r| {
                matches!(r.life.state, State::Running { .. }) && r.life.generation == b.life.generation
            })
        });
        let (kept, now) = (oracle.kept, oracle.now);
        let heard = row.as_ref().filter(|_| steady);
        oracle.subject(&aim.id).into_iter().for_each(|s| s.is_heard(since, now, heard, kept));
        oracle.takes_from(row.as_slice());
        if value == 0 {
            return;
        }
        let newest = row.as_ref().and_then(|r| r.life.evidence.last_of(Source::CheckIn));
        let recorded = newest.is_some_and(|at| at.as_millisecond() - oracle.kept >= since);
        // A sandbox that ran all the while must have been heard.
        oracle.checked_in(&aim.id, since, recorded || steady);
        let stopping = matches!(state, Some(State::Stopping { reason, .. }) if super::engine::is_idle(reason));
        oracle.too_late += u64::from(!recorded && stopping);
    }

    async fn use_for_a_while(self: &Arc<Self>, aim: Aim) {
        let (times, gap) = (self.dice.of(1..12), self.dice.of(200..20_000));
        for _ in 0..times {
            if self.relay.use_it(self, &aim.id) {
                self.oracle().used(&aim.id);
                self.oracle().tell(|| format!("bytes move to {}", aim.name));
            }
            pass(gap).await;
        }
    }

    async fn look(&self, server: &Arc<Server>) {
        match self.dice.of(0..4) {
            0 => drop(server.app.asked.health().await),
            1 => drop(server.app.audit(&person()).await),
            2 => drop(server.app.asked.get(&person(), "box-0").await),
            _ => {
                // The look must not show a sandbox that was deleted before it began.
                let gone: Vec<_> = self.oracle().subjects.iter().filter(|s| s.deleted).map(|s| s.id.clone()).collect();
                let Ok(listed) = server.app.asked.list(&person()).await else { return };
                if let Some(undead) = listed.iter().find(|s| gone.contains(&s.id)) {
                    let what = format!("{} was deleted, and is listed", undead.name);
                    self.oracle().violated(super::violation::Kind::Undead, what);
                }
            }
        }
    }
}
