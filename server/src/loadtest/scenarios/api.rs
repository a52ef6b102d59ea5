//! `api`: requests to the HTTP API, from this process to one of its own, over loopback.

use std::sync::Arc;
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use rand::RngExt as _;
use rand::rngs::StdRng;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Ground;
use super::calls::{Called, Calls, drive};
use super::draft::{Draft, count};
use crate::loadtest::mix::{Mix, dice};
use crate::loadtest::openloop::Due;
use crate::loadtest::profile;
use crate::loadtest::system::{Child, Platform, System};
use crate::loadtest::tally::Group;

/// Accounts and posts that requests are about.
const ACCOUNTS: u32 = 50;
const POSTS: usize = 200;
/// A request that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is enqueued is due in a day: nobody runs it here.
const DELAY: Duration = Duration::from_secs(86_400);
const GROUP: Group = Group { name: "endpoint", sum: Some("all requests") };

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    Health,
    Jobs,
    Connectors,
    Posts,
    AddPost,
    Publish,
    Enqueue,
}

const MIX: Mix<(Endpoint, &str)> = Mix::of(&[
    ((Endpoint::Health, "GET /api/health"), 10),
    ((Endpoint::Jobs, "GET /api/jobs"), 20),
    ((Endpoint::Connectors, "GET /api/connectors"), 15),
    ((Endpoint::Posts, "GET /api/posts"), 15),
    ((Endpoint::AddPost, "POST /api/posts"), 10),
    ((Endpoint::Publish, "POST /api/publish"), 15),
    ((Endpoint::Enqueue, "POST /api/jobs"), 15),
]);

/// Whom to ask, and for what.
struct Asker {
    client: Client,
    base: String,
    accounts: Vec<Uuid>,
    posts: Vec<Uuid>,
    seed: u64,
}

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &profile::Calls,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let shape = part.shape();
    draft.about(format!(
        "{} requests a second on {} connections to one API process: three in five look, two in \
         five write.",
        shape.rate, part.connections
    ));
    let mut bar = ground.screen.bar(draft.name(), shape.span());
    bar.say("starting an API, connecting accounts");
    let prepared = ground.unless_stopped(prepare(ground, part, system)).await;
    drop(bar);
    let (api, _platform, asker) = prepared?;
    let calls = Calls { shape, group: GROUP, one: "answer" };
    let callers = vec![asker; part.connections as usize];
    let sums = drive(ground, draft, calls, callers, Asker::ask).await?;
    draft.table(
        "Requests",
        vec![
            count("asked", sums.asked, ""),
            count("answered 2xx", sums.done, ""),
            count("failed", sums.failed, "").better_less(),
        ],
    );
    ground.end(api).await
}

/// Starts an API, with something to ask it for.
async fn prepare(
    ground: &Ground<'_>,
    part: &profile::Calls,
    system: &System,
) -> anyhow::Result<(Child, Platform, Arc<Asker>)> {
    let api = system.api().await?;
    let (platform, accounts) = system.platform(ACCOUNTS).await?;
    let mut posts = Vec::with_capacity(POSTS);
    for n in 0..POSTS {
        posts.push(system.node.store.add_post(&format!("post {n} of the load test")).await?);
    }
    let client = Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .pool_max_idle_per_host(part.connections as usize)
        .build()?;
    let base = api.url().to_owned();
    let asker = Arc::new(Asker { client, base, accounts, posts, seed: ground.seed });
    asker.warm_up().await?;
    Ok((api, platform, asker))
}

impl Asker {
    /// Every endpoint once, so that plans and pages of the server are warm.
    async fn warm_up(&self) -> anyhow::Result<()> {
        for endpoint in [Endpoint::Jobs, Endpoint::Connectors, Endpoint::Posts, Endpoint::Enqueue] {
            let status = self.send(endpoint, &mut dice(self.seed, u64::MAX)).await?;
            anyhow::ensure!(status.is_success(), "{endpoint:?} is answered {status}");
        }
        Ok(())
    }

    async fn ask(self: Arc<Self>, due: Due) -> Called<Arc<Self>> {
        let mut dice = dice(self.seed, due.n);
        let (endpoint, name) = MIX.draw(&mut dice);
        let answer = self.send(endpoint, &mut dice).await;
        let well = answer.is_ok_and(|status| status.is_success());
        Called { caller: self, name, well }
    }

    async fn send(&self, endpoint: Endpoint, dice: &mut StdRng) -> reqwest::Result<StatusCode> {
        let request = match endpoint {
            Endpoint::Health => self.request(Method::GET, "/api/health", None),
            Endpoint::Jobs => self.request(Method::GET, "/api/jobs?limit=20", None),
            Endpoint::Connectors => self.request(Method::GET, "/api/connectors", None),
            Endpoint::Posts => self.request(Method::GET, "/api/posts", None),
            Endpoint::AddPost => {
                self.request(Method::POST, "/api/posts", Some(&json!({ "text": "hello" })))
            }
            Endpoint::Publish => {
                let post = self.posts.get(dice.random_range(0..self.posts.len()));
                let account = self.accounts.get(dice.random_range(0..self.accounts.len()));
                let at = SystemClock.now().after(DELAY);
                let body = json!({ "post_id": post, "connector_ids": [account], "at": at });
                self.request(Method::POST, "/api/publish", Some(&body))
            }
            Endpoint::Enqueue => {
                let ms = u64::try_from(DELAY.as_millis()).unwrap_or(u64::MAX);
                let args = json!({ "dry_run": true });
                let body = json!({ "kind": "data_cleanup", "args": args, "delay_ms": ms });
                self.request(Method::POST, "/api/jobs", Some(&body))
            }
        };
        let answer = request.send().await?;
        let status = answer.status();
        // A body that is not read keeps its connection from the next request.
        answer.bytes().await?;
        Ok(status)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}
