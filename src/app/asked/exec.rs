//! Exec: runs a program in a sandbox for somebody who waits for its end.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::Asked;
use crate::{
    app::{Error, Result, work::Running},
    domain::{Actor, Program, Sandbox, Source, State, Verb, seen::last_lines},
    engine::{Attached, Channel, Ran},
};

/// The most bytes that are kept of each stream. A program may go on to write, and nobody reads that.
const KEPT: usize = 1024 * 1024;

/// The longest that a program may run.
pub const LONGEST: Duration = Duration::from_hours(1);

/// How long, after its streams have ended, a program's end is waited for.
const END: Duration = Duration::from_secs(5);

/// How often that is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The codes with which an engine says that a program could not be started.
const NOT_STARTED: [i64; 2] = [126, 127];

/// A program that somebody wants to be run.
#[derive(Debug, Clone, Default)]
pub struct ExecWish {
    /// The program.
    pub program: Program,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may run; `None`: as configured.
    pub timeout: Option<Duration>,
}

/// The beginning of what a program wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The first of its bytes.
    pub bytes: Vec<u8>,
    /// How many there were.
    pub total: u64,
}

impl Written {
    fn add(&mut self, piece: &[u8]) {
        self.total += piece.len() as u64;
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// What became of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executed {
    /// Its code; `None` if it was ended.
    pub code: Option<i64>,
    /// Its output.
    pub stdout: Written,
    /// Its errors.
    pub stderr: Written,
    /// It was ended because its time was over; how long that was.
    pub timed_out: Option<Duration>,
}

/// Why nobody waits for a program any more.
enum Stop {
    Ended,
    TimedOut,
    Failed(Error),
}

impl Asked {
    /// Runs a program in a running sandbox, and returns when it has ended, or its time is over. If its caller is `gone`
    /// before, it is ended. Nothing of its session stays inside.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::NotRunning`], [`Error::NoProgram`], [`Error::EngineAway`];
    /// [`Error::Gone`], which nobody reads.
    pub async fn exec(
        self: &Arc<Self>,
        by: &Actor,
        reference: &str,
        wish: ExecWish,
        gone: impl Future<Output = ()> + Send,
    ) -> Result<Executed> {
        let sandbox = self.allowed(by, Verb::Exec, reference).await?;
        let acting = self.actions.of(by, Verb::Exec, &sandbox);
        acting.around(self.exec_in(by, &sandbox, wish, gone)).await
    }

    async fn exec_in(
        self: &Arc<Self>,
        by: &Actor,
        sandbox: &Sandbox,
        wish: ExecWish,
        gone: impl Future<Output = ()> + Send,
    ) -> Result<Executed> {
        if !matches!(sandbox.life.state, State::Running { .. }) {
            return Err(Error::NotRunning);
        }
        // It counts before it begins: no stop comes between.
        self.usage.touch(sandbox, Source::Exec, by).await?;
        tokio::pin!(gone);
        let _at_once = tokio::select! {
            turn = self.programs.acquire() => turn.map_err(|_| Error::ShuttingDown)?,
            () = &mut gone => return Err(Error::Gone),
            () = self.closing.cancelled() => return Err(Error::ShuttingDown),
        };
        let program = Program { stdin: !wish.stdin.is_empty(), terminal: None, ..wish.program };
        let (running, attached) = self.work.begin_exec(sandbox, &program).await?;
        let timeout = wish.timeout.unwrap_or(self.settings.reach.exec_timeout).min(LONGEST);
        let mut executed = Executed::default();
        let stop = tokio::select! {
            stop = self.drive(attached, wish.stdin, timeout, &mut executed) => stop,
            () = self.keep_touching(sandbox, by) => Stop::Ended,
            () = &mut gone => Stop::Failed(Error::Gone),
            () = self.closing.cancelled() => Stop::Failed(Error::ShuttingDown),
        };
        let ended = match stop {
            Stop::Ended => self.ended(&running, &executed).await,
            Stop::TimedOut => {
                executed.timed_out = Some(timeout);
                Ok(None)
            }
            Stop::Failed(e) => Err(e),
        };
        running.end().await;
        let code = ended?;
        Ok(Executed { code, ..executed })
    }

    /// Reads what a program writes, and writes what it reads, until it ends or its time is over.
    async fn drive(&self, attached: Attached, stdin: Vec<u8>, timeout: Duration, executed: &mut Executed) -> Stop {
        let Attached { mut output, mut input } = attached;
        let reading = async {
            while let Some(piece) = output.next().await {
                match piece {
                    Ok((Channel::Out, bytes)) => executed.stdout.add(&bytes),
                    Ok((Channel::Err, bytes)) => executed.stderr.add(&bytes),
                    Err(e) => return Stop::Failed(Error::engine("the program's output broke off", e)),
                }
            }
            Stop::Ended
        };
        let writing = async {
            // A program need not read all of it.
            let _ = input.write_all(&stdin).await;
            let _ = input.shutdown().await;
            std::future::pending::<Stop>().await
        };
        tokio::select! {
            stop = reading => stop,
            stop = writing => stop,
            () = tokio::time::sleep(timeout) => Stop::TimedOut,
        }
    }

    /// As long as somebody waits for a program, its sandbox is in use.
    async fn keep_touching(&self, sandbox: &Sandbox, by: &Actor) {
        loop {
            tokio::time::sleep(self.settings.report_period).await;
            // What could not be recorded is recorded with the next one.
            let _ = self.usage.touch(sandbox, Source::Exec, by).await;
        }
    }

    /// The code of a program whose streams have ended.
    ///
    /// # Errors
    /// [`Error::NoProgram`] if it was never started; [`Error::NotRunning`] if the container has ended.
    async fn ended(&self, running: &Running, executed: &Executed) -> Result<Option<i64>> {
        let ran = self.ran(running).await?;
        match ran {
            Ran { pid: None, code: Some(code), .. } if NOT_STARTED.contains(&code) => {
                Err(Error::NoProgram(last_lines(&executed.stdout.bytes).join(" ")))
            }
            Ran { code, running: false, .. } => Ok(code),
            Ran { .. } => Ok(None),
        }
    }

    /// What became of a program, once it has ended, or a moment later.
    pub(super) async fn ran(&self, running: &Running) -> Result<Ran> {
        let looking = async {
            loop {
                match self.engine.look_at_exec(&running.begun.exec).await {
                    Ok(Ran { running: false, code: Some(code), pid }) => {
                        return Ok(Ran { running: false, code: Some(code), pid });
                    }
                    Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
                    Err(e) => return Err(e),
                }
            }
        };
        match tokio::time::timeout(END, looking).await {
            Ok(Err(crate::engine::EngineError::NoContainer)) => Err(Error::NotRunning),
            Ok(ran) => ran.map_err(|e| Error::engine("what became of the program is not known", e)),
            // It has closed its streams and goes on.
            Err(_) => Ok(Ran { running: true, ..Ran::default() }),
        }
    }
}
