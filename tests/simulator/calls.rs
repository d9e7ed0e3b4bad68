//! The calls of the engine that fails, hangs and lies. The oracle is told what really happens.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use jiff::Timestamp;

use super::{
    clock::pass,
    engine::{Driven, QUICK, SLOW},
    subject::Ended,
    world::World,
};
use crate::{
    domain::{
        Begun, ContainerId, Cpus, ImageRef, Memory, Observed, Phase, Program, Sandbox, SandboxId, SandboxName, Size,
        StopReason,
    },
    engine::{
        Altering, Announced, Attached, CheckIn, Containers, Engine, EngineError, EngineInfo, Event, Exec, ImageDetails,
        Images, Inside, LayerProgress, Ran, Result, SandboxSpec,
    },
};

#[async_trait]
impl Containers for Driven {
    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let work = async {
            let container = self.world.engine.create(spec).await?;
            self.world.made(&spec.sandbox, &container);
            Ok(container)
        };
        self.call("create", None, SLOW, work).await
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
        // A stop takes its time. That delays only its own sandbox.
        self.world.oracle().trouble(Some(container), true);
        let deadline = SLOW + grace.as_millis() as i64;
        // The call cannot be taken back: from now on the container counts as told.
        let reason = (!self.life.is_dead() && self.world.phase(container) == Some(Phase::Running)).then(|| {
            let row = self.world.row_of(container);
            self.world.oracle().signalled(container, row.as_ref())
        });
        let done = self.call("stop", Some(container), deadline, self.end(container, grace, reason)).await;
        if !self.life.is_dead() {
            self.world.oracle().trouble(Some(container), false);
            self.world.oracle().see_late(container);
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

    async fn amend(&self, sandbox: &Sandbox) -> Result<()> {
        self.write_down(sandbox).await
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Observed> {
        self.call("inspect", Some(container), QUICK, self.world.engine.inspect(container)).await
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        self.call("list", None, QUICK, self.world.engine.list()).await
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        let work = async {
            let sandbox = self.world.engine.recover(container).await?;
            self.world.oracle().rebuilt(&sandbox);
            Ok(sandbox)
        };
        self.call("recover", Some(container), QUICK, work).await
    }
}

impl Driven {
    /// Writes a file. The engine need not answer for that, and nobody waits long.
    async fn write_down(&self, sandbox: &Sandbox) -> Result<()> {
        self.life.point().await;
        let faults = self.trouble.lock().expect("no holder panics").faults;
        let refused = || Err(EngineError::Refused("the disk is full (scripted)".into()));
        let written = match self.world.dice.in_thousand(faults).then(|| self.world.dice.of(0..2)) {
            Some(0) => refused(),
            Some(_) => self.world.engine.amend(sandbox).await.and(refused()),
            None => self.world.engine.amend(sandbox).await,
        };
        self.world.oracle().written_down(&sandbox.id, written.is_ok());
        self.life.point().await;
        written
    }

    /// Ends a container that was told to end, even if no process is left to see it.
    async fn end(&self, container: &ContainerId, grace: Duration, reason: Option<StopReason>) -> Result<()> {
        let running = |world: &World| world.phase(container) == Some(Phase::Running);
        let Some(reason) = reason.filter(|_| running(&self.world)) else {
            // A container that did not run when told to stop, and was started since, is left alone.
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
impl Images for Driven {
    async fn images(&self) -> Result<Vec<String>> {
        self.call("images", None, QUICK, self.world.engine.images()).await
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        self.call("image", None, QUICK, self.world.engine.image(image)).await
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        self.call("containers of", None, QUICK, self.world.engine.containers_of(id)).await
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        self.call("pull", None, SLOW, self.world.engine.pull(image)).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        self.call("remove image", None, SLOW, self.world.engine.remove_image(image)).await
    }
}

#[async_trait]
impl Inside for Driven {
    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        self.call("furnish", None, QUICK, self.world.engine.furnish(sandbox, check_in)).await
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
}

#[async_trait]
impl Altering for Driven {
    async fn rename(&self, container: &ContainerId, name: &SandboxName) -> Result<()> {
        self.call("rename", Some(container), QUICK, self.world.engine.rename(container, name)).await
    }

    async fn limit(&self, container: &ContainerId, memory: Memory, cpus: Cpus) -> Result<()> {
        self.call("limit", Some(container), QUICK, self.world.engine.limit(container, memory, cpus)).await
    }

    async fn admit(&self, sandbox: &SandboxId, keys: &str) -> Result<()> {
        self.call("admit", None, QUICK, self.world.engine.admit(sandbox, keys)).await
    }
}

#[async_trait]
impl Exec for Driven {
    async fn prepare_exec(&self, container: &ContainerId, program: &Program, id: &str) -> Result<String> {
        let work = self.world.engine.prepare_exec(container, program, id);
        self.call("prepare_exec", Some(container), QUICK, work).await
    }

    async fn begin_exec(&self, exec: &str, on_terminal: bool) -> Result<Attached> {
        self.call("begin_exec", None, QUICK, self.world.engine.begin_exec(exec, on_terminal)).await
    }

    async fn resize_exec(&self, exec: &str, size: Size) -> Result<()> {
        self.call("resize_exec", None, QUICK, self.world.engine.resize_exec(exec, size)).await
    }

    async fn look_at_exec(&self, exec: &str) -> Result<Ran> {
        self.call("look_at_exec", None, QUICK, self.world.engine.look_at_exec(exec)).await
    }

    async fn end_exec(&self, begun: &Begun) -> Result<()> {
        self.call("end_exec", Some(&begun.container), QUICK, self.world.engine.end_exec(begun)).await
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
