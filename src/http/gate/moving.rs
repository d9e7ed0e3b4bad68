//! A connection that must move: a client that takes nothing of what there is for it is given up after a while. However
//! long an answer is, it lives as long as it moves.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a client may take nothing while there is something for it.
const STALL: Duration = Duration::from_mins(1);

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client's connection, over TLS or not.
pub struct Moving {
    stream: Box<dyn Stream>,
    /// The end of the patience, while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Moving {
    /// Watches over `stream`.
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), stalled: None }
    }

    /// What became of a write, or the end of the patience.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        stalled.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Moving {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Moving {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_takes_slowly_is_not() {
        let (ours, mut theirs) = duplex(16);
        let mut moving = Moving::new(ours);
        let taking = async {
            let mut bytes = [0; 16];
            for _ in 0..10 {
                sleep(STALL / 2).await;
                tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut bytes).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(moving.write_all(&[0; 160]), taking);
        assert!(written.is_ok());
        moving.write_all(&[0; 16]).await.unwrap();
        let given_up = tokio::time::timeout(STALL * 2, moving.write_all(&[0])).await.expect("it is given up");
        assert_eq!(given_up.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
