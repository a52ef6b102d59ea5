//! Workers that are told to stop.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fleet::{Fleet, LONG, Process, Publication, seconds, until};

const QUEUE: &str = "post_publication.sandbox";
/// A worker's places.
const PLACES: usize = 10;
/// Jobs that end within the grace take this long, in milliseconds.
const LATENCY_MS: u32 = 300;
/// A worker that lets go of its jobs is gone within this, beside its grace.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A worker with its hands full, told how long it may take to empty them.
async fn busy(fleet: &Fleet, grace: &str) -> Process {
    let places = PLACES.to_string();
    // One queue alone has every place.
    let flags = ["--concurrency", &places, "--grace", grace, "--queues", QUEUE];
    let worker = fleet.worker(&flags).await;
    until("the worker has free places", LONG, async || {
        fleet.held_by(&worker, QUEUE).len() >= PLACES
    })
    .await;
    worker
}

/// Fails the test if a job has more than the one attempt that did it.
async fn must_have_burnt_none(fleet: &Fleet, publications: &[Publication]) {
    for publication in publications {
        let job = fleet.client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "{job}");
    }
}

/// A fleet with more work than one worker can hold, and none at work.
async fn piled_up(rules: serde_json::Value) -> (Fleet, Vec<Publication>) {
    let fleet = Fleet::start().await;
    let mut first = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", PLACES).await;
    first.kill9().await;
    fleet.sandbox.faults(rules).await;
    let publications = fleet.client.publish_many(4, &accounts).await;
    (fleet, publications)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_exits_0_within_its_grace_and_burns_no_attempt() {
    let latency = json!({ "p50": LATENCY_MS, "p99": LATENCY_MS });
    // Three requests are never answered: their jobs outlast any grace.
    let rules = json!([
        { "op": "publish", "action": "hang", "times": 3 },
        { "op": "publish", "action": "latency", "latency_ms": latency },
    ]);
    let (fleet, publications) = piled_up(rules).await;
    let mut worker = busy(&fleet, "2s").await;
    worker.signal(Signal::SIGTERM);
    let told = Instant::now();
    let (status, said) = worker.ended(Duration::from_secs(2) + AT_ONCE).await;
    println!("drained with hanging jobs and a grace of 2 s after {}", seconds(told.elapsed()));
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    assert_eq!(fleet.held_by(&worker, QUEUE), Vec::<String>::new());
    let open = fleet.client.jobs("ready").await.len();
    assert!(open >= publications.len() - 2 * PLACES, "it went on claiming: {open} are left");

    // Without anything that hangs, nobody waits for the end of the grace.
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let mut worker = busy(&fleet, "20s").await;
    worker.signal(Signal::SIGTERM);
    let told = Instant::now();
    let (status, _) = worker.ended(AT_ONCE).await;
    println!("drained with jobs of {LATENCY_MS} ms after {}", seconds(told.elapsed()));
    assert_eq!(status.code(), Some(0));

    let _successor = fleet.worker(&[]).await;
    fleet.client.until_published(&publications, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&publications);
    must_have_burnt_none(&fleet, &publications).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_twice_lets_go_at_once_and_hands_its_jobs_back() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let hang = json!([{ "op": "publish", "action": "hang" }]);
        let (fleet, publications) = piled_up(hang).await;
        let posts = || fleet.sandbox.journal().posts();
        let before = posts();
        let mut worker = busy(&fleet, "60s").await;
        // What has not sent yet gives up by itself, and would leave nothing to let go of.
        until("requests do not arrive", LONG, async || posts() >= before + PLACES).await;
        let held = fleet.held_by(&worker, QUEUE);
        worker.signal(signal);
        until("it does not drain", LONG, async || worker.log().contains("draining")).await;
        worker.signal(signal);
        let told = Instant::now();
        let (status, _) = worker.ended(AT_ONCE).await;
        println!("{signal} twice: gone after {}", seconds(told.elapsed()));
        assert_eq!(status.code(), Some(code));
        for id in held {
            let job = fleet.client.job(&id).await;
            assert_eq!(job["state"], "ready", "not handed back: {job}");
        }
        fleet.sandbox.faults(json!([])).await;
        let _successor = fleet.worker(&[]).await;
        fleet.client.until_published(&publications, LONG).await;
        fleet.sandbox.journal().must_have_each_once(&publications);
        must_have_burnt_none(&fleet, &publications).await;
    }
}
