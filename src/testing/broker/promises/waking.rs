//! What is promised of wake-ups: nobody sleeps while there is work.

use std::time::Duration;

use super::super::{Harness, LEASE, worker};
use super::SECOND;

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
        let push = on.push(on.job(Duration::ZERO));
        tokio::pin!(push);
        // It starts to wait, and is dropped while the push is under way. If a token of before ends
        // it, the push goes on: one that is dropped may never have been sent.
        tokio::select! {
            biased;
            ended = given_up => {
                ended.unwrap();
                push.await;
            }
            _ = &mut push => {}
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
