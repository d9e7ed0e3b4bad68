//! What scripted containers write.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{FakeEngine, or_lie};
use crate::{
    domain::{ContainerId, Phase},
    engine::{EngineError, Logs, LogsWanted, Outlet, Result, Said, Saying},
};

#[async_trait]
impl Logs for FakeEngine {
    async fn logs(&self, container: &ContainerId, wanted: &LogsWanted) -> Result<Saying> {
        let lie = self.enter("logs").await?;
        let begin = {
            let inner = self.inner();
            let log = &inner.containers.get(container).ok_or(EngineError::NoContainer)?.inside.log;
            let is_wanted = |said: &&Said| wanted.only.is_none_or(|only| only == said.outlet);
            let there = log.iter().enumerate().filter(|(_, said)| is_wanted(said)).map(|(at, _)| at);
            let skipped = wanted.tail.map_or(0, |tail| there.clone().count().saturating_sub(tail as usize));
            there.clone().nth(skipped).unwrap_or(log.len())
        };
        let (inner, stirred, open) = (self.inner.clone(), self.stirred.clone(), self.open.clone());
        let pulled = self.pulled.clone();
        let (container, wanted) = (container.clone(), *wanted);
        let said = stream::unfold(Some(begin), move |at| {
            let (inner, stirred, container) = (inner.clone(), stirred.clone(), container.clone());
            let (pulled, _open) = (pulled.clone(), &open);
            async move {
                let mut at = at?;
                loop {
                    let stirred = stirred.notified();
                    tokio::pin!(stirred);
                    stirred.as_mut().enable();
                    {
                        let inner = inner.lock().expect("no holder panics");
                        if inner.away {
                            return Some((Err(EngineError::Unavailable("nobody listens (scripted)".into())), None));
                        }
                        let c = inner.containers.get(&container)?;
                        while let Some(said) = c.inside.log.get(at) {
                            at += 1;
                            let is_new = said.at.zip(wanted.since).is_none_or(|(at, since)| at >= since);
                            if is_new && wanted.only.is_none_or(|only| only == said.outlet) {
                                pulled.fetch_add(1, Ordering::Relaxed);
                                return Some((Ok(said.clone()), Some(at)));
                            }
                        }
                        if !wanted.follow || c.phase != Phase::Running {
                            return None;
                        }
                    }
                    stirred.await;
                }
            }
        });
        or_lie(said.boxed(), lie)
    }
}

impl FakeEngine {
    /// Lets a container's program write something: a line, or a piece of one.
    pub fn say(&self, container: &ContainerId, said: Said) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.written.extend(&said.bytes);
            c.inside.log.push(said);
        }
        self.stirred.notify_waiters();
    }

    /// As [`FakeEngine::say`], to one outlet and at no known time.
    pub fn say_text(&self, container: &ContainerId, outlet: Outlet, text: &str) {
        self.say(container, Said { outlet, at: None, bytes: text.to_owned().into() });
    }

    /// How many pieces of its answers were taken.
    pub fn pulled(&self) -> u64 {
        self.pulled.load(Ordering::Relaxed)
    }

    /// How many streams of its answers somebody still holds.
    pub fn open_streams(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }
}
