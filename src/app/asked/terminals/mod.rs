//! Terminals: programs inside with somebody at a keyboard. They outlive a connection for a while, and several people
//! may be at one.

mod keep;
mod screen;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{Asked, standing::Standing};
use crate::{
    app::{Error, Result},
    domain::{Actor, Program, Sandbox, SandboxId, Size, Source, State, Verb, Who, names::hex},
};
pub use screen::STALL;
use screen::Screen;

/// The most terminals at a time, and of one sandbox.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 16;

/// How many messages of a client wait for a program that does not read.
const TYPED: usize = 8;

/// The terminals that are open, by their ids.
pub type Terminals = Mutex<HashMap<String, Arc<Terminal>>>;

/// What a client sends to a program.
enum Input {
    Bytes(Vec<u8>),
    Resize(Size),
}

/// How a terminal has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its program ended, with this code.
    Exit(Option<i64>),
    /// Its container ended.
    Sandbox,
    /// The engine went away.
    Engine,
    /// Nobody came back to it.
    Abandoned,
    /// The server ends.
    Server,
}

/// What somebody wants of a terminal.
#[derive(Debug, Clone, Default)]
pub struct TerminalWish {
    /// The terminal, if it is open already.
    pub terminal: Option<String>,
    /// Whether the client only looks.
    pub watches: bool,
    /// The program of a new one; its first word is missing for a login shell.
    pub program: Program,
}

/// A terminal that is open.
pub struct Terminal {
    /// Its id.
    pub id: String,
    /// Its sandbox, as it was when the terminal was opened.
    pub sandbox: Sandbox,
    /// Who opened it.
    pub by: Who,
    /// When.
    pub opened_at: Timestamp,
    /// Its program.
    pub program: Program,
    screen: Mutex<Screen>,
    input: mpsc::Sender<Input>,
    writers: watch::Sender<usize>,
    ended: watch::Sender<Option<Ended>>,
}

impl Terminal {
    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().expect("no holder panics")
    }

    async fn show(&self, bytes: &[u8]) {
        let waiting = self.screen().write(bytes);
        for viewer in waiting {
            if let Some(slow) = viewer.show(bytes.to_vec()).await {
                self.leave(slow);
            }
        }
    }

    fn join(self: &Arc<Self>, by: &Actor, writes: bool, standing: Standing) -> Viewing {
        let mut screen = self.screen();
        let (number, before, told) = screen.join(&by.who, writes);
        self.writers.send_replace(screen.writers());
        let seat = Seat { terminal: Arc::clone(self), by: by.clone(), number, writes, standing };
        Viewing { seat, before, told }
    }

    fn leave(&self, number: u64) {
        let mut screen = self.screen();
        screen.leave(number);
        self.writers.send_replace(screen.writers());
    }

    fn end(&self, how: Ended) {
        self.ended.send_replace(Some(how));
        self.screen().clear();
    }

    /// Waits until nobody has typed here for so long that nobody comes back. Whoever only looks keeps it not.
    async fn abandoned(&self, patience: Duration) {
        let mut writers = self.writers.subscribe();
        loop {
            // The sender lives as long as the terminal.
            let _ = writers.wait_for(|writers| *writers == 0).await;
            tokio::select! {
                () = tokio::time::sleep(patience) => return,
                _ = writers.wait_for(|writers| *writers > 0) => {}
            }
        }
    }

    /// Who is at it: those who type, or those who watch.
    pub fn people(&self, writes: bool) -> Vec<Who> {
        self.screen().people(writes)
    }
}

/// Somebody's place at a terminal, until dropped.
pub struct Seat {
    /// The terminal.
    pub terminal: Arc<Terminal>,
    /// Who sits here.
    pub by: Actor,
    number: u64,
    writes: bool,
    /// By what whoever sits here came in.
    standing: Standing,
}

impl Seat {
    /// Whether whoever sits here may type.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// How the terminal has ended; `None`: it goes on, and whoever sits here was too slow.
    pub fn ended(&self) -> Option<Ended> {
        self.terminal.ended.borrow().clone()
    }

    /// Sets the terminal's size.
    pub async fn resize(&self, size: Size) {
        // If the program has ended, its size does not matter.
        let _ = self.terminal.input.send(Input::Resize(size)).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.terminal.leave(self.number);
    }
}

/// Somebody at a terminal.
pub struct Viewing {
    /// The place.
    pub seat: Seat,
    /// What was shown before.
    pub before: Vec<u8>,
    /// What is shown. It ends when the terminal does, or when its reader is too slow.
    pub told: mpsc::Receiver<Vec<u8>>,
}

impl Asked {
    fn open_terminals(&self, of: &SandboxId) -> Vec<Arc<Terminal>> {
        let terminals = self.terminals.lock().expect("no holder panics");
        terminals.values().filter(|terminal| terminal.sandbox.id == *of).cloned().collect()
    }

    /// Checks that `by` may open a terminal in a sandbox.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`].
    pub async fn may_open_terminal(&self, by: &Actor, reference: &str) -> Result<()> {
        self.allowed(by, Verb::Exec, reference).await.map(drop)
    }

