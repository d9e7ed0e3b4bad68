//! Elders: older relays, which serve their connections to their end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio_util::task::TaskTracker;

use super::{message::Request, remote::Remote};

/// The older relays, by numbers of ours.
#[derive(Debug, Default)]
pub struct Elders {
    remotes: Mutex<HashMap<u64, Arc<Remote>>>,
    /// The talks with them. Each ends with the elder's last connection.
    pub talks: TaskTracker,
}

impl Elders {
    /// Tells an elder from now on what this relay is told.
    pub fn add(&self, elder: u64, remote: Arc<Remote>) {
        self.remotes.lock().expect("no holder panics").insert(elder, remote);
    }

    /// Forgets an elder.
    pub fn remove(&self, elder: u64) {
        self.remotes.lock().expect("no holder panics").remove(&elder);
    }

    /// Tells all elders, and waits for none.
    pub fn say(&self, request: &Request) {
        self.remotes.lock().expect("no holder panics").values().for_each(|elder| elder.say(request.clone()));
    }
}
