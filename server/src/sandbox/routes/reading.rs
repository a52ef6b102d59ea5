//! Numbers of posts, and profiles.

use std::sync::Arc;

use axum::{
    extract::{Path, Query as QueryString, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::Sandbox;
use crate::sandbox::{error::ApiError, extract::bearer};

/// Most posts in a request.
const MAX_IDS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumbersQuery {
    ids: String,
}

fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let needed = || ApiError::unauthorized("invalid_token", "a bearer token is needed");
    bearer(headers)?.ok_or_else(needed)
}

/// `GET /posts/numbers?ids=a,b`.
pub(super) async fn numbers(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    query: Result<QueryString<NumbersQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let QueryString(query) =
        query.map_err(|rejection| ApiError::field("query", rejection.body_text()))?;
    let ids: Vec<&str> = query.ids.split(',').filter(|id| !id.is_empty()).collect();
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return Err(ApiError::field("ids", format!("must be 1 to {MAX_IDS} ids")));
    }
    let token = token(&headers)?;
    let outcome = sandbox.operate(|platform, now| platform.numbers(token, &ids, now))?;
    Ok(sandbox.answer(outcome, StatusCode::OK, |items| json!({ "items": items })).await)
}

/// `GET /accounts/{account}`, by id or handle.
pub(super) async fn profile(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let token = token(&headers)?;
    let outcome = sandbox.operate(|platform, now| platform.profile(token, &name, now))?;
    Ok(sandbox.answer(outcome, StatusCode::OK, |profile| profile).await)
}
