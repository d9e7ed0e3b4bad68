//! Images of the scripted engine: here, and in a registry from which they can be pulled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::watch;

use super::FakeEngine;
use crate::{
    domain::{ImageRef, PortSpec},
    engine::{EngineError, ImageDetails, LayerProgress, Result},
};

/// All images, by tag.
#[derive(Debug)]
pub(super) struct Images {
    here: Mutex<BTreeMap<String, ImageDetails>>,
    elsewhere: Mutex<BTreeMap<String, ImageDetails>>,
    /// Whether pulls stand still after their first bytes.
    stalled: watch::Sender<bool>,
    /// What becomes of pulls in the end instead.
    broken: Mutex<Option<EngineError>>,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            here: Mutex::default(),
            elsewhere: Mutex::default(),
            stalled: watch::channel(false).0,
            broken: Mutex::default(),
        }
    }
}

impl Images {
    fn here(&self) -> MutexGuard<'_, BTreeMap<String, ImageDetails>> {
        self.here.lock().expect("no holder panics")
    }

    pub(super) fn tags(&self) -> Vec<String> {
        self.here().keys().cloned().collect()
    }

    pub(super) fn get(&self, image: &ImageRef) -> Result<ImageDetails> {
        self.here().get(&image.tagged()).cloned().ok_or(EngineError::NoImage)
    }

    pub(super) fn remove(&self, image: &ImageRef) {
        self.here().remove(&image.tagged());
    }

    pub(super) fn pull(self: &Arc<Self>, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        let tag = image.tagged();
        let found = self.elsewhere.lock().expect("no holder panics").get(&tag).cloned().ok_or(EngineError::NoImage)?;
        let layer = |done, bytes| LayerProgress { layer: "layer".into(), done, bytes };
        let images = Arc::clone(self);
        let rest = async move {
            let mut stalled = images.stalled.subscribe();
            // Its sender is there as long as the images are.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            match images.broken.lock().expect("no holder panics").clone() {
                Some(error) => Err(error),
                None => {
                    images.here().insert(tag, found);
                    Ok(layer(true, None))
                }
            }
        };
        let first = layer(false, Some((1, 2)));
        Ok(futures_util::stream::iter([Ok(first)]).chain(futures_util::stream::once(rest)).boxed())
    }
}

impl FakeEngine {
    /// Adds an image that exposes `ports` (Docker's notation), its `spindle.app_port` label, if any, too.
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
        self.images.here().insert(tag.to_owned(), image);
    }

    /// Has an image tell its programs their time zone.
    pub fn set_image_tz(&self, tag: &str, tz: &str) {
        if let Some(image) = self.images.here().get_mut(tag) {
            image.tz = Some(tz.to_owned());
        }
    }

    /// Labels an image; `key` is without `spindle.`.
    pub fn label_image(&self, tag: &str, key: &str, value: &str) {
        if let Some(image) = self.images.here().get_mut(tag) {
            image.labels.insert(format!("spindle.{key}"), value.to_owned());
        }
    }

    /// Takes an image from here to the registry, from which it can be pulled.
    pub fn move_to_registry(&self, tag: &str) {
        if let Some(image) = self.images.here().remove(tag) {
            self.images.elsewhere.lock().expect("no holder panics").insert(tag.to_owned(), image);
        }
    }

    /// Makes pulls stand still after their first bytes, or go on.
    pub fn stall_pulls(&self, stalled: bool) {
        self.images.stalled.send_replace(stalled);
    }

    /// Makes pulls fail in the end.
    pub fn break_pulls(&self, error: EngineError) {
        *self.images.broken.lock().expect("no holder panics") = Some(error);
    }

    /// How many containers were made from an image.
    pub(super) fn made_from(&self, id: &str) -> usize {
        let made = |c: &&super::Container| self.images.get(&c.sandbox.recipe.image).is_ok_and(|i| i.id == id);
        self.inner().containers.values().filter(made).count()
    }
}
