//! The story of files in a container, on the scripted engine and on Docker, and what Docker does with hostile ones.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use spindle::{
    domain::{ContainerId, SandboxId},
    engine::{
        Containers, Engine, EngineError, Files,
        archive::{self, Entry, Kind, Pieces, Reader},
        fake::FakeEngine,
    },
};

use crate::{
    stand::{GRACE, Own, spec, started},
    support::docker::{docker, try_docker},
};

fn tar(entries: &[(Entry, &str)]) -> Pieces {
    let mut tar = Vec::new();
    for (entry, content) in entries {
        tar.extend_from_slice(&entry.head().unwrap());
        tar.extend_from_slice(content.as_bytes());
        tar.extend_from_slice(&archive::padding(content.len() as u64));
    }
    tar.extend_from_slice(&archive::END);
    let pieces: Vec<_> = tar.chunks(700).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn file<'c>(path: &str, content: &'c str) -> (Entry, &'c str) {
    let entry = Entry { owner: (1000, 1001), mode: 0o640, ..Entry::file(path, content.len() as u64) };
    (entry, content)
}

fn folder(path: &str) -> (Entry, &'static str) {
    (Entry { kind: Kind::Folder, mode: 0o755, ..Entry::file(path, 0) }, "")
}

async fn taken(engine: &dyn Engine, container: &ContainerId, path: &str) -> Vec<(Entry, String)> {
    let pieces = engine.take(container, path).await.unwrap().map(|piece| piece.map_err(std::io::Error::other));
    let mut reader = Reader::new(pieces.boxed());
    let mut all = Vec::new();
    while let Some(entry) = reader.entry().await.unwrap() {
        let mut content = Vec::new();
        while let Some(piece) = reader.piece().await.unwrap() {
            content.extend_from_slice(&piece);
        }
        all.push((entry, String::from_utf8(content).unwrap()));
    }
    all
}

async fn story(engine: Arc<dyn Engine>, container: ContainerId) {
    let engine = engine.as_ref();
    let long = "n".repeat(200);
    let entries = [file("one", "first"), folder("d"), file(&format!("d/{long}"), "deep")];
    engine.unpack(&container, "/tmp", tar(&entries)).await.unwrap();
    let stat = engine.look_at(&container, "/tmp/one").await.unwrap();
    assert_eq!((stat.name.as_str(), stat.kind, stat.size, stat.mode), ("one", Kind::File, 5, 0o640));
    assert_eq!(engine.look_at(&container, "/tmp/d").await.unwrap().kind, Kind::Folder);
    let one = taken(engine, &container, "/tmp/one").await;
    assert_eq!((one.len(), one[0].1.as_str(), one[0].0.owner), (1, "first", (1000, 1001)));
    let folder = taken(engine, &container, "/tmp/d").await;
    let paths: Vec<_> = folder.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect();
    assert_eq!((paths, folder[1].1.as_str()), (vec!["d/".to_owned(), format!("d/{long}")], "deep"));
    assert!(!taken(engine, &container, "/etc/passwd").await[0].1.is_empty());

    engine.unpack(&container, "/tmp", tar(&[file("one", "second")])).await.unwrap();
    assert_eq!(taken(engine, &container, "/tmp/one").await[0].1, "second");
    engine.stop(&container, GRACE).await.unwrap();
    engine.unpack(&container, "/tmp", tar(&[file("one", "third")])).await.expect("a stopped one too");
    assert_eq!(taken(engine, &container, "/tmp/one").await[0].1, "third");

    let unpack = async |path: &str, entries: &[(Entry, &str)]| engine.unpack(&container, path, tar(entries)).await;
    assert_eq!(engine.look_at(&container, "/no/where").await.err(), Some(EngineError::NoPath));
    assert_eq!(engine.take(&container, "/no/where").await.err(), Some(EngineError::NoPath));
    assert_eq!(unpack("/no/where", &[file("x", "")]).await, Err(EngineError::NoPath));
    assert_eq!(unpack("/tmp/one", &[file("x", "")]).await, Err(EngineError::WrongKind));
    assert_eq!(unpack("/tmp", &[file("d", "no folder")]).await, Err(EngineError::WrongKind));
    assert_eq!(unpack("/run/spindle", &[file("token", "mine")]).await, Err(EngineError::ReadOnly));
    engine.remove(&SandboxId::from_bytes([0; 16]), Some(&container)).await.unwrap();
    assert_eq!(engine.look_at(&container, "/tmp").await.err(), Some(EngineError::NoContainer));
    assert_eq!(engine.take(&container, "/tmp").await.err(), Some(EngineError::NoContainer));
    assert_eq!(unpack("/tmp", &[file("x", "")]).await, Err(EngineError::NoContainer));
}

