//! Translates what Docker shows of containers, and its events, into our words. Pure, but for a look at the host's
//! processes.

use std::collections::HashMap;

use bollard::{
    container::LogOutput,
    errors::Error,
    models::{
        ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
        ContainerSummaryStateEnum, EventMessage,
    },
    query_parameters::{EventsOptions, EventsOptionsBuilder, LogsOptions, LogsOptionsBuilder},
};
use futures_util::{Stream, TryStreamExt};
use jiff::Timestamp;

use super::spec;
use crate::{
    domain::{ContainerId, Cpus, Exit, Memory, Observed, Phase, Reach, SandboxId},
    engine::{Event, Happening},
};

/// How many of a container's last lines are asked for. Docker's lines have at most 16 KiB each.
const TAIL: &str = "12";

/// How much of them is kept at most, in bytes.
const WRITTEN: usize = 64 << 10;

/// Signals that ask a program to end, and the one that ends it: TERM, KILL, INT and QUIT, as Docker numbers them.
const ENDING: [&str; 4] = ["15", "9", "2", "3"];

/// A container as `inspect` shows it. The caller adds the address, because it knows our network's name.
pub fn closely(container: &ContainerId, shown: ContainerInspectResponse) -> Observed {
    let state = shown.state.unwrap_or_default();
    let labels = shown.config.and_then(|c| c.labels).unwrap_or_default();
    let phase = match state.status {
        Some(ContainerStateStatusEnum::CREATED) if !spec::rests(&labels) => Phase::Created,
        Some(ContainerStateStatusEnum::REMOVING) => Phase::Removing,
        _ if state.running == Some(true) => Phase::Running,
        _ => Phase::Exited,
    };
    let sandbox = labels.get(spec::ID).and_then(|id| SandboxId::parse(id));
    let host = shown.host_config.unwrap_or_default();
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| is_process_of(*pid, container));
    Observed {
        reach: Reach { pid, ..Reach::default() },
        name: shown.name.as_deref().map(bare),
        paused: state.paused == Some(true),
        memory: host.memory.and_then(Memory::in_force),
        cpus: host.nano_cpus.and_then(Cpus::in_force),
        exit: exit(&state).filter(|_| phase == Phase::Exited),
        mark: Some(state.started_at.unwrap_or_default()),
        ..Observed::shallow(container.clone(), sandbox, phase)
    }
}

fn exit(state: &ContainerState) -> Option<Exit> {
    Some(Exit { code: state.exit_code?, oom_killed: state.oom_killed == Some(true) })
}

/// A container as the list shows it. The caller adds the address here too.
pub fn from_afar(container: ContainerId, sandbox: SandboxId, shown: &ContainerSummary) -> Observed {
    let rests = shown.labels.as_ref().is_some_and(spec::rests);
    let phase = match shown.state {
        Some(ContainerSummaryStateEnum::CREATED) if !rests => Phase::Created,
        Some(ContainerSummaryStateEnum::REMOVING) => Phase::Removing,
        Some(
            ContainerSummaryStateEnum::RUNNING
            | ContainerSummaryStateEnum::PAUSED
            | ContainerSummaryStateEnum::RESTARTING
            | ContainerSummaryStateEnum::STOPPING,
        ) => Phase::Running,
        _ => Phase::Exited,
    };
    // Names that come from other containers' links to it contain a slash.
    let name = shown.names.iter().flatten().map(|name| bare(name)).find(|name| !name.contains('/'));
    let paused = shown.state == Some(ContainerSummaryStateEnum::PAUSED);
    Observed { name, paused, ..Observed::shallow(container, Some(sandbox), phase) }
}

fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

/// Whether this machine's process `pid` belongs to the container. If we or the engine run in a pid namespace, the
/// number may mean another process, or none.
pub fn is_process_of(pid: u32, container: &ContainerId) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    groups.is_ok_and(|groups| groups.contains(container.as_str()))
}

/// The events to ask for.
pub fn events_since(since: Timestamp, deployment: &str) -> EventsOptions {
    let what = ["start", "kill", "die", "stop", "destroy", "pause", "unpause", "rename", "update"];
    let filters = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("{}={deployment}", spec::DEPLOYMENT)]),
        ("event", what.map(str::to_owned).to_vec()),
    ]);
    let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
    EventsOptionsBuilder::default().since(&since).filters(&filters).build()
}

/// One of Docker's events; `None` for one that is about no container.
pub fn event(told: EventMessage) -> Option<Event> {
    let actor = told.actor?;
    let signal = actor.attributes.as_ref().and_then(|a| a.get("signal")).map(String::as_str);
    let what = match told.action.as_deref()? {
        "start" => Happening::Started,
        // This comes at the end of a stop, which may have used another signal, such as the image's own.
        "stop" => Happening::Signalled,
        "kill" if signal.is_none_or(|signal| ENDING.contains(&signal)) => Happening::Signalled,
        "die" => Happening::Ended,
        "destroy" => Happening::Removed,
        _ => Happening::Changed,
    };
    let at = told.time_nano.and_then(|nano| Timestamp::from_nanosecond(nano.into()).ok());
    Some(Event { container: ContainerId::parse(&actor.id?)?, what, at })
}

/// Asks for the last lines that a container wrote.
pub fn last_logs() -> LogsOptions {
    LogsOptionsBuilder::default().stdout(true).stderr(true).tail(TAIL).build()
}

/// The end of what a container wrote.
pub async fn written(lines: impl Stream<Item = Result<LogOutput, Error>>) -> Result<Vec<u8>, Error> {
    let add = |mut all: Vec<u8>, line: LogOutput| async move {
        all.extend(line.into_bytes());
        let excess = all.len().saturating_sub(WRITTEN);
        all.drain(..excess);
        Ok(all)
    };
    lines.try_fold(Vec::new(), add).await
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn what_happened_is_told_apart() {
        let id = "a".repeat(64);
        let of = |action: &str, signal: Option<&str>| {
            let attributes = signal.map(|s| HashMap::from([("signal".to_owned(), s.to_owned())]));
            let actor = Some(EventActor { id: Some(id.clone()), attributes });
            event(EventMessage {
                action: Some(action.into()),
                actor,
                time_nano: Some(1_500_000_000),
                ..Default::default()
            })
        };
        let cases = [
            ("start", None, Happening::Started),
            ("kill", Some("15"), Happening::Signalled),
            ("kill", Some("9"), Happening::Signalled),
            ("kill", None, Happening::Signalled),
            ("kill", Some("1"), Happening::Changed),
            ("stop", None, Happening::Signalled),
            ("die", None, Happening::Ended),
            ("destroy", None, Happening::Removed),
            ("rename", None, Happening::Changed),
        ];
        for (action, signal, what) in cases {
            let told = of(action, signal).unwrap();
            assert_eq!(told.what, what, "{action} {signal:?}");
            assert_eq!(told.at.map(Timestamp::as_millisecond), Some(1_500));
        }
        assert_eq!(event(EventMessage::default()), None);
    }
}
