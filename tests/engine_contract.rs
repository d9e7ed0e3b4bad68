//! One story that every engine must tell: what the trait promises, on the scripted engine and on Docker.

#[path = "engine_contract/files.rs"]
mod files;
#[path = "engine_contract/logs.rs"]
mod logs;
#[path = "engine_contract/looks.rs"]
mod looks;
#[path = "engine_contract/programs.rs"]
mod programs;
#[path = "engine_contract/stand.rs"]
mod stand;
mod support;

use std::{
    collections::HashSet,
    io::BufRead,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use spindle::{
    domain::{
        ContainerId, Cpus, ImageRef, Label, Life, Limit, Memory, OwnPolicy, Phase, Recipe, Sandbox, SandboxId,
        SandboxName,
    },
    engine::{
        Altering, Announced, Containers, Engine, EngineError, Happening, Inside,
        docker::{DockerEngine, DockerSettings},
        fake::{FakeEngine, Fault},
    },
};
use stand::{BRIEFLY, GRACE, Own, hears, hears_of_a_stop, on_a_terminal, spec, started};
use support::docker::{docker, try_docker, wait_for};

/// The life of a container, with every call twice where "already so" must be success.
async fn story(engine: Arc<dyn Engine>, ports: [u16; 2]) {
    let gateway: IpAddr = engine.prepare().await.unwrap();
    assert_eq!(engine.prepare().await.unwrap(), gateway, "preparing twice is preparing once");
    assert!(!engine.info().await.unwrap().version.is_empty());
    assert!(engine.images().await.unwrap().contains(&"spindle/mimic:latest".to_owned()));
    let image = looks::tells_of_an_image(engine.as_ref()).await;
    assert!(engine.list().await.unwrap().is_empty());
    let latest = engine.image(&ImageRef::parse("spindle/mimic").unwrap()).await.unwrap().id;
    assert_eq!(engine.containers_of(&latest).await, Ok(0));

    let mut events = engine.watch("2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
    let spec = spec(1, "spindle/mimic", ports[0]);
    let container = engine.create(&spec).await.unwrap();
    assert_eq!(engine.inspect(&container).await.unwrap().phase, Phase::Created);
    assert_eq!((engine.containers_of(&latest).await, engine.containers_of(&image.id).await), (Ok(1), Ok(0)));
    engine.start(&container).await.unwrap();
    engine.start(&container).await.expect("it runs already");
    hears(&mut events, &container, Happening::Started).await;
    let shown = engine.inspect(&container).await.unwrap();
    assert_eq!((shown.phase, shown.sandbox.as_ref()), (Phase::Running, Some(&spec.sandbox.id)));
    assert!(shown.reach.address.is_some() && shown.mark.is_some());
    assert_eq!((shown.memory, shown.cpus), (Some(spec.sandbox.recipe.memory), Some(spec.sandbox.recipe.cpus)));
    assert_eq!((shown.name.as_deref(), shown.paused, shown.exit), (Some(spec.sandbox.name.as_str()), false, None));
    let listed = engine.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].phase, listed[0].reach.address), (1, Phase::Running, shown.reach.address));

    let recovered = engine.recover(&container).await.unwrap();
    let (state, generation) = (recovered.life.state.clone(), recovered.life.generation);
    let life = Life { generation, ..spec.sandbox.in_state(state).life };
    let expected = Sandbox { container: Some(container.clone()), life, ..spec.sandbox.clone() };
    assert_eq!(recovered, expected);

    alterations(engine.as_ref(), &spec.sandbox, &container).await;
    hears(&mut events, &container, Happening::Changed).await;
    hears(&mut events, &container, Happening::Changed).await;
    let used = engine.cpu_time(&container).await.unwrap();
    assert!(engine.announce(&container, "in\nfive minutes").await.unwrap().reached <= 1);
    assert!(engine.cpu_time(&container).await.unwrap() >= used);
    programs::programs(engine.as_ref(), &container).await;

    engine.stop(&container, GRACE).await.unwrap();
    engine.stop(&container, GRACE).await.expect("it is stopped already");
    assert!(matches!(engine.announce(&container, "too late").await, Err(EngineError::Refused(_))));
    assert!(matches!(engine.cpu_time(&container).await, Err(EngineError::Refused(_))));
    programs::refused(engine.as_ref(), &container).await;
    let ended = engine.inspect(&container).await.unwrap();
    assert_eq!((ended.phase, ended.exit.is_some()), (Phase::Exited, true));
    hears_of_a_stop(&mut events, &container).await;
    assert_eq!(engine.list().await.unwrap()[0].phase, Phase::Exited);
    engine.start(&container).await.unwrap();
    let again = engine.inspect(&container).await.unwrap();
    assert_ne!(again.mark, shown.mark, "a new start has a new mark");
    engine.remove(&spec.sandbox.id, Some(&container)).await.unwrap();
    engine.remove(&spec.sandbox.id, Some(&container)).await.expect("it is gone already");
    refusals(engine.as_ref(), &container, ports[1]).await;
    assert!(engine.list().await.unwrap().is_empty());
}