#[tokio::test]
async fn the_scripted_engine_has_files() {
    let engine = Arc::new(FakeEngine::default());
    engine.add_image("spindle/mimic:latest", &["8000"], None);
    let container = engine.create(&spec(23, "spindle/mimic", 16_011)).await.unwrap();
    engine.start(&container).await.unwrap();
    story(engine, container).await;
}

#[tokio::test]
async fn docker_has_files() {
    let own = Own::new("files", 23);
    let container = started(&own, 23).await;
    story(own.engine.clone(), container).await;
}

/// Links that a learner laid are followed, inside the sandbox; whatever a tar says, the host's files stay as they are.
#[tokio::test]
async fn docker_touches_nothing_outside_of_the_sandbox() {
    let own = Own::new("outside", 24);
    let container = started(&own, 24).await;
    // What the host has at a path that the sandbox does not have.
    let outside = std::env::temp_dir().join(format!("spindle-outside-{}", std::process::id()));
    std::fs::create_dir_all(&outside).unwrap();
    let witness = outside.join("witness");
    std::fs::write(&witness, "as it was").unwrap();
    let path = outside.to_str().unwrap();
    let up = "../".repeat(12);
    let inside = |command: &str| docker(&["exec", "-u", "0", container.as_str(), "sh", "-c", command]);
    inside(&format!(
        "mkdir -p /home/l && ln -s {path} /home/l/out && ln -s {up}{path} /home/l/up && ln -s / /home/l/root"
    ));
    let link =
        |name: &str, target: &str| (Entry { kind: Kind::Symlink, target: target.into(), ..Entry::file(name, 0) }, "");
    let hard =
        |name: &str, target: &str| (Entry { kind: Kind::HardLink, target: target.into(), ..Entry::file(name, 0) }, "");
    // None of these reaches the engine by way of the API. Here they do, and whether they are refused is Docker's affair.
    for (folder, entries) in [
        ("/home/l/out", vec![file("witness", "changed")]),
        ("/home/l/up", vec![file("witness", "changed")]),
        ("/home/l", vec![file("out/witness", "changed")]),
        ("/home/l", vec![file("up/witness", "changed")]),
        ("/tmp", vec![link("l", path), file("l/witness", "changed")]),
        ("/tmp", vec![link("m", &format!("{up}{path}")), file("m/witness", "changed")]),
        ("/tmp", vec![hard("h", witness.to_str().unwrap()), file("h", "changed")]),
        ("/home/l/root", vec![file(&format!("{}/witness", &path[1..]), "changed")]),
    ] {
        let _ = own.engine.unpack(&container, folder, tar(&entries)).await;
        assert_eq!(std::fs::read_to_string(&witness).unwrap(), "as it was", "{folder} {entries:?}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "{folder}");
    }
    for path in ["/home/l/out/witness", "/home/l/up/witness", "/tmp/h"] {
        // What is found there is the sandbox's own, if anything is.
        if let Ok(stat) = own.engine.look_at(&container, path).await {
            let taken = taken(own.engine.as_ref(), &container, stat.target.as_deref().unwrap_or(path)).await;
            assert!(taken.iter().all(|(_, content)| content != "as it was"), "{path}");
        }
    }
    // A link into the sandbox's own system is followed, as root.
    own.engine.unpack(&container, "/home/l/root", tar(&[file("etc/from-outside", "x")])).await.unwrap();
    assert!(try_docker(&["exec", container.as_str(), "test", "-f", "/etc/from-outside"]).0);
    std::fs::remove_dir_all(&outside).unwrap();
}
