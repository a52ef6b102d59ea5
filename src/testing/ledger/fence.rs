//! Promises about who may say what becomes of a job.

use super::{
    all, at, completed, created, dead, failed, is_yours, job, put_back, reason, settled, stamped,
    state, token, unique, verdict, waits,
};
use crate::job::{Durability, JobId, NewJob, State, Timestamp, Token};
use crate::ledger::{Cancel, Ledger, Next, Settled, SqlLedger, Standing, Verdict};
use std::time::Duration;

/// The commit's answer got lost, the worker says it again: nothing counts twice.
pub async fn a_settle_repeated_after_a_lost_reply_counts_once(ledger: &SqlLedger) {
    let ids = [created(ledger, job()).await, created(ledger, job()).await];
    let gone = created(ledger, job()).await;
    let batch = [
        waits(ids[0], token(1), at(60)),
        completed(ids[1], token(2)),
        dead(gone, token(3), "broke"),
    ];
    for _ in 0..3 {
        assert_eq!(ledger.settle(&batch).await.expect("settle"), [Settled::Done; 3]);
    }
    let row = ledger.job(ids[0]).await.expect("read").expect("there");
    assert_eq!((row.job.failed_attempts, row.job.run_at), (1, at(60)));
    assert_eq!(ledger.attempts(ids[0]).await.expect("read"), [failed(1, "no answer")]);
    assert_eq!(state(ledger, ids[1]).await, State::Completed);
    assert_eq!(ledger.attempts(gone).await.expect("read").len(), 1);
    assert_eq!(ledger.dead_letters(&all()).await.expect("list").len(), 1);
}

/// A worker repeats its verdict after a person put the job back, or its account released it: the
/// verdict was counted then, and does not undo what happened since.
pub async fn a_repeated_verdict_does_not_undo_what_happened_since(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    let verdict_of_death = dead(id, token(1), "broke");
    assert_eq!(settled(ledger, verdict_of_death.clone()).await, Settled::Done);
    let hour = Duration::from_secs(3_600);
    assert_eq!(ledger.redrive(&all(), put_back(at(9), hour)).await.expect("redrive").jobs.len(), 1);
    assert_eq!(settled(ledger, verdict_of_death).await, Settled::Done);
    assert_eq!(state(ledger, id).await, State::Ready);

    let account = uuid::Uuid::from_u128(7);
    let parked = created(ledger, NewJob { account: Some(account), ..job() }).await;
    let park = verdict(
        parked,
        token(1),
        Next::Parked { until: at(99), why: "needs_reauth", kept_until: None },
    );
    assert_eq!(settled(ledger, park.clone()).await, Settled::Done);
    let whose = crate::ledger::Unpark::Account(account);
    assert_eq!(ledger.unpark(whose, at(9)).await.expect("unpark"), 1);
    assert_eq!(settled(ledger, park).await, Settled::Done);
    assert_eq!(state(ledger, parked).await, State::Ready);
}

/// A worker that was paused and wakes up can change nothing.
pub async fn a_zombie_cannot_settle_a_job_that_was_stamped_by_another(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    assert_eq!(stamped(ledger, id, token(2), at(1)).await, is_yours(0));
    for zombie in [
        completed(id, token(1)),
        waits(id, token(1), at(60)),
        dead(id, token(1), "broke"),
        verdict(id, token(1), Next::Cancelled { at: at(1) }),
        verdict(id, token(1), Next::Parked { until: at(9), why: "needs_reauth", kept_until: None }),
    ] {
        assert_eq!(settled(ledger, zombie).await, Settled::Stale);
    }
    assert_eq!(state(ledger, id).await, State::Ready);
    assert!(ledger.attempts(id).await.expect("read").is_empty());
    assert_eq!(stamped(ledger, id, token(1), at(1)).await, Standing::Superseded);
    assert_eq!(settled(ledger, completed(id, token(2))).await, Settled::Done);
    assert_eq!(settled(ledger, completed(id, token(1))).await, Settled::Stale);
}

/// In one call too: the later claim's verdict counts, whichever comes first.
pub async fn two_verdicts_of_one_job_in_one_call_follow_each_other(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(5), at(1)).await;
    let batch = [completed(id, token(4)), completed(id, token(5)), completed(id, token(4))];
    let answers = ledger.settle(&batch).await.expect("settle");
    assert_eq!(answers, [Settled::Stale, Settled::Done, Settled::Stale]);
}

/// A claim of a later generation outranks every earlier one.
pub async fn a_later_generation_outranks_every_earlier_claim(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(u64::from(u32::MAX)), at(1)).await;
    let later = Token { generation: 2, sequence: 1 };
    assert_eq!(stamped(ledger, id, later, at(1)).await, is_yours(0));
    let earlier = completed(id, token(u64::from(u32::MAX)));
    assert_eq!(settled(ledger, earlier).await, Settled::Stale);
}

