//! A Redis that loses its memory while workers publish to a platform that cannot be asked whether
//! a post is there: the worst place for a job to be run by a second worker.

use std::time::Instant;

use crate::fleet::{Fleet, LONG, seconds, until};

const QUEUE: &str = "post_publication.sandbox_blind";
const ACCOUNTS: usize = 20;
/// Each worker has room for more than half of the posts, and so for some of the other's.
const PLACES: &str = "40";
/// How long a publish takes, in milliseconds: both workers are in the middle of theirs.
const SLOW_MS: u32 = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn posts_on_their_way_when_redis_is_wiped_are_published_once_and_none_is_dead() {
    let fleet = Fleet::start().await;
    let flags = ["--concurrency", PLACES];
    let mut workers = [fleet.worker(&flags).await, fleet.worker(&flags).await];
    let accounts = fleet.connect("sandbox_blind", ACCOUNTS).await;
    // Each account has had a first post by now.
    let earlier = fleet.sandbox.journal().posts();
    fleet.sandbox.slow_down(SLOW_MS).await;
    let publications = fleet.client.publish_many(3, &accounts).await;
    let published = || fleet.sandbox.journal().posts() - earlier;
    until("the work does not start", LONG, async || published() >= ACCOUNTS / 2).await;
    let running: usize = workers.iter().map(|worker| fleet.held_by(worker, QUEUE).len()).sum();
    assert!(running > 0, "nothing runs: the test proves nothing");
    fleet.redis.command("FLUSHALL");
    let wiped = Instant::now();
    fleet.client.until_published(&publications, LONG).await;
    println!(
        "Redis wiped under {running} running posts: the last was published after {}",
        seconds(wiped.elapsed())
    );
    // Each was published, and there are no more posts than publications.
    assert_eq!(published(), publications.len());
    let dead = fleet.client.jobs("dead").await;
    assert!(dead.is_empty(), "{dead:?}");
    workers.iter_mut().for_each(crate::fleet::Process::must_run);
}
