//! Crash points: cuts each operation off between any two of its steps. The next process must finish it or leave nothing
//! of it.

use std::sync::Arc;

use super::{
    actions::{Action, Aim, person},
    clock::pass,
    life::{Dawdle, Dice},
    violation::{Kind, Violation},
    world::{Flavour, GRACE, LIMIT, PERIOD, World},
};
use crate::{
    domain::Phase,
    engine::{EngineError, fake::Fault},
};

/// The operation that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Create,
    /// A creation whose container does not start.
    FailedCreate,
    Stop,
    Start,
    /// A start during a stop.
    StartWhileStopping,
    Delete,
    Restart,
    Reset,
    /// A reset of one that is stopped.
    ResetOfStopped,
    /// A pass that stops an idle sandbox.
    IdleStop,
    /// A pass that sees that a container has ended.
    SeenEnded,
    /// Somebody connects to a sandbox that has ended by itself.
    WakeOfEnded,
    /// A pass that sees that a container was started.
    SeenStarted,
    /// A pass that sees that a container is gone.
    SeenGone,
    /// The first pass after the records were lost.
    Adoption,
}

const STORIES: [Story; 15] = [
    Story::Create,
    Story::FailedCreate,
    Story::Stop,
    Story::Start,
    Story::StartWhileStopping,
    Story::Delete,
    Story::Restart,
    Story::Reset,
    Story::ResetOfStopped,
    Story::IdleStop,
    Story::SeenEnded,
    Story::WakeOfEnded,
    Story::SeenStarted,
    Story::SeenGone,
    Story::Adoption,
];

/// How long a story takes at most, in milliseconds.
const LENGTH: i64 = 8_000;

impl World {
    async fn do_it(self: &Arc<Self>, action: Action, number: usize) {
        let Some(server) = self.server() else { return };
        if action == Action::Create {
            return self.create(&server, None).await;
        }
        let aim = {
            let oracle = self.oracle();
            let subject = &oracle.subjects[number];
            Aim { id: subject.id.clone(), name: subject.name.clone() }
        };
        self.ask(&server, action, aim).await;
    }

    /// Does what comes before the operation.
    async fn prepare(self: &Arc<Self>, story: Story) {
        pass(PERIOD).await;
        // A bystander, to which nothing must happen.
        self.do_it(Action::Create, 0).await;
        if !matches!(story, Story::Create | Story::FailedCreate) {
            self.do_it(Action::Create, 1).await;
        }
        if matches!(story, Story::Start | Story::SeenStarted | Story::ResetOfStopped) {
            self.do_it(Action::Stop, 1).await;
            pass(PERIOD).await;
        }
        match story {
            Story::FailedCreate => self.engine.next("start", Fault::Fail(EngineError::Refused("scripted".into()))),
            Story::StartWhileStopping => self.do_it(Action::Stop, 1).await,
            Story::WakeOfEnded => {
                let container = self.oracle().subjects[1].container.clone();
                self.end_behind_back(&container);
                pass(PERIOD).await;
            }
            Story::IdleStop => {
                let ahead = LIMIT - 1_000;
                pass(ahead).await;
                self.do_it(Action::Report, 0).await;
            }
            Story::Adoption => {
                self.bury(&self.server().expect("it runs"), true, true);
                self.boot();
            }
            _ => {}
        }
    }

    /// Does the operation that is cut off.
    async fn act_out(self: &Arc<Self>, story: Story) {
        let container = |world: &World| world.oracle().subjects[1].container.clone();
        match story {
            Story::Create | Story::FailedCreate => self.do_it(Action::Create, 0).await,
            Story::Stop => self.do_it(Action::Stop, 1).await,
            Story::Start | Story::StartWhileStopping => self.do_it(Action::Start, 1).await,
            Story::Delete => self.do_it(Action::Delete, 1).await,
            Story::Restart | Story::Reset | Story::ResetOfStopped => {
                let (Some(server), name) = (self.server(), self.oracle().subjects[1].name.clone()) else { return };
                let asked = &server.app.asked;
                let done = match story {
                    Story::Restart => asked.restart(&person(), &name).await,
                    _ => asked.reset(&person(), &name).await,
                };
                assert!(server.life.is_dead() || done.is_ok(), "{done:?}");
            }
            Story::SeenEnded => self.end_behind_back(&container(self)),
            Story::WakeOfEnded => {
                let id = self.oracle().subjects[1].id.clone();
                assert!(self.relay.knock(&id), "what ended by itself is woken by a connection");
            }
            Story::SeenStarted => self.start_behind_back(&container(self)),
            Story::SeenGone => self.remove_behind_back(&container(self)),
            Story::IdleStop | Story::Adoption => {}
        }
    }
}

/// Tells a story, cut off after `fuse` points or not at all. Returns how many points it had, and what is wrong in the
/// end.
fn tell(story: Story, fuse: Option<u32>, relay_is_ours: bool) -> (u32, Vec<Violation>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs no more than memory").block_on(async {
        let dawdle = Dawdle::default();
        let flavour = Flavour {
            cap: None,
            max_age: None,
            warn_before: None,
            longest_end: 100,
            contrary: 0,
            loses_events: false,
            relay_is_ours,
            dawdle,
        };
        let world = World::new(Dice::new(4), &flavour, false);
        world.boot();
        world.prepare(story).await;
        let server = world.server().expect("it runs");
        let before = server.life.points();
        if let Some(fuse) = fuse {
            server.life.light(i64::from(fuse));
        }
        let acting = Arc::clone(&world);
        tokio::spawn(async move { acting.act_out(story).await });
        server.life.ends_within(LENGTH).await;
        let points = server.life.points() - before;
        if fuse.is_some() {
            world.bury(&server, relay_is_ours, false);
            pass(500).await;
            world.boot();
        }
        // All that was begun is finished long before the bystander is idle.
        pass(GRACE + 3 * PERIOD).await;
        let (rows, observed) = (world.rows(), world.observed());
        let mut oracle = world.oracle();
        oracle.settled(&rows, &observed);
        oracle.compare_reasons(&rows);
        let (runs, container) = (story != Story::ResetOfStopped, oracle.subjects.get(1).map(|s| s.container.clone()));
        if matches!(story, Story::Restart | Story::Reset | Story::ResetOfStopped)
            && container.and_then(|container| world.phase(&container))
                != Some(if runs { Phase::Running } else { Phase::Exited })
        {
            oracle.violated(Kind::StartLost, "it was restarted or reset, and is not as it was".into());
        }
        let started = matches!(story, Story::Start | Story::StartWhileStopping);
        if started
            && oracle.subjects[1].was_start_answered()
            && world.phase(&oracle.subjects[1].container.clone()) != Some(Phase::Running)
        {
            oracle.violated(Kind::StartLost, "a start was answered, and it does not run".into());
        }
        (points, std::mem::take(&mut oracle.violations))
    })
}

#[test]
fn whatever_is_cut_off_is_finished_or_leaves_nothing() {
    let (mut total, mut wrong) = (0, Vec::new());
    println!("{:<20}{:>8}", "cut off", "points");
    for story in STORIES {
        let (points, violations) = tell(story, None, true);
        wrong.extend(violations.iter().map(|v| format!("{story:?}, undisturbed: {v}")));
        for point in 0..points {
            for relay_is_ours in [true, false] {
                let (_, violations) = tell(story, Some(point), relay_is_ours);
                wrong.extend(violations.iter().map(|v| format!("{story:?}, cut off at {point} of {points}: {v}")));
            }
        }
        println!("{:<20}{points:>8}", format!("{story:?}"));
        total += points;
    }
    println!("{:<20}{total:>8}", "in all");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
