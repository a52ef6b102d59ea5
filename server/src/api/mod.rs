//! The HTTP API: a thin skin over [`App`].
//!
//! Every answer that is no success is `application/problem+json`. There is no authentication
//! yet, so the API listens on loopback only and answers to loopback names only.

mod guard;
mod input;
mod limits;
mod once;
mod problem;
mod routes;
mod serve;
mod work;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use postworks::config;
use postworks_workers::health::Health;

use crate::app::App;
pub use problem::Problem;
pub(crate) use problem::chain;
pub use serve::serve;

/// What the routes share.
#[derive(Clone)]
struct Api {
    app: App,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    bulk_body: usize,
    request_timeout: Duration,
}

/// An address the API must not listen on.
#[derive(Debug, thiserror::Error)]
#[error(
    "the API would listen on {0}, where others can reach it, and authentication is not available \
     yet; listen on a loopback address such as 127.0.0.1:{port}, or put a proxy before it",
    port = .0.port()
)]
pub struct NotLoopback(pub SocketAddr);

/// Whether the API may listen there.
///
/// # Errors
/// The address is not on loopback.
pub fn check_listen(address: SocketAddr) -> Result<(), NotLoopback> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(NotLoopback(address)) }
}

/// The API's routes.
pub fn router(app: App, health: Health, config: &config::Api) -> Router {
    let limits = Limits {
        body: config.body_limit.0,
        bulk_body: config.bulk_body_limit.0,
        request_timeout: config.request_timeout,
    };
    app.admission().start_metrics();
    let api = Api { app, limits };
    Router::new()
        .route("/api/jobs", get(routes::jobs).post(routes::enqueue))
        .route("/api/jobs/bulk", post(routes::enqueue_bulk))
        .route("/api/jobs/{id}", get(routes::job).delete(routes::cancel))
        .route("/api/jobs/{id}/why", get(routes::why))
        .route("/api/connectors", get(routes::connectors).post(routes::add_connector))
        .route("/api/posts", get(routes::posts).post(routes::add_post))
        .route("/api/publish", post(routes::publish))
        .route("/api/publications/{id}", get(routes::publication))
        .route("/api/dlq", get(routes::dead_letters))
        .route("/api/dlq/retry", post(routes::dlq_retry))
        .route("/api/dlq/discard", post(routes::dlq_discard))
        .route("/api/dlq/groups", get(routes::dead_groups))
        .route("/api/dlq/export", get(routes::dlq_export))
        .route("/api/dlq/redrives", get(routes::redrives))
        .route("/api/dlq/redrives/{id}", get(routes::redrive))
        .route("/api/dlq/redrives/{id}/stop", post(routes::stop_redrive))
        .route("/api/dlq/{id}", get(routes::dead_letter))
        .route("/api/dlq/{id}/retry", post(routes::dlq_edit))
        .route("/api/effects", get(routes::effects))
        .route("/api/effects/{id}/resolve", post(routes::resolve_effect))
        .route("/api/audit", get(routes::audits))
        .route("/api/queues", get(routes::queues))
        .route("/api/queues/{name}/pause", post(routes::pause))
        .route("/api/queues/{name}/resume", post(routes::resume))
        .route("/api/breakers", get(routes::gates))
        .route("/api/breakers/{name}/open", post(routes::open_breaker))
        .route("/api/breakers/{name}/close", post(routes::close_breaker))
        .with_state(api.clone())
        .route_layer(from_fn_with_state(limits::Places::new(config), limits::within_places))
        .route_layer(from_fn_with_state(limits::Rates::new(config), limits::at_its_rate))
        .merge(health.router())
        .fallback(routes::no_route)
        .method_not_allowed_fallback(routes::no_method)
        .layer(from_fn_with_state(api, guard::bound))
        .layer(from_fn(guard::host))
        .layer(from_fn(guard::observe))
}
