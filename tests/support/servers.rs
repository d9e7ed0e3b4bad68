//! The servers of a scripted world: the API and the check-in door, each on a free port.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use spindle::{
    app::{App, CheckInDoor},
    http::{self, ApiSettings},
};
use tokio_util::sync::CancellationToken;

fn free_port() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), super::free_port())
}

/// Launches the API, and waits until somebody is let in.
pub async fn launch_api(app: &Arc<App>, sandboxes: &str, lenient: bool) -> (SocketAddr, rocket::Shutdown) {
    for _ in 0..5 {
        let at = free_port();
        let settings = ApiSettings { listen: at, sandboxes: sandboxes.parse().unwrap(), lenient, grace: 1 };
        let server = http::api(app.clone(), settings).ignite().await.unwrap();
        let shutdown = server.shutdown();
        let task = tokio::spawn(server.launch());
        while !task.is_finished() {
            if tokio::net::TcpStream::connect(at).await.is_ok() {
                return (at, shutdown);
            }
            tokio::task::yield_now().await;
        }
    }
    panic!("no port is free");
}

/// Opens the door, and waits until somebody is let in.
pub async fn open_door(app: &Arc<App>) -> (SocketAddr, CancellationToken) {
    let (at, closing) = (free_port(), CancellationToken::new());
    let door = tokio::spawn(http::keep_door(app.clone(), at, closing.clone()));
    while !matches!(app.asked.health().await.door, CheckInDoor::Open(_)) {
        assert!(!door.is_finished(), "the door did not open");
        tokio::task::yield_now().await;
    }
    (at, closing)
}
