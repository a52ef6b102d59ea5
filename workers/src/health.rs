//! The pages that machines ask: does the process live, can it work, what does it count?
//!
//! `/readyz` asks the stores each time, for whoever must know it now. `/health` tells what was so
//! within the last second, so that any number may ask it.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use postworks::telemetry::metrics::HEALTH_CACHE;
use serde::Serialize;

use crate::metrics_page::MetricsPage;

/// A probe that takes longer has failed: who asks has a time limit too, often a second.
const PROBE_TIMEOUT: Duration = Duration::from_millis(900);

/// What `/health` tells is no older...
const FRESH: Duration = Duration::from_secs(1);
/// ...unless the stores are being asked, which takes this long at most.
const STALE: Duration = FRESH.saturating_add(PROBE_TIMEOUT);

/// Labels of [`HEALTH_CACHE`].
const HIT: &str = "hit";
const MISS: &str = "miss";

fn count(result: &'static str) {
    HEALTH_CACHE.count(&[result]).increment(1);
}

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
    metrics: MetricsPage,
    known: Arc<Known>,
}

/// What was found out last.
#[derive(Default)]
struct Known {
    last: Mutex<Option<(Instant, Readiness)>>,
    /// Held by the one who asks the stores.
    asking: tokio::sync::Mutex<()>,
}

impl Known {
    /// What was found out, if that is no longer ago than `age`.
    fn within(&self, age: Duration) -> Option<Readiness> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < age).map(|(_, readiness)| readiness.clone())
    }

    /// As old as its question, not its answer.
    fn keep(&self, asked: Instant, readiness: &Readiness) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((asked, readiness.clone()));
    }
}

impl Health {
    /// Pages over these probes and metrics.
    pub fn new(probes: Vec<Box<dyn Probe>>, metrics: MetricsPage) -> Self {
        Self { probes: probes.into(), metrics, known: Arc::default() }
    }

    /// What the probes said within the last second; else one caller asks them, for all.
    pub async fn recent(&self) -> Readiness {
        let known = |age| self.known.within(age).inspect(|_| count(HIT));
        if let Some(readiness) = known(FRESH) {
            return readiness;
        }
        let _asking = match self.known.asking.try_lock() {
            Ok(asking) => asking,
            Err(_) => match known(STALE) {
                Some(readiness) => return readiness,
                None => self.known.asking.lock().await,
            },
        };
        // Somebody may have asked since.
        if let Some(readiness) = known(FRESH) {
            return readiness;
        }
        count(MISS);
        let asked = Instant::now();
        let readiness = self.readiness().await;
        self.known.keep(asked, &readiness);
        readiness
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

    /// `/livez`, `/readyz` and `/metrics`, and `/health` and `/api/health`, which tell what `/readyz`
    /// does, up to a second late.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/health", get(health))
            .route("/api/health", get(health))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Only that the process answers: a dead database is no reason to restart it.
async fn livez() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    page(health.readiness().await)
}

async fn health(State(health): State<Health>) -> Response {
    page(health.recent().await)
}

fn page(readiness: Readiness) -> Response {
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

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
        let answer = Health::new(probes, MetricsPage::new(handle)).readiness().await;
        assert_eq!(answer, Readiness { status: "unavailable", missing: vec!["ledger"] });
    }

    /// Counts its questions, and answers one for each permit.
    struct Slow(Arc<(AtomicUsize, Semaphore)>);

    #[async_trait]
    impl Probe for Slow {
        fn name(&self) -> &'static str {
            "ledger"
        }

        async fn is_ready(&self) -> bool {
            let (asked, answers) = self.0.as_ref();
            asked.fetch_add(1, Ordering::SeqCst);
            answers.acquire().await.unwrap().forget();
            true
        }
    }

    impl Known {
        /// As if that much time had passed.
        fn age(&self, by: Duration) {
            self.last.lock().unwrap().as_mut().unwrap().0 -= by;
        }
    }

    #[tokio::test]
    async fn any_number_may_ask_and_the_stores_are_asked_once_a_second() {
        let probe = Arc::new((AtomicUsize::new(0), Semaphore::new(0)));
        let asked = || probe.0.load(Ordering::SeqCst);
        let handle = crate::telemetry::recorder().unwrap().handle();
        let health =
            Health::new(vec![Box::new(Slow(Arc::clone(&probe)))], MetricsPage::new(handle));
        let (ok, many) = (Readiness { status: "ok", missing: vec![] }, || {
            join_all((0..100).map(|_| health.recent()))
        });
        // The first question of all: everybody waits for the one who asks.
        let answer = async {
            tokio::task::yield_now().await;
            probe.1.add_permits(1);
        };
        let (answers, ()) = tokio::join!(many(), answer);
        assert!(answers.iter().all(|answer| *answer == ok));
        assert_eq!(asked(), 1);
        many().await;
        assert_eq!(asked(), 1, "it is fresh");
        health.known.age(FRESH);
        // Nobody waits for the one who asks now: he gets no answer yet.
        let mut first = Box::pin(health.recent());
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(many().await.iter().all(|answer| *answer == ok));
        assert_eq!(asked(), 2);
        probe.1.add_permits(1);
        assert_eq!(first.await, ok);
        assert_eq!(asked(), 2);
    }

    #[tokio::test]
    async fn what_is_too_old_is_told_to_nobody() {
        let probe = Arc::new((AtomicUsize::new(0), Semaphore::new(1)));
        let handle = crate::telemetry::recorder().unwrap().handle();
        let health =
            Health::new(vec![Box::new(Slow(Arc::clone(&probe)))], MetricsPage::new(handle));
        assert_eq!(health.recent().await.status, "ok");
        health.known.age(STALE);
        // The store hangs from now on.
        let answers = join_all((0..3).map(|_| health.recent())).await;
        assert!(answers.iter().all(|answer| answer.missing == ["ledger"]), "{answers:?}");
        assert_eq!(probe.0.load(Ordering::SeqCst), 2, "one asked for all");
    }
}
