//! Images: list them, show one, pull one, remove one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, MutexGuard},
};

use futures_util::StreamExt;
use tokio::sync::watch;

use super::{Asked, rights::on_server};
use crate::{
    app::{Error, Result},
    domain::{Actor, ImageRef, Verb, image::problems, policy::least_idle_limit},
    engine::{EngineError, ImageDetails, LayerProgress},
};

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
    /// How it ended; `None`: it is under way.
    pub ended: Option<std::result::Result<(), EngineError>>,
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

/// What it takes to have an image here.
#[derive(Debug)]
pub enum Ensured {
    /// Nothing.
    Present,
    /// It is being pulled.
    Pulling(Pull),
}

impl Asked {
    fn pulls(&self) -> MutexGuard<'_, HashMap<String, Pull>> {
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
        on_server(by, Verb::Pull)?;
        if let Some(pull) = self.under_way_of(image) {
            return Ok(Ensured::Pulling(pull));
        }
        match self.engine.image(image).await {
            Ok(_) => return Ok(Ensured::Present),
            Err(EngineError::NoImage) => {}
            Err(e) => return Err(Error::engine("the image could not be looked at", e)),
        }
        if self.closing.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        // Somebody else may have asked meanwhile. Nothing is awaited from here to the insert, so this check holds.
        if let Some(other) = self.under_way_of(image) {
            return Ok(Ensured::Pulling(other));
        }
        tracing::info!(%image, %by, "pulling");
        let (tell, pull) = watch::channel(PullState::default());
        self.pulls().insert(image.tagged(), pull.clone());
        let (asked, image) = (Arc::clone(self), image.clone());
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = asked.pull(&image, &tell) => Some(ended),
                // The engine keeps the layers that it has; the next pull goes on from there.
                () = asked.closing.cancelled() => None,
            };
            asked.pulls().remove(&image.tagged());
            match &ended {
                Some(Ok(())) => tracing::info!(%image, "pulled"),
                Some(Err(e)) => tracing::warn!(%image, error = %e, "an image could not be pulled"),
                None => tracing::info!(%image, "a pull is broken off: the server is shutting down"),
            }
            tell.send_modify(|state| state.ended = ended);
        });
        Ok(Ensured::Pulling(pull))
    }

    async fn pull(&self, image: &ImageRef, tell: &watch::Sender<PullState>) -> std::result::Result<(), EngineError> {
        let mut news = self.engine.pull(image).await?;
        while let Some(layer) = news.next().await {
            let layer = layer?;
            tell.send_modify(|state| state.takes(layer));
        }
        // Its last line does not matter: the image must be here.
        self.engine.image(image).await.map(drop)
    }

    /// The pull of this image that is under way; one whose task has panicked does not count.
    fn under_way_of(&self, image: &ImageRef) -> Option<Pull> {
        self.pulls().get(&image.tagged()).filter(|pull| pull.has_changed().is_ok()).cloned()
    }

    /// Removes an image's name, and with its last name the image.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::ImageInUse`], [`Error::EngineAway`], [`Error::Engine`].
    pub async fn remove_image(&self, by: &Actor, image: &ImageRef) -> Result<()> {
        on_server(by, Verb::RemoveImage)?;
        let mut containers = self.image(by, image).await?.containers;
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
