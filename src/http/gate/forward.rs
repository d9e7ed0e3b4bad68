//! Passes the requests of one connection on to Rocket, over one connection of the gate's own that is opened with the
//! first of them. Bodies stream through both ways.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode, Uri, Version,
    body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Hall,
    answer::{Body, Refusal},
    arrived::{Arrived, arrived},
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
}

/// A connection to Rocket, until dropped.
struct Inner {
    sender: SendRequest<Arrived<Timed>>,
    seat: Seat,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

impl Forward {
    /// For requests of a client that came in this `manner`.
    pub fn new(hall: Arc<Hall>, manner: Manner, client: Watched) -> Self {
        Self { hall, manner, client, inner: Mutex::default(), upgraded: Mutex::default() }
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

    async fn pass_on(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
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
        Ok(response.map(BodyExt::boxed))
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
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
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

/// A request's body, for whose arrival there is a limited time from the head on.
struct Timed {
    body: Incoming,
    limit: Duration,
    /// The end of that time; none without a body.
    late: Option<Pin<Box<Sleep>>>,
    fate: Arc<OnceLock<Fate>>,
}

/// Why a body has not arrived.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Late(Duration),
    BrokenOff,
}

impl Fate {
    fn refusal(self) -> Refusal {
        match self {
            Fate::Late(after) => {
                let message = format!("The body did not arrive within {} s", after.as_secs());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
            }
            Fate::BrokenOff => Refusal::malformed("The body broke off"),
        }
    }
}

impl Timed {
    fn new(body: Incoming, limit: Duration, fate: Arc<OnceLock<Fate>>) -> Self {
        let late = (!body.is_end_stream()).then(|| Box::pin(sleep(limit)));
        Self { body, limit, late, fate }
    }

    fn end(&self, fate: Fate, why: io::Error) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // Whatever comes after the first is no news.
        let _ = self.fate.set(fate);
        Poll::Ready(Some(Err(why)))
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(e))) => self.end(Fate::BrokenOff, io::Error::other(e)),
            Poll::Pending => {
                let Some(late) = &mut self.late else { return Poll::Pending };
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