/// What changes of a container while it runs.
async fn alterations(engine: &dyn Engine, sandbox: &Sandbox, container: &ContainerId) {
    let name = SandboxName::parse(&format!("{}-renamed", sandbox.name)).unwrap();
    let (memory, cpus) = (Memory::parse("96m").unwrap(), Cpus::parse("0.25").unwrap());
    engine.rename(container, &name).await.unwrap();
    engine.rename(container, &name).await.expect("it is called so already");
    engine.limit(container, memory, cpus).await.unwrap();
    let shown = engine.inspect(container).await.unwrap();
    assert_eq!((shown.name.as_deref(), shown.memory, shown.cpus), (Some(name.as_str()), Some(memory), Some(cpus)));
    assert_eq!(shown.phase, Phase::Running);
    for keys in ["ssh-ed25519 AAAA one", ""] {
        engine.admit(&sandbox.id, keys).await.unwrap();
    }
}

/// What may change after the creation is rebuilt as it was written down last.
async fn amendments(engine: &dyn Engine, port: u16) {
    let mut spec = spec(10, "spindle/mimic", port);
    spec.sandbox.life.keep_until = Some("2026-12-24T18:00:00Z".parse().unwrap());
    let container = engine.create(&spec).await.unwrap();
    let rebuilt = async || {
        let rebuilt = engine.recover(&container).await.unwrap();
        (rebuilt.name, rebuilt.recipe, rebuilt.life.keep_until)
    };
    let as_in = |s: &Sandbox| (s.name.clone(), s.recipe.clone(), s.life.keep_until);
    assert_eq!(rebuilt().await, as_in(&spec.sandbox), "until when it is kept is in no label");
    let recipe = Recipe {
        memory: Memory::parse("96m").unwrap(),
        cpus: Cpus::parse("0.25").unwrap(),
        own: OwnPolicy { max_age: Some(Limit::Never), ..OwnPolicy::default() },
        wake: None,
        labels: vec![Label::parse("course", "os").unwrap(), Label::parse("group", "b").unwrap()],
        ..spec.sandbox.recipe.clone()
    };
    let mut changed = Sandbox { recipe, name: SandboxName::parse("story-renamed").unwrap(), ..spec.sandbox.clone() };
    changed.life.keep_until = None;
    for _ in 0..2 {
        engine.amend(&changed).await.expect("once or twice");
        assert_eq!(rebuilt().await, as_in(&changed));
    }
    engine.remove(&spec.sandbox.id, Some(&container)).await.unwrap();
}

/// What an engine says when it cannot.
async fn refusals(engine: &dyn Engine, gone: &ContainerId, port: u16) {
    let unknown = ImageRef::parse("no/such-image").unwrap();
    assert_eq!(engine.image(&unknown).await, Err(EngineError::NoImage));
    assert_eq!(engine.remove_image(&unknown).await, Err(EngineError::NoImage));
    assert_eq!(engine.create(&spec(2, "no/such-image", port)).await, Err(EngineError::NoImage));
    assert_eq!(engine.start(gone).await, Err(EngineError::NoContainer));
    assert_eq!(engine.stop(gone, GRACE).await, Err(EngineError::NoContainer));
    assert_eq!(engine.inspect(gone).await, Err(EngineError::NoContainer));
    let (name, memory) = (SandboxName::parse("nobody").unwrap(), Memory::parse("64m").unwrap());
    assert_eq!(engine.rename(gone, &name).await, Err(EngineError::NoContainer));
    assert_eq!(engine.limit(gone, memory, Cpus::parse("1").unwrap()).await, Err(EngineError::NoContainer));
    assert_eq!(engine.announce(gone, "nobody").await, Err(EngineError::NoContainer));
    assert_eq!(engine.cpu_time(gone).await, Err(EngineError::NoContainer));
    engine.remove(&SandboxId::from_bytes([2; 16]), None).await.expect("there is nothing to remove");
}

#[tokio::test]
async fn the_scripted_engine_tells_the_story() {
    let engine = FakeEngine::default();
    engine.add_image("spindle/mimic:latest", &["22", "8000"], None);
    engine.add_image("spindle/mimic:many", &["22", "7000", "8000", "9000/udp"], Some("8000"));
    let engine = Arc::new(engine);
    story(engine.clone(), [16_000, 16_001]).await;
    amendments(engine.as_ref(), 16_003).await;
}

