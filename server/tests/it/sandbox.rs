//! What the sandbox platform promises the tests and demos that stand on it.

mod accounts;
mod faults;
mod journal;
mod listing;
mod posts;
mod shutdown;
mod tokens;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use postworks_server::sandbox::{Entry, Options, Running, serve};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// An answer: its status and JSON body.
type Answer = (StatusCode, Value);

/// A sandbox of a test's own, a client for it, and the hands of its clock.
struct World {
    running: Running,
    client: Client,
    clock: Arc<AtomicI64>,
}

/// An account with its first tokens.
struct Account {
    id: String,
    access: String,
    refresh: String,
}

impl World {
    async fn start() -> Self {
        Self::with_journal(None).await
    }

    async fn with_journal(journal: Option<&Path>) -> Self {
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let hands = Arc::clone(&clock);
        let running = serve(Options {
            journal: journal.map(Path::to_owned),
            now_ms: Arc::new(move || hands.load(Ordering::Relaxed)),
            ..Options::default()
        });
        let client = Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        Self { running: running.await.unwrap(), client, clock }
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.running.url()))
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    async fn account(&self, handle: &str) -> Account {
        let (status, body) = self.post("/accounts", &json!({"handle": handle})).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        Account {
            id: text("account"),
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }

    fn publishing(&self, account: &Account, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/posts").bearer_auth(&account.access).json(body)
    }

    async fn publish(&self, account: &Account, text: &str) -> Answer {
        answer(self.publishing(account, &json!({"text": text}))).await
    }

    async fn publish_keyed(&self, account: &Account, key: &str, text: &str) -> Answer {
        let request = self.publishing(account, &json!({"text": text}));
        answer(request.header("Idempotency-Key", key)).await
    }

    fn refreshing(&self, refresh_token: &str) -> RequestBuilder {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.request(Method::POST, "/oauth/token").form(&form)
    }

    async fn refresh(&self, refresh_token: &str) -> Answer {
        answer(self.refreshing(refresh_token)).await
    }

    async fn put_faults(&self, plan: &Value) -> Answer {
        answer(self.request(Method::PUT, "/_control/faults").json(plan)).await
    }

    /// Puts one rule in force.
    async fn fault(&self, rule: Value) {
        let (status, body) = self.put_faults(&json!({"rules": [rule]})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// The texts in the journal; a refresh shows as "(refresh)".
    fn journalled(&self) -> Vec<String> {
        let text = |entry: Entry| entry.text.unwrap_or_else(|| "(refresh)".to_owned());
        self.running.journal().into_iter().map(text).collect()
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Asserts a refusal's status and code.
fn assert_refused((status, body): &Answer, expected: u16, code: &str) {
    assert_eq!((status.as_u16(), body["error"].as_str()), (expected, Some(code)), "{body}");
    assert!(!body["message"].as_str().unwrap().is_empty());
}

/// Asserts a 422 and the field it names.
fn assert_bad_field(answer: &Answer, field: &str) {
    assert_refused(answer, 422, "invalid_field");
    assert_eq!(answer.1["field"], field, "{}", answer.1);
}
