//! The pages that machines ask: does the process live, can it work, what does it count?

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

/// A probe that takes longer has failed: who asks has a time limit too, often a second.
const PROBE_TIMEOUT: Duration = Duration::from_millis(900);

/// Something a process needs to work.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Its name in `missing`, such as `ledger`.
    fn name(&self) -> &'static str;

    /// Whether it is there now.
    async fn is_ready(&self) -> bool;
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// The names of the probes that failed.
    pub missing: Vec<&'static str>,
}

/// What the pages show.
#[derive(Clone)]
pub struct Health {
    probes: Arc<[Box<dyn Probe>]>,
    metrics: PrometheusHandle,
}

impl Health {
    /// Pages over these probes and metrics.
    pub fn new(probes: Vec<Box<dyn Probe>>, metrics: PrometheusHandle) -> Self {
        Self { probes: probes.into(), metrics }
    }

    /// Asks every probe, at the same time.
    pub async fn readiness(&self) -> Readiness {
        let answers = join_all(self.probes.iter().map(|probe| async {
            let ready = tokio::time::timeout(PROBE_TIMEOUT, probe.is_ready()).await;
            (!ready.unwrap_or(false)).then(|| probe.name())
        }));
        let missing: Vec<&'static str> = answers.await.into_iter().flatten().collect();
        let status = if missing.is_empty() { "ok" } else { "unavailable" };
        Readiness { status, missing }
    }

    /// `/livez`, `/readyz` and `/metrics`, and `/health` and `/api/health` as other names of
    /// `/readyz`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/health", get(readyz))
            .route("/api/health", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Only that the process answers: a dead database is no reason to restart it.
async fn livez() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    let status =
        if readiness.missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, health.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(&'static str, bool);

    #[async_trait]
    impl Probe for Always {
        fn name(&self) -> &'static str {
            self.0
        }

        async fn is_ready(&self) -> bool {
            self.1
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let handle = crate::telemetry::recorder().unwrap().handle();
        let probes: Vec<Box<dyn Probe>> =
            vec![Box::new(Always("ledger", false)), Box::new(Always("broker", true))];
        let answer = Health::new(probes, handle).readiness().await;
        assert_eq!(answer, Readiness { status: "unavailable", missing: vec!["ledger"] });
    }
}
