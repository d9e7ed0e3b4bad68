//! The lab image's own reports. A file of its own, early in the alphabet, as the reporter takes its minute while
//! the other tests go on.

use std::time::Duration;

use super::{
    clients::{curl_json, lab, wait_for_ssh},
    terminal::Terminal,
};
use crate::support::{
    World,
    docker::{docker, wait_for},
    id, uri,
};

/// The reporter's minute, and some.
const A_MINUTE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_in_use_is_reported_by_the_image_itself_each_minute() {
    let (world, learner) = lab(&[]).await;
    let c = curl_json(&world, &["-d", "image=spindle/base"], "/v1/containers", 201);
    // The report of the boot must be over before anybody connects, so that what comes is that of the minute.
    let booted = world.until(&c, |c| c["last_check_in_at"].is_string()).await;
    assert_eq!(booted["active"], "0");
    wait_for_ssh(&c);
    let mut terminal = Terminal::open(&learner, &c);
    terminal.type_line("echo at work");
    let active = || curl_json(&world, &[], uri(&c), 200)["active"].clone();
    wait_for("the minute's report of one terminal", A_MINUTE, || active() == "1");
    let now = world.http().now(&c).await;
    assert_eq!(now["last_active_at"], now["last_check_in_at"]);

    // As if its learner had gone away three minutes ago, while a program goes on printing.
    terminal.type_line("(while sleep 0.1; do echo still busy; done) &");
    terminal.wait_for("\nstill busy");
    let (report, ages) =
        (["exec", id(&c), "spindle-report", "-v"], ["touch", "-a", "-d", "3 minutes ago", "/dev/pts/0"]);
    docker(&[&["exec", id(&c)], &ages[..]].concat());
    let begun = terminal.screen().len();
    wait_for("more output", Duration::from_secs(10), || terminal.screen().len() > begun + 100);
    assert!(docker(&report).contains("0 of 1 terminals in use, 0 from hooks: reported 0 to "));
    assert_eq!(active(), "0");
    terminal.type_line("x");
    wait_for("the use to be seen", Duration::from_secs(10), || docker(&report).contains("1 of 1 terminals in use"));
    assert_eq!(active(), "1");
}
