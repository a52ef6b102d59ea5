//! Workers that are killed.

use std::time::Duration;

use nix::sys::signal::Signal;
use postworks::job::Timestamp;

use crate::fleet::{Fleet, LONG, now_ms, until};

const QUEUE: &str = "post_publication.sandbox";
/// How long a publish takes, in milliseconds: long enough that a worker holds all it may.
const LATENCY_MS: u32 = 200;
/// How soon the jobs of a killed worker run again, at the worst: the promise is about a second,
/// the rest is for a machine that does much else.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_again_and_none_is_lost_or_published_twice() {
    let fleet = Fleet::start().await;
    let mut doomed = fleet.worker(&["--concurrency", "25"]).await;
    let mut other = fleet.worker(&["--concurrency", "25"]).await;
    let accounts = fleet.connect("sandbox", 25).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let publications = fleet.client.publish_many(22, &accounts).await;
    let count = publications.len();
    until("the workers do not have their hands full", LONG, async || {
        fleet.held_by(&doomed, QUEUE).len() >= 25 && fleet.held_by(&other, QUEUE).len() >= 25
    })
    .await;

    // Frozen first, so that what it holds is what it holds when it dies.
    doomed.signal(Signal::SIGSTOP);
    let orphans = fleet.held_by(&doomed, QUEUE);
    let died_at = now_ms();
    doomed.kill9().await;
    fleet.client.until_published(&publications, LONG).await;

    other.must_run();
    fleet.sandbox.journal().must_have_each_once(&publications);
    let mut again = Vec::new();
    for id in &orphans {
        let job = fleet.client.until_job(id, "completed", LONG).await;
        let finished: Timestamp = job["finished_at"].as_str().unwrap().parse().unwrap();
        // What it had settled before it died and not yet let go of ended before.
        let ran_for = finished.as_millis() - died_at - i64::from(LATENCY_MS);
        again.push(Duration::from_millis(ran_for.max(0).unsigned_abs()));
    }
    again.sort();
    let (max, p99) = (again[again.len() - 1], again[(again.len() * 99).div_ceil(100) - 1]);
    println!(
        "{} of {count} jobs were orphaned; they ran again after: p99 {:.2} s, max {:.2} s",
        orphans.len(),
        p99.as_secs_f64(),
        max.as_secs_f64()
    );
    assert!(max < AGAIN_WITHIN, "{again:?}");
}
