//! A relay in another process, as its caller sees it: requests, answers and events as lines of JSON over a Unix socket.

use std::{collections::HashMap, io, path::Path, sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::relay::{
    Unreachable,
    message::{Event, Request, Response},
};

/// The version of the words in `message`; both sides must have the same.
pub const VERSION: u32 = 2;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait before a relay that is away is tried again.
const RECONNECT: Duration = Duration::from_millis(200);

/// The longest line that is accepted, so that a stranger cannot fill the memory.
const LONGEST_LINE: u64 = 64 << 20;

/// The first line from either side.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub spindle_relay: u32,
    /// Whose sandboxes it is about.
    #[serde(default)]
    pub deployment: String,
    /// Who calls. The side that answers need not say.
    #[serde(default)]
    pub caller: Caller,
}

/// Who speaks to a relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    /// The server, which asks.
    #[default]
    Server,
    /// A newer relay, which wants the listeners.
    Successor,
    /// An older relay that still carries connections and has lost its successor. It wants to be asked for its counts.
    Elder,
}

/// A line to the relay.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The answer bears the same id.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// A line from the relay.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// The answer to the [`Ask`] of that id.
    Answer(u64, Response),
    /// Something that it says unasked.
    Event(Event),
}

type Asked = (Request, oneshot::Sender<Response>);

/// A connection to a relay, while there is one.
#[derive(Debug, Default)]
pub struct Remote {
    link: Mutex<Option<mpsc::UnboundedSender<Asked>>>,
    /// Why there is no connection, if that is known.
    why: Mutex<Option<String>>,
}

impl Remote {
    /// Asks for something.
    ///
    /// # Errors
    /// If there is no connection, or no answer in time.
    pub async fn ask(&self, request: Request) -> Result<Response, Unreachable> {
        let link = self.link.lock().expect("no holder panics").clone();
        let away = || {
            let why = self.why.lock().expect("no holder panics").clone();
            Unreachable(why.unwrap_or_else(|| "it is not connected".into()))
        };
        let (tell, told) = oneshot::channel();
        link.ok_or_else(away)?.send((request, tell)).map_err(|_| away())?;
        match timeout(DEADLINE, told).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(Unreachable("the connection broke".into())),
            Err(_) => Err(Unreachable(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    /// Asks for something without waiting for the answer. A relay that is not there need not do it.
    pub fn say(&self, request: Request) {
        if let Some(link) = &*self.link.lock().expect("no holder panics") {
            let _ = link.send((request, oneshot::channel().0));
        }
    }

    /// Speaks with the relay at `at`, and connects again whenever it goes away. Never ends by itself.
    pub async fn keep(&self, at: &Path, deployment: &str, events: &mpsc::UnboundedSender<Event>) {
        loop {
            let spoken = async {
                let mut stream = UnixStream::connect(at).await?;
                greet(&mut stream, deployment, Caller::Server).await?;
                tracing::info!(at = %at.display(), "connected to the relay");
                self.why.lock().expect("no holder panics").take();
                self.speak(stream, events).await
            };
            let why = spoken.await.map_or_else(|e| e.to_string(), |()| "it closed the connection".to_owned());
            let before = self.why.lock().expect("no holder panics").replace(why.clone());
            // A caller that misses the relay warns.
            if before.as_ref() != Some(&why) {
                tracing::info!(at = %at.display(), why, "the relay is not connected");
            }
            sleep(RECONNECT).await;
        }
    }

    /// Speaks over one connection until it ends. Both sides have said hello on it.
    ///
    /// # Errors
    /// Why it broke.
    pub async fn speak(&self, stream: UnixStream, events: &mpsc::UnboundedSender<Event>) -> io::Result<()> {
        let (asking, mut asked) = mpsc::unbounded_channel::<Asked>();
        *self.link.lock().expect("no holder panics") = Some(asking);
        let (read, write) = stream.into_split();
        let (lines, written) = mpsc::unbounded_channel();
        let pending: Mutex<HashMap<u64, oneshot::Sender<Response>>> = Mutex::default();
        let ask = async {
            let mut id = 0;
            while let Some((request, tell)) = asked.recv().await {
                id += 1;
                pending.lock().expect("no holder panics").insert(id, tell);
                // The writer ends only together with this function.
                let _ = lines.send(Ask { id, request });
            }
        };
        let hear = async {
            let mut reader = Lines::new(read);
            while let Some(line) = reader.next().await? {
                match line {
                    Line::Answer(id, response) => {
                        let tell = pending.lock().expect("no holder panics").remove(&id);
                        // The asker may have given up.
                        let _ = tell.map(|tell| tell.send(response));
                    }
                    Line::Event(event) => drop(events.send(event)),
                }
            }
            Ok(())
        };
        let ended = tokio::select! {
            () = ask => Ok(()),
            heard = hear => heard,
            wrote = write_lines(write, written) => wrote,
        };
        *self.link.lock().expect("no holder panics") = None;
        ended
    }
}

/// Says hello, and reads the other side's hello.
///
/// # Errors
/// If the other side says something else, or nothing for a while.
pub async fn greet(stream: &mut UnixStream, deployment: &str, caller: Caller) -> io::Result<Hello> {
    let hello = line_of(&Hello { spindle_relay: VERSION, deployment: deployment.to_owned(), caller })?;
    let exchanged = async {
        stream.write_all(&hello).await?;
        // Read byte by byte: what follows may not be a line.
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') && line.len() < 512 {
            stream.readable().await?;
            let mut byte = [0];
            match stream.try_read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => line.push(byte[0]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        let stranger = |_| io::Error::other("who answers there is no Spindle");
        let hello: Hello = serde_json::from_slice(&line).map_err(stranger)?;
        let theirs = &hello.deployment;
        if hello.spindle_relay != VERSION {
            let why = format!("it speaks version {} and this program {VERSION}", hello.spindle_relay);
            return Err(io::Error::other(format!("{why}; restart the older of the two")));
        }
        if theirs != deployment {
            let why = format!("it is about the deployment {theirs:?}, and this program about {deployment:?}");
            return Err(io::Error::other(format!("{why}; each needs a socket of its own")));
        }
        Ok(hello)
    };
    timeout(DEADLINE, exchanged).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn line_of(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads lines of JSON.
pub struct Lines(BufReader<OwnedReadHalf>);

impl Lines {
    /// What comes in at `read`.
    pub fn new(read: OwnedReadHalf) -> Self {
        Self(BufReader::new(read))
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// If the connection broke, or what came is not what was expected.
    pub async fn next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        use tokio::io::AsyncReadExt;
        let mut line = Vec::new();
        let read = (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        if read == 0 { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
    }
}

/// Writes what comes out of `lines` until all its senders are gone.
///
/// # Errors
/// If the connection broke.
pub async fn write_lines<T: Serialize>(
    mut write: OwnedWriteHalf,
    mut lines: mpsc::UnboundedReceiver<T>,
) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        // A peer that does not read must not make us keep everything for it.
        timeout(DEADLINE, write.write_all(&line_of(&line)?)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}
