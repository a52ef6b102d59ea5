//! The endpoints of OAuth 2.0 for tokens (RFC 6749) and their end (RFC 7009), as far as a publisher
//! needs them.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::sandbox::{error::ApiError, extract::FormBody};

/// Other parameters, such as a client's id, are ignored as the RFC demands.
#[derive(Deserialize)]
pub(super) struct TokenRequest {
    grant_type: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Serialize)]
struct TokenAnswer {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
    token_type: &'static str,
}

/// What kind of token it is follows from the token; the hint is ignored, as the RFC permits.
#[derive(Deserialize)]
pub(super) struct RevocationRequest {
    token: Option<String>,
}

/// `POST /oauth/revoke`: a token that is unknown is as good as revoked.
pub(super) async fn revoke(
    State(sandbox): State<Arc<Sandbox>>,
    FormBody(request): FormBody<RevocationRequest>,
) -> Result<StatusCode, ApiError> {
    let Some(token) = request.token else {
        let words = "token is missing";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", words));
    };
    sandbox.operate(|platform, _| platform.revoke(&token));
    Ok(StatusCode::OK)
}

/// `POST /oauth/token`.
pub(super) async fn token(
    State(sandbox): State<Arc<Sandbox>>,
    FormBody(request): FormBody<TokenRequest>,
) -> Result<Response, ApiError> {
    let refused = |code, message| ApiError::new(StatusCode::BAD_REQUEST, code, message);
    match request.grant_type.as_deref() {
        Some("refresh_token") => {}
        Some(_) => {
            return Err(refused("unsupported_grant_type", "only refresh_token is supported"));
        }
        None => return Err(refused("invalid_request", "grant_type is missing")),
    }
    let Some(token) = request.refresh_token else {
        return Err(refused("invalid_request", "refresh_token is missing"));
    };
    let outcome = sandbox.operate(|platform, now| platform.refresh(&token, now))?;
    let answer = sandbox.answer(outcome, StatusCode::OK, |tokens| TokenAnswer {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_in: tokens.expires_in,
        token_type: "bearer",
    });
    Ok(answer.await)
}
