//! The scripted world: the real server over loopback, with a scripted engine, a store in memory and a
//! clock that the test moves.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use spindle::{
    app::{App, Settings},
    clock::{Clock, ManualClock},
    domain::{ContainerId, Cpus, Exit, Limit, Memory, Phase, Policy, Sources, State, TrafficLimits, Wake},
    engine::fake::FakeEngine,
    http::ApiSettings,
    loops::Loops,
    relay::Relay,
    store::{PortPool, Store},
};
use tokio_util::sync::CancellationToken;

use super::{
    Http, Meddling, World, id,
    servers::{self, launch_api, open_door},
};

/// What the relay of a scripted world allows.
pub const LIMITS: TrafficLimits = TrafficLimits {
    connections: 1_000,
    per_sandbox: 200,
    per_source: 500,
    wakes: 1_000,
    wakes_per_source: 100,
    wake_timeout: Duration::from_secs(10),
    floor: 1_024,
    refused: None,
};

/// Ports of a world's own: its relay listens on them.
fn slice() -> std::ops::RangeInclusive<u16> {
    static WORLDS: AtomicU16 = AtomicU16::new(0);
    let low = 10_000 + WORLDS.fetch_add(1, Ordering::Relaxed) % 25 * 400;
    low..=low + 399
}

/// Builds a [`Scripted`] world; fields that a test does not set are sane.
pub struct TestApp {
    pub settings: Settings,
    pub api: ApiSettings,
    pub loops: bool,
    /// Where its database is; none: in memory.
    pub database: Option<PathBuf>,
}

impl Default for TestApp {
    fn default() -> Self {
        let settings = Settings {
            admin: spindle::app::AdminLogin {
                user: "admin".into(),
                password: spindle::domain::Password::Plain("spindocker".into()),
            },
            policy: Policy {
                idle_limit: Limit::After(Duration::from_mins(150)),
                connection_cap: Limit::After(Duration::from_hours(24)),
                max_age: Limit::Never,
                warn_before: Limit::Never,
                evidence: Sources::DEFAULT,
            },
            keep_max: Duration::from_hours(1),
            wake: Wake::Idle,
            report_period: Duration::from_secs(1),
            resume_grace: Duration::from_secs(1),
            converge_every: Duration::from_secs(1),
            pool: PortPool { host: "127.0.0.1".parse().unwrap(), range: slice() },
            max_running: 1_000,
            start_concurrency: 4,
            stop_grace: Duration::from_secs(10),
            memory: Memory::parse("512m").unwrap(),
            cpus: Cpus::parse("1").unwrap(),
            zone: None,
            default_ssh_key: None,
            default_ssh_key_always: true,
            check_in_address: None,
            check_in_port: 80,
            reach: super::programs::REACH,
            spool: std::env::temp_dir().join("spindle-test-spool"),
            transfer_max: 64 << 20,
            actions_keep: Duration::from_hours(400 * 24),
        };
        Self { settings, api: servers::settings("10.213.0.0/22"), loops: true, database: None }
    }
}

pub struct Scripted {
    pub app: Arc<App>,
    pub engine: Arc<FakeEngine>,
    pub relay: Arc<Relay>,
    pub store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub door: Http,
    pub settings: Settings,
    http: Http,
    loops: Option<Loops>,
    servers: Vec<CancellationToken>,
    closing: CancellationToken,
}

impl TestApp {
    /// A world whose API has other settings.
    pub fn with_api(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let mut app = Self::default();
        change(&mut app.api);
        app
    }

