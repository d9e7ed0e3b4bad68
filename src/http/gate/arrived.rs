//! A body that has arrived before its request is passed on. Credentials are looked at when the head is read: whoever
//! holds the body back would act by them after they have ended. All that changes something fits; what is longer streams.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Bytes, Frame, SizeHint},
};

/// How many bytes arrive before a request is passed on: the most that the fields of one may hold.
const WHOLE: u64 = 64 * 1024;

/// What has arrived of a body, and the rest of one that is longer.
pub struct Arrived<B> {
    head: VecDeque<Bytes>,
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
    let (mut head, mut length) = (VecDeque::new(), 0);
    // A length that is told makes waiting for more pointless.
    while length <= WHOLE && body.size_hint().lower() <= WHOLE {
        let Some(frame) = body.frame().await.transpose()? else {
            return Ok(Request::from_parts(parts, Arrived { head, rest: None, is_measured }));
        };
        // Nobody reads trailers.
        if let Ok(data) = frame.into_data() {
            length += data.len() as u64;
            head.push_back(data);
        }
    }
    Ok(Request::from_parts(parts, Arrived { head, rest: Some(body), is_measured }))
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for Arrived<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match (self.head.pop_front(), &mut self.rest) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, Some(rest)) => Pin::new(rest).poll_frame(cx),
            (None, None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here: u64 = self.head.iter().map(|data| data.len() as u64).sum();
        let rest = self.rest.as_ref().map_or(0, |rest| rest.size_hint().lower());
        if self.is_measured { SizeHint::with_exact(here + rest) } else { SizeHint::default() }
    }
}