#[tokio::test]
async fn docker_tells_the_story() {
    let own = Own::new("story", 1);
    story(own.engine.clone(), [21_900, 21_901]).await;
    amendments(own.engine.as_ref(), 21_902).await;
}

#[tokio::test]
async fn docker_says_that_a_port_is_held_and_a_name_is_taken() {
    let own = Own::new("held", 2);
    own.engine.prepare().await.unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = spec(3, "spindle/mimic", holder.local_addr().unwrap().port());
    let container = own.engine.create(&spec).await.unwrap();
    let refused = own.engine.start(&container).await;
    assert!(matches!(refused, Err(EngineError::PortHeld(_))), "{refused:?}");
    assert!(matches!(own.engine.create(&spec).await, Err(EngineError::NameTaken(id)) if id == container.as_str()));
    let other = started(&own, 13).await;
    let renamed = own.engine.rename(&other, &spec.sandbox.name).await;
    assert!(matches!(renamed, Err(EngineError::NameTaken(id)) if id == container.as_str()));
    let (memory, many) = (spec.sandbox.recipe.memory, Cpus::parse("1000").unwrap());
    let limited = own.engine.limit(&other, memory, many).await;
    assert!(matches!(limited, Err(EngineError::TooManyCpus(_))), "{limited:?}");
    own.engine.remove(&spec.sandbox.id, Some(&container)).await.unwrap();
}

#[tokio::test]
async fn the_scripted_engine_remembers_what_was_announced() {
    let engine = FakeEngine::default();
    engine.add_image("spindle/mimic:latest", &["8000"], None);
    let container = engine.create(&spec(4, "spindle/mimic", 16_002)).await.unwrap();
    engine.start(&container).await.unwrap();
    engine.set_terminals(&container, 3);
    engine.stop_terminals(&container, 1);
    engine.use_cpu(&container, Duration::from_secs(2));
    assert_eq!(engine.announce(&container, "one").await, Ok(Announced { reached: 3, stopped: 1 }));
    engine.next("announce", Fault::Lie(EngineError::Refused("a lie".into())));
    assert!(engine.announce(&container, "two").await.is_err());
    assert_eq!(engine.announcements(&container), ["one", "two"]);
    assert_eq!(engine.cpu_time(&container).await, Ok(Duration::from_secs(2)));
}

