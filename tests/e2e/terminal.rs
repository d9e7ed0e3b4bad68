//! A learner at a terminal: ssh with a keyboard and a screen.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::clients::Learner;
use crate::support::docker::wait_for;

/// How long what is typed may take until it shows.
const PATIENCE: Duration = Duration::from_secs(20);

/// A session. Dropping it ends it.
pub struct Terminal {
    ssh: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Logs in, and waits for the prompt.
    #[track_caller]
    pub fn open(learner: &Learner, container: &Value) -> Self {
        let mut ssh = learner.ssh(container, &["-tt"], "student", &[]);
        // With nothing of the test's own: ssh makes what it inherits non-blocking, for everybody who has it.
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keyboard, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        let terminal = Self { ssh, keyboard, screen };
        terminal.wait_for("$ ");
        terminal
    }

    /// Types a line. Whether anybody still reads it is for the caller to see.
    pub fn type_line(&mut self, line: &str) {
        let _ = self.keyboard.write_all(format!("{line}\n").as_bytes());
    }

    /// Hits one key.
    pub fn hit(&mut self, key: u8) {
        let _ = self.keyboard.write_all(&[key]);
    }

    /// All that the screen has shown.
    pub fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until the screen has shown `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(&format!("{text:?} on a terminal"), PATIENCE, || self.screen().contains(text));
    }

    /// Whether the session is over.
    pub fn is_over(&mut self) -> bool {
        self.ssh.try_wait().unwrap().is_some()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Handed on to ssh by the `timeout` around it.
        let _ = Command::new("kill").args(["-TERM", &self.ssh.id().to_string()]).stderr(Stdio::null()).status();
        let _ = self.ssh.wait();
    }
}
