//! WebSockets: the handshake on Rocket's side. The stream comes through the gate as any upgraded connection does.

use std::{io, pin::Pin};

use futures_util::future::BoxFuture;
use rocket::{
    Request, Response,
    data::{IoHandler, IoStream},
    http::Status,
    request::{FromRequest, Outcome},
    response::{self, Responder},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::error::ApiError;

/// The longest message of a client, and what is kept for one that does not read, both in bytes.
const LONGEST: usize = 64 * 1024;
const UNREAD: usize = 256 * 1024;

/// A WebSocket that is open.
pub type Socket = WebSocketStream<IoStream>;

/// A client that asks for a WebSocket, by the key that it sent.
pub struct Handshake(String);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Handshake {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ApiError> {
        let header = |name| request.headers().get_one(name).unwrap_or_default();
        let asks = header("Upgrade").eq_ignore_ascii_case("websocket") && header("Sec-WebSocket-Version") == "13";
        match header("Sec-WebSocket-Key") {
            key if asks && !key.is_empty() => Outcome::Success(Self(derive_accept_key(key.as_bytes()))),
            _ => {
                let message = "This is a WebSocket (version 13): connect with a client for it, such as websocat";
                let e = ApiError::new(Status::UpgradeRequired, "upgrade_required", message);
                Outcome::Error((Status::UpgradeRequired, e))
            }
        }
    }
}

/// What is done with a WebSocket, until it returns.
type Serve = Box<dyn FnOnce(Socket) -> BoxFuture<'static, ()> + Send>;

impl Handshake {
    /// Grants it. `serve` has the socket until it returns.
    pub fn grant(self, serve: impl FnOnce(Socket) -> BoxFuture<'static, ()> + Send + 'static) -> Granted {
        Granted { accept: self.0, serve: Box::new(serve) }
    }
}

/// The answer that opens a WebSocket.
pub struct Granted {
    accept: String,
    serve: Serve,
}

impl<'r> Responder<'r, 'static> for Granted {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build()
            .raw_header("Sec-WebSocket-Version", "13")
            .raw_header("Sec-WebSocket-Accept", self.accept)
            .upgrade("websocket", Served(Some(self.serve)))
            .ok()
    }
}

struct Served(Option<Serve>);

#[rocket::async_trait]
impl IoHandler for Served {
    async fn io(mut self: Pin<Box<Self>>, io: IoStream) -> io::Result<()> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST))
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(UNREAD);
        if let Some(serve) = self.0.take() {
            serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
        }
        Ok(())
    }
}
