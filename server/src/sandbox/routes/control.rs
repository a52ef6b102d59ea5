//! The control verbs, which no real platform has: faults on demand, and the journal.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;

use super::Sandbox;
use crate::sandbox::{
    error::ApiError,
    extract::JsonBody,
    faults::{Faults, FaultsIn, Shown},
    journal::Entry,
};

/// `GET /_control/faults`.
pub(super) async fn show_faults(State(sandbox): State<Arc<Sandbox>>) -> Json<Shown> {
    Json(sandbox.platform().faults.show())
}

/// `PUT /_control/faults`: replaces them all, or none if one is bad.
pub(super) async fn put_faults(
    State(sandbox): State<Arc<Sandbox>>,
    JsonBody(input): JsonBody<FaultsIn>,
) -> Result<Json<Shown>, ApiError> {
    let mut platform = sandbox.platform();
    platform.faults.replace(input)?;
    Ok(Json(platform.faults.show()))
}

/// `DELETE /_control/faults`.
pub(super) async fn clear_faults(State(sandbox): State<Arc<Sandbox>>) -> StatusCode {
    sandbox.platform().faults = Faults::default();
    StatusCode::NO_CONTENT
}

#[derive(Serialize)]
pub(super) struct Entries {
    entries: Vec<Entry>,
}

/// `GET /_control/journal`: what this run has accepted, oldest first.
pub(super) async fn journal(State(sandbox): State<Arc<Sandbox>>) -> Json<Entries> {
    let entries = sandbox.platform().journal.entries().to_vec();
    Json(Entries { entries })
}
