//! Translates a sandbox into Docker's create request and labels, and back. Pure; tested without Docker.

use std::{collections::HashMap, net::Ipv6Addr, path::Path, time::Duration};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig, PortBinding, PortMap, ResourcesUlimits,
};
use jiff::Timestamp;

use super::{
    DockerSettings,
    launch::{self, CHECK_IN_URL},
};
use crate::{
    domain::{
        Access, Carrier, ContainerId, Cpus, Endpoint, ImageRef, Label, Life, Memory, Namespace, OwnPolicy, Ownership,
        PortMapping, PortSpec, Recipe, Sandbox, SandboxId, SandboxName, State, StopReason, Token, Traffic, UserName,
        Wake, Zone,
    },
    engine::{CheckIn, SandboxSpec},
};

/// The deployment that owns a container, by name.
pub const DEPLOYMENT: &str = "spindle.deployment";
/// Our id of the sandbox.
pub const ID: &str = "spindle.id";
/// On an image: which exposed port is the app's (`CONTRACT.md` 9). On a container: which one it is.
const APP_PORT: &str = "spindle.app_port";
/// The public keys of those who log in, one a line.
pub const SSH_KEY: &str = "spindle.ssh_key";
/// The file in a sandbox's own directory that has them too.
pub const KEYS: &str = "authorized_keys";
/// Where a sandbox finds its own directory.
pub const MOUNT: &str = "/run/spindle";
const IMAGE: &str = "spindle.image_ref";
const CREATED: &str = "spindle.created";
const PORTS: &str = "spindle.ports";
const LABELS: &str = "spindle.labels";
const FORMER: &str = "spindle.former";
/// Whether a container was made to be started at once.
const STARTS: &str = "spindle.starts";
/// How many earlier containers a label names.
const MOST_FORMER: usize = 50;
const WAKE: &str = "spindle.wake";
const TZ: &str = "spindle.tz";
const WAKE_ON: &str = "spindle.wake_on";
const NAMESPACE: &str = "spindle.namespace";
const OWNER: &str = "spindle.owner";
const ACCESS: &str = "spindle.access";
const APP_PROTOCOL: &str = "spindle.app_protocol";
const PROXY_PROTOCOL: &str = "spindle.proxy_protocol";

/// The create request for `spec`. `files` is the sandbox's own directory on the host.
pub fn request(spec: &SandboxSpec, settings: &DockerSettings, files: &Path) -> ContainerCreateBody {
    let sandbox = &spec.sandbox;
    let launched = sandbox.recipe.launch.as_deref().cloned().unwrap_or_default();
    ContainerCreateBody {
        image: Some(sandbox.recipe.image.to_string()),
        labels: Some(labels(spec, &settings.deployment)),
        exposed_ports: Some(sandbox.ports.iter().map(|p| p.inside.to_string()).collect()),
        host_config: Some(HostConfig {
            init: Some(true),
            network_mode: Some(settings.network.clone()),
            port_bindings: Some(bindings(&sandbox.ports)),
            binds: Some(vec![format!("{}:{MOUNT}:ro", files.display())]),
            memory: Some(sandbox.recipe.memory.bytes() as i64),
            // The same as memory: no swap.
            memory_swap: Some(sandbox.recipe.memory.bytes() as i64),
            nano_cpus: Some(sandbox.recipe.cpus.nano()),
            pids_limit: Some(i64::from(settings.pids_limit)),
            ulimits: Some(vec![open_files(settings.open_files_limit.into())]),
            mounts: Some(vec![terminals(settings, &spec.sandbox.id)]),
            security_opt: spec.no_new_privileges.then(|| vec!["no-new-privileges:true".into()]),
            cap_drop: Some(vec!["ALL".into()]),
            cap_add: Some(settings.capabilities.clone()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some(HashMap::from([
                    ("max-size".into(), settings.log_max_size.clone()),
                    ("max-file".into(), settings.log_max_files.to_string()),
                ])),
            }),
            ..HostConfig::default()
        }),
        ..launch::request(&launched, &spec.check_in.url)
    }
}

/// The descriptors of each process. Without a limit one process could open all that the kernel has.
fn open_files(limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some("nofile".into()), soft: Some(limit), hard: Some(limit) }
}

