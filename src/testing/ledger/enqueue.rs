//! Promises about enqueuing.

use std::sync::Arc;

use super::{NOW, all, at, at_once, completed, created, dead, job, settled, state, token, unique};
use crate::job::{NewJob, State};
use crate::ledger::{GroupCommit, Ledger, Next, Recorded, Settled, SqlLedger, Verdict};

/// What a transaction did not commit was never enqueued; what it committed is there in full.
pub async fn an_enqueue_is_all_or_nothing(ledger: &SqlLedger) {
    let jobs = [job(), unique("a"), job()];
    let mut tx = ledger.db().begin().await.expect("begin");
    let recorded = SqlLedger::enqueue_in(&mut tx, &jobs).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Created; 3]);
    tx.rollback().await.expect("roll back");
    for job in &jobs {
        assert!(ledger.job(job.id).await.expect("read").is_none());
    }
    let mut tx = ledger.db().begin().await.expect("begin");
    let recorded = SqlLedger::enqueue_in(&mut tx, &jobs).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Created; 3]);
    tx.commit().await.expect("commit");
    for job in jobs {
        let row = ledger.job(job.id).await.expect("read").expect("it is there");
        assert_eq!((row.job, row.state), (job, State::Ready));
    }
}

/// A transaction that is merely dropped enqueued nothing, and blocks nobody.
pub async fn a_dropped_transaction_enqueues_nothing(ledger: &SqlLedger) {
    let first = unique("a");
    let mut tx = ledger.db().begin().await.expect("begin");
    SqlLedger::enqueue_in(&mut tx, std::slice::from_ref(&first)).await.expect("enqueue");
    drop(tx);
    created(ledger, unique("a")).await;
    assert!(ledger.job(first.id).await.expect("read").is_none());
}

/// While the first job lives, open or parked, a second enqueue answers its id; afterwards the key
/// is free.
pub async fn a_unique_key_gives_the_first_jobs_id_while_it_lives(ledger: &SqlLedger) {
    let first = created(ledger, unique("a")).await;
    created(ledger, unique("b")).await;
    created(
        ledger,
        NewJob { kind: crate::job::Kind::parse("other").expect("a name"), ..unique("a") },
    )
    .await;
    let again = [unique("a"), job()];
    let recorded = ledger.enqueue(&again).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Existing(first), Recorded::Created]);
    assert!(ledger.job(again[0].id).await.expect("read").is_none());

    let park = Next::Parked { until: at(60), why: "needs_reauth", kept_until: None };
    let park = Verdict { id: first, token: token(1), then: park, failed: None };
    assert_eq!(settled(ledger, park).await, Settled::Done);
    let recorded = ledger.enqueue(&[unique("a")]).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Existing(first)]);

    let next = created(ledger, unique("c")).await;
    assert_eq!(settled(ledger, completed(next, token(2))).await, Settled::Done);
    created(ledger, unique("c")).await;
}

/// Of several jobs with one key in a single call the first is made.
pub async fn of_one_key_in_one_call_the_first_job_wins(ledger: &SqlLedger) {
    let jobs = [unique("a"), unique("b"), unique("a"), unique("a")];
    let (a, b) = (jobs[0].id, jobs[1].id);
    let recorded = ledger.enqueue(&jobs).await.expect("enqueue");
    let existing = Recorded::Existing(a);
    assert_eq!(recorded, [Recorded::Created, Recorded::Created, existing, existing]);
    let again = ledger.enqueue(&[unique("b"), unique("b")]).await.expect("enqueue");
    assert_eq!(again, [Recorded::Existing(b); 2]);
}

