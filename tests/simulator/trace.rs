//! One trace: makes a world, lets things happen in it at random times, and waits for quiet.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{
    actions::Action,
    clock::pass,
    life::{Dawdle, Dice},
    violation::{Kind, Violation},
    world::{Flavour, GRACE, LIMIT, PERIOD, World},
};
use crate::domain::{Sandbox, State};

/// The result of one trace.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub idle_stops: u64,
    pub other_stops: u64,
    pub too_late: u64,
    pub violations: Vec<Violation>,
    pub account: Vec<String>,
}

/// How often each action happens, of a thousand.
const USUAL: [(Action, i64); 28] = [
    (Action::Create, 60),
    (Action::Report, 90),
    (Action::Work, 30),
    (Action::ReportZero, 80),
    (Action::Use, 50),
    (Action::Type, 40),
    (Action::Run, 20),
    (Action::PutFiles, 20),
    (Action::Knock, 60),
    (Action::Stop, 60),
    (Action::Start, 90),
    (Action::Delete, 20),
    (Action::Keep, 30),
    (Action::Change, 30),
    (Action::EndBehindBack, 15),
    (Action::KillBehindBack, 15),
    (Action::StartBehindBack, 30),
    (Action::RestartBehindBack, 20),
    (Action::RemoveBehindBack, 10),
    (Action::Look, 60),
    (Action::EngineAway, 20),
    (Action::RelayAway, 20),
    (Action::DiskFails, 20),
    (Action::EventsBreak, 20),
    (Action::DoorShut, 10),
    (Action::PortsHeld, 10),
    (Action::Jump, 20),
    (Action::Crash, 50),
];

/// What differs from trace to trace, and what goes wrong in it.
struct Plan {
    flavour: Flavour,
    /// Until when things happen, in milliseconds.
    length: i64,
    /// How many of a thousand go wrong: calls of the engine, requests to the relay, writes.
    faults: (i64, i64, i64),
    late_events: i64,
    lost_events: i64,
    stubborn: i64,
    hung_stops: i64,
    /// The most milliseconds that a successful call of the engine takes.
    latency: i64,
    /// How often the relay tells its counts, in seconds.
    tells_every: i64,
    /// Whether there are only use, stops and looks.
    calm: bool,
    /// How often an open dashboard looks, in milliseconds, if there is one.
    dashboard: Option<i64>,
}

fn one_of<const N: usize>(dice: &Dice, choices: [i64; N]) -> i64 {
    choices[dice.of(0..N as i64) as usize]
}

fn plan(dice: &Dice) -> Plan {
    let calm = dice.in_thousand(250);
    let dawdle = Dawdle {
        yields: one_of(dice, [0, 300, 700]),
        waits: one_of(dice, [0, 10, 50]),
        longest: one_of(dice, [3, 40, 300]),
    };
    let fault = |choices| if calm { 0 } else { one_of(dice, choices) };
    let lost_events = fault([0, 0, 200]);
    Plan {
        flavour: Flavour {
            cap: Some(one_of(dice, [0, 90_000, 150_000])).filter(|c| *c > 0),
            max_age: Some(dice.of(80_000..200_000)).filter(|_| dice.in_thousand(200)),
            warn_before: Some(10_000).filter(|_| dice.in_thousand(300)),
            longest_end: one_of(dice, [0, 500, 3_000]),
            contrary: 300,
            loses_events: lost_events > 0,
            relay_is_ours: dice.in_thousand(500),
            dawdle,
        },
        length: dice.of(60_000..200_000),
        faults: (fault([0, 10, 40]), fault([0, 10, 40]), fault([0, 0, 20])),
        late_events: fault([0, 100, 300]),
        lost_events,
        stubborn: fault([0, 100, 300]),
        hung_stops: fault([0, 0, 300]),
        latency: one_of(dice, [0, 20, 400]),
        tells_every: one_of(dice, [1, 1, 15]),
        calm,
        dashboard: Some(dice.of(1_000..20_000)).filter(|_| dice.in_thousand(300)),
    }
}

/// How often each action happens close to a deadline, of a thousand.
const AT_A_DEADLINE: [(Action, i64); 10] = [
    (Action::Report, 350),
    (Action::Type, 50),
    (Action::Run, 20),
    (Action::Keep, 50),
    (Action::Change, 50),
    (Action::ReportZero, 80),
    (Action::Use, 150),
    (Action::Start, 100),
    (Action::Stop, 100),
    (Action::Crash, 50),
];

fn pick(dice: &Dice, choices: &[(Action, i64)], calm: bool) -> Action {
    let mut left = dice.of(0..1_000);
    for &(action, weight) in choices {
        left -= weight;
        if left < 0 {
            let hostile = matches!(
                action,
                Action::EngineAway
                    | Action::RelayAway
                    | Action::DiskFails
                    | Action::DoorShut
                    | Action::Jump
                    | Action::Crash
            );
            return if calm && hostile { Action::Look } else { action };
        }
    }
    Action::Look
}

