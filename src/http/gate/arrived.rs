//! A body that has arrived before its request is passed on. Credentials are looked at when the head is read: whoever
//! holds the body back would act by them after they have ended. What is longer streams: an import and files that are put in
//! look at the credentials again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Bytes, Frame, SizeHint},
};

/// How many bytes arrive before a request is passed on: the most that the fields of one may hold.
const WHOLE: u64 = 64 * 1024;

/// What has arrived of a body, and the rest of one that is longer.
pub struct Arrived<B> {
    head: Bytes,
    rest: Option<B>,
    /// Whether the client has told its length: who asks for one must not get ours.
    is_measured: bool,
}

/// Waits for a request's body, unless it is long.
///
/// # Errors
/// Those of the body.
pub async fn arrived<B: Body<Data = Bytes, Error = io::Error> + Unpin>(
    request: Request<B>,
) -> io::Result<Request<Arrived<B>>> {
    let (parts, mut body) = request.into_parts();
    let is_measured = body.size_hint().exact().is_some();
    let mut head = BytesMut::new();
    // A length that is told makes waiting for more pointless.
    while head.len() as u64 <= WHOLE && body.size_hint().lower() <= WHOLE {
        let Some(frame) = body.frame().await.transpose()? else {
            return Ok(Request::from_parts(parts, Arrived { head: head.freeze(), rest: None, is_measured }));
        };
        // Nobody reads trailers.
        if let Ok(data) = frame.into_data() {
            head.extend_from_slice(&data);
        }
    }
    Ok(Request::from_parts(parts, Arrived { head: head.freeze(), rest: Some(body), is_measured }))
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for Arrived<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let head = std::mem::take(&mut self.head);
        match &mut self.rest {
            _ if !head.is_empty() => Poll::Ready(Some(Ok(Frame::data(head)))),
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.head.len() as u64;
        let rest = self.rest.as_ref().map_or(0, |rest| rest.size_hint().lower());
        if self.is_measured { SizeHint::with_exact(here + rest) } else { SizeHint::default() }
    }
}