    /// A world with the mimic images, whose server answers and has made its first pass.
    pub async fn start(self) -> Scripted {
        let engine = Arc::new(FakeEngine::default());
        engine.add_image("spindle/mimic:latest", &["22", "8000"], None);
        engine.add_image("spindle/mimic:twin", &["22", "8000"], None);
        engine.add_image("spindle/mimic:bare", &[], None);
        engine.add_image("spindle/mimic:empty", &["22", "8000"], None);
        engine.end_at_once("spindle/mimic:empty", Exit { code: 127, oom_killed: false });
        engine.add_image("spindle/mimic:many", &["22", "7000", "8000", "9000/udp"], Some("8000"));
        engine.add_image("spindle/mimic:udp", &["22", "5353/udp"], None);
        let clock = Arc::new(ManualClock::at("2026-11-20T09:00:00Z".parse().unwrap()));
        let store = Arc::new(match &self.database {
            Some(path) => Store::open(path).unwrap(),
            None => Store::in_memory().unwrap(),
        });
        let relay = Arc::new(Relay::here(LIMITS, clock.clone()));
        let app = App::new(store.clone(), engine.clone(), relay.clone(), clock.clone(), self.settings.clone());
        app.actions.take_over(Vec::new()).await;
        let (api_at, api_shutdown) = launch_api(&app, self.api);
        let (door_at, door) = open_door(&app).await;
        let loops = if self.loops { Some(Loops::start(&app, Duration::from_secs(1)).await.unwrap()) } else { None };
        app.pass.converge().await;
        Scripted {
            app,
            engine,
            relay,
            store,
            clock,
            settings: self.settings,
            http: Http::new(format!("http://{api_at}")),
            door: Http::new(format!("http://{door_at}")),
            loops,
            servers: vec![api_shutdown],
            closing: door,
        }
    }
}

impl Scripted {
    /// Moves the clock second by second, with a pass at each.
    pub async fn pass_seconds(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.app.pass.converge().await;
        }
    }

    /// What must hold at any moment at which nothing is under way.
    pub async fn check(&self) {
        // A delete is answered before its removal, which goes on without anybody's help.
        let mut known = self.store.all().await.unwrap();
        for _ in 0..10_000 {
            if known.iter().all(|s| s.life.state != State::Deleting) {
                break;
            }
            tokio::task::yield_now().await;
            known = self.store.all().await.unwrap();
        }
        let mut ports = std::collections::HashSet::new();
        for sandbox in &known {
            for port in &sandbox.ports {
                assert!(ports.insert((port.outside.port, port.inside.protocol)), "a port is shared: {sandbox:?}");
            }
        }
        let mut held = self.engine.containers();
        held.sort();
        let mut shown: Vec<_> = known.iter().filter_map(|s| s.container.clone()).collect();
        shown.sort();
        assert_eq!(shown, held, "the store and the engine disagree");
    }
}

#[async_trait]
impl World for Scripted {
    fn http(&self) -> &Http {
        &self.http
    }

    async fn moment(&self) {
        self.pass_seconds(1).await;
        tokio::task::yield_now().await;
    }

    async fn check_in_at(&self, container: &Value, path: &str, body: &str, header: &str) -> (u16, String) {
        let from: IpAddr = self.engine.address(&self::container(container)).unwrap();
        let http = Http::from_address(self.door.base.clone(), from);
        let headers: Vec<(&str, &str)> = header.split_once(": ").into_iter().collect();
        let body = if body.starts_with('{') {
            super::Body::Raw("application/json", body.as_bytes().to_vec())
        } else {
            super::Body::Form(body)
        };
        let answer = http.bare("POST", path, body, &headers).await;
        (answer.status, answer.text)
    }

    async fn address(&self, container: &Value) -> String {
        self.engine.address(&self::container(container)).unwrap().to_string()
    }

    async fn token(&self, container: &Value) -> String {
        let reference = spindle::domain::SandboxRef::parse(id(container));
        self.store.meant(&reference).await.unwrap().pop().unwrap().token.reveal().to_owned()
    }

    async fn stop_behind_back(&self, container: &Value) {
        self.engine.kill(&self::container(container));
    }

    async fn start_behind_back(&self, container: &Value) {
        self.engine.force(&self::container(container), Phase::Running);
    }

    async fn remove_behind_back(&self, container: &Value) {
        self.engine.vanish(&self::container(container));
    }

