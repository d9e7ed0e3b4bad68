//! Clients of answers that come bit by bit, and what such answers cost.

use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use super::Http;

/// How long a test waits for what must come. Generous: the other tests load the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Held for writing by a test that counts what the whole process has, and for reading by the others.
pub static ALONE: RwLock<()> = RwLock::const_new(());

/// How many descriptors this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many bytes of memory this process has.
pub fn rss() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}

/// Waits until `holds`.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    let mut often = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not yet: {what}");
        often.tick().await;
    }
}

/// Somebody who reads an answer line by line, on a connection of its own.
pub struct Follower {
    response: reqwest::Response,
    read: Vec<u8>,
}

impl Follower {
    /// Asks as the admin, unless `headers` are given, and waits for the answer's head.
    pub async fn open(http: &Http, path: &str, headers: &[(&str, &str)]) -> Self {
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let mut request = client.get(format!("{}{path}", http.base));
        let admin: &[(&str, &str)] = &[("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg==")];
        for (name, value) in if headers.is_empty() { admin } else { headers } {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, read: Vec::new() }
    }

    /// The next line, with its end; `None`: the answer has ended, as it should.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            let piece = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("it comes");
            self.read.extend(piece.unwrap()?);
        }
    }
}
