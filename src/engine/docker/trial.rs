//! A container on trial: it has a sandbox's limits, tells which of them hold and whether it reaches the check-in door,
//! and is removed. It has the deployment's label, so that a clean-up finds it. It has no sandbox's id and directory, so
//! no server takes it for a sandbox.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use bollard::{
    Docker,
    errors::Error,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::{DockerEngine, errors::within, random, spec};
use crate::engine::{EngineError, Result};

const SCRIPT: &str = include_str!("trial.sh");

/// The label by which such a container is known.
const DOCTOR: &str = "spindle.doctor";

/// Images that have what the script needs; the first that exists is used.
const IMAGES: [&str; 2] = ["spindle/mimic:latest", "spindle/base:latest"];

/// How long the trial may take, and how long its removal may.
const TRIAL: Duration = Duration::from_secs(7);
const REMOVAL: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// How many bytes of its output are read.
const ENOUGH: usize = 4_000;

/// A leftover that is older than this belongs to no running trial.
const OLD: SignedDuration = SignedDuration::from_mins(1);

const MEMORY: i64 = 64 << 20;
const PROCESSES: i64 = 64;
const CPUS: i64 = 500_000_000;

/// What the trial found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// The image of the container.
    pub image: String,
    /// The limits that were set and do not hold: of `memory`, `swap`, `processes`, `cpu`.
    pub lacking: Vec<&'static str>,
    /// Who answers at the check-in door; `None` if that was not tried.
    pub door: Option<Answer>,
}

/// Who answers at the check-in door, seen from inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A Spindle.
    Spindle,
    /// Somebody else: the first line of the answer.
    Stranger(String),
    /// Nobody, for this reason.
    Nobody(String),
}

impl DockerEngine {
    /// Puts a container on trial: on the sandboxes' network if `door` is given, else on no network. `None` if there is
    /// no image for it.
    pub async fn try_out(&self, door: Option<SocketAddr>, now: Timestamp) -> Result<Option<Trial>> {
        let client = self.client().await?;
        let name = format!("spindle-doctor-{:016x}", u128::from_be_bytes(random()?) as u64);
        let tried = async {
            self.clear_away(&client, now).await?;
            let Some(image) = image(&client).await? else { return Ok(None) };
            let said = self.run(&client, &name, image, door).await?;
            Ok(Some(Trial::read(image, &said)))
        };
        let tried = within(TRIAL, "trial of a container", tried, EngineError::NoContainer).await;
        // Remove it whatever happened. Docker itself removes one that has ended, even if we are gone.
        let _ = tokio::time::timeout(REMOVAL, remove(&client, &name)).await;
        self.seen(tried)
    }

