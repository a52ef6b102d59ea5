//! Logging in and out.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::Api;
use super::entry::refused;
use super::input::document;
use super::problem::Problem;
use crate::app::types::{Login, Refresh, Tokens};
use crate::auth::{Auth, Caller, Client, Pair};

pub(super) async fn login(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let auth = auth(&api)?;
    let Login { email, password } = document(request, api.limits.body).await?;
    auth.login(&email, password).await.map(told).map_err(refused)
}

pub(super) async fn refresh(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let auth = auth(&api)?;
    let client = client(&request);
    let Refresh { refresh_token } = document(request, api.limits.body).await?;
    auth.refresh(&refresh_token, client).await.map(told).map_err(refused)
}

/// Ends the login that the access token comes from, and all its refresh tokens.
pub(super) async fn logout(
    State(api): State<Api>,
    caller: Option<Extension<Caller>>,
) -> Result<StatusCode, Problem> {
    let auth = auth(&api)?;
    let Some(session) = caller.and_then(|Extension(caller)| caller.session) else {
        let detail = "this is an API key, which is no login; `postworks apikey revoke` ends it";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    auth.logout(session).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

fn auth(api: &Api) -> Result<&Auth, Problem> {
    api.auth.as_ref().ok_or_else(|| {
        let detail =
            "nobody logs in here: authentication is off (POSTWORKS_AUTH=on switches it on)";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

fn client(request: &Request) -> Client {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
    Client::of(agent, peer.map(|ConnectInfo(peer)| peer.ip()))
}

/// The one answer that tells tokens; nobody on the way may keep it.
fn told(pair: Pair) -> Response {
    let body = Tokens {
        access_token: pair.access_token.expose_secret(),
        refresh_token: pair.refresh_token.expose_secret(),
        expires_in: pair.expires_in,
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
