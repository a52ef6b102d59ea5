//! Promises about the count of workers that crashed with a job.

use super::{
    all, at, completed, created, dead, job, put_back, settled, stamped, state, token, verdict,
    waits,
};
use crate::job::{JobId, State};
use crate::ledger::{Ledger, Next, Settled, SqlLedger, Standing};
use std::time::Duration;

async fn crash(ledger: &SqlLedger, id: JobId, sequence: u64) {
    ledger.crashed(&[(id, token(sequence))]).await.expect("count a crash");
}

async fn absolve(ledger: &SqlLedger, id: JobId, sequence: u64) {
    ledger.absolve(&[(id, token(sequence))]).await.expect("take a crash back");
}

/// What the next claimer, of this token, learns.
async fn crashes(ledger: &SqlLedger, id: JobId, sequence: u64) -> u32 {
    match stamped(ledger, id, token(sequence), at(99)).await {
        Standing::Yours { crashes, .. } => crashes,
        other => panic!("{other:?}"),
    }
}

/// A reaper whose answer got lost says it again, and two may say it at once.
pub async fn a_crash_is_counted_once_a_claim_however_often_it_is_reported(ledger: &SqlLedger) {
    let (id, stamped_one) = (created(ledger, job()).await, created(ledger, job()).await);
    stamped(ledger, stamped_one, token(1), at(1)).await;
    let reports = [(id, token(1)), (stamped_one, token(1)), (id, token(1)), (job().id, token(1))];
    super::at_once(4, |_| {
        let ledger = ledger.clone();
        async move { ledger.crashed(&reports).await.expect("count crashes") }
    })
    .await;
    assert_eq!(crashes(ledger, id, 2).await, 1);
    assert_eq!(crashes(ledger, stamped_one, 2).await, 1);
    crash(ledger, id, 2).await;
    // An old report that was held up.
    crash(ledger, id, 1).await;
    assert_eq!(crashes(ledger, id, 3).await, 2);
}

/// A worker that was taken for dead comes back: what was counted is taken back, once, and a late
/// report does not count it again.
pub async fn a_count_is_taken_back_once_when_the_worker_lives_after_all(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    crash(ledger, id, 1).await;
    crash(ledger, id, 2).await;
    for _ in 0..3 {
        absolve(ledger, id, 2).await;
        crash(ledger, id, 2).await;
    }
    absolve(ledger, id, 9).await;
    assert_eq!(crashes(ledger, id, 3).await, 1);
    crash(ledger, id, 3).await;
    assert_eq!(crashes(ledger, id, 4).await, 2, "the next crash counts as ever");
    let nothing = created(ledger, job()).await;
    absolve(ledger, nothing, 1).await;
    assert_eq!(crashes(ledger, nothing, 1).await, 0);
}

/// Crashes in a row count, not those of a lifetime.
pub async fn a_run_that_ends_in_good_order_forgives_earlier_crashes(ledger: &SqlLedger) {
    let parked = Next::Parked { until: at(2), why: "needs_reauth", kept_until: None };
    let id = created(ledger, job()).await;
    for (n, verdict) in
        [waits(id, token(2), at(2)), verdict(id, token(5), parked)].into_iter().enumerate()
    {
        let claim = 3 * n as u64 + 1;
        crash(ledger, id, claim).await;
        assert_eq!(crashes(ledger, id, claim + 1).await, 1);
        assert_eq!(settled(ledger, verdict).await, Settled::Done);
        ledger.unpark(crate::ledger::Unpark::Due, at(9)).await.expect("unpark");
        // Too late to be taken back: there is nothing left of it.
        absolve(ledger, id, claim).await;
        assert_eq!(crashes(ledger, id, claim + 2).await, 0);
    }
    let poison = created(ledger, job()).await;
    crash(ledger, poison, 1).await;
    assert_eq!(crashes(ledger, poison, 2).await, 1);
    settled(ledger, dead(poison, token(2), "poison")).await;
    let hour = Duration::from_secs(3_600);
    ledger.redrive(&all(), put_back(at(9), hour)).await.expect("redrive");
    assert_eq!(crashes(ledger, poison, 3).await, 0, "put back means as good as new");
}

/// The worker died after its verdict was recorded, or somebody else has the job since.
pub async fn a_crash_after_the_verdict_or_of_an_older_claim_does_not_count(ledger: &SqlLedger) {
    let waiting = created(ledger, job()).await;
    settled(ledger, waits(waiting, token(1), at(2))).await;
    crash(ledger, waiting, 1).await;
    assert_eq!(crashes(ledger, waiting, 2).await, 0);
    crash(ledger, waiting, 1).await;
    assert_eq!(crashes(ledger, waiting, 3).await, 0);
    let ended = created(ledger, job()).await;
    settled(ledger, completed(ended, token(1))).await;
    crash(ledger, ended, 1).await;
    crash(ledger, ended, 2).await;
    assert_eq!(state(ledger, ended).await, State::Completed);
}
