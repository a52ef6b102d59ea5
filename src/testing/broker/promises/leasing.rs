//! What is promised of leases: who holds one decides, and nobody else.

use std::collections::HashSet;
use std::time::Duration;

use super::super::{Harness, LEASE, envelope, worker};
use super::SECOND;
use crate::broker::{Depth, Place, Reap, Settled, Settlement, Then};
use crate::job::JobId;

/// Only the present holder of a lease can end it, and only once.
pub async fn a_settle_with_an_old_token_changes_nothing(on: Harness) {
    on.open().await;
    let id = on.push(on.job(Duration::ZERO)).await;
    let old = on.claim_one("a").await.lease;
    on.advance(LEASE);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap(), [id]);
    let new = on.claim_one("a").await.lease;
    assert!(new.token > old.token);
    assert!(new.token.rank() > old.token.rank());
    let again = Box::new(on.job(SECOND));
    for then in [Then::Gone, Then::Again(again), Then::Back] {
        assert_eq!(on.settle(&old, then).await, Settled::Stale);
    }
    let place = on.broker.find(&on.queue, &[id]).await.unwrap();
    assert_eq!(place, [Some(Place::Running(worker("a")))]);
    let twice = Settlement { lease: new, then: Then::Gone };
    let settled = on.broker.settle(&on.queue, &[twice.clone(), twice]).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Stale]);
}

/// A worker that hangs loses its job, and cannot harm the next one that runs it.
pub async fn an_expired_lease_is_taken_back_and_its_old_holder_is_stale(on: Harness) {
    on.open().await;
    let id = on.push(on.job(Duration::ZERO)).await;
    let first = on.claim_one("a").await;
    assert!(!first.flagged);
    assert_eq!(first.orphaned, 0);
    on.advance(LEASE / 2);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    let before = on.now();
    on.advance(LEASE / 2);
    let by = |time| on.broker.reap(&on.queue, Reap::ExpiredBy(time));
    assert!(by(before).await.unwrap().is_empty(), "it has not expired by then");
    assert_eq!(by(on.now()).await.unwrap(), [id]);
    let held = on.broker.renew(&on.queue, std::slice::from_ref(&first.lease), LEASE).await;
    assert_eq!(held.unwrap().held, [false]);
    let second = on.claim_one("b").await;
    assert!(second.flagged, "it may have run");
    assert_eq!(second.orphaned, 0, "nobody vanished");
    assert_eq!(on.settle(&first.lease, Then::Gone).await, Settled::Stale);
    assert_eq!(on.settle(&second.lease, Then::Gone).await, Settled::Done);
}

/// Renewal keeps a job, and a short renewal does not cut a long lease.
pub async fn a_renewed_lease_lasts_and_is_never_shortened(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let leases = [on.claim_one("a").await.lease];
    on.advance(LEASE - SECOND);
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE).await.unwrap().held, [true]);
    assert_eq!(on.broker.renew(&on.queue, &leases, SECOND).await.unwrap().held, [true]);
    on.advance(LEASE - SECOND);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    on.advance(SECOND);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().len(), 1);
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE).await.unwrap().held, [false]);
}

/// The broker's clock went back an hour: no renewal of an hour ago keeps a job for an hour.
pub async fn a_lease_that_ends_absurdly_late_is_shortened(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let claimed = on.broker.claim(&on.queue, &worker("a"), 1, 360 * LEASE).await.unwrap();
    let leases = [claimed.deliveries[0].lease.clone()];
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE).await.unwrap().held, [true]);
    on.advance(LEASE - SECOND);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    on.advance(2 * SECOND);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().len(), 1);
}

/// A crashed worker's jobs run again at once, and nobody else's are touched.
pub async fn a_vanished_worker_gives_back_its_own_jobs_only(on: Harness) {
    on.open().await;
    on.push_due(6).await;
    let gone: HashSet<JobId> = on.claim("a", 2).await.iter().map(|d| d.lease.id).collect();
    on.claim("aa", 2).await;
    on.claim("b:a", 2).await;
    let held = on.broker.held(&on.queue, &worker("a")).await.unwrap();
    assert!(held.iter().all(|lease| lease.worker == worker("a")));
    assert_eq!(held.iter().map(|lease| lease.id).collect::<HashSet<_>>(), gone);
    let reaped = on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    assert!(on.broker.held(&on.queue, &worker("a")).await.unwrap().is_empty());
    assert_eq!(reaped.into_iter().collect::<HashSet<_>>(), gone);
    let again = on.claim("c", 10).await;
    assert_eq!(again.iter().map(|d| d.lease.id).collect::<HashSet<_>>(), gone);
    assert!(again.iter().all(|delivery| delivery.flagged && delivery.orphaned == 1));
    let depth = on.broker.depth(std::slice::from_ref(&on.queue)).await.unwrap();
    assert_eq!(depth[0].unwrap().running, 6);
}

