//! Judges Docker: whether it answers, what it can limit, how it stores.

use crate::{
    config::Config,
    doctor::{
        facts::Facts,
        finding::{Finding, fail, ok, unseen, warn},
    },
    engine::docker::diagnosis::{Description, USUAL},
};

/// The oldest engine, and its API, that Spindle was tried with.
const OLDEST: (u32, u32) = (20, 10);
const OLDEST_API: (u32, u32) = (1, 41);

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub fn engine(_: &Config, facts: &Facts) -> Finding {
    let at = &facts.engine_at;
    match &facts.engine {
        Ok(engine) if version(&engine.version).is_some_and(|v| v < OLDEST) => fail(
            format!("Docker {} at {at}", engine.version),
            "Spindle needs Docker 20.10 or newer",
            "apt-get update && apt-get install docker.io",
        ),
        Ok(engine) => ok(format!("Docker {} at {at}", engine.version)),
        Err(why) => {
            let fix = match () {
                () if why.contains("ermission denied") => {
                    "run this as root; or: usermod -aG docker \"$USER\", and log in anew".to_owned()
                }
                () if at == USUAL => {
                    "systemctl start docker; if it is not installed: apt-get install docker.io".to_owned()
                }
                () => format!("docker -H {at} version; DOCKER_HOST chooses another engine"),
            };
            fail(format!("none answers at {at}: {why}"), "without it there are no sandboxes", fix)
        }
    }
}

/// Passes on what the engine said about itself.
fn described(facts: &Facts, judge: impl FnOnce(&Description) -> Finding) -> Finding {
    facts.engine.as_ref().map_or_else(|_| unseen("the engine does not answer"), judge)
}

pub fn api(_: &Config, facts: &Facts) -> Finding {
    described(facts, |engine| match version(&engine.api_version) {
        Some(spoken) if spoken < OLDEST_API => fail(
            format!("version {}", engine.api_version),
            "Spindle speaks version 1.41 and newer",
            "apt-get update && apt-get install docker.io",
        ),
        _ => ok(format!("version {}", engine.api_version)),
    })
}

pub fn live_restore(_: &Config, facts: &Facts) -> Finding {
    described(facts, |engine| {
        if engine.live_restore {
            return ok("containers outlive a restart of Docker");
        }
        warn(
            "off",
            "a restart of Docker, an upgrade of its package included, stops every sandbox",
            "put {\"live-restore\": true} into /etc/docker/daemon.json, then: systemctl reload docker",
        )
    })
}

pub fn storage(_: &Config, facts: &Facts) -> Finding {
    described(facts, |engine| {
        let mount = facts.engine_mount.as_ref().ok();
        let quotas = |m: &&crate::host::Mount| m.options.split(',').any(|o| ["prjquota", "pquota"].contains(&o));
        let root = engine.root.display();
        let (driver, backing) = (engine.storage.as_str(), engine.backing.as_str());
        let on = if backing.is_empty() { driver.to_owned() } else { format!("{driver} on {backing}") };
        let why = "one learner can fill the disk for all, and Spindle sets no quota of its own";
        let then = "then {\"storage-opts\": [\"overlay2.size=10G\"]} in /etc/docker/daemon.json";
        match (driver, backing) {
            _ if engine.in_containerd => warn(
                format!("{driver} in containerd's image store, no disk quotas: storage-opts does nothing there"),
                why,
                format!(
                    "watch: docker ps -s. Quotas need Docker's own store, where nothing of this one is seen, so choose \
                     before the first sandbox: {{\"features\": {{\"containerd-snapshotter\": false}}, \"storage-opts\": \
                     [\"overlay2.size=10G\"]}} in /etc/docker/daemon.json, {root} on an xfs mounted with pquota"
                ),
            ),
            ("btrfs" | "zfs", _) => ok(format!("{driver}, which has disk quotas")),
            ("overlay2", "xfs") if mount.is_some_and(|m| quotas(&m)) => {
                ok("overlay2 on xfs with pquota: disk quotas work (storage-opts, overlay2.size)")
            }
            ("overlay2", "xfs") if mount.is_none() => {
                unseen(format!("overlay2 on xfs; how that is mounted cannot be seen from here ({root})"))
            }
            ("overlay2", "xfs") => warn(
                "overlay2 on xfs, mounted without quotas",
                why,
                format!("mount what holds {root} with the option pquota (/etc/fstab); {then}"),
            ),
            ("vfs", _) => warn(
                "vfs",
                "each sandbox is a whole copy of its image: slow, and the disk is soon full",
                "put {\"storage-driver\": \"overlay2\"} into /etc/docker/daemon.json, then: systemctl restart docker",
            ),
            _ => warn(
                format!("{on}: no disk quotas"),
                why,
                format!(
                    "put {root} on an xfs that is mounted with the option pquota, {then}; else watch: docker ps -s"
                ),
            ),
        }
    })
}

pub fn limits(_: &Config, facts: &Facts) -> Finding {
    described(facts, |engine| {
        let trial = facts.trial.as_ref().ok().and_then(Option::as_ref);
        let tried = trial.map(|t| t.lacking.as_slice()).unwrap_or_default();
        let all = ["memory", "swap", "processes", "cpu"];
        let lacking: Vec<&str> = all.into_iter().filter(|l| engine.lacking.contains(l) || tried.contains(l)).collect();
        match (lacking.as_slice(), trial) {
            ([], Some(trial)) => ok(format!("memory, swap, processes and cpu hold in a container of {}", trial.image)),
            ([], None) => match &facts.trial {
                Err(why) => unseen(format!("the engine says that they work; a container that would try them: {why}")),
                _ => ok("memory, swap, processes and cpu work, says the engine; no image is there to try them"),
            },
            (["swap"], _) => warn(
                "swap is not limited",
                "a sandbox that uses up its memory goes on in swap, and slows down all others",
                "add swapaccount=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot",
            ),
            (lacking, _) => fail(
                format!("not limited: {}", lacking.join(", ")),
                "one sandbox can take the whole machine from all others",
                "add cgroup_enable=memory swapaccount=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && \
                 reboot; docker info says what else is missing",
            ),
        }
    })
}
