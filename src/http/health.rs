//! `/v1/health`: open to everybody, and says nothing of anybody.

use std::sync::Arc;

use rocket::{Route, State, get, http::Status, serde::json::Json};

use super::{strict, wire::HealthBody};
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::open(rocket::routes![health])
}

#[get("/v1/health")]
async fn health(app: &State<Arc<App>>) -> (Status, Json<HealthBody>) {
    let health = app.asked.health().await;
    let status = if health.is_well() { Status::Ok } else { Status::ServiceUnavailable };
    (status, Json(HealthBody::new(&health)))
}
