//! What callers look at and carry in and out: the engine's calls about it, which are as troubled as the others.

use async_trait::async_trait;

use super::engine::{Driven, QUICK};
use crate::{
    domain::ContainerId,
    engine::{Logs, LogsWanted, Result, Saying},
};

#[async_trait]
impl Logs for Driven {
    async fn logs(&self, container: &ContainerId, wanted: &LogsWanted) -> Result<Saying> {
        self.call("logs", Some(container), QUICK, self.world.engine.logs(container, wanted)).await
    }
}
