//! What callers look at and carry in and out: the engine's calls about it, which are as troubled as the others.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::engine::{Driven, QUICK, SLOW};
use crate::{
    domain::ContainerId,
    engine::{Configuration, Figures, Files, Logs, LogsWanted, Looks, Process, Result, Saying, Stat, archive::Pieces},
};

#[async_trait]
impl Logs for Driven {
    async fn logs(&self, container: &ContainerId, wanted: &LogsWanted) -> Result<Saying> {
        self.call("logs", Some(container), QUICK, self.world.engine.logs(container, wanted)).await
    }
}

#[async_trait]
impl Files for Driven {
    async fn look_at(&self, container: &ContainerId, path: &str) -> Result<Stat> {
        self.call("look_at", Some(container), QUICK, self.world.engine.look_at(container, path)).await
    }

    async fn take(&self, container: &ContainerId, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.call("take", Some(container), QUICK, self.world.engine.take(container, path)).await
    }

    async fn unpack(&self, container: &ContainerId, path: &str, tar: Pieces) -> Result<()> {
        self.call("unpack", Some(container), SLOW, self.world.engine.unpack(container, path, tar)).await
    }
}

#[async_trait]
impl Looks for Driven {
    async fn figures(&self, container: &ContainerId, pid: Option<u32>) -> Result<Figures> {
        self.call("figures", Some(container), QUICK, self.world.engine.figures(container, pid)).await
    }

    async fn processes(&self, container: &ContainerId) -> Result<Vec<Process>> {
        self.call("processes", Some(container), QUICK, self.world.engine.processes(container)).await
    }

    async fn configuration(&self, container: &ContainerId) -> Result<Configuration> {
        self.call("configuration", Some(container), QUICK, self.world.engine.configuration(container)).await
    }
}
