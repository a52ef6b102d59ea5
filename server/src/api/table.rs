//! Every route of the API, each with what it needs of its caller: there is no other way to add one.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::entry::admit;
use super::{Api, login, routes};
use crate::auth::Need::{self, Cancel, Operate, Produce, Read};

/// A method at an address.
struct Route {
    method: Method,
    path: &'static str,
    /// `None`: anybody may, unknown as they are.
    need: Option<Need>,
    serve: MethodRouter<Api>,
}

/// What a route says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The address, with names in braces for what varies.
    pub path: &'static str,
    /// What it takes of its caller; `None` for nothing.
    pub need: Option<Need>,
}

fn route<H, T>(
    (method, filter): (Method, MethodFilter),
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route { method, path, need: need.into(), serve: on(filter, handler) }
}

fn table() -> Vec<Route> {
    let get = || (Method::GET, MethodFilter::GET);
    let post = || (Method::POST, MethodFilter::POST);
    let delete = || (Method::DELETE, MethodFilter::DELETE);
    vec![
        route(post(), None, "/api/auth/login", login::login),
        route(post(), None, "/api/auth/refresh", login::refresh),
        route(post(), Read, "/api/auth/logout", login::logout),
        route(get(), Read, "/api/jobs", routes::jobs),
        route(post(), Produce, "/api/jobs", routes::enqueue),
        route(post(), Produce, "/api/jobs/bulk", routes::enqueue_bulk),
        route(get(), Read, "/api/jobs/{id}", routes::job),
        route(delete(), Cancel, "/api/jobs/{id}", routes::cancel),
        route(get(), Read, "/api/jobs/{id}/why", routes::why),
        route(get(), Read, "/api/connectors", routes::connectors),
        route(post(), Produce, "/api/connectors", routes::add_connector),
        route(post(), Produce, "/api/connectors/{id}/sync", routes::sync),
        route(get(), Read, "/api/posts", routes::posts),
        route(post(), Produce, "/api/posts", routes::add_post),
        route(post(), Produce, "/api/publish", routes::publish),
        route(get(), Read, "/api/publications/{id}", routes::publication),
        route(get(), Read, "/api/dlq", routes::dead_letters),
        route(post(), Operate, "/api/dlq/retry", routes::dlq_retry),
        route(post(), Operate, "/api/dlq/discard", routes::dlq_discard),
        route(get(), Read, "/api/dlq/groups", routes::dead_groups),
        route(get(), Read, "/api/dlq/export", routes::dlq_export),
        route(get(), Read, "/api/dlq/redrives", routes::redrives),
        route(get(), Read, "/api/dlq/redrives/{id}", routes::redrive),
        route(post(), Operate, "/api/dlq/redrives/{id}/stop", routes::stop_redrive),
        route(get(), Read, "/api/dlq/{id}", routes::dead_letter),
        route(post(), Operate, "/api/dlq/{id}/retry", routes::dlq_edit),
        route(get(), Read, "/api/effects", routes::effects),
        route(post(), Operate, "/api/effects/{id}/resolve", routes::resolve_effect),
        route(get(), Read, "/api/audit", routes::audits),
        route(get(), Read, "/api/queues", routes::queues),
        route(post(), Operate, "/api/queues/{name}/pause", routes::pause),
        route(post(), Operate, "/api/queues/{name}/resume", routes::resume),
        route(get(), Read, "/api/breakers", routes::gates),
        route(post(), Operate, "/api/breakers/{name}/open", routes::open_breaker),
        route(post(), Operate, "/api/breakers/{name}/close", routes::close_breaker),
    ]
}

/// What every route needs, for documents and tests.
pub fn declared() -> Vec<Declared> {
    let say = |Route { method, path, need, .. }| Declared { method, path, need };
    table().into_iter().map(say).collect()
}

/// A router of them all, each guarded as it says.
pub(super) fn guarded(api: &Api) -> Router {
    let add = |router: Router<Api>, Route { path, need, serve, .. }| {
        router.route(path, serve.route_layer(from_fn_with_state((api.clone(), need), admit)))
    };
    table().into_iter().fold(Router::new(), add).with_state(api.clone())
}
