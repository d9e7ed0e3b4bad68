//! Programs in scripted containers. They live on when nobody is attached, as Docker's do.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, DuplexStream},
    sync::{mpsc, watch},
};

use super::{FakeEngine, or_lie};
use crate::{
    domain::{Begun, ContainerId, Program, Size},
    engine::{Attached, Channel, EngineError, Exec, Ran, Result},
};

/// A program that was prepared.
#[derive(Debug)]
pub(super) struct Scripted {
    program: Program,
    /// Its code, once it has ended.
    code: watch::Sender<Option<i64>>,
    /// Its process; 0 before it is started.
    pid: AtomicU32,
    size: watch::Sender<Option<Size>>,
}

impl Scripted {
    /// Ends it, unless it has ended.
    pub(super) fn end(&self, with: i64) {
        self.code.send_if_modified(|code| code.is_none() && code.replace(with).is_none());
    }

    fn ran(&self) -> Ran {
        let (pid, code) = (self.pid.load(Ordering::SeqCst), *self.code.borrow());
        Ran { running: pid > 0 && code.is_none(), code, pid: Some(pid).filter(|pid| *pid > 0) }
    }
}

/// Where a program writes.
#[derive(Clone)]
struct Out(mpsc::Sender<(Channel, Vec<u8>)>);

impl Out {
    async fn say(&self, channel: Channel, bytes: &[u8]) {
        // A program whose reader is gone goes on.
        let _ = self.0.send((channel, bytes.to_vec())).await;
    }
}

/// The words of a program, or those that a shell reads in it.
fn words(program: &Program) -> Vec<String> {
    match program.command.as_slice() {
        [shell, flag, line, ..] if shell.ends_with("sh") && flag == "-c" => {
            line.split_whitespace().map(str::to_owned).collect()
        }
        other => other.to_vec(),
    }
}

/// What programs there are; a shell that starts a login shell is a `shell`.
async fn run(words: Vec<String>, out: Out, mut input: DuplexStream) -> i64 {
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
    match words.first().map(String::as_str).unwrap_or_default() {
        "echo" => out.say(Channel::Out, format!("{}\n", words[1..].join(" ")).as_bytes()).await,
        "fail" => {
            out.say(Channel::Err, format!("{}\n", words[1..].join(" ")).as_bytes()).await;
            return 1;
        }
        "exit" => return number(1).unwrap_or_default(),
        "cat" => while talk(&mut input, &out).await.is_some() {},
        "rubbish" => out.say(Channel::Out, b"a\xffb\n").await,
        "yes" => {
            let mut left: i64 = number(1).unwrap_or(i64::MAX);
            while left > 0 && !out.0.is_closed() {
                let piece = left.min(16 * 1024);
                out.say(Channel::Out, &b"y\n".repeat(8 * 1024)[..piece as usize]).await;
                left -= piece;
            }
            if left > 0 {
                std::future::pending::<()>().await;
            }
        }
        "shell" | "cd" => {
            while let Some(said) = talk(&mut input, &out).await {
                if let Some(code) = said.trim().strip_prefix("exit ").and_then(|code| code.parse().ok()) {
                    return code;
                }
            }
        }
        _ => std::future::pending::<()>().await,
    }
    0
}

/// Says what it hears; `None` at the end.
async fn talk(input: &mut (impl AsyncRead + Unpin), out: &Out) -> Option<String> {
    let mut bytes = vec![0; 16 * 1024];
    let read = input.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
    out.say(Channel::Out, &bytes[..read]).await;
    Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

#[async_trait]
impl Exec for FakeEngine {
    async fn prepare_exec(&self, container: &ContainerId, program: &Program, _id: &str) -> Result<String> {
        let lie = self.enter("prepare_exec").await?;
        let id = {
            let mut inner = self.inner();
            inner.prepared += 1;
            format!("exec-{}", inner.prepared)
        };
        let (code, size) = (watch::Sender::new(None), watch::Sender::new(program.terminal));
        let scripted = Scripted { program: program.clone(), code, pid: AtomicU32::new(0), size };
        self.in_running(container, |inside| inside.execs.insert(id.clone(), Arc::new(scripted)))?;
        or_lie(id, lie)
    }

    async fn begin_exec(&self, exec: &str, _on_terminal: bool) -> Result<Attached> {
        let lie = self.enter("begin_exec").await?;
        let scripted = self.scripted(exec)?;
        let (tell, told) = mpsc::channel(4);
        let (input, theirs) = tokio::io::duplex(64 * 1024);
        let words = words(&scripted.program);
        if words.first().is_some_and(|word| word.contains("absent")) {
            tell.try_send((Channel::Out, b"executable file not found in $PATH (scripted)\r\n".to_vec())).expect("room");
            scripted.end(127);
        } else {
            scripted.pid.store(1 + exec.len() as u32, Ordering::SeqCst);
            let mut ended = scripted.code.subscribe();
            tokio::spawn(async move {
                let out = Out(tell);
                tokio::select! {
                    code = run(words, out.clone(), theirs) => scripted.end(code),
                    _ = ended.wait_for(Option::is_some) => {}
                }
            });
        }
        let mut cuts = self.cuts.subscribe();
        let output = futures_util::stream::unfold((told, false), move |(mut told, is_cut)| {
            cuts.mark_unchanged();
            let mut cuts = cuts.clone();
            async move {
                if is_cut {
                    return None;
                }
                tokio::select! {
                    piece = told.recv() => piece.map(|piece| (Ok(piece), (told, false))),
                    // The sender lives as long as the engine.
                    _ = cuts.changed() => Some((Err(EngineError::Unavailable("cut off (scripted)".into())), (told, true))),
                }
            }
        });
        or_lie(Attached { output: output.boxed(), input: Box::new(input) }, lie)
    }

    async fn resize_exec(&self, exec: &str, size: Size) -> Result<()> {
        let lie = self.enter("resize_exec").await?;
        self.scripted(exec)?.size.send_replace(Some(size));
        or_lie((), lie)
    }

    async fn look_at_exec(&self, exec: &str) -> Result<Ran> {
        let lie = self.enter("look_at_exec").await?;
        or_lie(self.scripted(exec)?.ran(), lie)
    }

    async fn end_exec(&self, begun: &Begun) -> Result<()> {
        let lie = self.enter("end_exec").await?;
        if let Ok(scripted) = self.scripted(&begun.exec) {
            scripted.end(137);
        }
        or_lie((), lie)
    }
}

impl FakeEngine {
    fn scripted(&self, exec: &str) -> Result<Arc<Scripted>> {
        let inner = self.inner();
        let found = inner.containers.values().find_map(|c| c.inside.execs.get(exec)).cloned();
        found.ok_or(EngineError::NoContainer)
    }

    /// Breaks the streams of all programs that somebody is attached to, as when the engine goes away. They go on.
    pub fn cut_off_programs(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many programs run besides the containers' own.
    pub fn running_programs(&self) -> usize {
        let inner = self.inner();
        inner.containers.values().flat_map(|c| c.inside.execs.values()).filter(|exec| exec.ran().running).count()
    }

    /// The program that was prepared last in a container, as it was asked for, and the size of its terminal now.
    pub fn last_program(&self, container: &ContainerId) -> Option<(Program, Option<Size>)> {
        let inner = self.inner();
        let execs = &inner.containers.get(container)?.inside.execs;
        let last = execs.iter().max_by_key(|(id, _)| id.trim_start_matches("exec-").parse::<u32>().ok())?.1;
        Some((last.program.clone(), *last.size.borrow()))
    }
}