    async fn meddle(&self, container: &Value, how: Meddling) {
        let (engine, id) = (&self.engine, &self::container(container));
        match how {
            Meddling::Crash(code) => {
                engine.crash(id, Exit { code: code.into(), oom_killed: false }, "mimic: started\n");
            }
            Meddling::Kill => engine.kill(id),
            Meddling::Pause => engine.pause(id, true),
            Meddling::Unpause => engine.pause(id, false),
            Meddling::Rename(name) => engine.rename_behind(id, name),
            Meddling::Limit => engine.update(id, Memory::parse("64m").unwrap(), Cpus::parse("0.5").unwrap()),
        }
    }

    async fn held(&self) -> Vec<String> {
        self.engine.containers().iter().map(ToString::to_string).collect()
    }

    async fn begin_anew(&mut self) {
        if let Some(loops) = self.loops.take() {
            loops.stop(Duration::from_secs(5)).await;
        }
        for server in self.servers.drain(..) {
            server.cancel();
        }
        self.relay.close().await;
        let fresh = TestApp { settings: self.settings.clone(), ..TestApp::default() };
        let relay = Arc::new(Relay::here(LIMITS, self.clock.clone()));
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.clock.clone());
        let app = App::new(store, engine, relay.clone(), clock, fresh.settings.clone());
        app.actions.take_over(Vec::new()).await;
        let (api_at, shutdown) = launch_api(&app, fresh.api);
        self.servers.push(shutdown);
        self.closing.cancel();
        let (door_at, door) = open_door(&app).await;
        self.closing = door;
        (self.http, self.door) = (Http::new(format!("http://{api_at}")), Http::new(format!("http://{door_at}")));
        (self.app, self.relay) = (app, relay);
    }

    async fn restart(&mut self) {
        self.begin_anew().await;
        self.loops = Some(Loops::start(&self.app, Duration::from_secs(1)).await.unwrap());
        self.app.pass.converge().await;
    }
}

/// The time that the world's clock shows.
pub fn now(world: &Scripted) -> jiff::Timestamp {
    world.clock.now()
}

/// The idle limit in [`world`], in seconds.
pub const LIMIT: u64 = 60;

/// A world whose limit is a minute, whose grace is five seconds, and in which only the test makes passes.
pub async fn world() -> Scripted {
    let mut app = TestApp { loops: false, ..TestApp::default() };
    app.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    app.settings.resume_grace = Duration::from_secs(5);
    app.start().await
}

/// Makes passes, the clock standing still, until the container's status is `status`.
pub async fn settle(w: &Scripted, container: &Value, status: &str) -> Value {
    for _ in 0..10_000 {
        let now = w.http().now(container).await;
        if now["status"] == status {
            return now;
        }
        w.app.pass.converge().await;
        tokio::task::yield_now().await;
    }
    panic!("never {status}: {}", w.http().now(container).await)
}

/// Makes a number of passes, time standing still, for what must not happen.
pub async fn passes(w: &Scripted, number: usize) {
    for _ in 0..number {
        w.app.pass.converge().await;
        tokio::task::yield_now().await;
    }
}

/// The engine's id of a container.
pub fn container(c: &Value) -> ContainerId {
    ContainerId::parse(id(c)).unwrap()
}

/// A limit of so many seconds.
pub fn after(seconds: u64) -> Limit {
    Limit::After(Duration::from_secs(seconds))
}

/// What is said of a container's activity.
pub async fn activity(w: &Scripted, c: &Value) -> Value {
    w.http().get(&format!("{}/activity", super::uri(c))).await.expect(200).json()
}

/// Seconds until `stops_at`.
pub fn left(w: &Scripted, c: &Value) -> i64 {
    let at: jiff::Timestamp = c["stops_at"].as_str().unwrap().parse().unwrap();
    at.duration_since(now(w)).as_secs()
}

/// What was decided, newest first.
pub fn decisions(activity: &Value) -> Vec<&str> {
    activity["decisions"].as_array().unwrap().iter().map(|d| d["decision"].as_str().unwrap()).collect()
}
