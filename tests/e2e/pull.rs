//! Images from a registry: one of Debian's package `docker-registry`, on this machine alone. `make test` fetches it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Body, World,
    docker::{Docker, docker, try_docker, wait_for},
    free_port, uri,
};

/// A registry with one image that is nowhere else. Dropping it takes the image away from the engine too.
struct Registry {
    child: Child,
    image: String,
}

impl Registry {
    /// `None` where there is no such program.
    fn with_an_image(directory: &Path) -> Option<Self> {
        let program = std::env::var("SPINDLE_TEST_REGISTRY").unwrap_or("/usr/bin/docker-registry".into());
        if !Path::new(&program).exists() {
            return None;
        }
        let port = free_port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/registry}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            directory.display()
        );
        let path = directory.join("registry.yml");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(directory.join("registry.log")).unwrap();
        let mut serve = Command::new(program);
        serve.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let registry = Self { child: serve.spawn().unwrap(), image: format!("127.0.0.1:{port}/lab:small") };
        wait_for("the registry", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        // A layer of its own, which the engine must fetch.
        docker(&["build", "--quiet", "--tag", &registry.image, &registry.context(directory)]);
        docker(&["push", "--quiet", &registry.image]);
        docker(&["image", "rm", &registry.image]);
        Some(registry)
    }

    fn context(&self, directory: &Path) -> String {
        let context: PathBuf = directory.join("context");
        std::fs::create_dir_all(&context).unwrap();
        let unique = format!("{}\n", self.image).repeat(1 << 16);
        std::fs::write(context.join("unique"), unique).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM spindle/mimic:latest\nCOPY unique /unique\n").unwrap();
        context.display().to_string()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        try_docker(&["image", "rm", &self.image]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_pulled_used_and_removed_again() {
    let w = Docker::start(&[]).await;
    let Some(registry) = Registry::with_an_image(&w.directory) else {
        eprintln!("skipped: docker-registry is not here");
        return;
    };
    let (image, path) = (registry.image.as_str(), format!("/v1/images/{}", registry.image));
    w.http().get(&path).await.expect_error(404, "image_not_found");
    // The registry does not answer: whoever asked goes away, and the pull goes on.
    registry.signal("STOP");
    let hurried = reqwest::Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let url = format!("{}{path}", w.http().base);
    hurried.put(url).basic_auth("admin", Some("spindocker")).send().await.expect_err("it does not wait so long");
    registry.signal("CONT");
    let answer = w.http().send("PUT", &path, Body::None).await.expect(200);
    let last: Value = serde_json::from_str(answer.text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["image"]["image"]), (&json!("present"), &json!(image)), "{answer:?}");
    assert_eq!(w.log().matches(" pulling ").count(), 1, "{}", w.log());

    let shown = w.http().get(&path).await.expect(200).json();
    assert!(shown["size"].as_u64().unwrap() > 1 << 20 && shown["platform"].as_str().unwrap().starts_with("linux/"));
    let c = w.http().create(&format!("image={image}")).await;
    let message = w.http().send("DELETE", &path, Body::None).await.expect_error(409, "image_in_use");
    assert!(message.contains("a container was made from it"), "{message}");
    w.http().send("DELETE", uri(&c), Body::None).await.expect(204);
    w.http().send("DELETE", &path, Body::None).await.expect(204);
    assert!(!docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).contains(image));

    let unknown = format!("/v1/images/{}", image.replace(":small", ":none"));
    let message = w.http().send("PUT", &unknown, Body::None).await.expect_error(404, "image_not_found");
    assert!(message.contains("no registry has it"), "{message}");
    drop(registry);
    let message = w.http().send("PUT", &path, Body::None).await.expect_error(502, "engine_failed");
    assert!(message.starts_with("the image could not be pulled: ") && message.contains("refused"), "{message}");
}

/// Of somebody else's container that uses an image the engine alone knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_others_use_stays() {
    let w = Docker::start(&[]).await;
    let (tag, name) = (format!("spindle/mimic:{}", w.deployment), format!("{}-other", w.deployment));
    let context = w.directory.join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM spindle/mimic:bare\nLABEL own={}\n", w.deployment))
        .unwrap();
    docker(&["build", "--quiet", "--tag", &tag, &context.display().to_string()]);
    docker(&["create", "--name", &name, &tag]);
    let refused = w.http().send("DELETE", &format!("/v1/images/{tag}"), Body::None).await;
    docker(&["rm", &name]);
    let message = refused.expect_error(409, "image_in_use");
    assert!(message.contains("not Spindle's"), "{message}");
    w.http().send("DELETE", &format!("/v1/images/{tag}"), Body::None).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_program_gains_privileges_unless_its_image_says_so() {
    let w = Docker::start(&[]).await;
    let c = w.http().create("image=spindle/mimic").await;
    assert_eq!(w.inspect(&c)["HostConfig"]["SecurityOpt"], json!(["no-new-privileges:true"]));
}
