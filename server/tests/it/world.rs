//! The API over stand-ins for the stores, and how to ask it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use postworks::clock::SystemClock;
use postworks::config::{Config, Sources};
use postworks::job::{Catalog, JobId};
use postworks_server::api;
use postworks_server::app::App;
use postworks_workers::health::Health;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::doubles::{FakeBroker, FakeLedger, FakeProduct};

pub(crate) struct World {
    pub(crate) ledger: Arc<FakeLedger>,
    pub(crate) broker: Arc<FakeBroker>,
    pub(crate) router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The pointers of the wrong fields.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.body["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(self.body[field].is_string(), "{field} in {}", self.body);
        }
        assert!(self.body["errors"].is_array(), "{}", self.body);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let ledger = Arc::new(FakeLedger::default());
        let broker = Arc::new(FakeBroker::default());
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let product = Arc::new(FakeProduct::default());
        let app = App::new(
            Arc::clone(&ledger) as _,
            Arc::clone(&broker) as _,
            catalog,
            product,
            SystemClock::shared(),
        );
        let metrics = postworks_workers::telemetry::recorder().unwrap().handle();
        let health = Health::new(app.probes(), metrics);
        let config = Config::load(&Sources::default()).unwrap();
        Self { ledger, broker, router: api::router(app, health, &config.api) }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(text.as_ref()));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::HOST, "127.0.0.1:7000");
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    pub(crate) async fn enqueue(&self) -> JobId {
        let answer = self.post("/api/jobs", json!({"kind": "data_cleanup", "args": {}})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        serde_json::from_value(answer.body["id"].clone()).unwrap()
    }
}
