//! Workers that are killed, or freeze.

use std::time::Duration;

use nix::sys::signal::Signal;
use postworks::job::Timestamp;

use crate::fleet::{Client, Fleet, LONG, Process, now_ms, seconds, until};

const QUEUE: &str = "post_publication.sandbox";
/// A worker's places.
const PLACES: usize = 25;
/// How long a publish takes, in milliseconds: long enough that a worker holds all it may.
const LATENCY_MS: u32 = 200;
/// How long it takes where a worker must be met in the middle of its jobs.
const SLOW_MS: u32 = 1_500;
/// How soon the jobs of a killed worker run again, at the worst: the promise is about a second,
/// the rest is for a machine that does much else.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

async fn start_worker(fleet: &Fleet) -> Process {
    fleet.worker(&["--concurrency", &PLACES.to_string()]).await
}

async fn until_full(fleet: &Fleet, worker: &Process) {
    until("the worker has free places", LONG, async || {
        fleet.held_by(worker, QUEUE).len() >= PLACES
    })
    .await;
}

/// How long after `since_ms` each of these jobs ran again, ascending. A run takes as long as a
/// publish; what was settled but still held at that time did not run again, and counts as 0.
async fn ran_again(fleet: &Fleet, jobs: &[String], since_ms: i64, run_ms: u32) -> Vec<Duration> {
    let mut again = Vec::new();
    for id in jobs {
        let job = fleet.client.until_job(id, "completed", LONG).await;
        let finished: Timestamp = job["finished_at"].as_str().unwrap().parse().unwrap();
        let started_ms = finished.as_millis() - i64::from(run_ms);
        again.push(Duration::from_millis((started_ms - since_ms).max(0).unsigned_abs()));
    }
    again.sort();
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_again_and_none_is_lost_or_published_twice() {
    let fleet = Fleet::start().await;
    let mut doomed = start_worker(&fleet).await;
    let mut other = start_worker(&fleet).await;
    let accounts = fleet.connect("sandbox", PLACES).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let publications = fleet.client.publish_many(22, &accounts).await;
    until_full(&fleet, &doomed).await;
    until_full(&fleet, &other).await;

    // Frozen first, so that what it holds is what it holds when it dies.
    doomed.signal(Signal::SIGSTOP);
    let orphans = fleet.held_by(&doomed, QUEUE);
    let died_at = now_ms();
    doomed.kill9().await;
    fleet.client.until_published(&publications, LONG).await;

    other.must_run();
    fleet.sandbox.journal().must_have_each_once(&publications);
    let again = ran_again(&fleet, &orphans, died_at, LATENCY_MS).await;
    let (max, p99) = (again[again.len() - 1], again[(again.len() * 99).div_ceil(100) - 1]);
    println!(
        "{} of {} jobs were orphaned; they ran again after: p99 {}, max {}",
        orphans.len(),
        publications.len(),
        seconds(p99),
        seconds(max)
    );
    assert!(max < AGAIN_WITHIN, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_the_only_worker_run_again_once_another_is_started() {
    let fleet = Fleet::start().await;
    let mut doomed = start_worker(&fleet).await;
    let accounts = fleet.connect("sandbox", PLACES).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let publications = fleet.client.publish_many(2, &accounts).await;
    until_full(&fleet, &doomed).await;
    doomed.signal(Signal::SIGSTOP);
    let orphans = fleet.held_by(&doomed, QUEUE);
    doomed.kill9().await;

    let started_at = now_ms();
    let _successor = start_worker(&fleet).await;
    fleet.client.until_published(&publications, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&publications);
    let again = ran_again(&fleet, &orphans, started_at, LATENCY_MS).await;
    println!(
        "the only worker's jobs ran again {} after its successor's start",
        seconds(again[again.len() - 1])
    );
    assert!(again[again.len() - 1] < AGAIN_WITHIN, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_workers_jobs_run_elsewhere_and_its_late_answers_change_nothing() {
    let mut fleet = Fleet::start().await;
    fleet.set("POSTWORKS__LEASE__DURATION", "1s");
    fleet.set("POSTWORKS__LEASE__RENEW", "200ms");
    let mut frozen = start_worker(&fleet).await;
    let accounts = fleet.connect("sandbox", PLACES).await;
    fleet.sandbox.slow_down(SLOW_MS).await;
    let publications = fleet.client.publish_many(2, &accounts).await;
    // The platform has the requests, so the worker knows of its leases: it may be frozen now.
    until("the worker has sent too little", LONG, async || {
        fleet.sandbox.journal().count(&publications) >= PLACES
    })
    .await;
    frozen.signal(Signal::SIGSTOP);
    let held = fleet.held_by(&frozen, QUEUE);
    let frozen_at = now_ms();
    let _other = start_worker(&fleet).await;
    fleet.client.until_published(&publications, LONG).await;
    let again = ran_again(&fleet, &held, frozen_at, SLOW_MS).await;
    println!(
        "with leases of 1 s, a frozen worker's jobs ran again after {}",
        seconds(again[again.len() - 1])
    );

    frozen.signal(Signal::SIGCONT);
    let pages = Client::new(frozen.url()).http;
    until("the thawed worker still believes that it holds jobs", LONG, async || {
        pages.metric("postworks_leases_lost_total").await > 0.0
    })
    .await;
    fleet.sandbox.journal().must_have_each_once(&publications);
    // It is a good worker again: the other has no place for so much. How much of it comes to this one
    // depends on how fast the jobs come.
    let more = fleet.client.publish_many(4, &accounts).await;
    until("the thawed worker takes no jobs", LONG, async || {
        !fleet.held_by(&frozen, QUEUE).is_empty()
    })
    .await;
    fleet.client.until_published(&more, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&more);
    frozen.must_run();
}