/// A call repeated because its answer got lost is answered as the first time, whatever became of
/// its jobs meanwhile.
pub async fn an_enqueue_repeated_after_a_lost_reply_makes_no_second_job(ledger: &SqlLedger) {
    let jobs = [job(), unique("a"), unique("a")];
    let first = ledger.enqueue(&jobs).await.expect("enqueue");
    assert_eq!(ledger.enqueue(&jobs).await.expect("enqueue"), first);
    assert_eq!(settled(ledger, completed(jobs[1].id, token(1))).await, Settled::Done);
    created(ledger, unique("a")).await;
    assert_eq!(ledger.enqueue(&jobs).await.expect("enqueue"), first);
    assert_eq!(state(ledger, jobs[1].id).await, State::Completed);
}

/// A dead job may wait for a person for months; its successors must not.
pub async fn a_dead_job_does_not_hold_its_unique_key(ledger: &SqlLedger) {
    let first = created(ledger, unique("a")).await;
    assert_eq!(settled(ledger, dead(first, token(1), "broke")).await, Settled::Done);
    created(ledger, unique("a")).await;
    assert_eq!(ledger.dead_letters(&all()).await.expect("list")[0].id, first);
}

/// Whoever comes first: one job, and everybody else learns its id.
pub async fn a_hundred_concurrent_enqueues_of_one_key_make_one_job(ledger: &SqlLedger) {
    let answers = at_once(100, |_| {
        let ledger = ledger.clone();
        async move {
            let job = unique("a");
            let recorded = ledger.enqueue(std::slice::from_ref(&job)).await.expect("enqueue");
            (job.id, recorded[0])
        }
    })
    .await;
    let made: Vec<_> =
        answers.iter().filter(|(_, recorded)| *recorded == Recorded::Created).collect();
    let [(winner, _)] = made[..] else { panic!("{} jobs were made", made.len()) };
    for (id, recorded) in &answers {
        assert!(id == winner || *recorded == Recorded::Existing(*winner), "{recorded:?}");
    }
}

/// A key changes hands while others ask for it: nobody gets an error, and no two live jobs have
/// it.
pub async fn a_key_that_changes_hands_is_never_held_twice(ledger: &SqlLedger) {
    let answers = at_once(16, |_| {
        let ledger = ledger.clone();
        async move {
            let mut made = 0;
            for _ in 0..20 {
                let jobs = [unique("b"), unique("a")];
                let recorded = ledger.enqueue(&jobs).await.expect("enqueue");
                for (job, recorded) in jobs.iter().zip(recorded) {
                    if recorded == Recorded::Created {
                        made += 1;
                        let done = ledger.settle(&[completed(job.id, token(1))]).await;
                        assert_eq!(done.expect("settle"), [Settled::Done]);
                    }
                }
            }
            made
        }
    })
    .await;
    assert!(answers.iter().sum::<u32>() >= 2);
}

/// Callers that share a commit are each answered for their own job, and one that leaves takes
/// nobody along.
pub async fn callers_that_share_a_commit_get_their_own_answers(ledger: &SqlLedger) {
    let group = Arc::new(GroupCommit::new(Arc::new(ledger.clone())));
    let held = created(ledger, unique("held")).await;
    let answers = at_once(200, |n| {
        let group = Arc::clone(&group);
        async move {
            let job = if n % 10 == 0 { unique("held") } else { job() };
            let jobs = [job];
            let call = group.enqueue(&jobs);
            if n % 7 == 3 {
                // Polled once, then dropped.
                let _ = tokio::time::timeout(std::time::Duration::ZERO, call).await;
                return None;
            }
            Some((n, jobs[0].id, call.await.expect("enqueue")))
        }
    })
    .await;
    for (n, id, recorded) in answers.into_iter().flatten() {
        if n % 10 == 0 {
            assert_eq!(recorded, [Recorded::Existing(held)]);
        } else {
            assert_eq!(recorded, [Recorded::Created]);
            assert_eq!(state(ledger, id).await, State::Ready);
        }
    }
    let open = ledger.open_jobs(None, at(1), at(1), 1_000).await.expect("list");
    assert!(open.jobs.iter().all(|job| job.created_at == NOW));
}
