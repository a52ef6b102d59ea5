//! What is promised of leases that the broker lost: their holders may claim them back.

use std::time::Duration;

use super::super::{Harness, LEASE, fresh, worker};
use super::SECOND;
use crate::broker::{
    Delivery, Place, Push, Pushed, Reap, Reasserted, Reassertion, Renewed, Settled, Then,
};

/// Claims a job, and lets the broker lose it.
async fn lost(on: &Harness) -> Delivery {
    let delivery = on.claim_one("a").await;
    assert_eq!(on.settle(&delivery.lease, Then::Gone).await, Settled::Done);
    delivery
}

async fn reassert(on: &Harness, delivery: &Delivery) -> Reasserted {
    let envelope = delivery.envelope.as_ref().unwrap();
    let job = Reassertion { lease: &delivery.lease, envelope };
    on.broker.reassert(&on.queue, &[job], LEASE).await.unwrap()[0]
}

async fn renew(on: &Harness, delivery: &Delivery) -> Renewed {
    on.broker.renew(&on.queue, std::slice::from_ref(&delivery.lease), LEASE).await.unwrap()
}

async fn place(on: &Harness, delivery: &Delivery) -> Option<Place> {
    on.broker.find(&on.queue, &[delivery.lease.id]).await.unwrap().remove(0)
}

/// A renewal tells the present generation: by it, wiped leases are told from those taken back.
pub async fn a_renewal_tells_the_generation(on: Harness) {
    let none = on.broker.renew(&on.queue, &[], LEASE).await.unwrap();
    assert_eq!(none, Renewed { generation: None, held: Vec::new() });
    on.open().await;
    on.push_due(1).await;
    let delivery = on.claim_one("a").await;
    assert_eq!(renew(&on, &delivery).await, Renewed { generation: Some(1), held: vec![true] });
    on.broker.open(&on.queue, 4).await.unwrap();
    let renewed = renew(&on, &delivery).await;
    assert_eq!(renewed, Renewed { generation: Some(4), held: vec![true] }, "it survived");
}

/// What was claimed back is like any other running job: not pushed or claimed twice, reaped,
/// given back, retried.
pub async fn a_lost_lease_can_be_claimed_back(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let job = lost(&on).await;
    on.broker.open(&on.queue, 2).await.unwrap();
    for _ in 0..2 {
        assert_eq!(reassert(&on, &job).await, Reasserted::Held, "also after a lost reply");
    }
    assert_eq!(renew(&on, &job).await.held, [true]);
    assert_eq!(place(&on, &job).await, Some(Place::Running(worker("a"))));
    let again = Push { flagged: true, ..fresh(job.envelope.as_ref().unwrap().clone(), on.now()) };
    assert_eq!(on.broker.push(&on.queue, &[again]).await.unwrap(), [Pushed::Held]);
    assert!(on.claim("b", 1).await.is_empty());
    assert_eq!(on.settle(&job.lease, Then::Back).await, Settled::Done);
    let next = on.claim_one("b").await;
    assert!(next.flagged);
    assert_eq!(next.envelope.unwrap().encode(), job.envelope.unwrap().encode());
}

/// A lease that was claimed back ends like any other if its holder vanishes after all.
pub async fn a_lease_that_was_claimed_back_expires(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let job = lost(&on).await;
    assert_eq!(reassert(&on, &job).await, Reasserted::Held);
    on.advance(LEASE - SECOND);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    assert_eq!(reassert(&on, &job).await, Reasserted::Held, "as good as a renewal");
    on.advance(LEASE - SECOND);
    assert!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap().is_empty());
    on.advance(SECOND);
    assert_eq!(on.broker.reap(&on.queue, Reap::Expired).await.unwrap(), [job.lease.id]);
    let again = on.claim_one("b").await;
    assert!(again.flagged);
    assert_eq!(again.orphaned, 0, "nobody vanished");
}

/// The refill came first: the job leaves its place, due or not.
pub async fn a_lease_claimed_back_takes_its_job_out_of_its_place(on: Harness) {
    on.open().await;
    for due_in in [Duration::ZERO, 60 * SECOND] {
        on.push_due(1).await;
        let job = lost(&on).await;
        let mut again = job.envelope.as_ref().unwrap().clone();
        again.run_at = on.now().after(due_in);
        let delayed = Place::Delayed(again.run_at);
        on.push(again).await;
        let there = if due_in.is_zero() { Place::Ready } else { delayed };
        assert_eq!(place(&on, &job).await, Some(there));
        assert_eq!(reassert(&on, &job).await, Reasserted::Held);
        assert_eq!(place(&on, &job).await, Some(Place::Running(worker("a"))));
        assert!(on.claim("b", 1).await.is_empty());
        assert_eq!(on.settle(&job.lease, Then::Gone).await, Settled::Done);
        assert_eq!(place(&on, &job).await, None);
    }
    on.advance(61 * SECOND);
    assert!(on.claim("b", 1).await.is_empty(), "nothing was left behind");
}

/// Of two claims of one job the later one counts: it is not pushed aside, and it replaces an
/// earlier one that a rollback brought back.
pub async fn of_two_claims_of_a_job_the_later_holds_it(on: Harness) {
    on.open().await;
    on.push_due(1).await;
    let first = on.claim_one("a").await;
    on.broker.reap(&on.queue, Reap::Worker(&worker("a"))).await.unwrap();
    for _ in 0..10 {
        // Ten is after nine, also where numbers are compared as text.
        on.settle(&on.claim_one("b").await.lease, Then::Back).await;
    }
    let second = on.claim_one("b").await;
    assert_eq!(reassert(&on, &first).await, Reasserted::Taken);
    assert_eq!(renew(&on, &first).await.held, [false]);
    assert_eq!(renew(&on, &second).await.held, [true]);

    assert_eq!(on.settle(&second.lease, Then::Gone).await, Settled::Done);
    assert_eq!(reassert(&on, &first).await, Reasserted::Held, "as a rollback would");
    assert_eq!(reassert(&on, &second).await, Reasserted::Held);
    assert_eq!(renew(&on, &first).await.held, [false]);
    assert_eq!(on.settle(&first.lease, Then::Gone).await, Settled::Stale);
    assert_eq!(place(&on, &second).await, Some(Place::Running(worker("b"))));
    assert_eq!(on.settle(&second.lease, Then::Gone).await, Settled::Done);
}
