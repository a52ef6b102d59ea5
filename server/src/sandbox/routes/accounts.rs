//! Accounts come from nowhere: whoever asks gets one, with its first tokens.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::sandbox::{
    error::ApiError,
    extract::{JsonBody, name},
    grants::Rotation,
};

const DEFAULT_TTL_S: i64 = 3_600;

/// Ten years: beyond any platform's, and far from where milliseconds would overflow.
const MAX_TTL_S: i64 = 315_360_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    handle: String,
    token_ttl_s: Option<i64>,
    #[serde(default)]
    rotation: Rotation,
}

#[derive(Serialize)]
pub(super) struct Created {
    account: String,
    access_token: String,
    refresh_token: String,
}

/// `POST /accounts`.
pub(super) async fn create(
    State(sandbox): State<Arc<Sandbox>>,
    JsonBody(input): JsonBody<NewAccount>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let handle = name("handle", input.handle)?;
    if handle == "*" {
        return Err(ApiError::field("handle", "* means every account to the fault rules"));
    }
    let ttl_s = input.token_ttl_s.unwrap_or(DEFAULT_TTL_S);
    if !(1..=MAX_TTL_S).contains(&ttl_s) {
        let message = format!("must be between 1 and {MAX_TTL_S} seconds");
        return Err(ApiError::field("token_ttl_s", message));
    }
    let rotation = input.rotation;
    let (account, tokens) =
        sandbox.operate(|platform, now| platform.create_account(handle, ttl_s, rotation, now))?;
    let created = Created { account, access_token: tokens.access, refresh_token: tokens.refresh };
    Ok((StatusCode::CREATED, Json(created)))
}