/// How long until the next action, and whether it is close to a deadline.
fn gap(world: &World) -> (i64, bool) {
    let dice = &world.dice;
    match dice.of(0..10) {
        0..3 => (dice.of(0..400), false),
        3..7 => {
            let oracle = world.oracle();
            let ahead = oracle.subjects.iter().filter_map(|s| oracle.due_of(&s.id)).map(|due| due - oracle.now);
            let nearest = ahead.filter(|d| (-500..LIMIT).contains(d)).min().unwrap_or(3_000);
            (nearest + dice.of(-400..900), true)
        }
        _ => (dice.of(0..14_000), false),
    }
}

/// Watches the sandboxes as long as the trace lasts.
async fn watch(world: Arc<World>, tells_every: i64) {
    for second in 0.. {
        pass(1_000).await;
        if second % tells_every == 0 {
            world.relay.tell();
        }
        world.oracle().look_for_late();
        if second % 10 == 0 {
            let rows = world.rows();
            world.oracle().compare_reasons(&rows);
            world.excuse_what_is_unseen(&rows);
        }
    }
}

async fn dashboard(world: Arc<World>, every: i64) {
    loop {
        pass(every).await;
        world.act(Action::Look);
    }
}

/// How long it may take until all is quiet, when nothing new happens. People who work may go on that long.
const MOST_SECONDS: u32 = 900;

/// Lets actions happen.
async fn happen(world: &Arc<World>, plan: &Plan) {
    {
        let mut trouble = world.troubles();
        trouble.faults = plan.faults.0;
        trouble.late_events = plan.late_events;
        trouble.lost_events = plan.lost_events;
        trouble.stubborn = plan.stubborn;
        trouble.hung_stops = plan.hung_stops;
        trouble.latency = plan.latency;
    }
    world.relay.set_faults(plan.faults.1);
    world.disk.set_faults(plan.faults.2);
    let mut at_a_deadline = false;
    while world.clock.elapsed() < plan.length {
        let few = world.oracle().subjects.iter().filter(|s| s.exists && !s.delete_asked).count() < 2;
        let choices: &[(Action, i64)] = if at_a_deadline { &AT_A_DEADLINE } else { &USUAL };
        let action =
            if few && world.dice.in_thousand(400) { Action::Create } else { pick(&world.dice, choices, plan.calm) };
        world.act(action);
        let (wait, near) = gap(world);
        at_a_deadline = near && !at_a_deadline;
        pass(wait).await;
    }
    // What breaks last has the longest time to show.
    if world.dice.in_thousand(300) {
        world.act(Action::EventsBreak);
    }
}

/// Ends all troubles, and waits until everything is in order.
async fn settle(world: &Arc<World>) {
    world.oracle().tell(|| "quiet".into());
    world.troubles().end();
    world.relay.set_faults(0);
    world.disk.set_faults(0);
    // Hanging calls reach their deadlines, outages end, killed processes begin anew; two passes later all is done.
    let mut calm_for = 0;
    for _ in 0..MOST_SECONDS {
        pass(1_000).await;
        let done = |r: &Sandbox| matches!(r.life.state, State::Running { .. } | State::Stopped { .. });
        let calm = world.oracle().is_calm() && world.rows().iter().all(done);
        calm_for = if calm { calm_for + 1_000 } else { 0 };
        if calm_for > 2 * PERIOD {
            break;
        }
    }
    let (rows, observed) = (world.rows(), world.observed());
    let mut oracle = world.oracle();
    oracle.compare_reasons(&rows);
    oracle.settled(&rows, &observed);
}

/// Nobody does anything any more: every sandbox is stopped in time.
async fn fall_asleep(world: &Arc<World>) {
    let last = {
        let oracle = world.oracle();
        oracle.subjects.iter().filter_map(|s| oracle.due_of(&s.id)).map(|due| due - oracle.now).max()
    };
    // Do not wait for an instant that was named before the clock was set back.
    if let Some(last) = last.filter(|last| *last < 4 * LIMIT) {
        pass(last.max(0) + PERIOD + 2 * GRACE).await;
    }
}

/// Runs the trace of a seed.
pub fn run(seed: u64, tells: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs no more than memory").block_on(async {
        let dice = Dice::new(seed);
        let plan = plan(&dice);
        let world = World::new(dice, &plan.flavour, tells);
        world.boot();
        let watching = tokio::spawn(watch(Arc::clone(&world), plan.tells_every));
        let looking = plan.dashboard.map(|every| tokio::spawn(dashboard(Arc::clone(&world), every)));
        happen(&world, &plan).await;
        settle(&world).await;
        fall_asleep(&world).await;
        watching.abort();
        looking.iter().for_each(JoinHandle::abort);
        world.end();
        let panics = super::run::panics_of_this_thread();
        let mut oracle = world.oracle();
        for what in panics {
            oracle.violated(Kind::Panic, what);
        }
        Outcome {
            seed,
            idle_stops: oracle.idle_stops,
            other_stops: oracle.other_stops,
            too_late: oracle.too_late,
            violations: std::mem::take(&mut oracle.violations),
            account: oracle.account.take().unwrap_or_default(),
        }
    })
}
