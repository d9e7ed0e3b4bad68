//! Unit tests of the use cases' parts, each part without the others.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    clock::ManualClock,
    domain::{
        Actor, ContainerId, Cpus, ImageRef, Limit, Memory, Phase, Sandbox, Selection, Source, State, StopReason, Wake,
        fixtures,
    },
    engine::{
        EngineError,
        fake::{FakeEngine, Fault},
    },
    relay::{Count, Request, Response, Script, Target, Unreachable},
    store::PortPool,
};

/// A relay that remembers what it is told, and reports the counts that a test sets.
#[derive(Debug, Default)]
struct Told {
    requests: Mutex<Vec<Request>>,
    counts: Mutex<Vec<Count>>,
}

impl Script for Told {
    fn ask(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Response, Unreachable>> + Send + '_>> {
        let answer = match request {
            Request::Counts => Response::Counts(self.counts.lock().unwrap().clone()),
            Request::Table(_) | Request::Put(_) => Response::Held(Vec::new()),
            _ => Response::Done,
        };
        self.requests.lock().unwrap().push(request);
        Box::pin(ready(Ok(answer)))
    }
}

impl Told {
    /// Where connections go, as it was told last.
    fn target(&self) -> Option<Target> {
        let requests = self.requests.lock().unwrap();
        requests.iter().rev().find_map(|r| if let Request::Put(route) = r { Some(route.target.clone()) } else { None })
    }
}

fn admin() -> Actor {
    Actor::admin("admin")
}

fn settings() -> Settings {
    Settings {
        admin: AdminLogin { user: "admin".into(), password: crate::domain::Password::Plain("spindocker".into()) },
        policy: crate::domain::Policy { idle_limit: Limit::After(Duration::from_mins(1)), ..fixtures::POLICY },
        keep_max: Duration::from_mins(1),
        wake: Wake::Idle,
        report_period: Duration::from_secs(5),
        resume_grace: Duration::from_secs(20),
        converge_every: Duration::from_secs(5),
        pool: PortPool { host: [127, 0, 0, 1].into(), range: 10_000..=10_009 },
        max_running: 5,
        start_concurrency: 2,
        stop_grace: Duration::from_secs(10),
        memory: Memory::parse("512m").unwrap(),
        cpus: Cpus::parse("1").unwrap(),
        zone: None,
        default_ssh_key: None,
        default_ssh_key_always: true,
        check_in_address: None,
        check_in_port: 80,
        reach: ReachSettings::default(),
        spool: std::env::temp_dir().join("spindle-test-spool"),
        transfer_max: 64 << 20,
        actions_keep: Duration::from_hours(400 * 24),
    }
}

/// The parts that both storeys use, with one sandbox that runs.
struct Ground {
    engine: Arc<FakeEngine>,
    told: Arc<Told>,
    relay: Arc<Relay>,
    clock: Arc<ManualClock>,
    work: Arc<Work>,
    tasks: TaskTracker,
}

impl Ground {
    fn new() -> Self {
        let (engine, told) = (Arc::new(FakeEngine::default()), Arc::new(Told::default()));
        engine.add_image("lab:latest", &["22", "8000"], None);
        let clock = Arc::new(ManualClock::at(Timestamp::from_second(1_795_000_000).unwrap()));
        let (_, events) = tokio::sync::mpsc::unbounded_channel();
        let relay = Arc::new(Relay::scripted(told.clone(), events));
        let store = Arc::new(Store::in_memory().unwrap());
        let (kept, tasks) = (Arc::new(RecordClock::new(clock.clone(), None)), TaskTracker::new());
        let work = ground(store, engine.clone(), &relay, kept, settings(), &tasks);
        Self { engine, told, relay, clock, work, tasks }
    }

    fn asked(&self) -> Arc<Asked> {
        Asked::new(&self.work, self.relay.clone(), CancellationToken::new(), self.tasks.clone())
    }

    /// The parts, with an open door and a sandbox that runs.
    async fn with_sandbox() -> (Self, Sandbox) {
        let ground = Self::new();
        ground.work.vitals.set_door(CheckInDoor::Open(([127, 0, 0, 1], 80).into()));
        ground.work.vitals.begin();
        let sandbox = ground.asked().create(&admin(), CreateSpec::of(ImageRef::parse("lab").unwrap())).await.unwrap();
        (ground, sandbox)
    }

    async fn row(&self, sandbox: &Sandbox) -> Sandbox {
        self.work.records.store.get(&sandbox.id).await.unwrap().unwrap()
    }

    fn container(sandbox: &Sandbox) -> &ContainerId {
        sandbox.container.as_ref().unwrap()
    }
}

#[tokio::test]
async fn vitals_hold_until_all_can_report_and_again_when_something_fails() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    let (vitals, clock) = (&ground.work.vitals, &ground.work.clock);
    let mut pass = |seconds| {
        ground.clock.advance(Duration::from_secs(seconds));
        vitals.renew_grace(clock.now(), clock.steady(), true, true);
        vitals.holds(&sandbox)
    };
    assert!(pass(0), "our start");
    assert_eq!([5, 5, 5, 5].map(&mut pass), [true, true, true, false], "the grace is over");
    vitals.set_door(CheckInDoor::Shut("it is in use".into()));
    assert!(vitals.holds(&sandbox), "nobody can report");
    vitals.set_door(CheckInDoor::Open(([127, 0, 0, 1], 80).into()));
    vitals.impair();
    assert!(vitals.holds(&sandbox));
}

