//! A client at a terminal, over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::Http;

/// How long a client waits for what must come. Generous: the other tests load the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// admin:spindocker
pub const ADMIN: (&str, &str) = ("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg==");

/// A terminal that is open.
pub struct Client {
    pub stream: WebSocketStream<TcpStream>,
    /// Its id.
    pub id: String,
    shown: Vec<u8>,
    text: Vec<String>,
}

/// Why it was closed: the code, and what the reason says.
pub type Closed = (u16, Value);

impl Client {
    /// Opens or joins one; else the status and the body of the answer.
    pub async fn try_open(http: &Http, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, (u16, Value)> {
        let at = http.base.trim_start_matches("http://");
        let mut request = format!("ws://{at}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(at).await.unwrap();
        match client_async(request, stream).await {
            Ok((stream, _)) => {
                let mut client = Self { stream, id: String::new(), shown: Vec::new(), text: Vec::new() };
                while client.text.is_empty() {
                    client.next().await.expect("a hello");
                }
                let hello: Value = serde_json::from_str(&client.text.remove(0)).unwrap();
                client.id = hello["terminal"].as_str().unwrap().to_owned();
                Ok(client)
            }
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            Err(e) => panic!("{path}: {e}"),
        }
    }

    /// Opens one as the admin.
    pub async fn open(http: &Http, path: &str) -> Self {
        Self::try_open(http, path, &[ADMIN]).await.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    /// Takes one message; the close frame if that is what came.
    async fn next(&mut self) -> Result<(), Closed> {
        let message = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("a message in time");
        match message {
            Some(Ok(Message::Binary(bytes))) => self.shown.extend(bytes),
            Some(Ok(Message::Text(text))) => self.text.push(text.to_string()),
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err((frame.code.into(), serde_json::from_str(&frame.reason).unwrap_or_default()));
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return Err((1006, Value::Null)),
        }
        Ok(())
    }

    /// Types.
    pub async fn types(&mut self, text: &str) {
        self.stream.send(Message::binary(text.as_bytes().to_vec())).await.unwrap();
    }

    /// Sends a text message.
    pub async fn says(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// All that was shown, once it contains `text`.
    pub async fn sees(&mut self, text: &str) -> String {
        while !String::from_utf8_lossy(&self.shown).contains(text) {
            if let Err(closed) = self.next().await {
                panic!("closed before {text:?}: {closed:?}; {:?}", String::from_utf8_lossy(&self.shown));
            }
        }
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// What was shown until now, and forgets it.
    pub fn wipe(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.shown)).into_owned()
    }

    /// Waits for the close frame.
    pub async fn is_closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.next().await {
                return closed;
            }
        }
    }
}
