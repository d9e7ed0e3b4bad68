//! `/v1/images`: the engine's images, and pulling and removing them.

use std::{sync::Arc, time::Duration};

use rocket::{
    Route, State, delete, get,
    http::{
        ContentType, Status,
        uri::{Segments, fmt::Path},
    },
    put,
    response::stream::TextStream,
    serde::json::Json,
};

use super::{auth::Caller, error::ApiError, strict, wire};
use crate::{
    api,
    app::{App, Ensured, Error, Pull, PullEnd, PullState},
    domain::{ImageRef, Invalid},
};

/// How long the answer waits for the end of a pull: a failure at once is an error, and a quick pull needs no progress.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How often a pull tells its progress, even if it has not changed, so that no proxy takes it for dead.
const EVERY: Duration = Duration::from_secs(1);

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::bare(rocket::routes![list, get_one, put_one, delete_one])
}

#[get("/v1/images")]
async fn list(caller: Caller, app: &State<Arc<App>>) -> Result<Json<Vec<String>>, ApiError> {
    Ok(Json(app.asked.images(&caller.0).await?))
}

#[get("/v1/images/<first>/<rest..>")]
async fn get_one(
    caller: Caller,
    app: &State<Arc<App>>,
    first: &str,
    rest: Segments<'_, Path>,
) -> Result<Json<api::Image>, ApiError> {
    let image = reference(first, rest)?;
    Ok(Json(wire::image(&image, app.asked.image(&caller.0, &image).await?)))
}

/// Answers with lines of JSON: `pulling` during the pull, and `present`, `failed` or `cancelled` at the end.
#[put("/v1/images/<first>/<rest..>")]
async fn put_one(
    caller: Caller,
    app: &State<Arc<App>>,
    first: &str,
    rest: Segments<'_, Path>,
) -> Result<(ContentType, TextStream![String]), ApiError> {
    let image = reference(first, rest)?;
    let mut pull = match app.asked.ensure_image(&caller.0, &image).await? {
        Ensured::Present => None,
        Ensured::Pulling(pull) => Some(pull),
    };
    if let Some(pull) = &mut pull
        && let Ended::Failed(e) = ends_within(AT_ONCE, &image, pull).await
    {
        return Err(e.into());
    }
    let app = Arc::clone(app);
    let lines = TextStream! {
        while let Some(pull) = &mut pull {
            match ends_within(EVERY, &image, pull).await {
                Ended::NotYet => {
                    // Do not hold the watched state while the line is sent.
                    let so_far = pulling(&pull.borrow());
                    yield so_far;
                }
                Ended::Well => break,
                Ended::Failed(e) => {
                    yield failed(e);
                    return;
                }
            }
        }
        yield match app.asked.image(&caller.0, &image).await {
            Ok(shown) => line(&api::Pull::Present { image: wire::image(&image, shown).into() }),
            Err(e) => failed(e),
        };
    };
    Ok((ContentType::new("application", "x-ndjson"), lines))
}

#[delete("/v1/images/<first>/<rest..>")]
async fn delete_one(
    caller: Caller,
    app: &State<Arc<App>>,
    first: &str,
    rest: Segments<'_, Path>,
) -> Result<Status, ApiError> {
    app.asked.remove_image(&caller.0, &reference(first, rest)?).await?;
    Ok(Status::NoContent)
}

/// Reads an image's name. It contains slashes, escaped or not.
fn reference(first: &str, rest: Segments<'_, Path>) -> Result<ImageRef, Invalid> {
    let parts: Vec<&str> = std::iter::once(first).chain(rest).collect();
    ImageRef::parse(&parts.join("/"))
}

enum Ended {
    NotYet,
    Well,
    Failed(Error),
}

async fn ends_within(limit: Duration, image: &ImageRef, pull: &mut Pull) -> Ended {
    match tokio::time::timeout(limit, pull.wait_for(|state| state.ended.is_some())).await {
        Err(_) => Ended::NotYet,
        // The task that pulled is gone without a word.
        Ok(Err(_)) => Ended::Failed(Error::ShuttingDown),
        Ok(Ok(state)) => match state.ended.clone() {
            Some(PullEnd::Failed(e)) => Ended::Failed(Error::of_pull(image, e)),
            Some(PullEnd::Cancelled(who)) => Ended::Failed(Error::Cancelled(who)),
            _ => Ended::Well,
        },
    }
}

fn line(state: &api::Pull) -> String {
    // A `Value` puts its keys into alphabetical order.
    let value = serde_json::to_value(state).expect("its keys are strings");
    format!("{value}\n")
}

fn pulling(state: &PullState) -> String {
    let ((layers_done, layers), (bytes_done, bytes)) = (state.layers(), state.bytes());
    line(&api::Pull::Pulling { bytes_done, bytes, layers_done, layers })
}

fn failed(error: Error) -> String {
    let is_cancelled = matches!(error, Error::Cancelled(_));
    let error = ApiError::from(error);
    if is_cancelled {
        return line(&api::Pull::Cancelled { message: error.message().to_owned() });
    }
    line(&api::Pull::Failed { message: error.message().to_owned(), code: error.code().into() })
}