/// The sandbox's terminals: a file system of its own, as the engine would mount it, but with a limit. No other limit
/// holds here: the kernel counts terminals for the whole machine, and charges nobody for most of their memory. The
/// engine mounts it as a volume without a name, which goes with the container.
fn terminals(settings: &DockerSettings, sandbox: &SandboxId) -> Mount {
    let options = format!("nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5,max={}", settings.terminals_limit);
    let options = [("type", "devpts"), ("device", "devpts"), ("o", &options)];
    Mount {
        target: Some("/dev/pts".into()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(
                [(DEPLOYMENT, settings.deployment.as_str()), (ID, sandbox.as_str())]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
            ),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".into()),
                options: Some(options.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn bindings(ports: &[PortMapping]) -> PortMap {
    let binding = |p: &PortMapping| PortBinding {
        // To the relay `::` means every address of both families. The engine is told the same by no address.
        host_ip: Some(p.outside.host).filter(|h| *h != Ipv6Addr::UNSPECIFIED).map(|h| h.to_string()),
        host_port: Some(p.outside.port.to_string()),
    };
    let published = ports.iter().filter(|p| p.carrier == Carrier::Engine);
    published.map(|p| (p.inside.to_string(), Some(vec![binding(p)]))).collect()
}

fn labels(spec: &SandboxSpec, deployment: &str) -> HashMap<String, String> {
    let s = &spec.sandbox;
    let keys: Vec<&str> = s.recipe.labels.iter().map(Label::key).collect();
    let ports: Vec<String> =
        s.ports.iter().map(|p| format!("{}={}:{}", p.inside, p.outside.host, p.outside.port)).collect();
    let [wake_on, app_protocol, proxy_protocol] = s.recipe.traffic.words();
    let ids: Vec<&ContainerId> = s.former.iter().chain(&s.container).collect();
    let former: Vec<&str> = ids.iter().rev().take(MOST_FORMER).rev().map(|id| id.as_str()).collect();
    let ours = [
        (DEPLOYMENT, Some(deployment.to_owned())),
        (ID, Some(s.id.to_string())),
        (IMAGE, Some(s.recipe.image.to_string())),
        (CREATED, Some(s.created_at.to_string())),
        (PORTS, Some(ports.join(","))),
        (APP_PORT, Some(s.recipe.app_port.map(|p| p.to_string()).unwrap_or_default())),
        (SSH_KEY, Some(s.recipe.ssh_key.clone().unwrap_or_default())),
        (launch::LABEL, s.recipe.launch.as_deref().map(launch::label)),
        (LABELS, Some(keys.join(","))),
        (FORMER, Some(former.join(","))),
        (STARTS, Some(spec.starts.to_string())),
        (WAKE, Some(s.recipe.wake.map(|w| w.word().to_owned()).unwrap_or_default())),
        (NAMESPACE, Some(s.ownership.namespace.to_string())),
        (OWNER, Some(s.ownership.owner.as_ref().map(ToString::to_string).unwrap_or_default())),
        (TZ, Some(s.recipe.zone.name().to_owned())),
        (WAKE_ON, Some(wake_on)),
        (APP_PROTOCOL, Some(app_protocol)),
        (PROXY_PROTOCOL, Some(proxy_protocol)),
        (ACCESS, Some(s.recipe.access.as_ref().map(ToString::to_string).unwrap_or_default())),
    ];
    // An unset label is written empty. Otherwise the container would inherit the image's label.
    let own = OwnPolicy::LABELS.into_iter().zip(s.recipe.own.words().map(|word| Some(word.unwrap_or_default())));
    let theirs = s.recipe.labels.iter().map(|l| (l.key().to_owned(), l.value().to_owned()));
    theirs.chain(ours.into_iter().chain(own).filter_map(|(k, v)| Some((k.to_owned(), v?)))).collect()
}

/// Rebuilds a sandbox from its container; `None` if what the container carries does not read as ours.
pub fn recover(shown: &ContainerInspectResponse, token: Token) -> Option<Sandbox> {
    let labels = shown.config.as_ref()?.labels.as_ref()?;
    let host = shown.host_config.as_ref()?;
    let label = |key: &str| labels.get(key).map(String::as_str).filter(|v| !v.is_empty());
    let created_at: Timestamp = label(CREATED)?.parse().ok()?;
    let key = |key| OwnPolicy::KEYS.iter().position(|k| *k == key).and_then(|at| label(OwnPolicy::LABELS[at]));
    let own = OwnPolicy::parse(OwnPolicy::KEYS, Duration::ZERO, key).ok()?;
    let ports = label(PORTS).unwrap_or_default().split(',').filter(|p| !p.is_empty());
    // A port that the engine publishes is not the relay's. Containers of an older version have such ports.
    let published = |inside: &PortSpec| host.port_bindings.iter().flatten().any(|(p, _)| *p == inside.to_string());
    let ports = ports.map(|p| port_mapping(p, published));
    let theirs = label(LABELS).unwrap_or_default().split(',').filter(|k| !k.is_empty());
    let id = SandboxId::parse(label(ID)?)?;
    let name = SandboxName::parse(shown.name.as_deref()?.trim_start_matches('/'));
    let (memory, cpus) = (Memory::in_force(host.memory?)?, Cpus::in_force(host.nano_cpus?)?);
    let traffic = [WAKE_ON, APP_PROTOCOL, PROXY_PROTOCOL].map(|key| label(key).unwrap_or_default());
    let recipe = Recipe {
        app_port: label(APP_PORT).and_then(PortSpec::parse),
        access: label(ACCESS).and_then(|path| Access::parse(path).ok()),
        traffic: Traffic::parse(traffic[0], traffic[1], traffic[2]).ok()?,
        zone: label(TZ).and_then(Zone::read).unwrap_or_default(),
        own,
        wake: label(WAKE).and_then(Wake::from_word),
        ssh_key: Some(label(SSH_KEY).unwrap_or_default().to_owned()),
        launch: launch::read(shown.config.as_ref()?),
        labels: theirs.map(|k| Label::parse(k, labels.get(k)?).ok()).collect::<Option<_>>()?,
        ..Recipe::of(ImageRef::parse(label(IMAGE)?).ok()?, memory, cpus)
    };
    let ownership = Ownership {
        // Containers of an older version are in no namespace.
        namespace: label(NAMESPACE).map_or(Some(Namespace::default()), |n| Namespace::parse("namespace", n).ok())?,
        owner: label(OWNER).and_then(|owner| UserName::parse("owner", owner).ok()),
    };
    let state = State::Stopped { at: created_at, reason: StopReason::Exited };
    Some(Sandbox {
        container: Some(ContainerId::parse(shown.id.as_deref()?)?),
        // Somebody may have given it a name that we do not allow.
        name: name.unwrap_or_else(|_| SandboxName::generated(&id)),
        token,
        created_at,
        former: label(FORMER).unwrap_or_default().split(',').filter_map(ContainerId::parse).collect(),
        ports: ports.collect::<Option<_>>()?,
        ownership,
        recipe,
        life: Life { state, generation: 1, ..Life::default() },
        id,
    })
}

/// Whether the container with these labels was made to rest until somebody starts it.
pub fn rests(labels: &HashMap<String, String>) -> bool {
    labels.get(STARTS).is_some_and(|starts| starts == "false")
}

/// The files that tell a sandbox where and how often it reports.
pub fn check_in_files(check_in: &CheckIn) -> [(&'static str, String); 2] {
    [("check_in_url", check_in.url.clone()), ("report_period", check_in.period.as_secs().to_string())]
}

/// The files that belong in the directory of a rebuilt sandbox.
pub fn files(shown: &ContainerInspectResponse, sandbox: &Sandbox) -> [(&'static str, String); 3] {
    let config = shown.config.as_ref();
    let env = config.and_then(|c| c.env.as_ref()).into_iter().flatten();
    let url = env.filter_map(|e| e.strip_prefix(CHECK_IN_URL)?.strip_prefix('=')).next_back().unwrap_or_default();
    let label = || config.and_then(|c| c.labels.as_ref()).and_then(|l| l.get(SSH_KEY)).cloned();
    let key = sandbox.recipe.ssh_key.clone().or_else(label).unwrap_or_default();
    [("check_in_url", url.to_owned()), ("token", sandbox.token.reveal().to_owned()), (KEYS, key)]
}

fn port_mapping(text: &str, published: impl Fn(&PortSpec) -> bool) -> Option<PortMapping> {
    let (inside, outside) = text.split_once('=')?;
    let (host, port) = outside.rsplit_once(':')?;
    let inside = PortSpec::parse(inside)?;
    let carrier = if published(&inside) { Carrier::Engine } else { Carrier::of(inside.protocol) };
    Some(PortMapping { inside, outside: Endpoint { host: host.parse().ok()?, port: port.parse().ok()? }, carrier })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;

    use super::*;
    use crate::domain::{
        EvidenceLog, Launch, Limit,
        fixtures::{at, running},
    };

    fn spec() -> SandboxSpec {
        let outside = Endpoint { host: "::1".parse().unwrap(), port: 20_000 };
        let port = |inside, carrier| PortMapping { inside: PortSpec::parse(inside).unwrap(), outside, carrier };
        let sandbox = Sandbox {
            ports: vec![
                port("22/tcp", Carrier::Relay),
                port("80/tcp", Carrier::Engine),
                port("53/udp", Carrier::Engine),
            ],
            ownership: Ownership {
                namespace: Namespace::parse("n", "db-101").unwrap(),
                owner: UserName::parse("n", "alice").ok(),
            },
            recipe: Recipe {
                app_port: PortSpec::parse("53/udp"),
                wake: Some(Wake::Always),
                zone: Zone::read("Asia/Kolkata").unwrap(),
                traffic: Traffic::parse("connect", "tcp", "80").unwrap(),
                access: Access::parse("/lab?token={token}").ok(),
                own: OwnPolicy { idle_limit: Some(Limit::Never), ..OwnPolicy::default() },
                labels: vec![Label::parse("course", "db, 101").unwrap()],
                ssh_key: Some("ssh-ed25519 AAAA".into()),
                launch: Some(Launch { env: vec![("A".into(), "b=c".into())], ..Launch::default() }.into()),
                ..running(60).recipe
            },
            ..running(60)
        };
        SandboxSpec {
            sandbox,
            check_in: CheckIn { url: "http://10.0.0.1/v1/check-in".into(), period: Duration::from_secs(20) },
            no_new_privileges: true,
            starts: true,
        }
    }

    fn settings() -> DockerSettings {
        DockerSettings {
            deployment: "d".into(),
            network: "n".into(),
            subnet: "10.0.0.0/24".parse().unwrap(),
            files: "/tmp".into(),
            pids_limit: 9,
            open_files_limit: 4_096,
            terminals_limit: 8,
            capabilities: vec!["KILL".into()],
            log_max_size: "1m".into(),
            log_max_files: 2,
        }
    }

    #[test]
    fn every_container_is_limited_and_has_an_init_process() {
        let body = request(&spec(), &settings(), Path::new("/files/x"));
        let host = body.host_config.unwrap();
        assert_eq!(host.init, Some(true));
        assert_eq!((host.memory, host.memory_swap), (Some(512 << 20), Some(512 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_000_000_000), Some(9)));
        let [files] = &host.ulimits.unwrap()[..] else { panic!("one limit") };
        assert_eq!((files.name.as_deref(), files.soft, files.hard), (Some("nofile"), Some(4_096), Some(4_096)));
        let [terminals] = &host.mounts.unwrap()[..] else { panic!("one mount") };
        assert_eq!(terminals.target.as_deref(), Some("/dev/pts"));
        let driver = terminals.volume_options.as_ref().and_then(|o| o.driver_config.as_ref()).unwrap();
        assert!(driver.options.as_ref().unwrap()["o"].ends_with(",max=8"), "{driver:?}");
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add, Some(vec!["KILL".to_owned()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
        let may = SandboxSpec { no_new_privileges: false, ..spec() };
        assert_eq!(request(&may, &settings(), Path::new("/x")).host_config.unwrap().security_opt, None);
        assert_eq!(host.binds, Some(vec!["/files/x:/run/spindle:ro".to_owned()]));
        assert_eq!(body.env.unwrap(), ["A=b=c", "SPINDLE_CHECK_IN_URL=http://10.0.0.1/v1/check-in"]);
        assert!(host.privileged.is_none());
    }

    #[test]
    fn a_sandbox_is_rebuilt_from_what_its_container_carries() {
        let spec = spec();
        let body = request(&spec, &settings(), Path::new("/files/x"));
        let shown = ContainerInspectResponse {
            id: spec.sandbox.container.as_ref().map(ToString::to_string),
            name: Some(format!("/{}", spec.sandbox.name)),
            config: Some(ContainerConfig { labels: body.labels, env: body.env, ..Default::default() }),
            host_config: body.host_config,
            ..Default::default()
        };
        let state = State::Stopped { at: at(60), reason: StopReason::Exited };
        let life = Life { state, evidence: EvidenceLog::default(), ..spec.sandbox.life.clone() };
        let former = spec.sandbox.container.iter().cloned().collect();
        let expected = Sandbox { former, life, ..spec.sandbox.clone() };
        assert_eq!(recover(&shown, spec.sandbox.token.clone()), Some(expected));
        let [url, token, key] = files(&shown, &spec.sandbox);
        assert_eq!(url, ("check_in_url", spec.check_in.url.clone()));
        assert_eq!(check_in_files(&spec.check_in), [url, ("report_period", "20".to_owned())]);
        assert_eq!(token, ("token", spec.sandbox.token.reveal().to_owned()));
        assert_eq!(key, ("authorized_keys", "ssh-ed25519 AAAA".to_owned()));
    }
}
