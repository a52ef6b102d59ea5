//! The API under load, and what it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use postworks::clock::{Clock as _, SystemClock};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::load::{self, Load, Make, Outcome};

/// Accounts and posts that lists are about.
const ACCOUNTS: usize = 50;
const POSTS: usize = 500;
/// What is enqueued is due in a day: nobody runs it, and it is no work that waits.
const DELAY_MS: u64 = 86_400_000;

/// An API with something in it.
pub(crate) struct Target {
    pub(crate) fleet: Fleet,
    address: SocketAddr,
    connectors: Vec<String>,
    posts: Vec<String>,
}

impl Target {
    /// Starts an API whose limits are off: it is asked for more than one client is let.
    pub(crate) async fn start() -> Self {
        let settings = [("POSTWORKS_RATE_LIMIT", "off")];
        let postgres = PostgresServer::launch_durable().await;
        let fleet = Fleet::build(RedisServer::start(), postgres, &settings).await;
        let address = address_of(fleet.api.url());
        let connectors = fleet.client.connect(&fleet.sandbox, "sandbox", ACCOUNTS).await;
        let mut posts = Vec::with_capacity(POSTS);
        for n in 0..POSTS {
            let post = json!({ "text": format!("post {n}") });
            let made = fleet.client.http.post("/api/posts", &post).await.expect(201);
            posts.push(made["id"].as_str().expect("an id").to_owned());
        }
        Self { fleet, address, connectors, posts }
    }

    /// Reads a page.
    pub(crate) async fn get(&self, path: &'static str, load: Load) -> Outcome {
        let host = self.address.to_string();
        self.send(load, Arc::new(move |_| request(&host, Method::GET, path, None))).await
    }

    /// Publishes a post on an account.
    pub(crate) async fn publish(&self, load: Load) -> Outcome {
        let at = SystemClock.now().after(Duration::from_millis(DELAY_MS));
        let (host, posts, accounts) =
            (self.address.to_string(), self.posts.clone(), self.connectors.clone());
        // A post goes to an account once.
        let next = AtomicUsize::new(0);
        let make = move |_| {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let post = &posts[n % posts.len()];
            let account = &accounts[n / posts.len() % accounts.len()];
            let body = json!({ "post_id": post, "connector_ids": [account], "at": at });
            request(&host, Method::POST, "/api/publish", Some(&body))
        };
        self.send(load, Arc::new(make)).await
    }

    /// Enqueues a job.
    pub(crate) async fn jobs(&self, load: Load) -> Outcome {
        let host = self.address.to_string();
        let body =
            json!({ "kind": "data_cleanup", "args": { "dry_run": true }, "delay_ms": DELAY_MS });
        let make = move |_| request(&host, Method::POST, "/api/jobs", Some(&body));
        self.send(load, Arc::new(make)).await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn send(&self, load: Load, make: Arc<Make>) -> Outcome {
        // Connections, plans and pages of the server are warm before anything is measured.
        let warm = Load { span: load.span / 5, ..load };
        load::send(self.address, warm, Arc::clone(&make)).await;
        load::send(self.address, load, make).await
    }
}

/// Where an API listens.
pub(crate) fn address_of(url: &str) -> SocketAddr {
    let url: url::Url = url.parse().expect("a URL");
    url.socket_addrs(|| None).expect("an address")[0]
}

/// A request with JSON.
pub(crate) fn request(
    host: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Request<Full<Bytes>> {
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("content-type", "application/json")
        .body(Full::new(bytes))
        .expect("a sound request")
}
