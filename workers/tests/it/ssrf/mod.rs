//! Nothing is sent to where only this machine or its network can reach: what a platform client that
//! was given such an address does is counted in packets, in a network where nothing else happens.

mod alone;
mod closed;
mod inside;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postworks::clock::SystemClock;
use postworks::job::{ErrorClass, JobError};
use postworks_workers::platforms::http::{HttpOptions, Timeouts};
use postworks_workers::platforms::{
    self, Account, Lookup, NetworkPolicy, Outgoing, Platform, Platforms, Prepared, Sought,
};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// Knows what each name leads to: at the first question, and from then on.
#[derive(Default)]
struct Names {
    rows: Vec<(String, [IpAddr; 2])>,
    asked: AtomicUsize,
}

impl Names {
    fn name(mut self, name: impl Into<String>, first: &str, then: &str) -> Self {
        self.rows.push((name.into(), [first, then].map(|ip| ip.parse().unwrap())));
        self
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for Names {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        let row = self.rows.iter().find(|(name, _)| name == host);
        let (_, addresses) = row.ok_or_else(|| io::Error::other(format!("no host {host}")))?;
        Ok(vec![addresses[before.min(1)]])
    }
}

/// Every platform as the product has it, but for names, and for how long it waits for nobody.
fn platforms(allow_loopback: bool, names: &Arc<Names>) -> Platforms {
    let timeouts = Timeouts { connect: Duration::from_millis(200), total: Duration::from_secs(20) };
    let options = HttpOptions::new(NetworkPolicy { allow_loopback })
        .with_timeouts(timeouts)
        .with_lookup(names.clone());
    platforms::all(&options, &SystemClock::shared(), []).unwrap()
}

fn account(base_url: Url) -> Account {
    let connector_id = Uuid::now_v7();
    Account {
        connector_id,
        base_url,
        identifier: "ada".into(),
        remote_id: Some("did:1".into()),
        target: None,
        signed_in_at: None,
    }
}

/// Makes every request that a platform can be asked for; answers the failures.
async fn ask_everything(platform: &dyn Platform, base_url: &Url) -> Vec<JobError> {
    let (account, secret) = (account(base_url.clone()), SecretString::from("s3cret"));
    let created_at = "2026-03-01T09:30:00.250Z".parse().unwrap();
    let post = Outgoing::of_text(Uuid::now_v7(), "Hello".into(), created_at);
    let nothing = Prepared::NOTHING;
    let mut failures = vec![
        platform.sign_in(&account, &secret).await.unwrap_err(),
        platform.refresh(&account, &secret).await.unwrap_err(),
        platform.commit(account.with(&secret), &post, &nothing).await.unwrap_err(),
        platform.posts(account.with(&secret), None).await.unwrap_err(),
    ];
    if platform.descriptor().reconciles {
        let sought = Sought::alone(created_at, created_at);
        let asked = platform.reconcile(account.with(&secret), &post, &nothing, sought).await;
        // Where nothing was prepared there may be nothing to ask for.
        failures.extend(asked.err());
    }
    failures
}

fn is_refused(error: &JobError) -> bool {
    error.class() == ErrorClass::Invalid
}

/// Some have no request for it: tokens that cannot be renewed, posts of which nothing is prepared.
fn is_unasked(error: &JobError) -> bool {
    matches!(error.class(), ErrorClass::AuthRevoked | ErrorClass::Bug)
}
