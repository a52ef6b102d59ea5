//! The platform that jobs talk to: the sandbox, as slow and as unreliable as the profile says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use postworks_workers::store::{NewConnector, Store};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::child::Child;
use crate::loadtest::profile;
use crate::sandbox::{Entry, Op};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Accounts that are connected at the same time.
const AT_ONCE: usize = 8;
/// What it says of a post that it refuses because it was asked to.
pub(crate) const REFUSAL: &str = "refused, as the load test asked for";
/// Tokens outlive every test: when they end is not what is measured.
const TOKEN_TTL_S: u32 = 7 * 24 * 3_600;

/// The sandbox, in a process of its own.
pub(crate) struct Platform {
    process: Child,
    journal: PathBuf,
    client: reqwest::Client,
}

/// What the platform published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// Publications.
    pub(crate) once: u64,
    /// Of them, those that are there more than once.
    pub(crate) twice: u64,
}

#[derive(Deserialize)]
struct NewAccount {
    refresh_token: SecretString,
}

impl Platform {
    pub(super) fn new(process: Child, journal: PathBuf) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { process, journal, client })
    }

    /// Makes so many accounts and connects them.
    pub(super) async fn connect(&self, store: &Store, count: u32) -> anyhow::Result<Vec<Uuid>> {
        let base_url = Url::parse(self.process.url())?;
        let each = (0..count).map(|n| {
            let base_url = base_url.clone();
            async move {
                let identifier = format!("loadtest-{n:05}");
                let account = json!({ "handle": identifier, "token_ttl_s": TOKEN_TTL_S });
                let url = format!("{}/accounts", self.process.url());
                let made = self.client.post(url).json(&account).send().await?.error_for_status()?;
                let NewAccount { refresh_token } = made.json().await?;
                let platform = "sandbox".to_owned();
                let new = NewConnector {
                    platform,
                    base_url,
                    identifier,
                    target: None,
                    secret: refresh_token,
                };
                anyhow::Ok(store.add_connector(new).await?.id)
            }
        });
        stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Is as slow and as unreliable as that from now on; the dice follow from the seed.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn behave(&self, like: &profile::Platform, seed: u64) -> anyhow::Result<()> {
        let rules = rules(like);
        self.rule(json!({ "seed": seed, "rules": rules })).await
    }

    /// Takes so long for each call, and fails never.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn take(&self, span: Duration) -> anyhow::Result<()> {
        let ms = span.as_secs_f64() * 1_000.0;
        let latency = json!({ "p50": ms, "p99": ms });
        let rule = json!({ "op": "*", "action": "latency", "latency_ms": latency });
        self.rule(json!({ "rules": [rule] })).await
    }

    async fn rule(&self, rules: Value) -> anyhow::Result<()> {
        let url = format!("{}/_control/faults", self.process.url());
        self.client.put(url).json(&rules).send().await?.error_for_status()?;
        Ok(())
    }

    /// What it has published so far.
    ///
    /// # Errors
    /// Its journal cannot be read.
    pub(crate) fn published(&self) -> anyhow::Result<Published> {
        let text = std::fs::read_to_string(&self.journal).context("the sandbox's journal")?;
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut copies: HashMap<String, u64> = HashMap::new();
        for line in whole.lines() {
            let entry: Entry = serde_json::from_str(line)?;
            if entry.op == Op::Publish {
                *copies.entry(entry.client_ref.unwrap_or(entry.id)).or_default() += 1;
            }
        }
        let twice = copies.values().filter(|copies| **copies > 1).count() as u64;
        Ok(Published { once: copies.len() as u64, twice })
    }
}

/// The rules of such a platform: faults first, since the first rule that hits wins. A refresh is
/// never cut off after it was applied: with strict rotation that would cost the account.
fn rules(like: &profile::Platform) -> Value {
    let part = |percent: f64| percent / 100.0;
    let (transient, limited) = (part(like.transient_percent), part(like.limited_percent));
    // Of a publish that fails for now, three in ten have been applied nevertheless.
    let error = |op: &str, p: f64| json!({ "op": op, "p": p, "action": "error", "status": 503 });
    let slow = |op: &str, p50: Duration, p99: Duration| {
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        let latency = json!({ "p50": ms(p50), "p99": ms(p99) });
        json!({ "op": op, "action": "latency", "latency_ms": latency })
    };
    let refused = json!({ "op": "publish", "p": part(like.permanent_percent), "action": "error",
        "status": 422, "message": REFUSAL });
    json!([
        refused,
        { "op": "publish", "p": limited, "action": "rate_limit", "headers": { "retry-after": 1 } },
        { "op": "publish", "p": transient * 0.3, "action": "drop_after" },
        { "op": "publish", "p": transient * 0.3, "action": "drop_before" },
        error("publish", transient * 0.4),
        error("refresh", transient),
        { "op": "list", "p": transient * 0.5, "action": "drop_before" },
        error("list", transient * 0.5),
        slow("publish", like.publish_p50, like.publish_p99),
        slow("refresh", like.refresh_p50, like.refresh_p99),
        slow("list", like.list_p50, like.list_p99),
    ])
}
