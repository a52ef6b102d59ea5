//! A mock of Mastodon's API, private to a test, on loopback. Somebody else wrote it (`mastodon_mock`
//! on PyPI), so that it does not share our mistakes; it is no Mastodon. What it does otherwise than
//! one is in `docs/platforms/mastodon.md`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::process::Child;
use url::Url;

use super::script::{self, Runtime, Script, answer, text};
use crate::platforms::http::{Http, endpoint};

/// The name of its one account.
pub const USERNAME: &str = "testuser";
/// The token of that account.
pub const TOKEN: &str = "mock_token";

const SCRIPT: Script = Script {
    folder: "servers/mastodon_mock",
    runtime: Runtime::Python("mastodon_mock"),
    args: &["serve.py"],
};

/// A running mock. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct MastodonMock {
    mock: Option<Child>,
    // After the mock has ended: nothing writes into a folder that is being removed.
    data: TempDir,
    port: u16,
    // While the mock is down, nobody else gets its port: connections to it are refused.
    reserved: Option<TcpSocket>,
    http: Http,
}

/// A status as the mock holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockStatus {
    /// Its id.
    pub id: String,
    /// Its text, as it was sent.
    pub text: String,
    /// What its images show, in their order.
    pub alts: Vec<String>,
    /// The status that it answers.
    pub in_reply_to: Option<String>,
}

impl MastodonMock {
    /// Starts a mock with one account and no status, and waits until it listens.
    pub async fn start() -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let http = script::http();
        // A port that was free a moment ago. Should another process take it first, the start fails.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let port = listener.local_addr().expect("the port of a bound listener").port();
        drop(listener);
        let mut mock = Self { mock: None, data, port, reserved: None, http };
        mock.restart().await;
        mock
    }

    /// Where the mock listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The mock's address as an account's `base_url`.
    pub fn url(&self) -> Url {
        format!("http://{}", self.address()).parse().expect("an address is a URL")
    }

    /// The token of its account.
    pub fn token(&self) -> SecretString {
        TOKEN.into()
    }

    /// Ends the mock at once, as `kill -9` does. Its statuses and keys stay.
    pub async fn kill(&mut self) {
        if let Some(mut mock) = self.mock.take() {
            mock.kill().await.expect("kill the mock");
            self.reserved = Some(self.reserve());
        }
    }

    /// Starts the mock again on the same data and port.
    pub async fn restart(&mut self) {
        self.kill().await;
        let data = self.data.path().display().to_string();
        let env = [("MOCK_PORT", self.port.to_string()), ("MOCK_DATA", data)];
        self.reserved = None;
        self.mock = Some(SCRIPT.start(&env).await.0);
    }

    /// All statuses of its account, newest first.
    pub async fn statuses(&self) -> Vec<MockStatus> {
        let account = self.get("api/v1/accounts/verify_credentials", &[]).await;
        let path = format!("api/v1/accounts/{}/statuses", text(&account, "id"));
        let mut statuses: Vec<MockStatus> = Vec::new();
        loop {
            let mut query = vec![("limit", "40".to_owned())];
            query.extend(statuses.last().map(|last| ("max_id", last.id.clone())));
            let page = self.get(&path, &query).await;
            let page = page.as_array().expect("a list of statuses");
            if page.is_empty() {
                return statuses;
            }
            for status in page {
                let path = format!("api/v1/statuses/{}/source", text(status, "id"));
                statuses.push(held(status, &self.get(&path, &[]).await));
            }
        }
    }

    /// From now on it answers these paths with this, so many times: see its own documentation of
    /// faults for what an effect may be.
    pub async fn fault(&self, method: &str, path: &str, effect: Value, times: u32) {
        let rule = json!({
            "match": { "methods": [method], "path": path },
            "effect": effect,
            "count": times,
        });
        answer(self.request(Method::POST, "api/v1/_mock/faults").json(&rule)).await;
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Value {
        answer(self.request(Method::GET, path).query(query)).await
    }

    fn request(&self, method: Method, path: &str) -> crate::platforms::http::RequestBuilder {
        self.http.request(method, endpoint(&self.url(), path)).bearer_auth(TOKEN)
    }

    /// Keeps the port without listening on it. Connections of the mock that had it may still be in
    /// their last minute, which only the option permits.
    fn reserve(&self) -> TcpSocket {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of every socket");
        socket.bind(self.address()).expect("bind the port of a mock that is down");
        socket
    }
}

fn held(status: &Value, source: &Value) -> MockStatus {
    let media = status["media_attachments"].as_array().expect("a list of media");
    MockStatus {
        id: text(status, "id"),
        text: text(source, "text"),
        alts: media.iter().map(|media| text(media, "description")).collect(),
        in_reply_to: status["in_reply_to_id"].as_str().map(str::to_owned),
    }
}
