//! Logs: what the programs of a sandbox have written, and go on to write. Reading is never evidence.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{Actor, Token, Verb},
    engine::{EngineError, LogsWanted, Outlet, Said, Saying},
};

/// The longest line that is handed on in one piece, in bytes.
const LONGEST: usize = 64 << 10;

/// A line of a log, without its end, or a piece of a line that is longer than most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where the program wrote it to.
    pub outlet: Outlet,
    /// When, if the engine says.
    pub at: Option<Timestamp>,
    /// What.
    pub bytes: Vec<u8>,
    /// The piece before from the same outlet is of the same line.
    pub continues: bool,
    /// The line ends here.
    pub is_whole: bool,
}

/// Lines as they come. An error is the last item.
pub type LogLines = BoxStream<'static, Result<LogLine>>;

impl Asked {
    /// What a sandbox has written, oldest first, running or not. With `follow` the lines end with the sandbox, with the
    /// right to read them, and when the server is shut down. Who may not enter the sandbox does not see its secret in them.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn logs(self: &Arc<Self>, by: &Actor, reference: &str, wanted: LogsWanted) -> Result<LogLines> {
        let sandbox = self.allowed(by, Verb::Logs, reference).await?;
        let hidden = (!Self::may_enter(by, &sandbox)).then(|| sandbox.token.clone());
        let barred = Arc::clone(self).until_may_not(self.standing(by).await?, Verb::Logs, sandbox.id);
        let Some(container) = sandbox.container else { return Err(Error::NoSandbox(reference.to_owned())) };
        let said = self.engine.logs(&container, &wanted).await.map_err(failed)?;
        let closing = self.closing.clone();
        let said = said.take_until(closing.clone().cancelled_owned()).take_until(Box::pin(barred));
        let ending = stream::once(async move { closing.is_cancelled().then_some(Err(Error::ShuttingDown)) });
        let lines = lines(said.boxed(), hidden);
        Ok(lines.chain(ending.filter_map(std::future::ready)).boxed())
    }
}

fn failed(why: EngineError) -> Error {
    Error::engine("its log cannot be read", why)
}

/// Joins pieces to lines.
fn lines(said: Saying, hidden: Option<Token>) -> LogLines {
    let begun = Some((said, Joining::default(), VecDeque::new()));
    let lines = stream::unfold(begun, |state| async move {
        let (mut said, mut joining, mut ready) = state?;
        loop {
            if let Some(line) = ready.pop_front() {
                return Some((Ok(line), Some((said, joining, ready))));
            }
            match said.next().await {
                Some(Ok(piece)) => joining.take(piece, &mut ready),
                Some(Err(e)) => return Some((Err(failed(e)), None)),
                None => {
                    joining.end(&mut ready);
                    return ready.pop_front().map(|line| (Ok(line), Some((stream::empty().boxed(), joining, ready))));
                }
            }
        }
    });
    let masked = lines.map(move |line| {
        line.map(|line| match &hidden {
            Some(token) => LogLine { bytes: masked(line.bytes, token.reveal().as_bytes()), ..line },
            None => line,
        })
    });
    masked.boxed()
}

/// What has come of the line that each outlet is at.
#[derive(Debug, Default)]
struct Joining([Option<LogLine>; 2]);

impl Joining {
    fn take(&mut self, Said { outlet, at, bytes }: Said, ready: &mut VecDeque<LogLine>) {
        let begun = &mut self.0[usize::from(outlet == Outlet::Stderr)];
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let fresh = LogLine { outlet, at, bytes: Vec::new(), continues: false, is_whole: false };
            let mut line = begun.take().unwrap_or(fresh);
            let (text, is_whole) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            line.bytes.extend_from_slice(text);
            if is_whole {
                ready.push_back(LogLine { is_whole, ..line });
            } else if line.bytes.len() >= LONGEST {
                *begun = Some(LogLine { bytes: Vec::new(), continues: true, ..line.clone() });
                ready.push_back(line);
            } else {
                *begun = Some(line);
            }
        }
    }

    /// Nothing more comes.
    fn end(&mut self, ready: &mut VecDeque<LogLine>) {
        ready.extend(self.0.iter_mut().filter_map(Option::take).filter(|line| !line.bytes.is_empty()));
    }
}

/// `bytes` with stars in place of the letters of `secret`.
fn masked(mut bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(secret.len()).position(|found| found == secret) {
        from += at;
        bytes[from..from + secret.len()].fill(b'*');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[(Outlet, &str)]) -> Vec<(String, bool, bool)> {
        let (mut joining, mut ready) = (Joining::default(), VecDeque::new());
        for (outlet, text) in pieces {
            joining.take(Said { outlet: *outlet, at: None, bytes: (*text).to_owned().into() }, &mut ready);
        }
        joining.end(&mut ready);
        let shown = |line: LogLine| (String::from_utf8(line.bytes).unwrap(), line.continues, line.is_whole);
        ready.into_iter().map(shown).collect()
    }

    #[test]
    fn pieces_become_lines_outlet_by_outlet() {
        use Outlet::{Stderr, Stdout};
        let lines = joined(&[(Stdout, "a"), (Stderr, "x\n"), (Stdout, "b\nc\n\n"), (Stdout, "end")]);
        let whole = |text: &str| (text.to_owned(), false, true);
        assert_eq!(lines, [whole("x"), whole("ab"), whole("c"), whole(""), ("end".into(), false, false)]);
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let long = "x".repeat(LONGEST);
        let lines = joined(&[(Outlet::Stdout, &long), (Outlet::Stdout, "y\nz\n")]);
        assert_eq!(lines, [(long, false, false), ("y".into(), true, true), ("z".into(), false, true)]);
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        let text = |text: &str| String::from_utf8(masked(text.as_bytes().to_vec(), b"abc")).unwrap();
        assert_eq!(text("?token=abc abcabc ab"), "?token=*** ****** ab");
        assert_eq!(text(""), "");
    }
}
