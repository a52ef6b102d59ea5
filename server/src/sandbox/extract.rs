//! Reads requests: bodies, query strings and headers, each refused in the sandbox's own shape.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::ApiError;

/// Keys, references and handles have a platform's usual limit.
const MAX_NAME_BYTES: usize = 255;

/// A JSON body: 400 when it is no JSON, 422 with the field's name when it does not fit.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = read(request, state).await?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let field = error.path().to_string();
            let inner = error.into_inner();
            match inner.classify() {
                Category::Data => ApiError::field(field, inner.to_string()),
                Category::Io | Category::Syntax | Category::Eof => bad_json(&inner),
            }
        })?;
        json.end().map_err(|error| bad_json(&error))?;
        Ok(Self(value))
    }
}

/// A form body; what does not fit is an OAuth `invalid_request`.
#[derive(Debug)]
pub(super) struct FormBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for FormBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let form = axum::Form::<T>::from_request(request, state).await;
        form.map(|axum::Form(value)| Self(value)).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", rejection.body_text()),
        })
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => ApiError::new(status, "bad_request", rejection.body_text()),
    })
}

fn bad_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", error.to_string())
}

fn too_large() -> ApiError {
    let message = format!("a body may have {} bytes", super::routes::BODY_LIMIT_BYTES);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// The bearer token, if there is an Authorization header at all.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        Some(token) => Ok(Some(token)),
        None => Err(ApiError::unauthorized("invalid_token", "Authorization must be Bearer")),
    }
}

/// The idempotency key, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = headers.get(NAME) else { return Ok(None) };
    let key = value.to_str().map_err(|_| ApiError::field(NAME, "must be visible ASCII"))?;
    name(NAME, key.to_owned()).map(Some)
}

/// A short, non-empty piece of text.
pub(super) fn name(field: &str, text: String) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::field(field, "must not be empty"));
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(ApiError::field(field, format!("may have {MAX_NAME_BYTES} bytes")));
    }
    Ok(text)
}
