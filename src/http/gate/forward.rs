//! Passes the requests of one connection on to Rocket, over one connection of the gate's own that is opened with the
//! first of them. Bodies stream through both ways.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode, Uri, Version,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Hall,
    answer::{Body, Refusal},
    arrived::{Arrived, arrived},
    bodies::{Fate, Timed, Whole},
    gone::Watched,
    greeting::Manner,
    headers,
    peers::{Peer, Seat},
    proxies,
};

/// The way of one connection's requests.
pub struct Forward {
    hall: Arc<Hall>,
    manner: Manner,
    client: Watched,
    /// The connection to Rocket; none before the first request, and while one is under way.
    inner: Mutex<Option<Inner>>,
    /// Both sides of a WebSocket that was granted.
    upgraded: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
    /// Whether the answer under way may be silent for long.
    is_live: watch::Sender<bool>,
}

/// How much of an answer waits here for a client that takes it slowly, at most.
const BUFFER: usize = 64 << 10;

/// A connection to Rocket, until dropped.
struct Inner {
    sender: SendRequest<Arrived<Timed>>,
    seat: Seat,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

impl Forward {
    /// For requests of a client that came in this `manner`.
    pub fn new(hall: Arc<Hall>, manner: Manner, client: Watched) -> Self {
        let (inner, upgraded, is_live) = (Mutex::default(), Mutex::default(), watch::Sender::new(false));
        Self { hall, manner, client, inner, upgraded, is_live }
    }

    /// Rocket's answer to a request, or ours if it is not passed on.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let answered = self.pass_on(request).await;
        let mut response = answered.unwrap_or_else(Refusal::answer);
        headers::protect(response.headers_mut());
        response
    }

    /// Both sides of a WebSocket that was granted.
    pub fn upgraded(&self) -> Option<(OnUpgrade, OnUpgrade)> {
        self.upgraded.lock().expect("no holder panics").take()
    }

    /// Whether the answer under way may be silent for long, as it changes.
    pub fn is_live(&self) -> watch::Receiver<bool> {
        self.is_live.subscribe()
    }

    async fn pass_on(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        self.is_live.send_replace(false);
        let peer = self.examine(&request)?;
        *request.uri_mut() = Uri::from(headers::path(&request)?);
        *request.version_mut() = Version::HTTP_11;
        headers::drop_forwarded(request.headers_mut());
        let outer = headers::end_hop(request.headers_mut()).then(|| hyper::upgrade::on(&mut request));
        if outer.is_some() {
            headers::ask_upgrade(request.headers_mut());
        }
        let fate = Arc::default();
        let request = request.map(|body| Timed::new(body, self.hall.rules.times.body, Arc::clone(&fate)));
        let request = arrived(request).await.map_err(|_| refusal(&fate))?;
        let mut inner = self.inner().await?;
        inner.seat.give_to(peer);
        let line = inner.seat.line().clone();
        let Ok(mut response) = inner.sender.send_request(request).await else {
            return Err(refusal(&fate));
        };
        *self.inner.lock().expect("no holder panics") = Some(inner);
        headers::end_hop(response.headers_mut());
        if let Some(outer) = outer.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
            headers::ask_upgrade(response.headers_mut());
            let inner = hyper::upgrade::on(&mut response);
            *self.upgraded.lock().expect("no holder panics") = Some((outer, inner));
        }
        self.is_live.send_replace(headers::is_live(response.headers()));
        Ok(response.map(|body| Whole::new(body, line).boxed()))
    }

    /// Who sends the request, if it may be passed on.
    fn examine(&self, request: &Request<Incoming>) -> Result<Peer, Refusal> {
        let Manner { address, local, is_proxy, is_tls, lacks_tls } = self.manner;
        if lacks_tls {
            let message = "This port speaks TLS: the address begins with https://";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "tls_required", message));
        }
        if self.hall.rules.is_api {
            headers::check_host(request, local, self.hall.rules.public_name.as_deref())?;
        }
        let mut peer = Peer { address, is_tls };
        if is_proxy {
            let told = proxies::told_by(request.headers(), |address| self.hall.is_proxy(address));
            peer.address = told.unwrap_or(address);
            peer.is_tls = proxies::told_tls(request.headers()).unwrap_or(is_tls);
        }
        if self.hall.is_refused(peer.address) {
            let message = "This API is not for sandboxes; they check in only";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
        }
        Ok(peer)
    }

    /// The connection to Rocket: the one of the last request if it can still be used, else a new one.
    async fn inner(&self) -> Result<Inner, Refusal> {
        let used = self.inner.lock().expect("no holder panics").take();
        if let Some(mut used) = used
            && used.sender.ready().await.is_ok()
        {
            return Ok(used);
        }
        self.connect().await.map_err(|_| {
            let message = "The server is shutting down; try again later";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
        })
    }

    async fn connect(&self) -> io::Result<Inner> {
        let stream = TcpStream::connect(self.hall.inside).await?;
        stream.set_nodelay(true)?;
        let seat = self.hall.peers.seat(stream.local_addr()?, self.client.clone());
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
        Ok(Inner { sender, seat, _driver: driver })
    }
}

/// Why there is no answer of Rocket's.
fn refusal(fate: &OnceLock<Fate>) -> Refusal {
    fate.get().map_or_else(
        || {
            let message = "Something went wrong in Spindle; the log may say what";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
        },
        |fate| fate.refusal(),
    )
}