    async fn run(
        &self,
        client: &Docker,
        name: &str,
        image: &str,
        door: Option<SocketAddr>,
    ) -> std::result::Result<String, Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        client.create_container(Some(options), self.on_trial(image, door)).await?;
        let options = AttachContainerOptionsBuilder::default().stream(true).stdout(true).build();
        // Attach before the start: the output is removed when the container ends.
        let mut words = client.attach_container(name, Some(options)).await?.output;
        client.start_container(name, None::<StartContainerOptions>).await?;
        let mut said = Vec::new();
        while let Some(more) = words.try_next().await?.filter(|_| said.len() < ENOUGH) {
            said.extend_from_slice(&more.into_bytes());
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn on_trial(&self, image: &str, door: Option<SocketAddr>) -> ContainerCreateBody {
        let mut words = ["-c", SCRIPT, "trial"].map(str::to_owned).to_vec();
        words.extend(door.iter().flat_map(|d| [d.ip().to_string(), d.port().to_string()]));
        let labels = [(spec::DEPLOYMENT, self.settings.deployment.as_str()), (DOCTOR, "trial")];
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["bash".into()]),
            cmd: Some(words),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                network_mode: Some(door.map_or("none", |_| &self.settings.network).to_owned()),
                memory: Some(MEMORY),
                memory_swap: Some(MEMORY),
                pids_limit: Some(PROCESSES),
                nano_cpus: Some(CPUS),
                cap_drop: Some(vec!["ALL".into()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// Removes containers of earlier trials that were cut off before they began.
    async fn clear_away(&self, client: &Docker, now: Timestamp) -> std::result::Result<(), Error> {
        let labels = vec![format!("{}={}", spec::DEPLOYMENT, self.settings.deployment), DOCTOR.to_owned()];
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        for left in client.list_containers(Some(options)).await? {
            let made = left.created.and_then(|at| Timestamp::from_second(at).ok());
            if let (Some(id), true) = (left.id, made.is_some_and(|at| now.duration_since(at) > OLD)) {
                remove(client, &id).await?;
            }
        }
        Ok(())
    }
}

async fn image(client: &Docker) -> std::result::Result<Option<&'static str>, Error> {
    for image in IMAGES {
        match client.inspect_image(image).await {
            Ok(_) => return Ok(Some(image)),
            Err(e) if is_missing(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Returns when the container is gone. That Docker is already removing it is not enough.
async fn remove(client: &Docker, container: &str) -> std::result::Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    loop {
        match client.remove_container(container, Some(options.clone())).await {
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => tokio::time::sleep(LOOK).await,
            Err(e) if is_missing(&e) => return Ok(()),
            other => return other,
        }
    }
}

impl Trial {
    /// Reads what the script has said.
    fn read(image: &str, said: &str) -> Self {
        let value = |key: &str| said.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
        let (memory, processes) = (MEMORY.to_string(), PROCESSES.to_string());
        // The two versions of cgroups differ: version 1 counts memory into swap, and leaves the period out of cpu. A
        // value that cannot be read is not known to be lacking, except swap: if it is not counted, it has no file.
        let no_swap = if value("memory").is_none_or(str::is_empty) { "" } else { "0" };
        let limits = [
            ("memory", vec![memory.as_str(), ""]),
            ("swap", vec!["0", memory.as_str(), no_swap]),
            ("processes", vec![processes.as_str(), ""]),
            ("cpu", vec!["50000 100000", "50000", ""]),
        ];
        let lacks = |(name, good): &(&str, Vec<&str>)| !good.contains(&value(name).unwrap_or_default());
        let answered = value("door").map(|who| match who {
            "spindle" => Answer::Spindle,
            other => Answer::Stranger(other.to_owned()),
        });
        Self {
            image: image.trim_end_matches(":latest").to_owned(),
            lacking: limits.iter().filter(|l| lacks(l)).map(|(name, _)| *name).collect(),
            door: answered.or_else(|| value("silence").map(|why| Answer::Nobody(why.to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_read() {
        let old = "memory 67108864\nswap 67108864\nprocesses 64\ncpu 50000\n";
        let new = "memory 67108864\nswap 0\nprocesses 64\ncpu 50000 100000\ndoor spindle\n";
        assert_eq!(Trial::read("a:latest", old), Trial { image: "a".into(), ..Trial::default() });
        assert_eq!(Trial::read("a", new).door, Some(Answer::Spindle));
        assert!(Trial::read("a", new).lacking.is_empty());
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let said = "memory 9223372036854771712\nswap \nprocesses max\ncpu max 100000\n";
        assert_eq!(Trial::read("a", said).lacking, ["memory", "swap", "processes", "cpu"]);
        // If nothing can be read of cgroups, no limit is known to be lacking.
        assert_eq!(Trial::read("a", "memory \nswap \nprocesses \ncpu \n").lacking, [""; 0]);
    }

    #[test]
    fn the_doors_answer_is_read() {
        let door = |said: &str| Trial::read("a", said).door.unwrap();
        assert_eq!(door("door HTTP/1.1 200 OK\r\n"), Answer::Stranger("HTTP/1.1 200 OK".into()));
        assert_eq!(door("silence Connection refused\n"), Answer::Nobody("Connection refused".into()));
        assert_eq!(Trial::read("a", "memory 1\n").door, None);
    }
}