    /// The terminals that are open in a sandbox, oldest first.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`].
    pub async fn terminals(&self, by: &Actor, reference: &str) -> Result<Vec<Arc<Terminal>>> {
        let sandbox = self.allowed(by, Verb::Exec, reference).await?;
        let mut open = self.open_terminals(&sandbox.id);
        open.sort_by_key(|terminal| terminal.opened_at);
        Ok(open)
    }

    /// How many terminals are open in a sandbox.
    pub fn terminals_of(&self, sandbox: &SandboxId) -> usize {
        self.open_terminals(sandbox).len()
    }

    /// Opens a terminal in a running sandbox, or joins one that is open.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::NotRunning`], [`Error::NoTerminal`],
    /// [`Error::TooManyTerminals`], [`Error::EngineAway`].
    pub async fn terminal(self: &Arc<Self>, by: &Actor, reference: &str, wish: TerminalWish) -> Result<Viewing> {
        let sandbox = self.allowed(by, Verb::Exec, reference).await?;
        let Some(id) = &wish.terminal else {
            let acting = self.actions.of(by, Verb::Exec, &sandbox).changing(["terminal"]);
            return acting.around(self.open_terminal(by, &sandbox, wish.program)).await;
        };
        let open = self.open_terminals(&sandbox.id).into_iter().find(|terminal| terminal.id == *id);
        let terminal = open.ok_or_else(|| Error::NoTerminal(id.chars().take(64).collect()))?;
        let standing = self.standing(by).await?;
        let viewing = terminal.join(by, !wish.watches, standing);
        // Whoever comes back to a terminal of their own does nothing new.
        if terminal.by != by.who || wish.watches {
            self.actions
                .of(by, Verb::Exec, &sandbox)
                .changing([if wish.watches { "watched" } else { "joined" }])
                .done();
        }
        // If it ended meanwhile, its end was told to nobody.
        if viewing.seat.ended().is_some() { Err(Error::NoTerminal(id.clone())) } else { Ok(viewing) }
    }

    async fn open_terminal(self: &Arc<Self>, by: &Actor, sandbox: &Sandbox, wish: Program) -> Result<Viewing> {
        if !matches!(sandbox.life.state, State::Running { .. }) {
            return Err(Error::NotRunning);
        }
        let all = self.terminals.lock().expect("no holder panics").len();
        for (open, most) in [(self.terminals_of(&sandbox.id), MOST_OF_ONE), (all, MOST)] {
            if open >= most {
                return Err(Error::TooManyTerminals(most));
            }
        }
        let command = if wish.command.is_empty() { Program::login() } else { wish.command };
        let program = Program { command, stdin: true, terminal: wish.terminal.or(Some(Size::default())), ..wish };
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| Error::NoRandom(e.to_string()))?;
        let standing = self.standing(by).await?;
        let (input, typed) = mpsc::channel(TYPED);
        let (running, attached) = self.work.begin_exec(sandbox, &program).await?;
        if let Some(size) = program.terminal {
            // Docker gives a terminal its size only now.
            let _ = input.try_send(Input::Resize(size));
        }
        let terminal = Arc::new(Terminal {
            id: hex(&bytes),
            sandbox: sandbox.clone(),
            by: by.who.clone(),
            opened_at: self.clock.now(),
            program,
            screen: Mutex::default(),
            input,
            writers: watch::Sender::new(0),
            ended: watch::Sender::new(None),
        });
        let viewing = terminal.join(by, true, standing);
        let (sandbox, id) = (&terminal.sandbox, &terminal.id);
        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, terminal = id, %by, "a terminal is opened");
        self.terminals.lock().expect("no holder panics").insert(terminal.id.clone(), Arc::clone(&terminal));
        self.tasks.spawn(Arc::clone(self).keep_terminal(terminal, running, attached, typed));
        Ok(viewing)
    }

    /// Records that somebody typed in a sandbox.
    ///
    /// # Errors
    /// Those of the store; then it is recorded later.
    pub(crate) async fn typed(&self, by: &Actor, sandbox: &Sandbox) -> Result<()> {
        self.usage.touch(sandbox, Source::Terminal, by).await
    }

    /// Hands on what somebody typed. That is use.
    pub async fn type_in(&self, seat: &Seat, bytes: Vec<u8>) {
        if bytes.is_empty() || !seat.writes {
            return;
        }
        // What cannot be recorded now is recorded before the next pass decides.
        let _ = self.typed(&seat.by, &seat.terminal.sandbox).await;
        // A program that has ended reads no more.
        let _ = seat.terminal.input.send(Input::Bytes(bytes)).await;
    }

    /// How often [`Asked::may_stay`] is to be asked.
    pub fn terminal_look(&self) -> Duration {
        self.settings.reach.terminal_look
    }

    /// Whether somebody may still be at a terminal: credentials end, and rights change. If that cannot be known at
    /// present, nothing changes.
    pub async fn may_stay(&self, seat: &Seat) -> bool {
        self.still_may(&seat.standing, Verb::Exec, &seat.terminal.sandbox.id).await
    }
}
