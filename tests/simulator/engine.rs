//! The engine, between a process and the scripted one: it fails, hangs and lies as the dice say, and tells the oracle
//! what really happens.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use jiff::Timestamp;

use super::{clock::pass, life::Life, subject::Ended, world::World};
use crate::{
    domain::{ContainerId, ImageRef, Observed, Phase, Sandbox, SandboxId, StopReason},
    engine::{
        Announced, CheckIn, Engine, EngineError, EngineInfo, Event, ImageDetails, LayerProgress, Result, SandboxSpec,
    },
};

/// Deadlines, as the real driver has them.
const QUICK: i64 = 10_000;
const SLOW: i64 = 60_000;

/// What goes wrong with the engine at present.
#[derive(Debug, Default)]
pub struct Trouble {
    /// It does not answer at all.
    pub away: bool,
    /// How many of a thousand calls go wrong.
    pub faults: i64,
    /// How many of a thousand events come late.
    pub late_events: i64,
    /// How many of a thousand events are lost without a word.
    pub lost_events: i64,
    /// How many of a thousand containers take their whole grace to stop.
    pub stubborn: i64,
    /// How many of a thousand stops hang.
    pub hung_stops: i64,
    /// How long a call takes at most that goes well, in milliseconds.
    pub latency: i64,
}

impl Trouble {
    /// Ends all but an outage, which ends by itself.
    pub fn end(&mut self) {
        *self = Self { away: self.away, ..Self::default() };
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused.
    Refused,
    /// The connection breaks before it is done.
    Broken,
    /// It is done, and the connection breaks.
    Lie,
    /// It is done after a while.
    Late(i64),
    /// It is done, and answered after a while.
    LateAnswer(i64),
    /// Nothing happens until its deadline.
    Hang,
}

/// The engine as one process sees it.
pub struct Driven {
    pub world: Arc<World>,
    pub life: Arc<Life>,
    /// Ends the event stream.
    pub cut: Arc<tokio::sync::Notify>,
    pub trouble: Arc<Mutex<Trouble>>,
}

impl Driven {
    fn fault(&self, call: &str, deadline: i64) -> Option<Fault> {
        let (dice, trouble) = (&self.world.dice, self.trouble.lock().expect("no holder panics"));
        if trouble.away {
            return Some(Fault::Broken);
        }
        if call == "stop" && dice.in_thousand(trouble.hung_stops) {
            return Some(Fault::Hang);
        }
        if !dice.in_thousand(trouble.faults) {
            return None;
        }
        Some(match dice.of(0..12) {
            0 | 1 => Fault::Refused,
            2 => Fault::Broken,
            3 | 4 => Fault::Lie,
            5 | 6 => Fault::Late(dice.of(10..deadline - 500)),
            7 | 8 => Fault::LateAnswer(dice.of(10..QUICK - 500)),
            9 if call == "list" => Fault::Refused,
            _ => Fault::Hang,
        })
    }

    async fn take_time(&self) {
        let latency = self.trouble.lock().expect("no holder panics").latency;
        if latency > 0 {
            pass(self.world.dice.of(0..latency)).await;
        }
    }

