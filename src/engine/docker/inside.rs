//! The inside of Docker's containers: the files in them, what their programs write and use, their terminals.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    query_parameters::StatsOptionsBuilder,
};
use futures_util::TryStreamExt;

use super::{
    DockerEngine, QUICK, directory,
    errors::{translate, within},
    observe, spec,
};
use crate::{
    domain::{ContainerId, Sandbox},
    engine::{Announced, CheckIn, EngineError, Inside, Result},
};

/// Writes its argument to every terminal, and prints on how many.
const TO_TERMINALS: &str = include_str!("announce.sh");

/// How many bytes of a program's output are read: the program may be the learner's own, and its output endless.
const ENOUGH: usize = 500;

#[async_trait]
impl Inside for DockerEngine {
    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        let directory = self.directory(&sandbox.id);
        let whole = ["token", spec::KEYS].iter().all(|name| directory.join(name).is_file());
        let mut wanted = spec::check_in_files(check_in).to_vec();
        if let Some(container) = sandbox.container.as_ref().filter(|_| !whole) {
            let [_, token, key] = spec::files(&self.look(container).await?, sandbox);
            wanted.extend([token, key]);
        }
        directory::write(&directory, &wanted)
    }

    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>> {
        let client = self.client().await?;
        let written = observe::written(client.logs(container.as_str(), Some(observe::last_logs())));
        self.seen(within(QUICK, "logs", written, EngineError::NoContainer).await)
    }

    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        let lines = plain(text);
        // A bell, and a line of its own. `\r` is written too: a full-screen program has switched off that a line's end
        // becomes two characters.
        let shown = format!("\r\n\x07{}\r\n", lines.join("\r\n"));
        match self.run_inside(container, &["sh", "-c", TO_TERMINALS, "sh", &shown]).await {
            Ok(said) if is_no_program(&said) => {}
            Err(EngineError::Refused(why)) if is_no_program(&why) => {}
            said => return said.and_then(|said| announced(&said).ok_or_else(|| not_written(&said))),
        }
        // `wall` finds only terminals in the record of logins, and does not say how many.
        let said = self.run_inside(container, &["wall", "--", &lines.join("\n")]).await?;
        if said.is_empty() { Ok(Announced::default()) } else { Err(not_written(&said)) }
    }

    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        let client = self.client().await?;
        // One sample is enough. For a rate the engine takes two, which lasts a second or more.
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut samples = Box::pin(client.stats(container.as_str(), Some(options)));
        let sample = self.seen(within(QUICK, "stats", samples.try_next(), EngineError::NoContainer).await)?;
        let used = sample.and_then(|s| s.cpu_stats?.cpu_usage?.total_usage).unwrap_or_default();
        if used == 0 {
            return Err(EngineError::Refused(format!("container {container} does not run: it uses no cpu time")));
        }
        Ok(Duration::from_nanos(used))
    }
}

impl DockerEngine {
    /// Runs a program inside as root. Returns the beginning of what it printed, or of why it could not be run.
    async fn run_inside(&self, container: &ContainerId, words: &[&str]) -> Result<String> {
        let client = self.client().await?;
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            user: Some("0"),
            cmd: Some(words.to_vec()),
            ..CreateExecOptions::default()
        };
        let call = client.create_exec(container.as_str(), options);
        let exec = self.seen(within(QUICK, "exec", call, EngineError::NoContainer).await)?.id;
        let run = async {
            let mut said = Vec::new();
            let started = client.start_exec(&exec, None::<StartExecOptions>).await?;
            if let StartExecResults::Attached { mut output, .. } = started {
                while let Some(more) = output.try_next().await?.filter(|_| said.len() < ENOUGH) {
                    said.extend_from_slice(&more.into_bytes());
                }
            }
            said.truncate(ENOUGH);
            Ok(String::from_utf8_lossy(&said).trim().to_owned())
        };
        match tokio::time::timeout(QUICK, run).await {
            Ok(said) => self.seen(said.map_err(|e| translate(e, EngineError::NoContainer))),
            // The container may hang. That is no sign that the engine is away.
            Err(_) => Err(EngineError::Refused(format!("nothing inside answered within {} s", QUICK.as_secs()))),
        }
    }
}

/// The lines of a text, without control characters, which could steer a terminal.
fn plain(text: &str) -> Vec<String> {
    text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect()).collect()
}

/// Whether a runtime says with these words that the image lacks a program.
fn is_no_program(said: &str) -> bool {
    said.contains("executable file") && said.contains("not found")
}

/// The two counts that the script prints. A learner's program may run in its place and print anything.
fn announced(said: &str) -> Option<Announced> {
    let number = |text: &str| text.parse().ok().filter(|n| *n <= 4_096);
    let (reached, stopped) = said.split_once(' ')?;
    Some(Announced { reached: number(reached)?, stopped: number(stopped)? })
}

/// Why nothing was written. The words may be the learner's, so nothing in them may steer a reader's terminal.
fn not_written(said: &str) -> EngineError {
    let said: String = said.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(200).collect();
    let said = if said.is_empty() {
        "no process could be started there".to_owned()
    } else {
        format!("{said:?} was said there")
    };
    EngineError::Refused(format!("the terminals inside were not written to: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(plain("\x1b]0;x\x07one\u{9b}2J\r\ntwo\tthree\n\x1b[2J\0"), ["]0;xone2J", "twothree", "[2J"]);
    }

    #[test]
    fn only_two_numbers_are_counts() {
        assert_eq!(announced("3 1"), Some(Announced { reached: 3, stopped: 1 }));
        for said in ["", "1", "1 ", "-1 0", "1 2 3", "99999 0", "1 99999", "sh: 0: Cannot fork"] {
            assert_eq!(announced(said), None, "{said:?}");
        }
    }

    #[test]
    fn a_missing_program_is_recognised() {
        let runc = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": \
                    executable file not found in $PATH: unknown";
        assert!(is_no_program(runc));
        assert!(is_no_program("OCI runtime exec failed: executable file `sh` not found in $PATH: No such file"));
        assert!(!is_no_program("sh: 0: Cannot fork"));
    }
}
