//! Docker's images: lists, describes, pulls and removes them.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    errors::Error,
    models::{ContainerSummary, CreateImageInfo},
    query_parameters::{CreateImageOptionsBuilder, ListImagesOptions, RemoveImageOptions},
};
use futures_util::{StreamExt, stream::BoxStream};

use super::{
    DockerEngine, QUICK, SLOW,
    errors::{translate, within},
    spec,
};
use crate::{
    domain::{ImageRef, PortSpec},
    engine::{EngineError, ImageDetails, Images, LayerProgress, Result},
};

/// A pull that shows no progress for this long is given up.
const STALLED: Duration = Duration::from_mins(5);

#[async_trait]
impl Images for DockerEngine {
    async fn images(&self) -> Result<Vec<String>> {
        let client = self.client().await?;
        let call = client.list_images(None::<ListImagesOptions>);
        let images = self.seen(within(QUICK, "list images", call, EngineError::NoImage).await)?;
        let mut tags: Vec<String> = images.into_iter().flat_map(|i| i.repo_tags).collect();
        tags.retain(|tag| !tag.contains("<none>"));
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        let client = self.client().await?;
        let call = client.inspect_image(image.as_str());
        let shown = self.seen(within(QUICK, "inspect image", call, EngineError::NoImage).await)?;
        let config = shown.config.unwrap_or_default();
        let mut exposed: Vec<PortSpec> =
            config.exposed_ports.iter().flatten().filter_map(|p| PortSpec::parse(p)).collect();
        exposed.sort();
        exposed.dedup();
        let platform = [shown.os, shown.architecture, shown.variant].into_iter().flatten().filter(|p| !p.is_empty());
        Ok(ImageDetails {
            id: shown.id.unwrap_or_default(),
            tags: shown.repo_tags.unwrap_or_default(),
            size: shown.size.unwrap_or_default().unsigned_abs(),
            // An image from an archive may have the year 1 here.
            created: shown.created.and_then(|at| at.parse().ok()).filter(|at: &jiff::Timestamp| at.as_second() > 0),
            platform: platform.collect::<Vec<_>>().join("/"),
            exposed,
            tz: config.env.iter().flatten().find_map(|e| e.strip_prefix("TZ=")).map(str::to_owned),
            labels: config.labels.into_iter().flatten().collect(),
        })
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        let all = self.all_of_this_deployment().await?;
        let is_sandbox = |s: &&ContainerSummary| s.labels.as_ref().is_some_and(|l| l.contains_key(spec::ID));
        Ok(all.iter().filter(is_sandbox).filter(|s| s.image_id.as_deref() == Some(id)).count())
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        let client = self.client().await?;
        // Without a tag Docker would pull every tag.
        let options = CreateImageOptionsBuilder::default().from_image(&image.tagged()).build();
        let lines = client.create_image(Some(options), None, None);
        let told = futures_util::stream::unfold(Some(lines.boxed()), |lines| async {
            let mut lines = lines?;
            match tokio::time::timeout(STALLED, lines.next()).await {
                Ok(Some(Ok(line))) => Some((Ok(line), Some(lines))),
                Ok(Some(Err(e))) => Some((Err(pull_failed(e)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(EngineError::Timeout { call: "pull", deadline: STALLED }), None)),
            }
        });
        Ok(told.filter_map(|line| async { line.map(progress).transpose() }).boxed())
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        let client = self.client().await?;
        let call = client.remove_image(image.as_str(), None::<RemoveImageOptions>, None);
        self.seen(within(SLOW, "remove image", call, EngineError::NoImage).await).map(drop)
    }
}

/// What a line says about a layer, if it is about one.
fn progress(line: CreateImageInfo) -> Option<LayerProgress> {
    let status = line.status.unwrap_or_default();
    // Lines about the whole image have its tag there.
    let layer = line.id.filter(|_| !status.starts_with("Pulling from"))?;
    let bytes = line.progress_detail.and_then(|d| Some((d.current?.unsigned_abs(), d.total?.unsigned_abs())));
    let done = matches!(status.as_str(), "Pull complete" | "Already exists");
    Some(LayerProgress { layer, done, bytes: bytes.filter(|_| status == "Downloading") })
}

/// Why a pull failed. Docker has no code for an image that the registry lacks, only sentences.
fn pull_failed(error: Error) -> EngineError {
    match translate(error, EngineError::NoImage) {
        EngineError::Refused(why)
            if ["manifest unknown", "not found", "repository does not exist"].iter().any(|p| why.contains(p)) =>
        {
            EngineError::NoImage
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: Option<&str>, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        let detail = |(current, total)| bollard::models::ProgressDetail { current: Some(current), total: Some(total) };
        CreateImageInfo {
            id: id.map(str::to_owned),
            status: Some(status.to_owned()),
            progress_detail: bytes.map(detail),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn only_lines_about_layers_are_progress() {
        assert_eq!(progress(line(Some("latest"), "Pulling from library/x", None)), None);
        assert_eq!(progress(line(None, "Digest: sha256:00", None)), None);
        let layer = |done, bytes| Some(LayerProgress { layer: "a1".into(), done, bytes });
        assert_eq!(progress(line(Some("a1"), "Downloading", Some((3, 9)))), layer(false, Some((3, 9))));
        assert_eq!(progress(line(Some("a1"), "Extracting", Some((3, 9)))), layer(false, None));
        assert_eq!(progress(line(Some("a1"), "Pull complete", None)), layer(true, None));
    }

    #[test]
    fn what_no_registry_has_is_no_image() {
        let failed = |error: &str| pull_failed(Error::DockerStreamError { error: error.into() });
        assert_eq!(failed("manifest for x:y not found: manifest unknown: manifest unknown"), EngineError::NoImage);
        assert_eq!(failed("no space left on device"), EngineError::Refused("no space left on device".into()));
    }
}
