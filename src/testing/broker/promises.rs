//! What every broker promises.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Harness, LEASE, envelope, fresh, needs_generation, queue, with_args, worker};
use crate::broker::{
    BATCH_MAX, Depth, Place, Push, Pushed, Reap, Removed, Settled, Settlement, Then,
};
use crate::job::{Envelope, JobId};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing may be claimed from a queue that nobody opened.
pub async fn claims_are_refused_until_the_queue_is_opened(on: Harness) {
    on.push(on.job(Duration::ZERO)).await;
    let refused = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap_err();
    assert!(needs_generation(&refused), "{refused:?}");
    on.open().await;
    assert_eq!(on.claim("a", 1).await.len(), 1);
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

/// A job never starts before its time.
pub async fn a_delayed_job_is_never_early(on: Harness) {
    on.open().await;
    let id = on.push(envelope(on.now().after(10 * SECOND), 3_600)).await;
    assert!(on.claim("a", 1).await.is_empty());
    on.advance(9 * SECOND);
    // The head start is one over other due jobs, not over the clock.
    assert!(on.claim("a", 1).await.is_empty());
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Delayed)]);
    on.advance(2 * SECOND);
    let delivery = on.claim_one("a").await;
    assert_eq!(delivery.lease.id, id);
    assert!(!delivery.flagged, "waiting is no reason to ask the ledger");
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
    on.advance(LEASE / 2);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap(), [id]);
    let held = on.broker.renew(&on.queue, std::slice::from_ref(&first.lease), LEASE).await;
    assert_eq!(held.unwrap(), [false]);
    let second = on.claim_one("b").await;
    assert!(second.flagged, "it may have run");
    assert_eq!(second.orphaned, 1);
    assert_eq!(on.settle(&first.lease, Then::Gone).await, Settled::Stale);
    assert_eq!(on.settle(&second.lease, Then::Gone).await, Settled::Done);
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
    assert_eq!(depth, [Depth::default()]);
    on.push(job).await;
    assert_eq!(on.claim_one("a").await.orphaned, 0);
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

/// A worker that sleeps learns of a new job at once.
pub async fn a_waiter_is_woken_by_a_push(on: Harness) {
    on.open().await;
    on.must_be_woken().await; // by the opening
    let ((), _) = tokio::join!(on.must_be_woken(), on.push(on.job(Duration::ZERO)));
    assert_eq!(on.claim("a", 1).await.len(), 1);
    let queues = [on.queue.clone()];
    on.broker.wait(&queues, Duration::from_millis(20)).await.unwrap();
}

/// A worker that sleeps until the next due job learns of one that is due sooner.
pub async fn a_waiter_is_woken_by_an_earlier_delayed_job(on: Harness) {
    on.open().await;
    on.must_be_woken().await; // by the opening
    on.push(on.job(60 * SECOND)).await;
    on.must_be_woken().await;
    let ((), _) = tokio::join!(on.must_be_woken(), on.push(on.job(30 * SECOND)));
}

/// One token is enough for any number of jobs and waiters.
pub async fn a_claim_that_leaves_work_wakes_the_next_waiter(on: Harness) {
    on.open().await;
    on.push_due(3).await;
    for left in [true, true, false] {
        on.must_be_woken().await;
        let claimed = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap();
        assert_eq!(claimed.deliveries.len(), 1);
        assert_eq!(claimed.more, left);
    }
}

/// A wait may be dropped at any moment.
pub async fn a_wait_that_was_given_up_loses_no_token(on: Harness) {
    on.open().await;
    on.must_be_woken().await; // by the opening
    for _ in 0..20 {
        let queues = [on.queue.clone()];
        let given_up = on.broker.wait(&queues, SECOND);
        // It starts to wait, and is dropped while the push is under way.
        tokio::select! {
            biased;
            ended = given_up => drop(ended.unwrap()),
            _ = on.push(on.job(Duration::ZERO)) => {}
        }
        // Whoever took the token must have claimed, or it is still there.
        if on.claim("a", 1).await.is_empty() {
            on.must_be_woken().await;
        }
        on.push_due(1).await;
        on.must_be_woken().await;
        on.claim("a", 10).await;
    }
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
        assert_eq!(places, [Some(place.clone()), Some(Place::Delayed)]);
        if place == Place::Ready {
            let claimed = on.claim_one("a").await.envelope.unwrap();
            assert_eq!(claimed.encode(), due.encode());
        }
    }
    let new = fresh(on.job(Duration::ZERO), on.now());
    let pushed = on.broker.push(&on.queue, &[new.clone(), new]).await.unwrap();
    assert_eq!(pushed, [Pushed::Added, Pushed::Held]);
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
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Delayed)]);
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

/// Renewal keeps a job, and a short renewal does not cut a long lease.
pub async fn a_renewed_lease_lasts_and_is_never_shortened(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let leases = [on.claim_one("a").await.lease];
    on.advance(LEASE - SECOND);
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE).await.unwrap(), [true]);
    assert_eq!(on.broker.renew(&on.queue, &leases, SECOND).await.unwrap(), [true]);
    on.advance(LEASE - SECOND);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    on.advance(SECOND);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().len(), 1);
    assert_eq!(on.broker.renew(&on.queue, &leases, LEASE).await.unwrap(), [false]);
}

/// A crashed worker's jobs run again at once, and nobody else's are touched.
pub async fn a_vanished_worker_gives_back_its_own_jobs_only(on: Harness) {
    on.open().await;
    on.push_due(6).await;
    let gone: HashSet<JobId> = on.claim("a", 2).await.iter().map(|d| d.lease.id).collect();
    on.claim("aa", 2).await;
    on.claim("b:a", 2).await;
    let reaped = on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    assert_eq!(reaped.into_iter().collect::<HashSet<_>>(), gone);
    let again = on.claim("c", 10).await;
    assert_eq!(again.iter().map(|d| d.lease.id).collect::<HashSet<_>>(), gone);
    assert!(again.iter().all(|delivery| delivery.flagged && delivery.orphaned == 1));
    let depth = on.broker.depth(std::slice::from_ref(&on.queue)).await.unwrap();
    assert_eq!(depth[0].running, 6);
}

/// The count of vanished workers stops, and outlives a retry.
pub async fn vanished_workers_are_counted_up_to_nine(on: Harness) {
    on.open().await;
    let job = on.job(Duration::ZERO);
    on.push(job.clone()).await;
    for vanished in 0..12 {
        let delivery = on.claim_one("a").await;
        assert_eq!(delivery.orphaned, 9.min(vanished));
        let again = Then::Again(Box::new(job.clone()));
        assert_eq!(on.settle(&delivery.lease, again).await, Settled::Done);
        assert_eq!(on.claim_one("a").await.orphaned, 9.min(vanished));
        on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    }
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
    let depth = on.broker.depth(&[other, on.queue.clone()]).await.unwrap();
    assert_eq!(depth[0], Depth::default());
    assert_eq!((depth[1].ready, depth[1].delayed, depth[1].running), (4, 1, 1));
    let age = depth[1].oldest_ready_age;
    assert!(age >= 80 * SECOND && age < 100 * SECOND, "{age:?}");
}

/// A worker is never given more than it has room for.
pub async fn a_claim_takes_no_more_than_it_asked_for(on: Harness) {
    on.open().await;
    on.push_due(5).await;
    assert!(on.claim("a", 0).await.is_empty());
    assert_eq!(on.claim("a", 2).await.len(), 2);
    assert_eq!(on.claim("a", BATCH_MAX * 5).await.len(), 3);
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
