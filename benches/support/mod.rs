//! What the benches stand on: samples, what a process uses, and those beside whom we are measured.

#![allow(dead_code, reason = "every bench uses its own part of it")]

pub mod bare;
pub mod forward;
pub mod peer;

use std::{
    fs,
    future::Future,
    process::{Child, Command},
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Measurements of one thing, in milliseconds if [`Samples::time`] takes them.
#[derive(Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    pub async fn time<T>(&mut self, step: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let value = step.await;
        self.0.push(started.elapsed().as_secs_f64() * 1e3);
        value
    }

    pub fn median(&mut self) -> f64 {
        self.at_most(0.5)
    }

    /// What this share of them does not exceed.
    pub fn at_most(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len() - 1;
        self.0[((self.0.len() as f64 * share) as usize).min(last)]
    }
}

/// Whether this bench was only asked whether it is there, as `cargo test --benches` does.
pub fn only_asked() -> bool {
    std::env::args().any(|a| a == "--test")
}

/// Lets this process and its children have as many descriptors open as they may.
pub fn many_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// A process of ours, ended when dropped.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Seconds of cpu that a process's present threads have used. The ticks of `stat` are too coarse for one that idles.
pub fn cpu(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let used = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(used).sum::<f64>() / 1e9
}

/// What a process has in memory, in KiB.
pub fn rss(pid: u32) -> f64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:").unwrap()
}

/// The same with what it shares counted in parts; none if it is gone.
pub fn pss(pid: u32) -> Option<f64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kib(file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The processes whose command line, joined by spaces, is so.
pub fn processes(holds: impl Fn(&str) -> bool) -> Vec<u32> {
    let pid = |entry: std::io::Result<fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        holds(&line.replace('\0', " ")).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().filter_map(pid).collect()
}