    /// One call, about one container or about all.
    async fn call<T: Send>(
        &self,
        call: &'static str,
        about: Option<&ContainerId>,
        deadline: i64,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.life.point().await;
        let fault = self.fault(call, deadline);
        // Who creates is in nobody's way, and a call that broke may be about the whole engine.
        let about = about.filter(|_| fault != Some(Fault::Broken));
        let in_the_way = fault.is_some() && !["create", "image", "images"].contains(&call);
        if let Some(fault) = fault {
            let name = about.map(|c| self.world.oracle().name(c)).unwrap_or_default();
            self.world.oracle().tell(|| format!("engine: {call} {name}: {fault:?}"));
        }
        if in_the_way {
            self.world.oracle().trouble(about, true);
        }
        let broken = || EngineError::Unavailable("scripted".into());
        let result = match fault {
            None => {
                self.take_time().await;
                let result = work.await;
                self.take_time().await;
                result
            }
            Some(Fault::Refused) => Err(EngineError::Refused("scripted".into())),
            Some(Fault::Broken) => Err(broken()),
            Some(Fault::Lie) => work.await.and(Err(broken())),
            Some(Fault::Late(by)) => {
                pass(by).await;
                // What is cut off with its process is not done either: an engine notices.
                if self.life.is_dead() {
                    std::future::pending::<()>().await;
                }
                work.await
            }
            Some(Fault::LateAnswer(by)) => {
                let result = work.await;
                pass(by).await;
                result
            }
            Some(Fault::Hang) => {
                pass(deadline).await;
                let deadline = Duration::from_millis(deadline as u64);
                Err(EngineError::Timeout { call, deadline })
            }
        };
        if in_the_way && !self.life.is_dead() {
            self.world.oracle().trouble(about, false);
        }
        self.life.point().await;
        result
    }

    /// Ends a container that was told to, whoever is there to see it.
    async fn end(&self, container: &ContainerId, grace: Duration, reason: Option<StopReason>) -> Result<()> {
        let running = |world: &World| world.phase(container) == Some(Phase::Running);
        let Some(reason) = reason.filter(|_| running(&self.world)) else {
            // What did not run when it was told to stop, and was started since, is let alone.
            return if running(&self.world) { Ok(()) } else { self.world.engine.stop(container, grace).await };
        };
        let stubborn = self.trouble.lock().expect("no holder panics").stubborn;
        let takes = if self.world.dice.in_thousand(stubborn) {
            grace.as_millis() as i64
        } else {
            self.world.dice.of(0..=self.world.longest_end)
        };
        let (world, ends, starts) = (Arc::clone(&self.world), container.clone(), self.world.starts_of(container));
        let ending = tokio::spawn(async move {
            if takes > 0 {
                pass(takes).await;
            }
            if world.phase(&ends) == Some(Phase::Running) && world.starts_of(&ends) == starts {
                world.oracle().ended(&ends, Ended::Us(reason));
                return world.engine.stop(&ends, Duration::ZERO).await;
            }
            Ok(())
        });
        ending.await.expect("it does not panic")
    }
}

#[async_trait]
impl Engine for Driven {
    async fn info(&self) -> Result<EngineInfo> {
        self.call("info", None, QUICK, self.world.engine.info()).await
    }

    async fn memory(&self) -> Result<u64> {
        self.call("memory", None, QUICK, self.world.engine.memory()).await
    }

    async fn prepare(&self) -> Result<IpAddr> {
        self.call("prepare", None, QUICK, self.world.engine.prepare()).await
    }

