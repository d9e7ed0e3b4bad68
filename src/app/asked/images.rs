//! Images: list them, show one, pull one, remove one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, MutexGuard},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};

use super::{Asked, rights::on_server};
use crate::{
    app::{Error, Result, actions::Acting},
    clock::Stopwatch,
    domain::{Actor, Fact, Failure, Happened, ImageRef, Verb, image::problems, policy::least_idle_limit},
    engine::{EngineError, ImageDetails, LayerProgress},
};

/// How often those who follow hear of a pull.
const NEWS: Duration = Duration::from_secs(1);

/// An image, and how many of our sandboxes were made from it.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the engine tells of it.
    pub details: ImageDetails,
    /// How many sandboxes, running or not.
    pub containers: usize,
    /// What is wrong with its labels.
    pub problems: Vec<String>,
}

/// The progress of a pull.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PullState {
    layers: BTreeMap<String, Layer>,
    /// How it ended; `None`: it is under way, or the server is shutting down.
    pub ended: Option<PullEnd>,
}

/// How a pull ended.
#[derive(Debug, Clone, PartialEq)]
pub enum PullEnd {
    /// The image is here.
    Here,
    /// It could not be pulled.
    Failed(EngineError),
    /// Somebody cancelled it, whose name this is.
    Cancelled(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Layer {
    done: bool,
    here: u64,
    of: u64,
}

impl PullState {
    fn takes(&mut self, news: LayerProgress) {
        let layer = self.layers.entry(news.layer).or_default();
        layer.done |= news.done;
        if let Some((here, of)) = news.bytes {
            (layer.here, layer.of) = (here, of);
        }
        if layer.done {
            layer.here = layer.of;
        }
    }

    /// How many layers are here, and how many are known; more may become known.
    pub fn layers(&self) -> (usize, usize) {
        (self.layers.values().filter(|l| l.done).count(), self.layers.len())
    }

    /// How many bytes are here, and how many are expected, of the layers that are being counted.
    pub fn bytes(&self) -> (u64, u64) {
        self.layers.values().fold((0, 0), |(here, of), l| (here + l.here, of + l.of))
    }
}

/// A pull that is under way, whoever asked for it first. It goes on even if nobody watches it.
pub type Pull = watch::Receiver<PullState>;

/// A pull that is under way, and its action.
pub(super) struct Pulling {
    pull: Pull,
    action: String,
    /// Takes the name of whoever cancels it.
    cancel: oneshot::Sender<String>,
}

/// What it takes to have an image here.
#[derive(Debug)]
pub enum Ensured {
    /// Nothing.
    Present,
    /// It is being pulled.
    Pulling(Pull),
}

impl Asked {
    fn pulls(&self) -> MutexGuard<'_, HashMap<String, Pulling>> {
        self.pulls.lock().expect("no holder panics")
    }

    /// The images from which sandboxes can be made (`CONTRACT.md` 7).
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`].
    pub async fn images(&self, by: &Actor) -> Result<Vec<String>> {
        on_server(by, Verb::SeeImages)?;
        self.engine.images().await.map_err(|e| Error::engine("the images could not be listed", e))
    }

    /// One image. Nothing is pulled.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn image(&self, by: &Actor, image: &ImageRef) -> Result<Image> {
        on_server(by, Verb::SeeImages)?;
        let failed = |e| match e {
            EngineError::NoImage => Error::NoImage(image.clone()),
            e => Error::engine("the image could not be looked at", e),
        };
        let details = self.engine.image(image).await.map_err(failed)?;
        let containers = self.engine.containers_of(&details.id).await.map_err(failed)?;
        let problems = problems(&details.labels, least_idle_limit(self.settings.report_period));
        Ok(Image { details, containers, problems })
    }

    /// Pulls an image unless it is here. Callers who ask for the same image share one pull.
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`], [`Error::ShuttingDown`].
    pub async fn ensure_image(self: &Arc<Self>, by: &Actor, image: &ImageRef) -> Result<Ensured> {
        let mut acting = self.actions.of(by, Verb::Pull, image);
        if let Err(e) = on_server(by, Verb::Pull) {
            return Err(acting.refused(e));
        }
        if let Some(pull) = self.under_way_of(by, image) {
            return Ok(Ensured::Pulling(pull));
        }
        match self.engine.image(image).await {
            Ok(_) => return acting.end(Ok(Ensured::Present)),
            Err(EngineError::NoImage) => {}
            Err(e) => return Err(acting.refused(Error::engine("the image could not be looked at", e))),
        }
        if self.closing.is_cancelled() {
            return Err(acting.refused(Error::ShuttingDown));
        }
        // Somebody else may have asked meanwhile. Nothing is awaited from here to the insert, so this check holds.
        if let Some(other) = self.under_way_of(by, image) {
            return Ok(Ensured::Pulling(other));
        }
        tracing::info!(%image, %by, "pulling");
        acting.begin();
        let (tell, pull) = watch::channel(PullState::default());
        let (cancel, cancelled) = oneshot::channel();
        self.pulls().insert(image.tagged(), Pulling { pull: pull.clone(), action: acting.id().to_owned(), cancel });
        let (asked, image) = (Arc::clone(self), image.clone());
        self.tasks.spawn(async move { asked.carry_out_pull(&image, acting, tell, cancelled).await });
        Ok(Ensured::Pulling(pull))
    }

