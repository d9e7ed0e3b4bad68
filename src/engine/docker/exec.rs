//! Programs that Docker runs inside a container.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    exec::{CreateExecOptions, ResizeExecOptions},
    models::ContainerInspectResponse,
};

use super::{DockerEngine, QUICK, diagnosis::spoken, errors::within, hijack, session};
use crate::{
    domain::{Begun, ContainerId, Program, Size},
    engine::{Attached, EngineError, Exec, Ran, Result},
};

/// The label by which an image names the user as whom people log in.
const USER: &str = "spindle.user";

/// Which user the lab images mean if they do not say, as they did not at first.
const LAB: (&str, &str, &str) = ("spindle.image", "lab", "student");

/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Docker answers before it starts a program. If it shows none after so many looks, it never will.
const START: u32 = 60;

/// Ends what has the mark, for whoever runs it: it cannot see others' environments.
const BY_MARK: &str = include_str!("end.sh");

/// As whom people log in, and where they are then.
fn login(shown: &ContainerInspectResponse) -> Option<(String, String)> {
    let labels = shown.config.as_ref()?.labels.as_ref()?;
    let lab = labels.get(LAB.0).filter(|value| *value == LAB.1).map(|_| LAB.2.to_owned());
    let user = labels.get(USER).cloned().filter(|user| !user.is_empty()).or(lab)?;
    let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
    Some((user, home))
}

#[async_trait]
impl Exec for DockerEngine {
    async fn prepare_exec(&self, container: &ContainerId, program: &Program, id: &str) -> Result<String> {
        let client = self.client().await?;
        let (mut user, mut place) = (program.user.clone(), program.workdir.clone());
        if user.is_none()
            && let Some((login, home)) = login(&self.look(container).await?)
        {
            (user, place) = (Some(login), place.or(Some(home)));
        }
        let mut env: Vec<String> = program.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        env.push(format!("SPINDLE_EXEC={id}"));
        let options = CreateExecOptions {
            attach_stdin: Some(program.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(program.terminal.is_some()),
            cmd: Some(program.command.clone()),
            env: Some(env),
            user,
            working_dir: place,
            ..CreateExecOptions::default()
        };
        let call = client.create_exec(container.as_str(), options);
        Ok(self.seen(within(QUICK, "create exec", call, EngineError::NoContainer).await)?.id)
    }

    async fn begin_exec(&self, exec: &str, on_terminal: bool) -> Result<Attached> {
        let version = spoken(&self.client().await?);
        let start = hijack::start(self.at(), &version, exec, on_terminal);
        let begun = tokio::time::timeout(QUICK, start).await;
        self.seen(begun.unwrap_or(Err(EngineError::Timeout { call: "start exec", deadline: QUICK })))
    }

    async fn resize_exec(&self, exec: &str, size: Size) -> Result<()> {
        let client = self.client().await?;
        let call = client.resize_exec(exec, ResizeExecOptions { height: size.rows, width: size.cols });
        self.seen(within(QUICK, "resize exec", call, EngineError::NoContainer).await)
    }

    async fn look_at_exec(&self, exec: &str) -> Result<Ran> {
        let client = self.client().await?;
        let shown =
            self.seen(within(QUICK, "inspect exec", client.inspect_exec(exec), EngineError::NoContainer).await)?;
        let pid = shown.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        Ok(Ran { running: shown.running == Some(true), code: shown.exit_code, pid })
    }

    async fn end_exec(&self, begun: &Begun) -> Result<()> {
        let ran = self.started(&begun.exec).await?;
        if ran.is_some_and(|ran| ran.pid.is_none()) {
            return Ok(());
        }
        let (container, id) = (begun.container.clone(), begun.id.clone());
        let leader = ran.and_then(|ran| Some((ran.pid?, ran.running)));
        let ended = tokio::task::spawn_blocking(move || session::end(&container, leader, &id)).await;
        let ended = ended.expect("it does not panic");
        match self.look_at_exec(&begun.exec).await {
            // The engine is elsewhere, or we may not signal its processes.
            Ok(Ran { running: true, .. }) => self.end_from_inside(begun).await,
            Err(EngineError::NoContainer) | Ok(_) => {
                ended.map_err(|e| EngineError::Refused(format!("a program inside could not be ended: {e}")))
            }
            Err(e) => Err(e),
        }
    }
}

impl DockerEngine {
    /// What became of a program, once Docker has started it or has not; `None` if Docker does not know it any more.
    async fn started(&self, exec: &str) -> Result<Option<Ran>> {
        for _ in 0..START {
            match self.look_at_exec(exec).await {
                Ok(Ran { pid: None, code: None, .. }) => tokio::time::sleep(LOOK_EVERY).await,
                Ok(ran) => return Ok(Some(ran)),
                Err(EngineError::NoContainer) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(Some(Ran::default()))
    }

    /// Ends a program by a program of ours inside the container, where its processes cannot be reached from outside.
    ///
    /// # Errors
    /// If it goes on.
    pub async fn end_from_inside(&self, begun: &Begun) -> Result<()> {
        let command = ["/bin/sh", "-c", BY_MARK, "sh", &begun.id].map(str::to_owned).into();
        let program = Program { command, user: begun.user.clone(), ..Program::default() };
        let exec = self.prepare_exec(&begun.container, &program, "end").await?;
        // Dropping its streams does not end it.
        drop(self.begin_exec(&exec, false).await?);
        let ended = async {
            while self.look_at_exec(&begun.exec).await.is_ok_and(|ran| ran.running) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let ended = tokio::time::timeout(QUICK, ended).await;
        ended.map_err(|_| EngineError::Refused("a program inside could not be ended from inside".into()))
    }
}
