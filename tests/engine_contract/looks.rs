//! What there is to see of a container, on the scripted engine and on Docker.

use std::{sync::Arc, time::Duration};

use spindle::{
    domain::{ContainerId, ImageRef, SandboxId},
    engine::{Containers, Engine, EngineError, ImageDetails, Inside, Looks, fake::FakeEngine},
};

use crate::{
    stand::{GRACE, Own, spec, started},
    support::docker::docker,
};

async fn story(engine: Arc<dyn Engine>, container: ContainerId) {
    let figures = engine.figures(&container, None).await.unwrap();
    assert!(figures.memory > 0 && figures.processes >= 1, "{figures:?}");
    assert_eq!(figures.memory_limit, Some(64 << 20));
    assert!(figures.network.is_some() && figures.written.is_some() && figures.memory_peak.is_some(), "{figures:?}");
    let processes = engine.processes(&container).await.unwrap();
    assert!(processes.iter().any(|process| process.command.contains("mimic")), "{processes:?}");
    let configuration = engine.configuration(&container).await.unwrap();
    assert!(configuration.env.contains(&("A".into(), "b".into())), "{configuration:?}");
    assert!(!configuration.networks.is_empty());
    let own = configuration.mounts.iter().find(|mount| mount.at == "/run/spindle").unwrap();
    assert!(!own.is_writable && own.kind == "bind");
    engine.stop(&container, GRACE).await.unwrap();
    assert!(matches!(engine.figures(&container, None).await, Err(EngineError::Refused(_))));
    assert!(matches!(engine.processes(&container).await, Err(EngineError::Refused(_))));
    assert_eq!(engine.configuration(&container).await.unwrap().env, configuration.env);
    engine.remove(&SandboxId::from_bytes([0; 16]), Some(&container)).await.unwrap();
    assert_eq!(engine.figures(&container, None).await.err(), Some(EngineError::NoContainer));
    assert_eq!(engine.configuration(&container).await.err(), Some(EngineError::NoContainer));
}

#[tokio::test]
async fn the_scripted_engine_is_seen() {
    let engine = Arc::new(FakeEngine::default());
    engine.add_image("spindle/mimic:latest", &["8000"], None);
    let container = engine.create(&spec(25, "spindle/mimic", 16_012)).await.unwrap();
    engine.start(&container).await.unwrap();
    story(engine, container).await;
}

#[tokio::test]
async fn docker_is_seen() {
    let own = Own::new("looks", 25);
    let container = started(&own, 25).await;
    story(own.engine.clone(), container).await;
}

/// The kernel's files need no second, and say what Docker says.
#[tokio::test]
async fn docker_need_not_be_asked_for_figures() {
    let own = Own::new("figures", 26);
    let container = started(&own, 26).await;
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", container.as_str()]).parse().unwrap();
    docker(&["exec", container.as_str(), "perl", "-e", "my $x = 0; $x++ for 1 .. 3_000_000;"]);
    let before = own.engine.cpu_time(&container).await.unwrap();
    let began = std::time::Instant::now();
    let figures = own.engine.figures(&container, Some(pid)).await.unwrap();
    let took = began.elapsed();
    let after = own.engine.cpu_time(&container).await.unwrap();
    assert!(before <= figures.cpu && figures.cpu <= after, "{before:?} {figures:?} {after:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    println!("a reading took {took:?}");
    // Another container's process is none of this one's.
    let other = own.engine.figures(&container, Some(std::process::id())).await.unwrap();
    assert!(other.cpu >= figures.cpu && other.memory < 64 << 20, "{other:?}");
}

/// An image, as it is told of.
pub async fn tells_of_an_image(engine: &dyn Engine) -> ImageDetails {
    let image = engine.image(&ImageRef::parse("spindle/mimic:many").unwrap()).await.unwrap();
    let exposed: Vec<String> = image.exposed.iter().map(ToString::to_string).collect();
    assert_eq!(exposed, ["22/tcp", "7000/tcp", "8000/tcp", "9000/udp"]);
    assert_eq!(image.labels.get("spindle.app_port").map(String::as_str), Some("8000"));
    assert!(image.id.starts_with("sha256:") && image.size > 0 && image.platform.starts_with("linux/"), "{image:?}");
    image
}