/// The count of vanished workers stops, outlives a hand-back, and ends with a retry: that run
/// ended in good order.
pub async fn vanished_workers_are_counted_up_to_nine_until_a_run_ends_well(on: Harness) {
    on.open().await;
    let job = on.job(Duration::ZERO);
    on.push(job.clone()).await;
    for vanished in 0..12 {
        let delivery = on.claim_one("a").await;
        assert_eq!(delivery.orphaned, 9.min(vanished));
        assert_eq!(on.settle(&delivery.lease, Then::Back).await, Settled::Done);
        assert_eq!(on.claim_one("a").await.orphaned, 9.min(vanished));
        on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    }
    let lease = on.claim_one("a").await.lease;
    assert_eq!(on.settle(&lease, Then::Again(Box::new(job))).await, Settled::Done);
    assert_eq!(on.claim_one("a").await.orphaned, 0);
}

/// A job that ended leaves nothing, and its id is free again.
pub async fn nothing_is_left_after_a_job_is_gone(on: Harness) {
    on.open().await;
    let job = on.job(Duration::ZERO);
    let id = on.push(job.clone()).await;
    let lease = on.claim_one("a").await.lease;
    assert_eq!(on.settle(&lease, Then::Gone).await, Settled::Done);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [None]);
    let depth = on.broker.depth(std::slice::from_ref(&on.queue)).await.unwrap();
    assert_eq!(depth, [Some(Depth::default())]);
    on.push(job).await;
    assert_eq!(on.claim_one("a").await.orphaned, 0);
}

/// A retry or a snooze.
pub async fn a_job_put_again_waits_for_its_time_in_its_new_shape(on: Harness) {
    on.open().await;
    let job = on.job(Duration::ZERO);
    let id = on.push(job.clone()).await;
    let lease = on.claim_one("a").await.lease;
    let mut again = job;
    again.run_at = on.now().after(60 * SECOND);
    again.failed_attempts = 1;
    let settled = on.settle(&lease, Then::Again(Box::new(again.clone()))).await;
    assert_eq!(settled, Settled::Done);
    assert_eq!(
        on.broker.find(&on.queue, &[id]).await.unwrap(),
        [Some(Place::Delayed(again.run_at))]
    );
    on.advance(59 * SECOND);
    assert!(on.claim("a", 1).await.is_empty());
    on.advance(2 * SECOND);
    let delivery = on.claim_one("a").await;
    assert!(delivery.flagged);
    assert_eq!(delivery.envelope.unwrap().encode(), again.encode());
    let at_once = Then::Again(Box::new(again));
    assert_eq!(on.settle(&delivery.lease, at_once).await, Settled::Done);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Ready)]);
}

/// What a worker cannot read, or must not touch yet.
pub async fn a_job_put_off_waits_for_its_time_as_it_was(on: Harness) {
    on.open().await;
    let id = on.push(envelope(on.now(), 30)).await;
    let lost = on.claim_one("a").await;
    on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    let lease = on.claim_one("a").await.lease;
    let until = on.now().after(60 * SECOND);
    let later = Then::Later(until);
    assert_eq!(on.settle(&lost.lease, later.clone()).await, Settled::Stale);
    assert_eq!(on.settle(&lease, later).await, Settled::Done);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Delayed(until))]);
    on.advance(59 * SECOND);
    assert!(on.claim("a", 1).await.is_empty());
    on.advance(2 * SECOND);
    let delivery = on.claim_one("b").await;
    assert!(delivery.flagged);
    assert_eq!(delivery.orphaned, 1, "a worker vanished before");
    let (before, after) = (lost.envelope.unwrap(), delivery.envelope.unwrap());
    assert_eq!((after.id, after.args.get()), (before.id, before.args.get()));
    assert_eq!(on.settle(&delivery.lease, Then::Later(on.now())).await, Settled::Done);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Ready)]);
}

/// What a draining worker hands back goes to the front, where it was.
pub async fn a_job_given_back_keeps_its_place(on: Harness) {
    on.open().await;
    let first = on.push(envelope(on.now().before(60 * SECOND), 0)).await;
    on.push_due(2).await;
    let delivery = on.claim("a", 1).await.remove(0);
    assert_eq!(delivery.lease.id, first);
    assert_eq!(on.settle(&delivery.lease, Then::Back).await, Settled::Done);
    on.must_be_woken().await;
    let back = on.claim("b", 1).await.remove(0);
    assert_eq!(back.lease.id, first);
    assert!(back.flagged);
    assert_eq!(back.orphaned, 0, "nobody vanished");
    assert_eq!(back.envelope.unwrap().encode(), delivery.envelope.unwrap().encode());
}
