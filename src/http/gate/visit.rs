//! One connection, from its acceptance to its end: the greeting, request after request, and a WebSocket in the end.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::copy_bidirectional, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Hall,
    forward::Forward,
    gone::Watched,
    greeting::{Guest, greet},
    shares::Admitted,
};

/// The longest head of a request.
const LONGEST_HEAD: usize = 64 << 10;

/// How long a WebSocket may last when the server ends.
const GOODBYE: Duration = Duration::from_secs(2);

/// Receives a connection from `address`, until it ends; when `ending`, after the request under way.
pub async fn receive(
    hall: Arc<Hall>,
    outer: tokio::net::TcpStream,
    address: IpAddr,
    admitted: Admitted,
    ending: CancellationToken,
) {
    let greeted = tokio::select! {
        greeted = timeout(hall.rules.times.head, greet(&hall, outer, address, admitted)) => greeted,
        () = ending.cancelled() => return,
    };
    // However a connection ends, there is nothing to report.
    if let Ok(Ok(Some(guest))) = greeted {
        // In a box, so that who is silent does not pay for it.
        Box::pin(serve(hall, guest, ending)).await;
    }
}

async fn serve(hall: Arc<Hall>, guest: Guest, ending: CancellationToken) {
    let Guest { stream, watched, manner, admitted: _admitted } = guest;
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(hall.rules.times.head);
    // A client that has sent all may close its side, and still wants its answer.
    server.half_close(true).keep_alive(hall.rules.is_api).max_buf_size(LONGEST_HEAD);
    // As Rocket writes them; scripts look for `Location:`.
    server.title_case_headers(true);
    let forward = Arc::new(Forward::new(hall, manner, watched.clone()));
    let service = service_fn(|request| {
        let forward = Arc::clone(&forward);
        async move { Ok::<_, Infallible>(forward.answer(request).await) }
    });
    let left = left(watched, forward.is_live());
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = left => return,
    };
    if let (Ok(()), Some((outer, inner))) = (ended, forward.upgraded()) {
        let carried = async {
            let (outer, inner) = tokio::try_join!(outer, inner)?;
            Ok::<_, hyper::Error>(copy_bidirectional(&mut TokioIo::new(outer), &mut TokioIo::new(inner)).await)
        };
        let mut carried = pin!(carried);
        tokio::select! {
            _ = carried.as_mut() => {}
            () = ending.cancelled() => {
                // What is at its other end says goodbye.
                let _ = timeout(GOODBYE, carried).await;
            }
        }
    }
}

/// Waits until the client has closed its side while an answer is live. Of one that is sent as it comes it wants nothing
/// more, and without a byte to send nobody would know.
async fn left(client: Watched, mut is_live: watch::Receiver<bool>) {
    loop {
        if is_live.wait_for(|is_live| *is_live).await.is_err() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = client.gone(CancellationToken::new()).told() => return,
            _ = is_live.changed() => {}
        }
    }
}
