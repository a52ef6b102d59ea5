//! The demo's world: a sandbox platform with accounts and faults, and a node connected to them.

use std::time::Duration;

use postworks::config::{Config, Environment, Sources};
use postworks::job::{JobId, Request};
use postworks_workers::node::Node;
use postworks_workers::store::{NewConnector, Publish};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::cli::failure::{Exit, Failure};
use crate::sandbox::{self, Running};

/// Accounts on the platform: enough that two walks over the same account rarely meet.
const ACCOUNTS: usize = 100;
/// Answers take this long, in milliseconds: 1 in 100 as long as the second figure.
const LATENCY: (u32, u32) = (5, 60);

/// A platform, and a node connected to it.
pub(super) struct World {
    pub(super) node: Node,
    pub(super) platform: Running,
    pub(super) accounts: Vec<Uuid>,
    _folder: TempDir,
}

#[derive(Deserialize)]
struct NewAccount {
    refresh_token: SecretString,
}

impl World {
    /// Starts everything in a temporary folder; the faults follow from `seed`.
    pub(super) async fn start(seed: u64) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("postworks-demo-").tempdir()?;
        let journal = Some(folder.path().join("journal.ndjson"));
        let platform = sandbox::serve(sandbox::Options { journal, ..Default::default() })
            .await
            .map_err(broken)?;
        // Neither the user's configuration nor his environment: the demo shows the defaults.
        let mut config = Config::load(&Sources::default())?;
        // It counts its jobs: none comes by itself.
        config.retention.cleanup = None;
        config.sync.every = Duration::ZERO;
        let environment = Environment::read(|_| None)?;
        let node = Node::embedded(folder.path(), config, &environment)
            .await
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let mut world = Self { node, platform, accounts: Vec::new(), _folder: folder };
        world.connect_accounts().await?;
        world.arm_faults(seed).await?;
        Ok(world)
    }

    async fn connect_accounts(&mut self) -> Result<(), Failure> {
        let client = client()?;
        for n in 0..ACCOUNTS {
            let handle = format!("demo-{n:03}");
            let account: NewAccount = client
                .post(format!("{}/accounts", self.platform.url()))
                .json(&json!({ "handle": handle, "token_ttl_s": 3_600 }))
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
                .map_err(broken)?
                .json()
                .await
                .map_err(broken)?;
            let connector = NewConnector {
                platform: "sandbox".to_owned(),
                base_url: Url::parse(&self.platform.url()).map_err(broken)?,
                identifier: handle,
                target: None,
                secret: account.refresh_token,
            };
            let connected = self.node.store.add_connector(connector).await.map_err(broken)?;
            self.accounts.push(connected.id);
        }
        Ok(())
    }

    /// Five requests in a hundred fail, in the ways that real platforms do. A refresh is never
    /// cut off after it was applied: with strict rotation that costs the account.
    async fn arm_faults(&self, seed: u64) -> Result<(), Failure> {
        let latency = json!({ "p50": LATENCY.0, "p99": LATENCY.1 });
        let rules = json!([
            { "op": "publish", "p": 0.02, "action": "error" },
            { "op": "publish", "p": 0.015, "action": "drop_after" },
            { "op": "publish", "p": 0.01, "action": "drop_before" },
            { "op": "publish", "p": 0.005, "action": "rate_limit" },
            { "op": "refresh", "p": 0.05, "action": "error" },
            { "op": "list", "p": 0.03, "action": "error" },
            { "op": "list", "p": 0.02, "action": "drop_before" },
            { "op": "*", "action": "latency", "latency_ms": latency },
        ]);
        client()?
            .put(format!("{}/_control/faults", self.platform.url()))
            .json(&json!({ "seed": seed, "rules": rules }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(broken)?;
        Ok(())
    }

    /// Schedules `count` publications, until `stop`: a post for every account, and again; answers
    /// the jobs.
    pub(super) async fn publish(
        &self,
        count: usize,
        stop: &CancellationToken,
    ) -> Result<Vec<JobId>, Failure> {
        let mut jobs = Vec::with_capacity(count);
        for (n, accounts) in spread(&self.accounts, count).enumerate() {
            if stop.is_cancelled() {
                break;
            }
            let text = format!("post {n} of the demo");
            let post_id = self.node.store.add_post(&text).await.map_err(broken)?;
            let publish = Publish {
                post_id,
                connector_ids: accounts.to_vec(),
                at: None,
                window: None,
                reply: None,
            };
            let prepare = |request: Request| self.node.producer.prepare(request);
            let scheduled = self.node.store.publish(&publish, prepare).await.map_err(broken)?;
            jobs.extend(scheduled.iter().map(|row| row.job.id));
            self.node.producer.dispatch(scheduled.into_iter().map(|row| row.job).collect());
        }
        Ok(jobs)
    }

    /// Stops the platform; the folder goes with the value.
    pub(super) async fn end(self) {
        self.platform.shutdown().await;
    }
}

/// `count` accounts in groups of all of them, the last group smaller.
fn spread(accounts: &[Uuid], count: usize) -> impl Iterator<Item = &[Uuid]> {
    let groups = count.div_ceil(accounts.len().max(1));
    (0..groups).map(move |group| {
        let rest = count - group * accounts.len();
        accounts.get(..rest.min(accounts.len())).unwrap_or_default()
    })
}

fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(10))
        .no_proxy()
        .build()
        .map_err(broken)
}

pub(super) fn broken(error: impl std::error::Error) -> Failure {
    Failure::new(Exit::Failed, crate::api::chain(&error))
}
