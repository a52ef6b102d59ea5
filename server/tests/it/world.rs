//! The API over a real node in a temporary folder, how to ask it, and how to move its jobs along.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Delivery, Settlement, Then};
use postworks::clock::{Clock as _, SharedClock, SystemClock};
use postworks::config::{Config, Environment, Sources};
use postworks::job::{Category, JobId, Queue, Reason, WorkerId};
use postworks::ledger::{Bump, Db, Next, PostgresOptions, Verdict};
use postworks_server::api;
use postworks_server::app::App;
use postworks_server::auth::Auth;
use postworks_workers::health::Health;
use postworks_workers::metrics_page::MetricsPage;
use postworks_workers::node::Node;
use postworks_workers::secrets::KeyRing;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use uuid::Uuid;

/// The id of nothing.
pub(crate) const NOBODY: Uuid = Uuid::from_u128(0x0198_f3a0_0000_7000_8000_0000_0000_0001);
const LEASE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    pub(crate) app: App,
    pub(crate) router: Router,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
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

fn config() -> Config {
    Config::load(&Sources::default()).unwrap()
}

fn environment() -> Environment {
    Environment::read(|_| None).unwrap()
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// A world with these settings.
    pub(crate) async fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(&Sources::default().file("test.toml", settings)).unwrap();
        let node = Node::embedded(folder.path(), config, &environment()).await.unwrap();
        Self::of(node, folder)
    }

    /// A world whose broker is away.
    pub(crate) async fn without_broker() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
        db.migrate().await.unwrap();
        Self::over(db, folder)
    }

    /// A world whose ledger and broker are both away.
    pub(crate) fn without_stores() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("postgres://nobody@localhost/none?host={}", folder.path().display());
        let db = Db::connect_postgres(&url, &PostgresOptions::default()).unwrap();
        Self::over(db, folder)
    }

    fn over(db: Db, folder: tempfile::TempDir) -> Self {
        let id = WorkerId::new("test", std::process::id(), Uuid::new_v4());
        let url = format!("unix://{}", folder.path().join("no.sock").display());
        let broker = RedisBroker::connect(RedisOptions::new(url, id.clone())).unwrap();
        let keys = KeyRing::load_or_create(&folder.path().join("keys")).unwrap();
        let (broker, clock) = (Arc::new(broker) as Arc<dyn Broker>, SystemClock::shared());
        let node = Node::over(db, broker, id, keys, clock, config(), &environment()).unwrap();
        Self::of(node, folder)
    }

    /// A world over this database whose callers must prove who they are, at the time of `clock`.
    pub(crate) fn guarded(db: Db, clock: SharedClock) -> Self {
        Self::guarded_with(db, clock, "")
    }

    /// The same, with these settings.
    pub(crate) fn guarded_with(db: Db, clock: SharedClock, settings: &str) -> Self {
        let config = Config::load(&Sources::default().file("test.toml", settings)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let id = WorkerId::new("test", std::process::id(), Uuid::new_v4());
        let broker = Arc::new(MemoryBroker::new(Arc::clone(&clock))) as Arc<dyn Broker>;
        let keys = KeyRing::load_or_create(&folder.path().join("keys")).unwrap();
        let node = Node::over(db, broker, id, keys, clock, config, &environment()).unwrap();
        let auth = Auth::new(&node).unwrap();
        Self::serving(node, folder, Some(auth))
    }

    /// The API over a node that has the folder for its files, if it needs one.
    pub(crate) fn of(node: Node, folder: tempfile::TempDir) -> Self {
        Self::serving(node, folder, None)
    }

    fn serving(node: Node, folder: tempfile::TempDir, auth: Option<Auth>) -> Self {
        let node = Arc::new(node);
        let app = App::new(Arc::clone(&node));
        let metrics = postworks_workers::telemetry::recorder().unwrap().handle();
        let health = Health::new(app.probes(), MetricsPage::new(metrics));
        let router = api::router(app.clone(), auth, health, &node.config.api);
        Self { node, app, router, _folder: folder }
    }

    /// Lets the API know the load, until the guard is dropped.
    pub(crate) fn watch_load(&self) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(self.app.clone().watch_load_until(stop.clone()));
        stop.drop_guard()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(text.as_ref()));
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        crate::openapi::must_be_described(&method, &path, &answer);
        answer
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    /// Asks with these headers; a body that is null is none.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
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

    /// An API on a real listener over this world, until the guard is dropped; answers its URL.
    pub(crate) async fn serve(&self) -> (String, DropGuard) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let head_timeout = self.node.config.api.head_timeout;
        tokio::spawn(api::serve(listener, self.router.clone(), head_timeout, stop.clone()));
        (url, stop.drop_guard())
    }

    /// A job that is due; nothing claims it unless told.
    pub(crate) async fn enqueue(&self) -> JobId {
        let answer = self.post("/api/jobs", json!({"kind": "data_cleanup", "args": {}})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        self.node.producer.flush().await;
        serde_json::from_value(answer.body["id"].clone()).unwrap()
    }

    /// A connected account.
    pub(crate) async fn connector(&self) -> Uuid {
        let connector = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
            "identifier": "ann", "secret": "hush"});
        let added = self.post("/api/connectors", connector).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        serde_json::from_value(added.body["id"].clone()).unwrap()
    }

    /// How many jobs the ledger has, at most a page.
    pub(crate) async fn jobs(&self) -> usize {
        self.ask("GET", "/api/jobs?limit=100").await.body["items"].as_array().unwrap().len()
    }

    /// A worker claims the oldest job that is due, and runs it from now on.
    pub(crate) async fn run(&self, id: JobId) -> Delivery {
        self.claim(&Queue::parse("data_cleanup").unwrap(), id).await
    }

    /// The same of another queue.
    pub(crate) async fn claim(&self, queue: &Queue, id: JobId) -> Delivery {
        let bump = Bump { held: None, at: SystemClock.now(), reserved: Duration::ZERO };
        // None if it was opened for another job just now.
        if let Some(generation) = self.node.ledger.next_generation(queue, bump).await.unwrap() {
            self.node.broker.open(queue, generation).await.unwrap();
        }
        let worker = WorkerId::new("test", 1, Uuid::new_v4());
        let mut claimed = self.node.broker.claim(queue, &worker, 1, LEASE).await.unwrap();
        let delivery = claimed.deliveries.pop().unwrap();
        assert_eq!(delivery.lease.id, id, "another job was older");
        delivery
    }

    /// The job runs and completes.
    pub(crate) async fn complete(&self, id: JobId) {
        let at = SystemClock.now();
        self.settle(id, Next::Completed { at }).await;
    }

    /// The job runs and dies.
    pub(crate) async fn kill(&self, id: JobId, category: Category) {
        let at = SystemClock.now();
        let reason = Reason { category, class: "invalid".into(), message: "no".into() };
        self.settle(id, Next::Dead { at, reason, failed_attempts: 1, job: None }).await;
    }

    async fn settle(&self, id: JobId, then: Next) {
        let Delivery { queue, lease, .. } = self.run(id).await;
        let verdict = Verdict { id, token: lease.token, then, failed: None };
        let settled = self.node.ledger.settle(&[verdict]).await.unwrap();
        assert_eq!(settled, [postworks::ledger::Settled::Done]);
        let gone = Settlement { lease, then: Then::Gone };
        self.node.broker.settle(&queue, &[gone]).await.unwrap();
    }
}