#[tokio::test]
async fn records_tell_the_relay_of_each_change_and_of_nothing_that_was_none() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    assert!(matches!(ground.told.target(), Some(Target::Open { .. })), "{:?}", ground.told);
    let records = &ground.work.records;
    let to = State::Stopping { since: ground.work.clock.now(), reason: StopReason::Requested };
    assert!(records.mark(&sandbox, to.clone()).await.unwrap());
    assert_eq!(ground.told.target(), Some(Target::Shut));
    let before = ground.told.requests.lock().unwrap().len();
    assert!(!records.mark(&sandbox, to).await.unwrap(), "it does not run any more");
    assert_eq!(ground.told.requests.lock().unwrap().len(), before);
}

#[tokio::test]
async fn usage_is_recorded_as_evidence_and_a_little_newer_use_is_not() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    ground.clock.advance(Duration::from_secs(10));
    let begin = ground.work.clock.now();
    let count = |at: Timestamp| Count {
        sandbox: sandbox.id.clone(),
        inside: 8_000,
        open: 1,
        in_use: 1,
        bytes_in: 9_000,
        bytes_out: 9_000,
        last_byte: Some(at),
        last_use: Some((sandbox.life.generation, at)),
    };
    let used = async |at: Timestamp| {
        ground.work.usage.take_up(vec![count(at)]).await.unwrap();
        ground.row(&sandbox).await.life.evidence.last_of(Source::Connection)
    };
    assert_eq!(used(begin).await, Some(begin));
    ground.clock.advance(Duration::from_secs(5));
    let millis = |m| begin + jiff::SignedDuration::from_millis(m);
    assert_eq!(used(millis(800)).await, Some(begin), "a write for each byte would be one too many");
    assert_eq!(used(millis(1_800)).await, Some(millis(1_800)));
    ground.told.counts.lock().unwrap().push(count(millis(1_900)));
    ground.work.usage.collect().await.unwrap();
    assert_eq!(
        ground.row(&sandbox).await.life.evidence.last_of(Source::Connection),
        Some(millis(1_900)),
        "before a decision"
    );
    let open: Vec<u32> =
        ground.asked().view(sandbox).ports.iter().filter_map(|p| Some(p.carried.as_ref()?.open)).collect();
    assert_eq!(open, [1], "as it is shown");
}

#[tokio::test]
async fn a_list_shows_of_each_sandbox_what_its_own_view_shows() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    let asked = ground.asked();
    let [listed] = asked.views(&admin(), &Selection::default(), Page::default()).await.unwrap().0.try_into().unwrap();
    let own = asked.view(asked.get(&admin(), Ground::container(&sandbox).as_str()).await.unwrap());
    assert_eq!((&listed.sandbox, &listed.why, listed.stops_at()), (&own.sandbox, &own.why, own.stops_at()));
    assert!(own.stops_at().is_some() && own.ports.len() == own.sandbox.ports.len(), "{own:?}");
}

#[tokio::test]
async fn work_that_fails_leaves_its_intent_and_work_that_is_done_leaves_none() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    let to = State::Stopping { since: ground.work.clock.now(), reason: StopReason::Requested };
    assert!(ground.work.records.mark(&sandbox, to.clone()).await.unwrap());
    ground.engine.next("stop", Fault::Fail(EngineError::Refused("no".into())));
    assert!(matches!(ground.work.finish_stop(&sandbox.id).await, Err(Error::StillStopping)));
    assert_eq!(ground.row(&sandbox).await.life.state, to);
    ground.work.finish_stop(&sandbox.id).await.unwrap();
    assert!(matches!(ground.row(&sandbox).await.life.state, State::Stopped { reason: StopReason::Requested, .. }));
    let deleted = ground.row(&sandbox).await;
    assert!(ground.work.records.mark(&deleted, State::Deleting).await.unwrap());
    assert!(ground.work.finish_delete(&deleted.in_state(State::Deleting)).await.unwrap());
    assert_eq!((ground.engine.containers(), ground.work.records.store.all().await.unwrap()), (vec![], vec![]));
}

#[tokio::test]
async fn a_verb_needs_no_pass() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    let asked = ground.asked();
    let reference = Ground::container(&sandbox).as_str();
    assert!(matches!(asked.stop(&admin(), reference).await.unwrap().life.state, State::Stopping { .. }));
    let started = asked.start(&admin(), reference).await.unwrap();
    assert_eq!((started.life.generation, started.ports.clone()), (sandbox.life.generation + 1, sandbox.ports.clone()));
    asked.delete(&admin(), reference).await.unwrap();
    assert!(matches!(asked.get(&admin(), reference).await, Err(Error::NoSandbox(_))));
}

#[tokio::test]
async fn a_pass_needs_no_verb() {
    let (ground, sandbox) = Ground::with_sandbox().await;
    let pass = Pass::new(&ground.work, ground.tasks.clone());
    ground.engine.force(Ground::container(&sandbox), Phase::Exited);
    let report = pass.converge().await;
    assert_eq!((report.known, report.observed, report.steps), (1, 1, 1));
    let stopped = ground.row(&sandbox).await;
    assert!(matches!(stopped.life.state, State::Stopped { reason: StopReason::Exited, .. }), "{stopped:?}");
    assert!(ground.work.vitals.report().is_some());
}