/// What a person ended stays ended.
pub async fn a_cancelled_job_stays_cancelled_whatever_its_worker_says(ledger: &SqlLedger) {
    let id = created(ledger, unique("a")).await;
    stamped(ledger, id, token(1), at(1)).await;
    let marked = ledger.cancel(id, at(2), None).await.expect("cancel");
    assert_eq!(marked, Cancel::Marked { queue: job().queue });
    created(ledger, unique("a")).await;
    for verdict in [
        completed(id, token(1)),
        waits(id, token(1), at(60)),
        dead(id, token(1), "broke"),
        completed(id, token(9)),
    ] {
        assert_eq!(settled(ledger, verdict).await, Settled::Cancelled);
    }
    assert_eq!(stamped(ledger, id, token(2), at(3)).await, Standing::Ended(State::Cancelled));
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((row.state, row.finished_at), (State::Cancelled, Some(at(2))));
    assert!(ledger.attempts(id).await.expect("read").is_empty());
    let again = ledger.cancel(id, at(4), None).await.expect("cancel");
    assert_eq!(again, Cancel::Ended(State::Cancelled));
    let nobody = ledger.cancel(job().id, at(4), None).await.expect("cancel");
    assert_eq!(nobody, Cancel::Unknown);
}

/// A claimer learns whether the broker told it the truth.
pub async fn a_stamp_tells_where_the_job_stands(ledger: &SqlLedger) {
    let yours = created(ledger, job()).await;
    let not_yet = created(ledger, NewJob { run_at: at(60), ..job() }).await;
    let waiting = created(ledger, job()).await;
    settled(ledger, waits(waiting, token(1), at(30))).await;
    let parked = created(ledger, job()).await;
    settled(
        ledger,
        verdict(
            parked,
            token(1),
            Next::Parked { until: at(9), why: "newer_worker", kept_until: None },
        ),
    )
    .await;
    let ended = created(ledger, job()).await;
    settled(ledger, completed(ended, token(1))).await;
    let unknown = job().id;

    let stamp = |id: JobId| (id, token(2));
    let claims = [unknown, yours, not_yet, waiting, parked, ended].map(stamp);
    let answers = ledger.stamp(&claims, at(1)).await.expect("stamp");
    let expected = [
        Standing::Unknown,
        is_yours(0),
        Standing::NotYet { until: at(60), edit: None },
        Standing::NotYet { until: at(30), edit: None },
        Standing::Parked,
        Standing::Ended(State::Completed),
    ];
    assert_eq!(answers, expected);
    // The answer may get lost: asking again is answered the same way.
    assert_eq!(ledger.stamp(&claims, at(1)).await.expect("stamp"), expected);
    let later = stamped(ledger, waiting, token(2), at(31)).await;
    assert_eq!(later, is_yours(1));
}

/// A run that stamped and settled "later" does not get the job again under its old claim.
pub async fn a_claim_that_was_settled_is_spent(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(1), at(1)).await;
    settled(ledger, waits(id, token(1), at(2))).await;
    assert_eq!(stamped(ledger, id, token(1), at(3)).await, Standing::Superseded);
    let next = stamped(ledger, id, token(2), at(3)).await;
    assert_eq!(next, is_yours(1));
}

/// A kind that only the broker records still leaves its dead in the ledger, and is recorded
/// there from then on.
pub async fn a_death_the_ledger_knew_nothing_of_is_recorded(ledger: &SqlLedger) {
    let unrecorded = NewJob { durability: Durability::Broker, ..job() };
    let id = unrecorded.id;
    let then = Next::Dead {
        at: at(2),
        reason: reason("broke"),
        failed_attempts: 3,
        job: Some(Box::new(unrecorded)),
    };
    let death = Verdict { failed: Some(failed(3, "broke")), ..verdict(id, token(1), then) };
    for _ in 0..2 {
        assert_eq!(settled(ledger, death.clone()).await, Settled::Done);
    }
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((row.state, row.reason), (State::Dead, Some(reason("broke"))));
    assert_eq!(row.job.durability, Durability::Ledger);
    assert_eq!(ledger.attempts(id).await.expect("read").len(), 1);
}

/// Whatever a platform answers, its words can be recorded.
pub async fn any_words_can_be_recorded(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    let words = "nul \0, quote ', \u{1f642}, \u{fffd}";
    assert_eq!(settled(ledger, dead(id, token(1), words)).await, Settled::Done);
    let said = ledger.attempts(id).await.expect("read");
    assert_eq!(said[0].error, words.replace('\0', "\u{fffd}"));
    let far = Timestamp::from_millis(i64::MAX);
    let other = created(ledger, NewJob { run_at: far, expires_at: far, ..job() }).await;
    let row = ledger.job(other).await.expect("read").expect("there");
    assert_eq!(row.job.run_at, far);
}

/// Batches that share jobs in different orders do not wait for each other in a circle.
pub async fn batches_that_overlap_do_not_deadlock(ledger: &SqlLedger) {
    let jobs: Vec<NewJob> = (0..200).map(|_| job()).collect();
    ledger.enqueue(&jobs).await.expect("enqueue");
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let answers = super::at_once(8, |n| {
        let (ledger, mut ids) = (ledger.clone(), ids.clone());
        if n % 2 == 0 {
            ids.reverse();
        }
        async move {
            let batch: Vec<Verdict> =
                ids.iter().map(|id| completed(*id, token(n as u64 + 1))).collect();
            ledger.settle(&batch).await.expect("settle")
        }
    })
    .await;
    let done = answers.iter().flatten().filter(|answer| **answer == Settled::Done).count();
    assert_eq!(done, ids.len(), "each job has one winner");
}
