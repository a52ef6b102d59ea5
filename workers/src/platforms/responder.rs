//! A server for unit tests that notes what it is sent and answers as it is told.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

use super::{Account, Committed, Outgoing, Published};

/// The secret that tests send, so that it can be found where it must not be.
pub(super) const SECRET: &str = "s3cr3t-token";

/// Headers that say nothing about the client, or change with each run or release.
const UNSTABLE: [&str; 5] = ["host", "user-agent", "content-length", "accept", "accept-encoding"];

/// What is answered to a request.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

struct Shared {
    /// In turn; the last of them to every request from then on.
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<String>>,
}

/// The running server.
pub(super) struct Responder {
    pub(super) url: Url,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Responder {
    pub(super) async fn start() -> Self {
        let replies = Mutex::new([Reply::new(500, "")].into());
        let shared = Arc::new(Shared { replies, seen: Mutex::default() });
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, serving }
    }

    /// Answers this to every request.
    pub(super) fn answer_with(&self, reply: Reply) {
        self.answer_in_turn([reply]);
    }

    /// Answers these one after the other, and the last to all that come then.
    pub(super) fn answer_in_turn<const N: usize>(&self, replies: [Reply; N]) {
        *self.shared.replies.lock().unwrap() = replies.into();
    }

    /// The requests since the last call, without secrets and addresses.
    pub(super) fn take_requests(&self) -> String {
        std::mem::take(&mut *self.shared.seen.lock().unwrap()).join("\n")
    }

    pub(super) fn account(&self) -> Account {
        Account {
            connector_id: Uuid::nil(),
            base_url: self.url.clone(),
            identifier: "alice".into(),
            remote_id: None,
            target: None,
            signed_in_at: None,
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The same post in every test.
pub(super) fn post() -> Outgoing {
    let id = "0198f2a0-7c3e-7000-8000-000000000001".parse().unwrap();
    Outgoing::of_text(id, "Hello".into(), "2026-03-01T09:30:00.250Z".parse().unwrap())
}

/// Where a commit put its post.
pub(super) fn published(committed: Committed) -> Published {
    match committed {
        Committed::Published(published) => published,
        other => panic!("it was not published: {other:?}"),
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut seen = format!("{method} {uri}\n");
    for (name, value) in &headers {
        if !UNSTABLE.contains(&name.as_str()) {
            writeln!(seen, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
    }
    writeln!(seen, "\n{}", String::from_utf8_lossy(&body)).unwrap();
    shared.seen.lock().unwrap().push(seen.replace(SECRET, "[secret]"));

    let mut replies = shared.replies.lock().unwrap();
    let reply = replies.front().cloned().unwrap();
    if replies.len() > 1 {
        replies.pop_front();
    }
    drop(replies);
    let headers: HeaderMap = reply
        .headers
        .iter()
        .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    (StatusCode::from_u16(reply.status).unwrap(), headers, reply.body)
}
