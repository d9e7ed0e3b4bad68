//! The hall: what all connections share, namely the limits, the clock, everybody's shares and the channel for events.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    message::Event,
    shares::{Refusals, Shares, Wakes},
};
use crate::{clock::Clock, domain::TrafficLimits};

/// How often counts are told.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

/// The least time between two tellings, however many connections come and go.
pub const TELL_REST: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub struct Hall {
    /// The limits on connections and wakes.
    pub limits: TrafficLimits,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who has how many connections.
    pub shares: Shares,
    /// Who has woken how many sandboxes.
    pub wakes: Wakes,
    /// Who was refused.
    pub refusals: Refusals,
    /// The connections.
    pub connections: TaskTracker,
    events: mpsc::UnboundedSender<Event>,
    counted: Notify,
}

impl Hall {
    /// An empty hall, and the events that it will tell.
    pub fn new(limits: TrafficLimits, clock: Arc<dyn Clock>) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, heard) = mpsc::unbounded_channel();
        let hall = Self {
            limits,
            clock,
            shares: Shares::default(),
            wakes: Wakes::default(),
            refusals: Refusals::default(),
            connections: TaskTracker::new(),
            events,
            counted: Notify::new(),
        };
        (Arc::new(hall), heard)
    }

    /// Tells an event to the listener.
    pub fn tell(&self, event: Event) {
        // At a shutdown nobody listens.
        let _ = self.events.send(event);
    }

    /// Makes the counts be told soon, because they have changed.
    pub fn hurry_counts(&self) {
        self.counted.notify_one();
    }

    /// Waits until it is time to tell counts: soon after [`Hall::hurry_counts`], else after [`TELL_EVERY`].
    pub async fn wait_to_tell(&self) {
        let _ = timeout(TELL_EVERY, self.counted.notified()).await;
    }
}