    async fn images(&self) -> Result<Vec<String>> {
        self.call("images", None, QUICK, self.world.engine.images()).await
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        self.call("image", None, QUICK, self.world.engine.image(image)).await
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        self.call("pull", None, SLOW, self.world.engine.pull(image)).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        self.call("remove image", None, SLOW, self.world.engine.remove_image(image)).await
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        self.call("containers of", None, QUICK, self.world.engine.containers_of(id)).await
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let work = async {
            let container = self.world.engine.create(spec).await?;
            self.world.made(&spec.sandbox, &container);
            Ok(container)
        };
        self.call("create", None, SLOW, work).await
    }

    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        self.call("furnish", None, QUICK, self.world.engine.furnish(sandbox, check_in)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        let work = async {
            let before = self.world.phase(container);
            self.world.engine.start(container).await?;
            if before != Some(Phase::Running) {
                self.world.oracle().runs(container);
            }
            Ok(())
        };
        self.call("start", Some(container), SLOW, work).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<()> {
        // A stop takes its time, which delays only whom it is about.
        self.world.oracle().trouble(Some(container), true);
        let deadline = SLOW + grace.as_millis() as i64;
        // What is called cannot be called back: from now on it counts as told.
        let reason = (!self.life.is_dead() && self.world.phase(container) == Some(Phase::Running)).then(|| {
            let row = self.world.row_of(container);
            self.world.oracle().signalled(container, row.as_ref())
        });
        let done = self.call("stop", Some(container), deadline, self.end(container, grace, reason)).await;
        if !self.life.is_dead() {
            self.world.oracle().trouble(Some(container), false);
            self.world.oracle().is_seen_late(container);
        }
        done
    }

    async fn remove(&self, sandbox: &SandboxId, container: Option<&ContainerId>) -> Result<()> {
        let work = async {
            if let Some(container) = container {
                let row = self.world.row(sandbox);
                self.world.oracle().gone(container, row.as_ref(), true);
            }
            self.world.engine.remove(sandbox, container).await
        };
        self.call("remove", container, SLOW, work).await
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Observed> {
        self.call("inspect", Some(container), QUICK, self.world.engine.inspect(container)).await
    }

    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>> {
        self.call("last_words", Some(container), QUICK, self.world.engine.last_words(container)).await
    }

    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        self.call("announce", Some(container), QUICK, self.world.engine.announce(container, text)).await
    }

    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        self.call("cpu_time", Some(container), QUICK, self.world.engine.cpu_time(container)).await
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        self.call("list", None, QUICK, self.world.engine.list()).await
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        self.call("recover", Some(container), QUICK, self.world.engine.recover(container)).await
    }

    async fn watch(&self, since: Timestamp) -> Result<BoxStream<'static, Result<Event>>> {
        let events = self.call("watch", None, QUICK, self.world.engine.watch(since)).await?;
        let (cut, life, dice) = (Arc::clone(&self.cut), Arc::clone(&self.life), Arc::clone(&self.world.dice));
        let trouble = Arc::clone(&self.trouble);
        let told = futures_util::stream::unfold(events, move |mut events| {
            let (cut, life, dice, trouble) =
                (Arc::clone(&cut), Arc::clone(&life), Arc::clone(&dice), Arc::clone(&trouble));
            async move {
                loop {
                    let event = tokio::select! {
                        biased;
                        () = cut.notified() => return None,
                        event = events.next() => event?,
                    };
                    let (late, lost) = {
                        let trouble = trouble.lock().expect("no holder panics");
                        (dice.in_thousand(trouble.late_events), dice.in_thousand(trouble.lost_events))
                    };
                    if late {
                        pass(dice.of(10..8_000)).await;
                    }
                    life.dawdle().await;
                    if !lost {
                        return Some((event, events));
                    }
                }
            }
        });
        Ok(told.boxed())
    }
}

/// What others do to containers behind our back.
impl World {
    pub fn end_behind_back(&self, container: &ContainerId) {
        if self.phase(container) == Some(Phase::Running) {
            self.oracle().ended(container, Ended::Others);
            self.engine.force(container, Phase::Exited);
        }
    }

    pub fn kill_behind_back(&self, container: &ContainerId) {
        if self.phase(container) == Some(Phase::Running) {
            // Of a run that began and ended while nobody looked, nobody can tell who ended it.
            let was_seen = self.row_of(container).is_some_and(|row| self.has_seen(&row));
            self.oracle().ended(container, if was_seen { Ended::Killed } else { Ended::Others });
            self.engine.kill(container);
        }
    }

    pub fn start_behind_back(&self, container: &ContainerId) {
        if self.phase(container).is_some_and(|p| matches!(p, Phase::Exited | Phase::Running)) {
            self.oracle().runs(container);
            self.engine.force(container, Phase::Running);
        }
    }

    pub fn remove_behind_back(&self, container: &ContainerId) {
        let row = self.row_of(container);
        self.oracle().gone(container, row.as_ref(), false);
        self.engine.vanish(container);
    }
}

/// Why the engine was told to stop, for whoever wants only that.
pub fn is_idle(reason: StopReason) -> bool {
    reason == StopReason::Idle
}