    async fn carry_out_pull(
        &self,
        image: &ImageRef,
        acting: Acting,
        tell: watch::Sender<PullState>,
        cancelled: oneshot::Receiver<String>,
    ) {
        let ended = tokio::select! {
            ended = self.pull(image, &tell) => Some(ended.map_or_else(PullEnd::Failed, |()| PullEnd::Here)),
            Ok(who) = cancelled => Some(PullEnd::Cancelled(who)),
            // The engine keeps the layers that it has; the next pull goes on from there.
            () = self.closing.cancelled() => None,
        };
        // Whoever cancels a pull takes it out, and another one may have begun.
        self.pulls().retain(|_, pulling| pulling.action != acting.id());
        match &ended {
            Some(PullEnd::Here) => {
                tracing::info!(%image, "pulled");
                acting.done();
            }
            Some(PullEnd::Failed(e)) => {
                tracing::warn!(%image, error = %e, "an image could not be pulled");
                acting.failed(&Failure::from(&Error::of_pull(image, e.clone())));
            }
            Some(PullEnd::Cancelled(who)) => {
                tracing::info!(%image, by = who, "a pull is cancelled");
                acting.cancelled(&Error::Cancelled(who.clone()).to_string());
            }
            None => {
                tracing::info!(%image, "a pull is broken off: the server is shutting down");
                acting.cancelled(&Error::ShuttingDown.to_string());
            }
        }
        let status = match &ended {
            Some(PullEnd::Here) => "here",
            Some(PullEnd::Failed(_)) => "failed",
            Some(PullEnd::Cancelled(_)) | None => "cancelled",
        };
        self.tell_of_pull(image, status, &tell.borrow());
        tell.send_modify(|state| state.ended = ended);
    }

    /// Ends the pull whose action is `action`, and waits until it has ended. False if there is none under way.
    pub(super) async fn cancel_pull(&self, by: &Actor, action: &str) -> bool {
        let found = self.pulls().extract_if(|_, pulling| pulling.action == action).next();
        let Some((_, Pulling { mut pull, cancel, .. })) = found else { return false };
        // If it ends at this moment, nobody is there to hear it.
        let is_heard = cancel.send(by.to_string()).is_ok();
        // Its task may be gone without a word.
        let _ = pull.wait_for(|state| state.ended.is_some()).await;
        is_heard
    }

    async fn pull(&self, image: &ImageRef, tell: &watch::Sender<PullState>) -> std::result::Result<(), EngineError> {
        let mut news = self.engine.pull(image).await?;
        let mut told: Option<Stopwatch> = None;
        while let Some(layer) = news.next().await {
            let layer = layer?;
            tell.send_modify(|state| state.takes(layer));
            if told.as_ref().is_none_or(|told| told.elapsed() >= NEWS) {
                told = Some(Stopwatch::start());
                let state = tell.borrow().clone();
                self.tell_of_pull(image, "pulling", &state);
            }
        }
        // Its last line does not matter: the image must be here.
        self.engine.image(image).await.map(drop)
    }

    /// Tells those who follow how far a pull is.
    fn tell_of_pull(&self, image: &ImageRef, status: &str, state: &PullState) {
        let ((done, layers), (bytes, of)) = (state.layers(), state.bytes());
        let numbers = [("layers_done", done as u64), ("layers", layers as u64), ("bytes", bytes), ("bytes_of", of)];
        let words = [("image", Fact::from(image.tagged())), ("status", status.into())];
        let detail = words.into_iter().chain(numbers.map(|(key, number)| (key, number.into())));
        self.records.tell(Happened::Pull, None, &detail.collect::<Vec<_>>());
    }

    /// The pull of this image that is under way, which `by` shares; one whose task has panicked does not count.
    fn under_way_of(&self, by: &Actor, image: &ImageRef) -> Option<Pull> {
        let pulls = self.pulls();
        let pulling = pulls.get(&image.tagged()).filter(|pulling| pulling.pull.has_changed().is_ok())?;
        self.actions.name(by, &pulling.action);
        Some(pulling.pull.clone())
    }

    /// Removes an image's name, and with its last name the image.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::ImageInUse`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn remove_image(&self, by: &Actor, image: &ImageRef) -> Result<()> {
        let mut acting = self.actions.of(by, Verb::RemoveImage, image);
        let done = self.try_remove_image(by, image, &mut acting).await;
        acting.end(done)
    }

    async fn try_remove_image(&self, by: &Actor, image: &ImageRef, acting: &mut Acting) -> Result<()> {
        on_server(by, Verb::RemoveImage)?;
        let mut containers = self.image(by, image).await?.containers;
        acting.begin();
        while containers > 0 && self.work.make_way(|deleted| deleted.recipe.image == *image).await? {
            containers = self.image(by, image).await?.containers;
        }
        if containers > 0 {
            let why = match containers {
                1 => "a container was made from it; delete that first".into(),
                n => format!("{n} containers were made from it; delete them first"),
            };
            return Err(Error::ImageInUse(image.clone(), why));
        }
        let mut removed = self.engine.remove_image(image).await;
        // The container of a sandbox that was deleted a moment ago may still be there.
        while matches!(removed, Err(EngineError::ImageInUse(_))) && self.work.make_way(|_| true).await? {
            removed = self.engine.remove_image(image).await;
        }
        removed.map_err(|e| match e {
            EngineError::NoImage => Error::NoImage(image.clone()),
            EngineError::ImageInUse(why) => {
                Error::ImageInUse(image.clone(), format!("by what is not Spindle's; the engine says: {why}"))
            }
            e => Error::engine("the image could not be removed", e),
        })?;
        tracing::info!(%image, %by, "image removed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_and_bytes_add_up() {
        let mut state = PullState::default();
        let news = |layer: &str, done, bytes| LayerProgress { layer: layer.into(), done, bytes };
        state.takes(news("a", false, Some((3, 9))));
        state.takes(news("b", false, None));
        assert_eq!((state.layers(), state.bytes()), ((0, 2), (3, 9)));
        state.takes(news("a", true, None));
        state.takes(news("c", true, None));
        assert_eq!((state.layers(), state.bytes()), ((2, 3), (9, 9)));
    }
}
