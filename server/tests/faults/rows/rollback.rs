//! R2: Redis loses its last second, as it does when the machine loses power.
//!
//! A killed Redis loses nothing: what it answered is in the system's memory. So the file is put
//! back to what it was a while ago, which is what a disk has that was not told to sync.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::redis::{lost, next_claim};
use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, now_ms, until};
use crate::run::Run;
use crate::world::{Account, Plan, World, tally};

const POST_QUEUE: &str = "post_publication.sandbox";
const SYNC_QUEUE: &str = "connector_sync.sandbox";
const FLAGS: [&str; 2] = ["--concurrency", "10"];
const ACCOUNTS: usize = 20;
/// Of each account, within what is lost. The last to end would find its work done if it ran again.
const SYNCS: usize = 2;

/// What the broker holds of a queue.
fn held(world: &World, queue: &str) -> u64 {
    let of_queue = |(key, _): &(String, u64)| key.contains(&format!("{{{queue}}}"));
    world.broker_entries().into_iter().filter(of_queue).map(|(_, entries)| entries).sum()
}

pub(crate) async fn power_loss(run: Run) {
    let mut world = run.world(Plan { durable_redis: true, ..Plan::default() }).await;
    let workers = [world.worker("one", &FLAGS).await, world.worker("two", &FLAGS).await];
    let accounts = world.connect("sandbox", ACCOUNTS).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    world.fleet.sandbox.slow_down(40).await;
    let syncs = world.platform.set_trap(tally("GET /posts"));

    let sent = world.publish_calls.count();
    world.journal.publish_many("before the copy", 6, &accounts).await;
    // With a bug in it may not be sent.
    until("nothing of it is pushed", LONG, async || {
        world.publish_calls.count() > sent || held(&world, POST_QUEUE) > 0
    })
    .await;
    // In Redis when it is copied, and ended when it is put back.
    let sync = |round: usize, account: &Account| {
        json!({
            "kind": "connector_sync",
            "args": { "connector_id": account.connector },
            "delay_ms": 5_000 + 1_000 * round,
        })
    };
    let later: Vec<Value> = (0..SYNCS)
        .flat_map(|round| accounts.iter().map(move |account| sync(round, account)))
        .collect();
    world.journal.enqueue_bulk(&later, "syncs").await;
    // Each is held twice: with the jobs, and with those that are due later.
    let entries = 2 * (SYNCS * ACCOUNTS) as u64;
    until("syncs are not pushed", LONG, async || held(&world, SYNC_QUEUE) >= entries).await;
    let files = world.fleet.redis.folder().join("appendonlydir");
    let kept = world.fleet.redis.copy_of_disk();
    assert_eq!(syncs.count(), 0, "syncs ran before the copy");
    world.journal.publish_many("after the copy", 6, &accounts).await;
    let ended = world.quiet(LONG).await;
    run.must(ended, Invariant::I9, "the load did not come to its end");
    let asked = syncs.count();

    block_in_place(|| world.fleet.redis.roll_back(&kept));
    let back_ms = now_ms();
    world.journal.publish_many("after the loss", 4, &accounts).await;
    world.quiet(LONG).await;
    // What has come back from the dead is gone once nothing of it waits any more.
    until("what came back is not looked at", LONG, async || held(&world, SYNC_QUEUE) == 0).await;
    let again = syncs.count() - asked;
    run.must(again == 0, Invariant::I4, format!("jobs that had ended ran again: {again} requests"));

    // A file that ends in the middle of a command.
    world.journal.publish_many("before the tear", 4, &accounts).await;
    block_in_place(|| world.fleet.redis.kill9());
    tear(&files);
    block_in_place(|| world.fleet.redis.resume());
    world.journal.publish("after the tear", &accounts).await;

    let allowed = Allowed { extra_calls: Some(40), ..Allowed::default() };
    let history = run.check(&world, &[&workers[0], &workers[1]], true, &allowed).await;
    let first = next_claim(&history, back_ms).unwrap_or(LONG);
    run.time("Redis lost a second: first job", first, 2.0);
    run.figure("accepted jobs lost, power loss", lost(&history), 0.0, "jobs");
    run.figure("ended jobs that ran again, power loss", again as f64, 0.0, "requests");
}

/// Cuts some bytes off the newest file.
fn tear(files: &Path) {
    let appended = fs::read_dir(files).expect("Redis' own folder").flatten();
    let newest = appended
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    let newest = newest.max().expect("an append-only file");
    let file = fs::OpenOptions::new().write(true).open(newest).expect("an append-only file");
    let length = file.metadata().expect("a file").len();
    file.set_len(length.saturating_sub(7)).expect("a shorter file");
}
