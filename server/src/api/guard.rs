//! What surrounds every route: who may ask, how long an answer may take, and what is counted.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use postworks::telemetry::metrics::HTTP_REQUEST_DURATION;

use super::Api;
use super::problem::Problem;

/// Lets in who asks for this host, bounds how long they wait, and counts and measures it. One layer:
/// each costs every request two allocations.
pub(super) async fn surround(State(api): State<Api>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    // Who must prove who they are cannot be made use of by a web page with our name.
    let foreign = if api.auth.is_none() { foreign_host(&request) } else { None };
    let response = match foreign {
        Some(problem) => problem.into_response(),
        None => bounded(api.limits.request_timeout, next.run(request)).await,
    };
    asked.answered(&response);
    response
}

/// A request, as metrics and logs tell of it.
struct Asked {
    started: Instant,
    route: Option<MatchedPath>,
    method: &'static str,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self { started: Instant::now(), route, method: method_label(request.method()) }
    }

    fn answered(self, response: &Response) {
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let (method, status) = (self.method, response.status());
        let took = self.started.elapsed().as_secs_f64();
        HTTP_REQUEST_DURATION.spread(&[route, method, status.as_str()]).record(took);
        tracing::debug!(
            http.route = route,
            http.method = method,
            http.status = status.as_u16(),
            took,
            "answered"
        );
    }
}

/// Labels come from a closed set; a method is any word.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Refuses requests for another host's name: without authentication, a web page whose name is
/// made to resolve to this machine could otherwise ask anything.
fn foreign_host(request: &Request) -> Option<Problem> {
    let host = request.uri().host().map(str::to_owned).or_else(|| named_host(request.headers()))?;
    if is_loopback(&host) {
        return None;
    }
    let shown: String = host.chars().take(100).collect();
    let detail =
        format!("this API answers requests for 127.0.0.1, [::1] and localhost, not for {shown:?}");
    Some(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn named_host(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(header::HOST)?.as_bytes()).into_owned();
    let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip.to_owned(),
        None => text.rsplit_once(':').map_or(text.clone(), |(host, _)| host.to_owned()),
    };
    Some(host)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let ip = host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    ip || host == "localhost" || host.ends_with(".localhost")
}

/// Ends what takes too long, and keeps a panic from looking like a lost connection.
async fn bounded(limit: Duration, answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a request panicked");
            let detail = "something is broken in the server; its log says more";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
        Err(_) => {
            let limit = humantime::format_duration(limit);
            let detail = format!("no answer within {limit}; what was asked may have been done");
            Problem::unsure(detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        let allowed = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_loopback(&named_host(&headers).unwrap())
        };
        for host in ["127.0.0.1:7000", "127.8.9.1", "[::1]:7000", "localhost", "API.localhost:1"] {
            assert!(allowed(host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:7000", "10.0.0.1", "[::2]:1", "", "a:b:c"]
        {
            assert!(!allowed(host), "{host}");
        }
    }
}
