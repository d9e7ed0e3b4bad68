//! Images of the scripted engine: those that are here, and those in a registry to pull from.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::watch;

use super::{FakeEngine, containers::Container, or_lie};
use crate::{
    domain::{ImageRef, PortSpec},
    engine::{EngineError, ImageDetails, Images, LayerProgress, Result},
};

/// All images, by tag.
#[derive(Debug)]
pub(super) struct Stock {
    here: Mutex<BTreeMap<String, ImageDetails>>,
    elsewhere: Mutex<BTreeMap<String, ImageDetails>>,
    /// Whether pulls stand still after their first bytes.
    stalled: watch::Sender<bool>,
    /// The error with which pulls fail in the end, if they fail.
    broken: Mutex<Option<EngineError>>,
}

impl Default for Stock {
    fn default() -> Self {
        Self {
            here: Mutex::default(),
            elsewhere: Mutex::default(),
            stalled: watch::channel(false).0,
            broken: Mutex::default(),
        }
    }
}

impl Stock {
    fn here(&self) -> MutexGuard<'_, BTreeMap<String, ImageDetails>> {
        self.here.lock().expect("no holder panics")
    }

    /// An image that is here.
    pub(super) fn get(&self, image: &ImageRef) -> Result<ImageDetails> {
        self.here().get(&image.tagged()).cloned().ok_or(EngineError::NoImage)
    }
}

#[async_trait]
impl Images for FakeEngine {
    async fn images(&self) -> Result<Vec<String>> {
        let lie = self.enter("images").await?;
        or_lie(self.stock.here().keys().cloned().collect(), lie)
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        let lie = self.enter("image").await?;
        or_lie(self.stock.get(image)?, lie)
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        let lie = self.enter("containers_of").await?;
        or_lie(self.made_from(id), lie)
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        let lie = self.enter("pull").await?;
        let tag = image.tagged();
        let found = self.stock.elsewhere.lock().expect("no holder panics").get(&tag).cloned();
        let found = found.ok_or(EngineError::NoImage)?;
        let layer = |done, bytes| LayerProgress { layer: "layer".into(), done, bytes };
        let stock = Arc::clone(&self.stock);
        let rest = async move {
            let mut stalled = stock.stalled.subscribe();
            // The sender lives as long as the images.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            match stock.broken.lock().expect("no holder panics").clone() {
                Some(error) => Err(error),
                None => {
                    stock.here().insert(tag, found);
                    Ok(layer(true, None))
                }
            }
        };
        let first = futures_util::stream::iter([Ok(layer(false, Some((1, 2))))]);
        or_lie(first.chain(futures_util::stream::once(rest)).boxed(), lie)
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        let lie = self.enter("remove_image").await?;
        let id = self.stock.get(image)?.id;
        if self.made_from(&id) > 0 {
            return Err(EngineError::ImageInUse("a container is using it (scripted)".into()));
        }
        self.stock.here().remove(&image.tagged());
        or_lie((), lie)
    }
}

impl FakeEngine {
    /// Adds an image that exposes `ports` (Docker's notation), with a `spindle.app_port` label if given.
    pub fn add_image(&self, tag: &str, ports: &[&str], app_port: Option<&str>) {
        let mut exposed: Vec<PortSpec> = ports.iter().filter_map(|p| PortSpec::parse(p)).collect();
        exposed.sort();
        let labels = app_port.map(|port| ("spindle.app_port".to_owned(), port.to_owned())).into_iter().collect();
        let image = ImageDetails {
            tz: None,
            id: format!("sha256:{tag}"),
            tags: vec![tag.to_owned()],
            size: 1 << 20,
            created: None,
            platform: "linux/amd64".into(),
            exposed,
            labels,
        };
        self.stock.here().insert(tag.to_owned(), image);
    }

    /// Makes an image tell its programs their time zone.
    pub fn set_image_tz(&self, tag: &str, tz: &str) {
        if let Some(image) = self.stock.here().get_mut(tag) {
            image.tz = Some(tz.to_owned());
        }
    }

    /// Labels an image; `key` is without `spindle.`.
    pub fn label_image(&self, tag: &str, key: &str, value: &str) {
        if let Some(image) = self.stock.here().get_mut(tag) {
            image.labels.insert(format!("spindle.{key}"), value.to_owned());
        }
    }

    /// Takes an image from here to the registry, from which it can be pulled.
    pub fn move_to_registry(&self, tag: &str) {
        if let Some(image) = self.stock.here().remove(tag) {
            self.stock.elsewhere.lock().expect("no holder panics").insert(tag.to_owned(), image);
        }
    }

    /// Makes pulls stand still after their first bytes, or go on.
    pub fn stall_pulls(&self, stalled: bool) {
        self.stock.stalled.send_replace(stalled);
    }

    /// Makes pulls fail in the end.
    pub fn break_pulls(&self, error: EngineError) {
        *self.stock.broken.lock().expect("no holder panics") = Some(error);
    }

    /// How many containers were made from an image.
    fn made_from(&self, id: &str) -> usize {
        let made = |c: &&Container| self.stock.get(&c.sandbox.recipe.image).is_ok_and(|i| i.id == id);
        self.inner().containers.values().filter(made).count()
    }
}
