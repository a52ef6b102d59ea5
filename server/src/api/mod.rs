//! The HTTP API: a thin skin over [`App`].
//!
//! Every answer that is no success is `application/problem+json`. With authentication each route
//! says what it needs of its caller; without, the API listens on loopback only and answers to
//! loopback names only.

mod describe;
mod document;
mod entry;
mod guard;
mod input;
mod limits;
mod login;
mod media;
mod moving;
mod oauth;
mod once;
mod page;
mod posts;
mod problem;
mod retention;
mod route;
mod routes;
mod schedules;
mod serve;
mod sets;
mod table;
mod work;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use postworks::config;
use postworks_workers::health::Health;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::auth::Auth;
pub use document::document;
use limits::{Places, Rates, within_places};
pub use problem::Problem;
pub(crate) use problem::chain;
pub use serve::serve;
pub use table::{Declared, declared};

/// What the routes share. One handle: every layer of the router clones it for every request.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    app: App,
    auth: Option<Auth>,
    limits: Limits,
    rates: Rates,
    /// Places for images that are taken in.
    uploads: Semaphore,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    bulk_body: usize,
    media: usize,
    request_timeout: Duration,
}

/// An address the API must not listen on.
#[derive(Debug, thiserror::Error)]
#[error(
    "the API would listen on {0}, where others can reach it, and authentication is off; switch it \
     on with POSTWORKS_AUTH=on, or listen on a loopback address such as 127.0.0.1:{port}",
    port = .0.port()
)]
pub struct NotLoopback(pub SocketAddr);

/// Whether the API may listen there without authentication.
///
/// # Errors
/// The address is not on loopback.
pub fn check_listen(address: SocketAddr) -> Result<(), NotLoopback> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(NotLoopback(address)) }
}

/// The API's routes.
///
/// Without `auth` anybody who reaches them may do anything, so they answer to loopback names only.
pub fn router(app: App, auth: Option<Auth>, health: Health, config: &config::Api) -> Router {
    let limits = Limits {
        body: config.body_limit.0,
        bulk_body: config.bulk_body_limit.0,
        media: config.media_limit.0,
        request_timeout: config.request_timeout,
    };
    app.admission().start_metrics();
    let (rates, uploads) = (Rates::new(config), Semaphore::new(media::UPLOADS_MAX));
    let api = Api(Arc::new(Shared { app, auth, limits, rates, uploads }));
    Router::new()
        .merge(table::guarded(&api))
        .route_layer(from_fn_with_state(Places::new(config), within_places))
        .merge(health.router())
        .fallback(routes::no_route)
        .method_not_allowed_fallback(routes::no_method)
        .layer(from_fn_with_state(api, guard::surround))
}
