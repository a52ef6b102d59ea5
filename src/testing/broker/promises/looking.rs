//! What is promised to those who look, and of removal and bulkheads.

use std::time::Duration;

use super::super::{Harness, LEASE, envelope, needs_generation, queue, worker};
use super::SECOND;
use crate::broker::{Depth, Presence, Ran, Removed, Settled, Settlement, Then};

/// A due job counts as due even before a claim has looked at it.
pub async fn depth_counts_every_place_and_knows_the_oldest(on: Harness) {
    on.open().await;
    let other = queue("data_cleanup");
    on.push_due(3).await;
    on.claim("a", 1).await;
    on.push(envelope(on.now().before(50 * SECOND), 3_600)).await;
    on.push(on.job(10 * SECOND)).await;
    on.push(on.job(600 * SECOND)).await;
    on.advance(30 * SECOND);
    let depths = on.broker.depth(&[other, on.queue.clone()]).await.unwrap();
    assert_eq!(depths[0], Some(Depth::default()));
    let depth = depths[1].unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.running), (4, 1, 1));
    let age = depth.oldest_ready_age;
    assert!(age >= 80 * SECOND && age < 100 * SECOND, "{age:?}");
}

/// Who does not say again that it lives is not believed, and is no reason to forget others.
pub async fn a_process_is_known_until_it_leaves_or_falls_silent(on: Harness) {
    let said = |metrics: &str| Presence {
        role: "worker".to_owned(),
        metrics: Some(metrics.to_owned()),
        slots: 7,
        queues: [(on.queue.clone(), Ran { runs: 2.5, seconds: 0.125 })].into(),
    };
    let (first, second) = (said("host:1"), said("host:2"));
    assert_eq!(on.broker.roster().await.unwrap(), []);
    on.broker.announce(&worker("a"), &said("host:0"), LEASE).await.unwrap();
    on.broker.announce(&worker("a"), &first, LEASE).await.unwrap();
    on.advance(6 * SECOND);
    on.broker.announce(&worker("b"), &second, LEASE).await.unwrap();
    let mut known = on.broker.roster().await.unwrap();
    known.sort_by_key(|said| said.metrics.clone());
    assert_eq!(known, [first.clone(), second.clone()]);
    on.advance(6 * SECOND);
    assert_eq!(on.broker.roster().await.unwrap(), [second]);
    on.broker.announce(&worker("a"), &first, LEASE).await.unwrap();
    on.broker.leave(&worker("b")).await.unwrap();
    on.broker.leave(&worker("b")).await.unwrap();
    assert_eq!(on.broker.roster().await.unwrap(), [first]);
}

/// Cancelling succeeds for a job that waits, and says so when it does not.
pub async fn a_waiting_job_can_be_removed_and_a_running_one_cannot(on: Harness) {
    on.open().await;
    let due = on.push(on.job(Duration::ZERO)).await;
    let later = on.push(on.job(60 * SECOND)).await;
    for id in [due, later] {
        assert_eq!(on.broker.remove(&on.queue, id).await.unwrap(), Removed::Removed);
        assert_eq!(on.broker.remove(&on.queue, id).await.unwrap(), Removed::Absent);
    }
    let running = on.push(on.job(Duration::ZERO)).await;
    let lease = on.claim_one("a").await.lease;
    assert_eq!(on.broker.remove(&on.queue, running).await.unwrap(), Removed::Running);
    assert_eq!(on.settle(&lease, Then::Gone).await, Settled::Done);
    on.advance(120 * SECOND);
    assert!(on.claim("a", 10).await.is_empty());
}

