//! An answer that is sent as it comes: each piece as soon as it is there, for as long as somebody reads.

use std::io;

use bytes::Bytes;
use rocket::{
    Request, Response,
    futures::{
        StreamExt,
        stream::{self, BoxStream},
    },
    http::{ContentType, Header},
    request::{FromRequest, Outcome},
    response::{self, Responder},
};
use tokio_util::io::StreamReader;

use super::gate::{self, Line};

/// The largest piece that is sent at once, in bytes.
const PIECE: usize = 64 << 10;

/// Pieces of an answer. An error ends the connection, so that the client does not take what came for all.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// An answer that is sent as it comes.
pub struct Live {
    content_type: ContentType,
    headers: Vec<Header<'static>>,
    pieces: Pieces,
}

impl Live {
    /// `pieces`, which end when the client has gone.
    pub fn new(content_type: ContentType, line: Line, pieces: Pieces) -> Self {
        let gone = line.gone();
        let whole = stream::unfold(Some((pieces, line)), |reading| async move {
            let (mut pieces, line) = reading?;
            let piece = pieces.next().await?;
            if piece.is_err() {
                line.break_off();
                return Some((piece, None));
            }
            Some((piece, Some((pieces, line))))
        });
        Self { content_type, headers: Vec::new(), pieces: whole.take_until(gone).boxed() }
    }

    /// The same answer with another header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push(Header::new(name, value.into()));
        self
    }

    /// The same answer, which may be silent for long.
    pub fn unbuffered(self) -> Self {
        self.with(gate::UNBUFFERED, "no")
    }
}

impl<'r> Responder<'r, 'static> for Live {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        response.header(self.content_type).max_chunk_size(PIECE);
        for header in self.headers {
            response.header(header);
        }
        response.streamed_body(StreamReader::new(self.pieces)).ok()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Line {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        Outcome::Success(gate::line(request))
    }
}
