//! `/v1/images`.

use std::sync::Arc;

use rocket::{Route, State, get, serde::json::Json};

use super::{auth::Admin, error::ApiError};
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    rocket::routes![list]
}

#[get("/v1/images")]
async fn list(_admin: Admin, app: &State<Arc<App>>) -> Result<Json<Vec<String>>, ApiError> {
    Ok(Json(app.images().await?))
}
