//! What there is to see of scripted containers.

use async_trait::async_trait;

use super::{FakeEngine, or_lie};
use crate::{
    domain::ContainerId,
    engine::{Configuration, EngineError, Figures, Looks, Mounted, Process, Result},
};

#[async_trait]
impl Looks for FakeEngine {
    async fn figures(&self, container: &ContainerId, _pid: Option<u32>) -> Result<Figures> {
        let lie = self.enter("figures").await?;
        let cpu = self.in_running(container, |inside| inside.cpu)?;
        let limit = self.inner().containers.get(container).map(|c| c.sandbox.recipe.memory.bytes());
        let (memory, network) = (1 << 20, Some((1_000, 2_000)));
        let counted = Figures { cpu, memory, memory_limit: limit, memory_peak: Some(2 << 20), ..Figures::default() };
        or_lie(Figures { processes: 1, network, written: Some(4_096), ..counted }, lie)
    }

    async fn processes(&self, container: &ContainerId) -> Result<Vec<Process>> {
        let lie = self.enter("processes").await?;
        let cpu = self.in_running(container, |inside| inside.cpu)?;
        let token = self.inner().containers.get(container).map(|c| c.sandbox.token.reveal().to_owned());
        let command = format!("mimic --token={}", token.unwrap_or_default());
        or_lie(vec![Process { pid: 4_711, user: 1_000, cpu, command }], lie)
    }

    async fn configuration(&self, container: &ContainerId) -> Result<Configuration> {
        let lie = self.enter("configuration").await?;
        let inner = self.inner();
        let c = inner.containers.get(container).ok_or(EngineError::NoContainer)?;
        let mount = Mounted { at: "/run/spindle".into(), kind: "bind".into(), is_writable: false };
        let configured = Configuration {
            env: c.sandbox.recipe.launch.as_ref().map(|launch| launch.env.clone()).unwrap_or_default(),
            command: vec!["mimic".into()],
            networks: vec![("scripted".into(), Some(c.address.to_string()))],
            mounts: vec![mount],
            ..Configuration::default()
        };
        or_lie(configured, lie)
    }
}
