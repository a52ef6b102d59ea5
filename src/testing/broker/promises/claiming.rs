//! What is promised of pushes and claims: each job once, the right one first, none early.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Harness, LEASE, envelope, fresh, needs_generation, with_args, worker};
use super::SECOND;
use crate::broker::{BATCH_MAX, Place, Push, Pushed, Settled, Settlement, Then};
use crate::job::{Envelope, JobId};

/// Nothing may be claimed from a queue that nobody opened.
pub async fn claims_are_refused_until_the_queue_is_opened(on: Harness) {
    on.push(on.job(Duration::ZERO)).await;
    let refused = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap_err();
    assert!(needs_generation(&refused), "{refused:?}");
    on.open().await;
    assert_eq!(on.claim("a", 1).await.len(), 1);
}

/// After a bump, every delivery asks the ledger, and every token outranks the old ones.
pub async fn a_new_generation_flags_what_survived(on: Harness) {
    on.open().await;
    on.push_due(2).await;
    on.push(on.job(60 * SECOND)).await;
    let old = on.claim("a", 1).await.remove(0);
    on.broker.open(&on.queue, 3).await.unwrap();
    on.broker.open(&on.queue, 2).await.unwrap(); // too late: nothing happens
    on.push_due(1).await;
    on.advance(120 * SECOND);
    let deliveries = on.claim("b", 10).await;
    let flagged: Vec<bool> = deliveries.iter().map(|delivery| delivery.flagged).collect();
    assert_eq!(flagged, [true, false, true]);
    assert!(deliveries.iter().all(|delivery| delivery.lease.token.generation == 3));
    assert!(deliveries[0].lease.token.rank() > old.lease.token.rank());
    assert_eq!(on.settle(&old.lease, Then::Gone).await, Settled::Done, "leases survive");
}

/// Two workers never run one job at the same time.
pub async fn a_job_is_claimed_once_however_many_workers_ask(on: Harness) {
    on.open().await;
    let pushed: HashSet<JobId> = on.push_due(500).await.into_iter().collect();
    let on = Arc::new(on);
    let claims: Vec<_> = (0..8)
        .map(|number| {
            let on = Arc::clone(&on);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let some = on.claim(&format!("worker{number}"), 7).await;
                    if some.is_empty() {
                        return mine;
                    }
                    mine.extend(some.into_iter().map(|delivery| delivery.lease.id));
                }
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for claim in claims {
        claimed.extend(claim.await.unwrap());
    }
    assert_eq!(claimed.len(), 500);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), pushed);
}

/// A worker is never given more than it has room for.
pub async fn a_claim_takes_no_more_than_it_asked_for(on: Harness) {
    on.open().await;
    on.push_due(5).await;
    assert!(on.claim("a", 0).await.is_empty());
    assert_eq!(on.claim("a", 2).await.len(), 2);
    assert_eq!(on.claim("a", BATCH_MAX * 5).await.len(), 3);
}

/// A job never starts before its time.
pub async fn a_delayed_job_is_never_early(on: Harness) {
    on.open().await;
    let due = on.now().after(10 * SECOND);
    let id = on.push(envelope(due, 3_600)).await;
    assert!(on.claim("a", 1).await.is_empty());
    on.advance(9 * SECOND);
    // The head start is one over other due jobs, not over the clock.
    assert!(on.claim("a", 1).await.is_empty());
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Delayed(due))]);
    on.advance(2 * SECOND);
    let delivery = on.claim_one("a").await;
    assert_eq!(delivery.lease.id, id);
    assert!(!delivery.flagged, "waiting is no reason to ask the ledger");
}

/// A worker sleeps until the next job is due, not longer.
pub async fn the_next_due_time_is_told(on: Harness) {
    on.open().await;
    let soon = on.job(30 * SECOND);
    let due = soon.run_at;
    on.push(on.job(60 * SECOND)).await;
    on.push(soon).await;
    let claimed = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap();
    assert_eq!(claimed.next_due, Some(due));
    assert!(!claimed.more);
    on.advance(120 * SECOND);
    let claimed = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap();
    assert_eq!(claimed.deliveries.len(), 1);
    assert_eq!(claimed.next_due, None, "the other one is due");
    assert!(claimed.more);
}

