//! The servers of a scripted world: the API and the check-in door, each on a free port.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use spindle::{
    app::{App, CheckInDoor},
    http::{self, Api, ApiSettings, Times},
};
use tokio_util::sync::CancellationToken;

fn free_port() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), super::free_port())
}

/// The settings of a scripted world's API. It listens on a port that the kernel chooses.
pub fn settings(sandboxes: &str) -> ApiSettings {
    ApiSettings {
        listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        sandboxes: sandboxes.parse().unwrap(),
        proxies: Vec::new(),
        public_name: None,
        public_url: None,
        certificates: None,
        connections: 256,
        times: Times::default(),
        lenient: false,
        grace: 1,
    }
}

/// Opens the API; whoever connects from now on is let in.
pub fn launch_api(app: &Arc<App>, settings: ApiSettings) -> (SocketAddr, CancellationToken) {
    let api = Api::open(app.clone(), settings).unwrap();
    let (at, closing) = (api.address().unwrap(), CancellationToken::new());
    tokio::spawn(api.serve(closing.clone()));
    (at, closing)
}

/// Opens the door, and waits until somebody is let in.
pub async fn open_door(app: &Arc<App>) -> (SocketAddr, CancellationToken) {
    let (at, closing) = (free_port(), CancellationToken::new());
    let door = tokio::spawn(http::keep_door(app.clone(), at, 256, closing.clone()));
    while !matches!(app.asked.health().await.door, CheckInDoor::Open(_)) {
        assert!(!door.is_finished(), "the door did not open");
        tokio::task::yield_now().await;
    }
    (at, closing)
}
