//! HTTP at a sandbox that sleeps: a page or a word after a second for those who can ask again, and patience for those
//! who cannot.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::clients::port;
use crate::support::{
    Body, World,
    docker::Docker,
    talk::{dial, drain, end},
};

const GET: &str = "GET /lab HTTP/1.1\r\nHost: x\r\n";

/// A sandbox that sleeps, and whose port opens only seconds after its start.
async fn slow_sleeper(world: &Docker) -> (Value, u16) {
    let body = json!({"image": "spindle/mimic", "wake": "always", "env": {"MIMIC_OPEN_AFTER": "4"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    let app = port(&c, "app_port");
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, |c| c["status"] == "stopped").await;
    (c, app)
}

/// Sends a request, and reads the answer to its end; how long that took. Some clients end their side after a request.
fn ask(app: u16, request: &str, ends: bool) -> (String, Duration) {
    let asked = Instant::now();
    let mut stream = dial(app);
    stream.write_all(request.as_bytes()).unwrap();
    if ends {
        end(&stream);
    }
    let (answer, _) = drain(&stream);
    (String::from_utf8(answer).unwrap(), asked.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_ask_again_is_told_to_and_who_cannot_waits() {
    let world = Docker::start(&[]).await;
    let (c, app) = slow_sleeper(&world).await;
    let request = "POST /answers HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nmine";
    let mut patient = dial(app);
    patient.write_all(request.as_bytes()).unwrap();
    let browser = std::thread::spawn(move || ask(app, &format!("{GET}Accept: text/html,*/*;q=0.8\r\n\r\n"), false));
    let (line, waited) = ask(app, &format!("{GET}Accept: */*\r\n\r\n"), true);
    let (page, waited_for_page) = browser.join().unwrap();
    for waited in [waited, waited_for_page] {
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(3), "{waited:?}");
    }
    for answer in [&page, &line] {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    assert!(page.contains("<meta http-equiv=\"refresh\" content=\"1\">") && page.contains("text/html"), "{page}");
    let name = c["name"].as_str().unwrap().trim_start_matches('/');
    assert!(page.contains(&format!("<h1>{name} is starting</h1>")) && page.contains(" UTC</time>"), "{page}");
    assert!(!line.contains('<') && line.contains(name), "{line}");
    // As the page does it, until it is the app that answers; a mimic sends back what it is sent.
    let again = format!("{GET}Accept: text/html\r\n\r\n");
    let began = Instant::now();
    while ask(app, &again, true).0 != again {
        assert!(began.elapsed() < Duration::from_secs(20), "the app never answered");
    }
    let mut answer = vec![0; request.len()];
    patient.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), request, "what cannot be sent twice is delivered once");
    assert_eq!(world.http().now(&c).await["status"], "running");
}

/// Nobody is let wait for what will not come: a sandbox that is not woken says so at once, to those who understand it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_at_a_sandbox_that_is_not_woken_is_told_so() {
    let world = Docker::start(&[]).await;
    let (c, app) = slow_sleeper(&world).await;
    world.http().patch(&c, "wake=never").await.expect(200);
    let (page, waited) = ask(app, &format!("{GET}Accept: text/html\r\n\r\n"), false);
    assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("<h1>") && !page.contains("refresh"), "{page}");
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert_eq!(world.http().now(&c).await["status"], "stopped");
}