/// A priority is a head start: it overtakes what is younger, not what waits for long.
pub async fn a_better_priority_goes_first_but_starves_nobody(on: Harness) {
    on.open().await;
    let now = on.now();
    let plain = on.push(envelope(now.before(10 * SECOND), 0)).await;
    let urgent = on.push(envelope(now, 3_600)).await;
    let patient = on.push(envelope(now.before(7_200 * SECOND), 0)).await;
    let delayed = on.push(envelope(now.after(5 * SECOND), 60)).await;
    on.advance(30 * SECOND);
    let order: Vec<JobId> =
        on.claim("a", 10).await.into_iter().map(|delivery| delivery.lease.id).collect();
    assert_eq!(order, [patient, urgent, delayed, plain]);
}

/// A backlog that fell due at once drains, whatever its size.
pub async fn twenty_thousand_waiting_jobs_drain(on: Harness) {
    const JOBS: usize = 20_000;
    on.open().await;
    for _ in 0..JOBS / BATCH_MAX {
        let due = on.now().after(60 * SECOND);
        let jobs: Vec<Push> = (0..BATCH_MAX).map(|_| fresh(envelope(due, 0), on.now())).collect();
        on.broker.push(&on.queue, &jobs).await.unwrap();
    }
    on.advance(120 * SECOND);
    let mut done = HashSet::new();
    loop {
        let claimed = on.broker.claim(&on.queue, &worker("a"), BATCH_MAX, LEASE).await.unwrap();
        if claimed.deliveries.is_empty() {
            assert!(!claimed.more);
            break;
        }
        let gone: Vec<Settlement> = claimed
            .deliveries
            .into_iter()
            .map(|delivery| Settlement { lease: delivery.lease, then: Then::Gone })
            .collect();
        done.extend(gone.iter().map(|settlement| settlement.lease.id));
        let settled = on.broker.settle(&on.queue, &gone).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Done));
    }
    assert_eq!(done.len(), JOBS);
}

/// By the time a late push lands, the relay may have pushed the job, and a worker run it.
pub async fn a_late_push_is_flagged(on: Harness) {
    on.open().await;
    for (flagged, fresh_for, expected) in
        [(false, 60 * SECOND, false), (true, 60 * SECOND, true), (false, SECOND, true)]
    {
        let fresh_until = on.now().after(fresh_for);
        let push = Push { envelope: on.job(Duration::ZERO), flagged, fresh_until };
        on.advance(2 * SECOND);
        on.broker.push(&on.queue, &[push]).await.unwrap();
        let delivery = on.claim_one("a").await;
        assert_eq!(delivery.flagged, expected);
    }
}

/// Pushing again is harmless wherever the job is, also twice in one call.
pub async fn a_push_of_a_held_job_changes_nothing(on: Harness) {
    on.open().await;
    let due = on.job(Duration::ZERO);
    let later = on.job(60 * SECOND);
    on.push(due.clone()).await;
    on.push(later.clone()).await;
    let other = |envelope: &Envelope| fresh(with_args(envelope, "{}"), on.now());
    for place in [Place::Ready, Place::Running(worker("a"))] {
        let twice = [other(&due), other(&later)];
        let pushed = on.broker.push(&on.queue, &twice).await.unwrap();
        assert_eq!(pushed, [Pushed::Held, Pushed::Held]);
        let places = on.broker.find(&on.queue, &[due.id, later.id]).await.unwrap();
        assert_eq!(places, [Some(place.clone()), Some(Place::Delayed(later.run_at))]);
        if place == Place::Ready {
            let claimed = on.claim_one("a").await.envelope.unwrap();
            assert_eq!(claimed.encode(), due.encode());
        }
    }
    let new = fresh(on.job(Duration::ZERO), on.now());
    let pushed = on.broker.push(&on.queue, &[new.clone(), new]).await.unwrap();
    assert_eq!(pushed, [Pushed::Added, Pushed::Held]);
}
