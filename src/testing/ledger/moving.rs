//! Promises about jobs that a person moves to another time.

use std::time::Duration;

use super::{
    at, completed, created, dead, is_yours, is_yours_until, job, settled, stamped, state, token,
    verdict, waits,
};
use crate::job::{JobId, NewJob, State};
use crate::ledger::{JobMove, JobMoved, Ledger, Next, Settled, SqlLedger, Standing};

async fn moved(ledger: &SqlLedger, id: JobId, to: JobMove) -> JobMoved {
    let mut tx = ledger.db().begin().await.expect("begin");
    let moved = SqlLedger::move_in(&mut tx, id, to).await.expect("move");
    tx.commit().await.expect("commit");
    moved
}

fn to(run_at: u64, expires_at: u64) -> JobMove {
    JobMove { run_at: Some(at(run_at)), expires_at: at(expires_at) }
}

/// Earlier or later: whoever claims it learns when it is due now, and until when it is of use.
pub async fn a_moved_job_is_due_at_its_new_time(ledger: &SqlLedger) {
    let queue = job().queue;
    for (then, now) in [(100, 500), (500, 100)] {
        let id = created(ledger, NewJob { run_at: at(then), ..job() }).await;
        assert_eq!(moved(ledger, id, to(now, 900)).await, JobMoved::Moved(queue.clone()));
        assert_eq!(
            stamped(ledger, id, token(1), at(99)).await,
            Standing::NotYet { until: at(now), edit: None }
        );
        let yours = is_yours_until(0, at(900));
        assert_eq!(stamped(ledger, id, token(2), at(now)).await, yours);
        assert_eq!(settled(ledger, completed(id, token(2))).await, Settled::Done);
    }
}

/// Its run neither says what becomes of it nor records an effect, and its crash counts nothing.
pub async fn a_move_takes_a_job_out_of_the_hands_of_its_worker(ledger: &SqlLedger) {
    for then in [waits(job().id, token(1), at(60)), dead(job().id, token(1), "broke")] {
        let id = created(ledger, job()).await;
        assert_eq!(stamped(ledger, id, token(1), at(1)).await, is_yours(0));
        moved(ledger, id, to(300, 900)).await;
        let mut tx = ledger.db().begin().await.expect("begin");
        assert!(!SqlLedger::holds_in(&mut tx, id, token(1)).await.expect("look"));
        let followed = SqlLedger::expires_in(&mut tx, id, token(1), at(5_000)).await;
        assert!(!followed.expect("look"));
        tx.commit().await.expect("commit");
        assert_eq!(ledger.holds(&[(id, token(1))]).await.expect("look"), [false]);
        ledger.crashed(&[(id, token(1))]).await.expect("count");
        let late = verdict(id, token(1), then.then.clone());
        for _ in 0..2 {
            assert_eq!(settled(ledger, late.clone()).await, Settled::Moved);
        }
        let row = ledger.job(id).await.expect("read").expect("there");
        assert_eq!(
            (row.state, row.job.run_at, row.job.failed_attempts),
            (State::Ready, at(300), 0)
        );
        let yours = is_yours_until(0, at(900));
        assert_eq!(stamped(ledger, id, token(2), at(300)).await, yours);
        assert_eq!(settled(ledger, late).await, Settled::Stale);
        assert_eq!(settled(ledger, completed(id, token(2))).await, Settled::Done);
    }
}

/// The answer to a verdict got lost, and a person moved the job before it was repeated: it had
/// counted, and undoes nothing.
pub async fn a_verdict_repeated_after_a_move_does_not_undo_it(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(1), at(1)).await;
    let wait = waits(id, token(1), at(60));
    assert_eq!(settled(ledger, wait.clone()).await, Settled::Done);
    moved(ledger, id, to(10, 900)).await;
    assert_eq!(settled(ledger, wait).await, Settled::Done);
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((row.job.run_at, row.job.failed_attempts), (at(10), 1));
}

/// What ended is not brought back, and what is not there is not made.
pub async fn only_live_jobs_are_moved(ledger: &SqlLedger) {
    let [dies, ends, goes] =
        [created(ledger, job()).await, created(ledger, job()).await, created(ledger, job()).await];
    settled(ledger, dead(dies, token(1), "broke")).await;
    settled(ledger, completed(ends, token(1))).await;
    ledger.cancel(goes, at(2), None).await.expect("cancel");
    for (id, ended) in [(dies, State::Dead), (ends, State::Completed), (goes, State::Cancelled)] {
        assert_eq!(moved(ledger, id, to(300, 900)).await, JobMoved::Ended(ended));
        assert_eq!(state(ledger, id).await, ended);
        assert_eq!(ledger.job(id).await.expect("read").expect("there").job.run_at, at(0));
    }
    assert_eq!(moved(ledger, job().id, to(300, 900)).await, JobMoved::Unknown);
}

/// It waits for its account as before, and is looked at when it expires; a person who was told how
/// long the account may stay lost is believed.
pub async fn a_parked_job_that_is_moved_stays_parked(ledger: &SqlLedger) {
    let week = Duration::from_secs(7 * 86_400);
    let id = created(ledger, job()).await;
    let (until, kept_until) = (at(3_600), Some(at(0).after(week)));
    let park = Next::Parked { until, why: "needs_reauth", kept_until };
    settled(ledger, verdict(id, token(1), park)).await;
    for (moved_to, look) in [(to(9_000, 20_000), 3_600), (to(100, 900), 900)] {
        moved(ledger, id, moved_to).await;
        let row = ledger.job(id).await.expect("read").expect("there");
        assert_eq!((row.state, row.job.run_at), (State::Parked, at(look)));
        assert_eq!(row.job.expires_at, at(0).after(week));
    }
    // Without a new time, it is due when it was.
    let open = created(ledger, job()).await;
    moved(ledger, open, JobMove { run_at: None, expires_at: at(900) }).await;
    let row = ledger.job(open).await.expect("read").expect("there");
    assert_eq!((row.job.run_at, row.job.expires_at), (at(0), at(900)));
}
