//! What is promised of platforms' limits: they hold for every worker.

use std::time::Duration;

use uuid::Uuid;

use super::super::{Harness, queue};
use super::SECOND;
use crate::job::Timestamp;

/// Slots so far apart that a busy machine does not matter.
const APART: Duration = Duration::from_secs(60);

fn per_second() -> f64 {
    1.0 / APART.as_secs_f64()
}

/// What one worker learnt of an account's window, all others know.
pub async fn a_blocked_account_is_blocked_until_then_and_no_other_is(on: Harness) {
    let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(on.broker.blocked(&[]).await.unwrap(), []);
    let until = on.now().after(600 * SECOND);
    on.broker.block(ann, until).await.unwrap();
    assert_eq!(on.broker.blocked(&[bob, ann, bob]).await.unwrap(), [None, Some(until), None]);
    on.advance(601 * SECOND);
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [None]);
}

/// Of several answers the one that asks for the longest wait counts, in whatever order they come.
pub async fn a_longer_block_is_never_shortened(on: Harness) {
    let ann = Uuid::from_u128(1);
    let (sooner, later) = (on.now().after(60 * SECOND), on.now().after(600 * SECOND));
    for until in [sooner, later, sooner, Timestamp::from_millis(1)] {
        on.broker.block(ann, until).await.unwrap();
    }
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [Some(later)]);
}

/// A time that has passed blocks nobody.
pub async fn a_block_that_is_over_blocks_nobody(on: Harness) {
    let ann = Uuid::from_u128(1);
    on.broker.block(ann, on.now().before(SECOND)).await.unwrap();
    assert_eq!(on.broker.blocked(&[ann]).await.unwrap(), [None]);
}

/// Whoever retries, the queue's slots are apart; a queue that was idle has one at once.
pub async fn slots_for_retries_are_apart_whoever_asks(on: Harness) {
    let other = queue("data_cleanup");
    let start = on.now();
    let slot = async |of: &_, count| {
        on.broker.reserve_retries(of, count, per_second()).await.unwrap().since(start)
    };
    let near = |slot: Duration, ticks: u32| {
        let error = slot.abs_diff(APART * ticks);
        assert!(error < APART / 2, "{slot:?} is not slot {ticks}");
    };
    near(slot(&on.queue, 3).await, 0);
    near(slot(&on.queue, 1).await, 3);
    near(slot(&other, 1).await, 0);
    on.advance(APART * 2);
    near(slot(&on.queue, 1).await, 4);
    on.advance(APART * 20);
    near(slot(&on.queue, 2).await, 22);
    near(slot(&on.queue, 1).await, 24);
}
