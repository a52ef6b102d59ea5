//! Publishing and looking up posts.

use std::sync::Arc;

use axum::{
    extract::{Query as QueryString, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::Sandbox;
use crate::sandbox::{
    error::ApiError,
    extract::{JsonBody, bearer, idempotency_key, name},
    platform::{NewPost, Query},
};

const MAX_TEXT_CHARS: usize = 5_000;
const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostBody {
    text: String,
    client_ref: Option<String>,
}

/// `POST /posts`.
pub(super) async fn publish(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<PostBody>,
) -> Result<Response, ApiError> {
    let Some(token) = bearer(&headers)? else {
        return Err(ApiError::unauthorized("invalid_token", "a bearer token is needed"));
    };
    if body.text.trim().is_empty() {
        return Err(ApiError::field("text", "must not be empty"));
    }
    if body.text.chars().count() > MAX_TEXT_CHARS {
        return Err(ApiError::field("text", format!("may have {MAX_TEXT_CHARS} characters")));
    }
    let client_ref = body.client_ref.map(|text| name("client_ref", text)).transpose()?;
    let post = NewPost { text: body.text, client_ref, key: idempotency_key(&headers)? };
    let outcome = sandbox.operate(|platform, now| platform.publish(token, post, now))?;
    Ok(sandbox.answer(outcome, StatusCode::CREATED, |id| json!({ "id": id })).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    account: Option<String>,
    client_ref: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

/// `GET /posts`. A parameter without a value is the same as none.
pub(super) async fn list(
    State(sandbox): State<Arc<Sandbox>>,
    headers: HeaderMap,
    query: Result<QueryString<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let QueryString(query) =
        query.map_err(|rejection| ApiError::field("query", rejection.body_text()))?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let query = Query {
        account: given(query.account),
        client_ref: given(query.client_ref),
        below: given(query.cursor)
            .map(|cursor| cursor.parse())
            .transpose()
            .map_err(|_| ApiError::field("cursor", "is none that this list gave out"))?,
        limit: given(query.limit).map_or(Ok(DEFAULT_PAGE), |limit| parse_limit(&limit))?,
    };
    let token = bearer(&headers)?;
    let outcome = sandbox.operate(|platform, now| platform.list(token, query, now))?;
    Ok(sandbox.answer(outcome, StatusCode::OK, |page| page).await)
}

fn parse_limit(limit: &str) -> Result<usize, ApiError> {
    match limit.parse() {
        Ok(limit) if (1..=MAX_PAGE).contains(&limit) => Ok(limit),
        _ => Err(ApiError::field("limit", format!("must be between 1 and {MAX_PAGE}"))),
    }
}
