//! Bodies on their way through the gate: a request's has a limited time, an answer's that is not whole does not look whole.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
};
use tokio::time::{Sleep, sleep};

use super::{answer::Refusal, peers::Line};
use crate::app::Stopwatch;

/// The least bytes in a second at which a body may go on for as long as it likes. A line of 128 kbit/s carries as many.
const LEAST_RATE: f64 = (16 << 10) as f64;

/// A request's body, whose client may keep us waiting only so long: from the head on, and never longer at once, however
/// much has come. Each byte that comes earns some of that time back. What it waits for us does not count.
pub struct Timed {
    body: Incoming,
    limit: Duration,
    /// How long the client may still keep us waiting.
    left: Duration,
    /// How long we have waited for it, and the end of our patience.
    waiting: Option<(Stopwatch, Pin<Box<Sleep>>)>,
    fate: Arc<OnceLock<Fate>>,
}

/// Why a body has not arrived.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It came too slowly.
    Late(Duration),
    /// The client has gone, or sent what is no body.
    BrokenOff,
}

impl Fate {
    /// The answer about it.
    pub fn refusal(self) -> Refusal {
        match self {
            Fate::Late(after) => {
                let message =
                    format!("The body did not arrive: nothing, or too little, came for {} s", after.as_secs());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
            }
            Fate::BrokenOff => Refusal::malformed("The body broke off"),
        }
    }
}

/// How long a client may keep us waiting who might before for `left`, then did for `waited`, and has sent so many bytes.
fn earned(left: Duration, waited: Duration, bytes: usize, limit: Duration) -> Duration {
    (left.saturating_sub(waited) + Duration::from_secs_f64(bytes as f64 / LEAST_RATE)).min(limit)
}

impl Timed {
    /// Of a request whose head has just come. `fate` is told why it does not arrive.
    pub fn new(body: Incoming, limit: Duration, fate: Arc<OnceLock<Fate>>) -> Self {
        let waiting = (!body.is_end_stream()).then(|| (Stopwatch::start(), Box::pin(sleep(limit))));
        Self { body, limit, left: limit, waiting, fate }
    }

    fn end(&self, fate: Fate, why: io::Error) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // Whatever comes after the first is no news.
        let _ = self.fate.set(fate);
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.left = earned(self.left, waited, bytes, self.limit);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => self.end(Fate::BrokenOff, io::Error::other(e)),
            Poll::Pending => {
                let left = self.left;
                let (_, late) = self.waiting.get_or_insert_with(|| (Stopwatch::start(), Box::pin(sleep(left))));
                ready!(late.as_mut().poll(cx));
                self.end(Fate::Late(self.limit), io::ErrorKind::TimedOut.into())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which ends in an error if whoever writes it says that it is not whole.
pub struct Whole {
    body: Incoming,
    line: Line,
}

impl Whole {
    /// Of the answer that `line` is about.
    pub fn new(body: Incoming, line: Line) -> Self {
        Self { body, line }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None if self.line.is_broken() => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            other => Poll::Ready(other.map(|frame| frame.map_err(io::Error::other))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.line.is_broken()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_earns_time_and_never_more_than_the_limit() {
        let limit = Duration::from_secs(10);
        let after = |left: u64, waited: u64, bytes| {
            earned(Duration::from_secs(left), Duration::from_secs(waited), bytes, limit).as_secs()
        };
        assert_eq!(after(10, 4, 0), 6);
        assert_eq!(after(6, 4, 1), 2, "a byte now and then earns nothing");
        assert_eq!(after(6, 4, 64 << 10), 6, "at the least rate it may go on");
        assert_eq!(after(10, 0, 1 << 30), 10, "a gigabyte buys no long silence");
    }
}