/// Each queue has its own jobs, generation and leases.
pub async fn queues_do_not_see_each_other(on: Harness) {
    on.open().await;
    let other = queue("connector_sync.other");
    let id = on.push(on.job(Duration::ZERO)).await;
    let refused = on.broker.claim(&other, &worker("a"), 1, LEASE).await.unwrap_err();
    assert!(needs_generation(&refused));
    on.broker.open(&other, 9).await.unwrap();
    let claimed = on.broker.claim(&other, &worker("a"), 1, LEASE).await.unwrap();
    assert!(claimed.deliveries.is_empty());
    assert_eq!(on.broker.find(&other, &[id]).await.unwrap(), [None]);
    let lease = on.claim_one("a").await.lease;
    assert_eq!(lease.token.generation, 1);
    let settlement = Settlement { lease, then: Then::Gone };
    let settled = on.broker.settle(&other, std::slice::from_ref(&settlement)).await.unwrap();
    assert_eq!(settled, [Settled::Stale]);
    assert_eq!(on.broker.settle(&on.queue, &[settlement]).await.unwrap(), [Settled::Done]);
}

/// An idle worker asks no more than this.
pub async fn only_an_open_queue_where_nothing_waits_is_still(on: Harness) {
    let queues = [on.queue.clone(), queue("data_cleanup")];
    assert!(on.broker.stirs(&queues).await.unwrap(), "neither was opened");
    on.open().await;
    assert!(on.broker.stirs(&queues).await.unwrap(), "one was not opened");
    on.broker.open(&queues[1], 1).await.unwrap();
    assert!(on.broker.stirs(&queues).await.unwrap(), "the ledger may have more");
    let refill = on.broker.begin_refill(&queues[1], SECOND).await.unwrap().unwrap();
    on.broker.end_refill(&queues[1], &refill, None).await.unwrap();
    assert!(!on.broker.stirs(&queues).await.unwrap());
    assert!(!on.broker.leased(&queues).await.unwrap());
    on.push(on.job(Duration::from_secs(60))).await;
    assert!(on.broker.stirs(&queues).await.unwrap(), "a job will fall due");
    on.advance(Duration::from_secs(61));
    let lease = on.claim_one("a").await.lease;
    assert!(!on.broker.stirs(&queues).await.unwrap());
    assert!(on.broker.leased(&queues).await.unwrap());
    on.settle(&lease, Then::Gone).await;
    assert!(!on.broker.leased(&queues).await.unwrap());
}

/// Of many nodes one does the chore, and when its term is over any may be next.
pub async fn a_chore_is_given_to_one_in_each_term(on: Harness) {
    let term = Duration::from_millis(50);
    let start = std::time::Instant::now();
    assert!(on.broker.elect("a", term).await.unwrap());
    assert!(on.broker.elect("b", 1_000 * term).await.unwrap(), "another chore");
    while !on.broker.elect("a", term).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(start.elapsed() >= term - Duration::from_millis(2), "{:?}", start.elapsed());
    assert!(!on.broker.elect("b", term).await.unwrap());
}

/// How many jobs go before a job that waits is told, and of others that it is not.
pub async fn a_waiting_job_knows_how_many_are_before_it(on: Harness) {
    on.open().await;
    let first = on.push(envelope(on.now().before(2 * SECOND), 0)).await;
    let second = on.push(envelope(on.now().before(SECOND), 0)).await;
    let later = on.push(on.job(60 * SECOND)).await;
    for (id, ahead) in [(first, Some(0)), (second, Some(1)), (later, None)] {
        assert_eq!(on.broker.ahead_of(&on.queue, id).await.unwrap(), ahead);
    }
    on.claim("a", 1).await;
    assert_eq!(on.broker.ahead_of(&on.queue, second).await.unwrap(), Some(0));
    assert_eq!(on.broker.ahead_of(&on.queue, first).await.unwrap(), None);
}

/// Whether anybody works on a queue can be asked.
pub async fn a_queue_is_served_while_a_worker_says_so(on: Harness) {
    let queues = [on.queue.clone(), crate::testing::broker::queue("other")];
    assert_eq!(on.broker.served(&queues).await.unwrap(), [0, 0]);
    let worker = on.broker.dedicated().await.unwrap();
    worker.serves(&queues[..1]);
    worker.ping().await.unwrap();
    assert_eq!(on.broker.served(&queues).await.unwrap(), [1, 0]);
}
