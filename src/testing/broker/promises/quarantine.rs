//! What is promised of jobs in quarantine: each runs alone, and is otherwise like any other.

use std::collections::HashSet;
use std::time::Duration;

use super::super::{Harness, LEASE, envelope, fresh, worker};
use super::SECOND;
use crate::broker::{Claimed, Place, Pushed, Reap, Removed, Settled, Then};
use crate::job::JobId;

async fn claim_alone(on: &Harness, limit: usize) -> Claimed {
    on.broker.claim_alone(&on.queue, &worker("a"), limit, LEASE).await.unwrap()
}

/// Puts jobs that are due so many seconds ago into quarantine; answers their ids.
async fn quarantined(on: &Harness, ages: &[u32]) -> Vec<JobId> {
    let mut ids = Vec::new();
    for age in ages {
        ids.push(on.push(envelope(on.now().before(*age * SECOND), 0)).await);
        let delivery = on.claim_one("first").await;
        assert!(!delivery.quarantined);
        assert_eq!(on.settle(&delivery.lease, Then::Quarantine).await, Settled::Done);
        assert_eq!(on.settle(&delivery.lease, Then::Quarantine).await, Settled::Stale);
    }
    ids
}

/// Whoever runs something gets none of them; whoever runs nothing gets one, and nothing else.
pub async fn a_quarantined_job_is_claimed_alone_and_the_oldest_first(on: Harness) {
    on.open().await;
    let ids = quarantined(&on, &[10, 30]).await;
    let others: HashSet<JobId> = on.push_due(3).await.into_iter().collect();
    let claimed = on.broker.claim(&on.queue, &worker("a"), 1, LEASE).await.unwrap();
    assert!(claimed.quarantined && claimed.more);
    assert!(others.contains(&claimed.deliveries[0].lease.id));
    for (id, left) in [(ids[1], true), (ids[0], false)] {
        let claimed = claim_alone(&on, 10).await;
        assert_eq!((claimed.quarantined, claimed.more), (left, true));
        assert_eq!(claimed.deliveries.len(), 1);
        let delivery = &claimed.deliveries[0];
        assert_eq!(delivery.lease.id, id);
        assert!(delivery.quarantined && delivery.flagged);
        assert_eq!(on.settle(&delivery.lease, Then::Gone).await, Settled::Done);
    }
    let claimed = claim_alone(&on, 10).await;
    assert!(!claimed.quarantined && !claimed.more);
    assert_eq!(claimed.deliveries.len(), 2, "nothing is in quarantine: a claim like any other");
    assert!(claimed.deliveries.iter().all(|delivery| !delivery.quarantined));
}

/// One that asks for nothing else still gets it, and one that may be alone wakes for it.
pub async fn a_job_put_into_quarantine_wakes_a_waiter(on: Harness) {
    on.open().await;
    on.must_be_woken().await; // by the opening
    on.push(on.job(Duration::ZERO)).await;
    on.must_be_woken().await;
    let lease = on.claim_one("a").await.lease;
    assert!(!on.broker.stirs(std::slice::from_ref(&on.queue)).await.unwrap());
    assert_eq!(on.settle(&lease, Then::Quarantine).await, Settled::Done);
    on.must_be_woken().await;
    assert!(on.broker.stirs(std::slice::from_ref(&on.queue)).await.unwrap());
    assert_eq!(claim_alone(&on, 0).await.deliveries.len(), 1);
}

/// Whoever looks for a job finds it there too, and it is there once.
pub async fn a_quarantined_job_is_held_found_counted_and_can_be_removed(on: Harness) {
    on.open().await;
    let id = quarantined(&on, &[1]).await[0];
    let again = fresh(envelope(on.now(), 0), on.now());
    let mut held = again.clone();
    held.envelope.id = id;
    let pushed = on.broker.push(&on.queue, &[held, again]).await.unwrap();
    assert_eq!(pushed, [Pushed::Held, Pushed::Added]);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [Some(Place::Ready)]);
    let depth = on.broker.depth(std::slice::from_ref(&on.queue)).await.unwrap()[0].unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.running), (2, 0, 0));
    assert_eq!(on.broker.remove(&on.queue, id).await.unwrap(), Removed::Removed);
    assert_eq!(on.broker.find(&on.queue, &[id]).await.unwrap(), [None]);
    let claimed = claim_alone(&on, 10).await;
    assert!(!claimed.quarantined && !claimed.deliveries[0].quarantined);
}

/// Given back, orphaned or retried, it waits among the others; whoever looks at it next decides.
pub async fn a_job_that_leaves_quarantine_waits_among_the_others(on: Harness) {
    on.open().await;
    let job = on.job(Duration::ZERO);
    on.push(job.clone()).await;
    let aside = async |orphaned| {
        let delivery = on.claim_one("first").await;
        assert_eq!((delivery.quarantined, delivery.orphaned), (false, orphaned));
        assert_eq!(on.settle(&delivery.lease, Then::Quarantine).await, Settled::Done);
        claim_alone(&on, 1).await.deliveries.remove(0).lease
    };
    let lease = aside(0).await;
    assert_eq!(on.settle(&lease, Then::Back).await, Settled::Done);
    aside(0).await;
    on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    let lease = aside(1).await;
    assert_eq!(on.settle(&lease, Then::Again(Box::new(job))).await, Settled::Done);
    aside(0).await;
}
