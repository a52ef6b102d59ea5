//! Promises about a broker that lost its memory: its queue is opened anew once, and running jobs
//! stay with the workers that had started them.

use std::time::Duration;

use super::{
    at, at_once, completed, created, is_yours, job, settled, stamped, state, token, waits,
};
use crate::job::{JobId, Queue, State, Timestamp, Token};
use crate::ledger::{Bump, Ledger, Settled, SqlLedger, Standing};

/// For so long a job is kept for the worker that started it.
const RESERVED: Duration = Duration::from_secs(3);

async fn bumped(ledger: &SqlLedger, held: Option<u32>, at: Timestamp) -> Option<u32> {
    let bump = Bump { held, at, reserved: RESERVED };
    ledger.next_generation(&job().queue, bump).await.expect("bump")
}

fn second(sequence: u64) -> Token {
    Token { generation: 2, sequence }
}

/// Each loss is answered by a number greater than every one before, and than whatever a broker
/// held: a ledger that was restored from a backup is behind.
pub async fn generations_never_repeat(ledger: &SqlLedger) {
    for (n, (held, expected)) in
        (0..).zip([(None, 1), (None, 2), (Some(2), 3), (Some(1), 4), (Some(50), 51), (None, 52)])
    {
        assert_eq!(bumped(ledger, held, at(n)).await, Some(expected));
    }
    // One that is ahead of the ledger need not wait: nobody can have bumped it.
    assert_eq!(bumped(ledger, Some(60), at(5)).await, Some(61));
    let other = Queue::parse("data_cleanup").expect("a name");
    let bump = Bump { held: Some(7), at: at(0), reserved: RESERVED };
    assert_eq!(ledger.next_generation(&other, bump).await.expect("bump"), Some(8));
}

/// However many find the same loss, one of them gets a number; the others look again, and find the
/// queue open. If he dies before he opened it, the next one gets a number soon.
pub async fn two_reconcilers_bump_once(ledger: &SqlLedger) {
    for (held, second, expected) in [(None, 0, 1), (Some(1), 10, 2), (None, 20, 3)] {
        let numbers = at_once(20, |_| {
            let ledger = ledger.clone();
            async move { bumped(&ledger, held, at(second)).await }
        })
        .await;
        let numbers: Vec<u32> = numbers.into_iter().flatten().collect();
        assert_eq!(numbers, [expected]);
    }
    assert_eq!(bumped(ledger, None, at(21)).await, Some(4));
}

/// A worker that lives and lost nothing but its lease has the time to claim it back. After that,
/// or once it has settled, whoever claims the job gets it.
pub async fn a_started_job_is_kept_for_its_worker_after_a_bump(ledger: &SqlLedger) {
    bumped(ledger, None, at(0)).await;
    let started = created(ledger, job()).await;
    let waiting = created(ledger, job()).await;
    let failed = created(ledger, job()).await;
    stamped(ledger, started, token(1), at(1)).await;
    stamped(ledger, failed, token(2), at(1)).await;
    settled(ledger, waits(failed, token(2), at(2))).await;
    // In one generation a later claim takes it over at once: its worker was found dead.
    let yours = is_yours(0);
    assert_eq!(stamped(ledger, started, token(3), at(4)).await, yours);

    assert_eq!(bumped(ledger, Some(1), at(10)).await, Some(2));
    for now in [at(10), at(12)] {
        assert_eq!(
            stamped(ledger, started, second(1), now).await,
            Standing::NotYet { until: at(13), edit: None }
        );
    }
    assert_eq!(stamped(ledger, waiting, second(1), at(10)).await, yours);
    let retried = is_yours(1);
    assert_eq!(stamped(ledger, failed, second(1), at(10)).await, retried);
    assert_eq!(stamped(ledger, started, second(2), at(13)).await, yours);
    assert_eq!(settled(ledger, completed(started, token(3))).await, Settled::Stale);
    assert_eq!(settled(ledger, completed(started, second(2))).await, Settled::Done);
}

/// A node whose clock is hours ahead bumps: no job is kept for hours.
pub async fn a_wrong_clock_keeps_no_job_from_its_next_worker(ledger: &SqlLedger) {
    bumped(ledger, None, at(0)).await;
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(1), at(1)).await;
    bumped(ledger, Some(1), at(10_000)).await;
    let now = stamped(ledger, id, second(1), at(10)).await;
    assert_eq!(now, is_yours(0));
}

/// A run that lost its lease learns whether its verdict would still count.
pub async fn a_worker_learns_whether_a_run_is_still_its_own(ledger: &SqlLedger) {
    let unstamped = created(ledger, job()).await;
    let mine = created(ledger, job()).await;
    stamped(ledger, mine, token(2), at(1)).await;
    let another = created(ledger, job()).await;
    stamped(ledger, another, token(3), at(1)).await;
    let cancelled = created(ledger, job()).await;
    ledger.cancel(cancelled, at(1), None).await.expect("cancel");
    let told = created(ledger, job()).await;
    settled(ledger, waits(told, token(2), at(60))).await;
    let ended = created(ledger, job()).await;
    settled(ledger, completed(ended, token(2))).await;

    let ids = [unstamped, mine, another, cancelled, told, ended, job().id];
    let claims = ids.map(|id: JobId| (id, token(2)));
    let answers = ledger.holds(&claims).await.expect("ask");
    assert_eq!(answers, [true, true, false, false, false, false, false]);
    assert!(ledger.holds(&[]).await.expect("ask").is_empty());
    assert_eq!(state(ledger, mine).await, State::Ready, "nothing was changed");
}
