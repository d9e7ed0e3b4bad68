//! Events: what happens to what a caller may see, from any time that is still kept, and as it happens.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::{Asked, standing::Standing};
use crate::{
    app::{Result, chain},
    domain::{Actor, Answer, Event, EventFilter, Happened, Object, Verb, may},
};

/// How many events are read at a time.
const PAGE: usize = 500;

/// How often it is seen that a follower's credentials still hold, while nothing happens.
const RENEWAL: Duration = Duration::from_secs(15);

/// What a follower hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something happened.
    Event(Box<Event>),
    /// What happened before this number, after the one that was asked for, is not kept.
    Missed(u64),
}

/// Whoever follows, and how far they are. What they have not taken yet stays in the store: a slow one costs nothing.
struct Following {
    asked: Arc<Asked>,
    standing: Standing,
    filter: EventFilter,
    /// Changes when more has happened.
    news: watch::Receiver<()>,
    /// The number of the last event that was read.
    last: u64,
    /// Whether more than what is kept is awaited.
    follow: bool,
    /// What was read, and not told yet.
    read: VecDeque<Told>,
}

impl Asked {
    /// What happened after event `after`, oldest first, and what happens from now on if `follow`. Without `after` a
    /// follower hears what happens from now on, and others all that is kept. The stream ends when the server or the
    /// follower's credentials do, or when the store cannot be read.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`](crate::app::Error::DatabaseAway), [`Error::Store`](crate::app::Error::Store).
    pub async fn events(
        self: &Arc<Self>,
        by: &Actor,
        filter: EventFilter,
        after: Option<u64>,
        follow: bool,
    ) -> Result<BoxStream<'static, Told>> {
        // Before the look, so that nothing is between the two.
        let news = self.records.store.news();
        let (oldest, newest) = self.records.store.events_kept().await?;
        let last = after.unwrap_or(if follow { newest } else { oldest - 1 });
        // Greater numbers were given by a database that is lost.
        let has_missed = last.saturating_add(1) < oldest || last > newest;
        let last = if has_missed { oldest - 1 } else { last };
        let read = has_missed.then_some(Told::Missed(oldest)).into_iter().collect();
        let standing = self.standing(by).await?;
        let following = Following { asked: Arc::clone(self), standing, filter, news, last, follow, read };
        let next = |mut following: Following| async { Some((following.next().await?, following)) };
        Ok(stream::unfold(following, next).boxed())
    }
}

impl Following {
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.read.pop_front() {
                return Some(told);
            }
            // What comes after this look wakes us.
            self.news.mark_unchanged();
            let page = self.asked.records.store.events(self.last, PAGE).await;
            let page = page.inspect_err(|e| tracing::debug!(error = chain(e), "events cannot be read")).ok()?;
            let Some(newest) = page.last() else {
                if !self.follow {
                    return None;
                }
                tokio::select! {
                    () = self.asked.closing.cancelled() => return None,
                    changed = self.news.changed() => changed.ok()?,
                    () = tokio::time::sleep(RENEWAL) => {}
                }
                self.asked.renewed(&self.standing).await?;
                continue;
            };
            // What happens after their credential has ended is not theirs to hear.
            let by = self.asked.renewed(&self.standing).await?;
            self.last = newest.id;
            let wanted = page.into_iter().filter(|event| self.filter.wants(event) && sees(&by, event));
            self.read.extend(wanted.map(|event| Told::Event(Box::new(event))));
        }
    }
}

/// Whether `by` may hear of `event`. Health tells everybody of the engine and the relay.
fn sees(by: &Actor, event: &Event) -> bool {
    match &event.on {
        Some(on) => may(by, Verb::See, Object::Sandbox(&on.id, &on.ownership)) == Answer::Yes,
        None if event.what == Happened::Pull => may(by, Verb::SeeImages, Object::Server) == Answer::Yes,
        None => true,
    }
}
