//! TLS by the program itself: a new certificate, and what the doctor and the machine's own scripts need.

use std::{net::SocketAddr, process::Command, time::Duration};

use crate::support::{
    World,
    docker::{Docker, wait_for},
    tls::{Files, ask, dial},
};

fn hang_up(world: &Docker) {
    assert!(Command::new("kill").args(["-HUP", &world.pid().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_after_a_hangup_and_nobody_is_cut_off() {
    let files = Files::new("e2e");
    let first = files.renew();
    let (certificate, key) = (files.certificate(), files.key());
    let paths = [("TLS_CERT", certificate.to_str().unwrap()), ("TLS_KEY", key.to_str().unwrap())];
    let world = Docker::start(&paths).await;
    let to: SocketAddr = world.http().base.trim_start_matches("http://").parse().unwrap();
    let mut old = dial(to, &first).await.unwrap();
    ask(&mut old).await;
    let second = files.renew();
    hang_up(&world);
    wait_for("the new certificate", Duration::from_secs(10), || world.log().contains("a certificate was loaded"));
    ask(&mut dial(to, &second).await.unwrap()).await;
    ask(&mut old).await;
    std::fs::write(&certificate, "rubbish").unwrap();
    hang_up(&world);
    let refused = "the new certificate is not used; the API goes on with the old one";
    wait_for("its refusal", Duration::from_secs(10), || world.log().contains(refused));
    ask(&mut dial(to, &second).await.unwrap()).await;
    // From this machine the doctor and scripts need no certificate.
    let found = super::doctor::finding(&world, "server");
    assert_eq!(found["status"], "ok", "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_without_tls_changes_nothing() {
    let mut world = Docker::start(&[]).await;
    hang_up(&world);
    // Signals come in their order: one that had killed it would have left no code.
    assert_eq!(world.end("TERM"), Some(0));
}
