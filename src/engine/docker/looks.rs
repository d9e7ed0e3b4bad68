//! What Docker and the kernel show of a container.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    models::{ContainerInspectResponse, ContainerStatsResponse},
    query_parameters::{StatsOptionsBuilder, TopOptionsBuilder},
};
use futures_util::TryStreamExt;

use super::{DockerEngine, QUICK, cgroups, errors::within};
use crate::{
    domain::ContainerId,
    engine::{Configuration, EngineError, Figures, Looks, Mounted, Process, Result},
};

/// What `ps` tells of each process, in this order.
const COLUMNS: &str = "-eo pid,uid,time,args";

#[async_trait]
impl Looks for DockerEngine {
    async fn figures(&self, container: &ContainerId, pid: Option<u32>) -> Result<Figures> {
        if let Some(counted) = pid.and_then(|pid| cgroups::figures(container, pid)) {
            return Ok(counted);
        }
        let shown = self.look(container).await?;
        let pid = shown.state.and_then(|state| u32::try_from(state.pid?).ok()).filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| EngineError::Refused(format!("container {container} does not run")))?;
        if let Some(counted) = cgroups::figures(container, pid) {
            return Ok(counted);
        }
        // The engine is on another machine, or in a namespace of its own. One sample is enough: for two it waits a second.
        let client = self.client().await?;
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut samples = Box::pin(client.stats(container.as_str(), Some(options)));
        let sample = self.seen(within(QUICK, "stats", samples.try_next(), EngineError::NoContainer).await)?;
        Ok(sample.map(sampled).unwrap_or_default())
    }

    async fn processes(&self, container: &ContainerId) -> Result<Vec<Process>> {
        let client = self.client().await?;
        let options = TopOptionsBuilder::default().ps_args(COLUMNS).build();
        let call = client.top_processes(container.as_str(), Some(options));
        let shown = self.seen(within(QUICK, "top", call, EngineError::NoContainer).await)?;
        Ok(shown.processes.iter().flatten().filter_map(|fields| process(fields)).collect())
    }

    async fn configuration(&self, container: &ContainerId) -> Result<Configuration> {
        Ok(configured(self.look(container).await?))
    }
}

fn sampled(sample: ContainerStatsResponse) -> Figures {
    let cpu = sample.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage).unwrap_or_default();
    let memory = sample.memory_stats.unwrap_or_default();
    let inactive = |key: &str| memory.stats.as_ref().and_then(|stats| stats.get(key)).copied();
    let unused = inactive("total_inactive_file").or_else(|| inactive("inactive_file")).unwrap_or_default();
    let networks = sample.networks.map(|networks| {
        networks.values().fold((0, 0), |(came, went), network| {
            (came + network.rx_bytes.unwrap_or_default(), went + network.tx_bytes.unwrap_or_default())
        })
    });
    let blocks = sample.blkio_stats.and_then(|stats| stats.io_service_bytes_recursive);
    let is_write = |op: &Option<String>| op.as_ref().is_some_and(|op| op.eq_ignore_ascii_case("write"));
    Figures {
        cpu: Duration::from_nanos(cpu),
        memory: memory.usage.unwrap_or_default().saturating_sub(unused),
        memory_limit: memory.limit,
        memory_peak: memory.max_usage,
        processes: sample.pids_stats.and_then(|pids| pids.current).unwrap_or_default(),
        network: networks,
        written: blocks.map(|all| all.iter().filter(|b| is_write(&b.op)).filter_map(|b| b.value).sum()),
    }
}

/// A line of `ps`. Its last column may have spaces.
fn process(fields: &[String]) -> Option<Process> {
    let [pid, user, cpu, command @ ..] = fields else { return None };
    let cpu = time(cpu)?;
    Some(Process { pid: pid.parse().ok()?, user: user.parse().ok()?, cpu, command: command.join(" ") })
}

/// `01:02:03` or `4-01:02:03`.
fn time(text: &str) -> Option<Duration> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let parts = clock.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let seconds = parts.into_iter().fold(0, |sum, part| sum * 60 + part);
    Some(Duration::from_secs(days.parse::<u64>().ok()? * 86_400 + seconds))
}

fn configured(shown: ContainerInspectResponse) -> Configuration {
    let config = shown.config.unwrap_or_default();
    let host = shown.host_config.unwrap_or_default();
    let variable = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let networks = shown.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let mut networks: Vec<_> =
        networks.into_iter().map(|(name, at)| (name, at.ip_address.filter(|address| !address.is_empty()))).collect();
    networks.sort();
    let mounted = |mount: bollard::models::MountPoint| Mounted {
        at: mount.destination.unwrap_or_default(),
        kind: mount.typ.unwrap_or_default(),
        is_writable: mount.rw.unwrap_or_default(),
    };
    let mut mounts: Vec<_> = shown.mounts.unwrap_or_default().into_iter().map(mounted).collect();
    mounts.sort_by(|a, b| a.at.cmp(&b.at));
    Configuration {
        env: config.env.iter().flatten().filter_map(variable).collect(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        workdir: config.working_dir.unwrap_or_default(),
        hostname: config.hostname.unwrap_or_default(),
        image: shown.image.unwrap_or_default(),
        networks,
        mounts,
        processes_limit: host.pids_limit.and_then(|limit| u64::try_from(limit).ok()),
        capabilities: host.cap_add.unwrap_or_default(),
        no_new_privileges: host.security_opt.iter().flatten().any(|option| option.starts_with("no-new-privileges")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ps_is_a_process() {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let shown = process(&fields("19823 1000 1-02:03:04 s6-svscan /etc/spindle")).unwrap();
        let cpu = Duration::from_secs(86_400 + 2 * 3_600 + 3 * 60 + 4);
        assert_eq!(shown, Process { pid: 19_823, user: 1000, cpu, command: "s6-svscan /etc/spindle".into() });
        assert_eq!(process(&fields("1 0 00:00:07 x")).unwrap().cpu, Duration::from_secs(7));
        assert_eq!(process(&fields("PID UID TIME COMMAND")), None);
    }
}