#[tokio::test]
async fn docker_writes_to_every_terminal_and_waits_for_none() {
    let own = Own::new("terminals", 4);
    let container = started(&own, 5).await;
    let processes = || docker(&["top", container.as_str(), "-o", "pid"]);
    let (mut reader, mut screen) = on_a_terminal(&container, "print 'ready!'; sleep 60");
    assert_eq!(
        own.engine.announce(&container, "It's 5 o'clock.\n\x1b[2J$(true) \"%s\"").await,
        Ok(Announced { reached: 1, stopped: 0 })
    );
    let mut shown = String::new();
    while !shown.contains("%s") {
        assert_ne!(screen.read_line(&mut shown).unwrap(), 0, "{shown}");
    }
    assert!(shown.contains("\x07It's 5 o'clock.\r") && shown.contains("\n[2J$(true) \"%s\"\r"), "{shown:?}");

    let (mut stopped, _screen) =
        on_a_terminal(&container, "print 'ready!'; tcflow(1, TCOOFF); mkdir '/tmp/off'; sleep 60");
    wait_for("the terminal to stop", BRIEFLY, || try_docker(&["exec", container.as_str(), "test", "-d", "/tmp/off"]).0);
    let before = processes();
    let began = Instant::now();
    assert_eq!(
        own.engine.announce(&container, "again").await,
        Ok(Announced { reached: 1, stopped: 1 }),
        "one reads nothing"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    wait_for("an end to every writer", BRIEFLY, || processes() == before);
    for exec in [&mut reader, &mut stopped] {
        exec.kill().unwrap();
        exec.wait().unwrap();
    }
}

#[tokio::test]
async fn docker_tells_why_nothing_was_written() {
    let own = Own::new("mute", 5);
    let container = started(&own, 6).await;
    let refused = async || match own.engine.announce(&container, "hello").await {
        Err(EngineError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    docker(&["pause", container.as_str()]);
    assert!(refused().await.contains("paused"));
    docker(&["unpause", container.as_str()]);
    let fill = "for (1 .. 100) { my $child = fork; last if !defined $child; if (!$child) { sleep 60; exit } } sleep 60";
    docker(&["exec", "-d", container.as_str(), "perl", "-e", fill]);
    wait_for("a full container", BRIEFLY, || docker(&["top", container.as_str()]).lines().count() > 64);
    assert!(!refused().await.is_empty());
    docker(&["restart", "-t", "1", container.as_str()]);
    assert_eq!(own.engine.announce(&container, "hello").await, Ok(Announced::default()), "there is no terminal");
    docker(&["exec", container.as_str(), "rm", "/bin/sh"]);
    assert_eq!(
        own.engine.announce(&container, "hello").await,
        Ok(Announced::default()),
        "without a shell there is wall"
    );
    docker(&["exec", container.as_str(), "rm", "/usr/bin/wall"]);
    assert!(refused().await.contains("wall"));
}

/// Each container knows the network by its id, which the one that is made again does not have.
#[tokio::test]
async fn docker_makes_a_network_that_was_removed_again_for_whoever_was_on_it() {
    let own = Own::new("pruned", 6);
    let first = started(&own, 7).await;
    own.engine.stop(&first, GRACE).await.unwrap();
    let mut never_ran = spec(8, "spindle/mimic", 0);
    never_ran.sandbox.ports.clear();
    let second = own.engine.create(&never_ran).await.unwrap();
    docker(&["network", "rm", &own.deployment]);
    never_ran.sandbox.id = SandboxId::from_bytes([9; 16]);
    never_ran.sandbox.name = SandboxName::parse(&format!("story-{}-9", std::process::id())).unwrap();
    let third = own.engine.create(&never_ran).await.unwrap();
    for container in [first, second, third] {
        own.engine.start(&container).await.unwrap();
        let shown = own.engine.inspect(&container).await.unwrap();
        assert!(shown.phase == Phase::Running && shown.reach.address.is_some(), "{shown:?}");
    }
}

/// Root inside reads all of its own directory, whatever the file's mode.
#[tokio::test]
async fn docker_keeps_an_amendment_from_those_inside_and_a_spoiled_one_from_the_labels() {
    let own = Own::new("amended", 7);
    let container = started(&own, 12).await;
    let as_created = own.engine.recover(&container).await.unwrap();
    let path = own.files.join(format!("{}.json", as_created.id));
    let file = || std::fs::metadata(&path).unwrap();
    let amend = async |value: &str| {
        let mut changed = as_created.clone();
        changed.recipe.labels = vec![Label::parse("course", value).unwrap()];
        own.engine.amend(&changed).await
    };
    amend("only-outside").await.unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("only-outside"));
    assert_eq!((file().mode() & 0o777, own.files.metadata().unwrap().mode() & 0o777), (0o600, 0o700));
    let inside = |program: &str| try_docker(&["exec", "-u", "0", container.as_str(), "sh", "-c", program]);
    let token = as_created.token.reveal();
    assert!(inside(&format!("grep -rl {token} /run")).0, "root reads what is mounted");
    assert!(!inside("grep -rl only-outside /run /mnt /tmp /etc /var").0, "and not this");
    let before = file().ino();
    amend("only-outside").await.unwrap();
    assert_eq!(file().ino(), before, "equal text is not written again");
    amend("another").await.unwrap();
    assert_ne!(file().ino(), before, "a crash leaves one text or the other");
    let names: HashSet<_> = std::fs::read_dir(&own.files).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, [path.clone(), path.with_extension("")].into(), "nothing else is left there");

    std::fs::write(&path, "{\"labels\": {").unwrap();
    assert_eq!(own.engine.recover(&container).await.unwrap().recipe, as_created.recipe);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(own.engine.recover(&container).await.unwrap().recipe, as_created.recipe, "of an older version");
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(amend("in the way").await, Err(EngineError::Refused(why)) if why.contains(".json")));
    std::fs::remove_dir(&path).unwrap();
    amend("again").await.unwrap();
    own.engine.remove(&as_created.id, Some(&container)).await.unwrap();
    assert_eq!(std::fs::read_dir(&own.files).unwrap().count(), 0);
}

#[tokio::test]
async fn docker_away_is_told_apart_from_a_refusal() {
    let settings = DockerSettings {
        deployment: "test-away".into(),
        network: "test-away".into(),
        subnet: "10.191.3.0/24".parse().unwrap(),
        files: "/nonexistent".into(),
        pids_limit: 1,
        open_files_limit: 4_096,
        terminals_limit: 8,
        capabilities: vec![],
        log_max_size: "1m".into(),
        log_max_files: 1,
    };
    let engine = DockerEngine::new(settings, Some("unix:///nonexistent/docker.sock".into()));
    assert!(matches!(engine.info().await, Err(EngineError::Unavailable(_))));
    assert!(matches!(engine.list().await, Err(EngineError::Unavailable(_))));
}
