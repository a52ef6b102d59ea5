//! A worker that synchronises is killed again and again while posts arrive: nothing is missing in the
//! end, and nothing is there twice.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use postworks::job::SyncStream;
use postworks_server::sandbox::Op;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use uuid::Uuid;

use crate::fleet::{Fleet, Http, LONG, until};

const QUEUE: &str = "connector_sync.sandbox";
/// So often a worker is killed, and so many walks of theirs are cut between two pages, at least.
const KILLS: usize = 50;
/// Posts that arrive on each account between two kills: three pages and more.
const BURST: usize = 160;
/// How long a page takes, in milliseconds.
const PAGE_MS: u32 = 25;
/// How long after a walk began its worker is killed at most, in milliseconds: about as long as it takes.
const KILLED_WITHIN_MS: u64 = 200;

/// An account on the platform, and here.
struct Account {
    /// The platform's id of it.
    remote: String,
    /// Posts as it.
    author: Http,
    connector: Uuid,
}

async fn account(fleet: &Fleet, handle: &str) -> Account {
    let platform = Http::new(fleet.sandbox.url());
    let made =
        platform.post("/accounts", &json!({ "handle": handle, "token_ttl_s": 86_400 })).await;
    let made = made.expect(201);
    let said = |field: &str| made[field].as_str().unwrap().to_owned();
    let connector = json!({ "platform": "sandbox", "base_url": fleet.sandbox.url(),
        "identifier": handle, "secret": said("refresh_token") });
    let connector = fleet.client.http.post("/api/connectors", &connector).await.expect(201);
    Account {
        remote: said("account"),
        author: Http::with_key(fleet.sandbox.url(), &said("access_token")),
        connector: connector["id"].as_str().unwrap().parse().unwrap(),
    }
}

async fn arrive(accounts: &[Account], round: usize) {
    let posts = (0..BURST).flat_map(|n| accounts.iter().map(move |account| (account, n)));
    let posting = posts.map(|(account, n)| async move {
        let text = json!({ "text": format!("no. {n} of round {round}") });
        account.author.post("/posts", &text).await.expect(201);
    });
    stream::iter(posting).buffer_unordered(8).collect::<()>().await;
}

async fn enqueue(fleet: &Fleet, account: &Account) -> String {
    let job = json!({ "kind": "connector_sync", "args": { "connector_id": account.connector } });
    let made = fleet.client.http.post("/api/jobs", &job).await.expect(202);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_killed_fifty_times_while_posts_arrive_leaves_no_gap_and_no_duplicate() {
    let seed = std::env::var("POSTWORKS_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("POSTWORKS_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    // Each walk ends where the last one began, so that no later one makes up for what another missed.
    let fleet = Fleet::start_with(&[("POSTWORKS__SYNC__LOOK_BACK", "0s")]).await;
    let mut accounts = Vec::new();
    for handle in ["ada", "bob"] {
        accounts.push(account(&fleet, handle).await);
    }
    let latency = json!({ "p50": PAGE_MS, "p99": 2 * PAGE_MS });
    let slow = json!([{ "op": "list", "action": "latency", "latency_ms": latency }]);
    fleet.sandbox.faults(slow).await;
    // A worker that dies between a platform's new tokens and their commit loses the account, on a platform
    // with strict rotation: so they have their tokens before.
    let mut first = fleet.worker(&[]).await;
    for account in &accounts {
        let job = enqueue(&fleet, account).await;
        fleet.client.until_job(&job, "completed", LONG).await;
    }
    first.kill9().await;
    let store = fleet.store();
    let (mut round, mut in_the_middle) = (0, 0);
    while round < KILLS || in_the_middle < KILLS {
        assert!(round < 4 * KILLS, "of {round} kills only {in_the_middle} cut a walk");
        let mut worker = fleet.worker(&[]).await;
        let posting = arrive(&accounts, round);
        let killing = async {
            for account in &accounts {
                enqueue(&fleet, account).await;
            }
            until("the worker walks", LONG, async || !fleet.held_by(&worker, QUEUE).is_empty())
                .await;
            // Any moment of the walk: that moment is the subject.
            let moment = Duration::from_millis(dice.random_range(0..KILLED_WITHIN_MS));
            tokio::time::sleep(moment).await;
            worker.kill9().await;
        };
        tokio::join!(posting, killing);
        for account in &accounts {
            let cursor = store.cursor(account.connector, SyncStream::Posts).await.unwrap();
            in_the_middle += usize::from(cursor.page_token.is_some());
        }
        round += 1;
    }
    let _survivor = fleet.worker(&[]).await;
    // Once for the walks that are under way, and once for what is above them.
    for _ in 0..2 {
        for account in &accounts {
            let job = enqueue(&fleet, account).await;
            fleet.client.until_job(&job, "completed", LONG).await;
        }
    }
    let journal = fleet.sandbox.journal();
    for account in &accounts {
        let published = journal
            .0
            .iter()
            .filter(|entry| entry.op == Op::Publish && entry.account == account.remote);
        let published: BTreeMap<String, String> =
            published.map(|entry| (entry.id.clone(), entry.text.clone().unwrap())).collect();
        let found = store.remote_texts(account.connector).await.unwrap();
        let rows = found.len();
        let found: BTreeMap<String, String> = found.into_iter().collect();
        assert_eq!(rows, found.len(), "a post is there twice");
        let missing: Vec<_> = published.keys().filter(|id| !found.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} of {} are missing", missing.len(), published.len());
        assert_eq!(found, published);
        assert_eq!(rows, round * BURST);
    }
    println!(
        "{round} kills, {in_the_middle} walks were between two pages; {} posts each",
        round * BURST
    );
}
