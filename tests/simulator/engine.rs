//! The engine as a process sees it, in front of the scripted one. It fails, hangs and lies as the dice say.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{clock::pass, life::Life, world::World};
use crate::{
    domain::{ContainerId, StopReason},
    engine::{EngineError, Result},
};

/// Deadlines, as the real driver has them.
pub const QUICK: i64 = 10_000;
pub const SLOW: i64 = 60_000;

/// What is wrong with the engine at present.
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
    /// The most milliseconds that a successful call takes.
    pub latency: i64,
}

impl Trouble {
    /// Ends all troubles but an outage, which ends by itself.
    pub fn end(&mut self) {
        *self = Self { away: self.away, ..Self::default() };
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused.
    Refused,
    /// The connection breaks before the call is done.
    Broken,
    /// The call is done, and then the connection breaks.
    Lie,
    /// The call is done after a while.
    Late(i64),
    /// The call is done at once, and answered after a while.
    LateAnswer(i64),
    /// Nothing happens until the deadline.
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
    pub async fn call<T: Send>(
        &self,
        call: &'static str,
        about: Option<&ContainerId>,
        deadline: i64,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.life.point().await;
        let fault = self.fault(call, deadline);
        // A creation delays no sandbox. A call that broke may be about the whole engine.
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
                // A call that is cut off with its process is not done either: an engine notices.
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
}

/// Whether the engine was told to stop a container for being idle.
pub fn is_idle(reason: StopReason) -> bool {
    reason == StopReason::Idle
}
