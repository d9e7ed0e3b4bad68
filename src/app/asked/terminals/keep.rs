//! Keep: the task that looks after one terminal until it has ended.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{Ended, Input, Terminal};
use crate::{
    app::{Asked, Error, chain, work::Running},
    domain::Phase,
    engine::Attached,
};

impl Asked {
    /// Carries what is typed and what is shown until the program ends, or somebody ends it. Nothing of it stays inside.
    pub(super) async fn keep_terminal(
        self: Arc<Self>,
        terminal: Arc<Terminal>,
        running: Running,
        attached: Attached,
        mut typed: mpsc::Receiver<Input>,
    ) {
        let Attached { mut output, mut input } = attached;
        let reading = async {
            while let Some(piece) = output.next().await {
                match piece {
                    Ok((_, bytes)) => terminal.show(&bytes).await,
                    Err(_) => return Ended::Engine,
                }
            }
            Ended::Exit(None)
        };
        let exec = running.begun.exec.clone();
        let writing = async {
            while let Some(what) = typed.recv().await {
                match what {
                    Input::Bytes(bytes) => {
                        if input.write_all(&bytes).await.is_err() {
                            break;
                        }
                    }
                    Input::Resize(size) => {
                        if let Err(e) = self.engine.resize_exec(&exec, size).await {
                            tracing::debug!(error = %e, "a terminal has another size than its client");
                        }
                    }
                }
            }
            std::future::pending::<Ended>().await
        };
        let ended = tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
            () = terminal.abandoned(self.settings.reach.terminal_patience) => Ended::Abandoned,
            () = self.closing.cancelled() => Ended::Server,
        };
        let ended = if ended == Ended::Exit(None) { self.how_it_ended(&running).await } else { ended };
        let (sandbox, id) = (&terminal.sandbox, &terminal.id);
        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, terminal = id, ?ended, "a terminal ends");
        // Its clients need not wait for what it has left.
        terminal.end(ended);
        self.terminals.lock().expect("no holder panics").remove(id);
        running.end().await;
    }

    /// How a program has ended whose streams have.
    async fn how_it_ended(&self, running: &Running) -> Ended {
        let runs = self.engine.inspect(&running.begun.container).await.map(|shown| shown.phase == Phase::Running);
        match (runs, self.ran(running).await) {
            (Ok(false) | Err(crate::engine::EngineError::NoContainer), _) | (_, Err(Error::NotRunning)) => {
                Ended::Sandbox
            }
            (Ok(true), Ok(ran)) => Ended::Exit(ran.code),
            (Err(e), _) => {
                tracing::debug!(error = %e, "how a terminal ended is not known");
                Ended::Engine
            }
            (_, Err(e)) => {
                tracing::debug!(error = chain(&e), "how a terminal ended is not known");
                Ended::Engine
            }
        }
    }
}
