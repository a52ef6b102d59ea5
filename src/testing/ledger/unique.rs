//! Promises about keys that are held otherwise than while their job is live, and about debounces.

use std::time::Duration;

use super::{
    NOW, all, at, at_once, completed, created, dead, job, put_back, settled, stamped, state, token,
    unique, waits,
};
use crate::job::{JobId, Kind, NewJob, Queue, State, Uniqueness};
use crate::ledger::{Cancel, DeadFilter, Ledger, Prune, Recorded, Settled, SqlLedger, Standing};

/// A job that holds its key until it starts.
fn until_started(key: &str) -> NewJob {
    NewJob { uniqueness: Uniqueness::UntilStarted, ..unique(key) }
}

/// A job made `after` seconds that holds its key until `until`.
fn for_a_period(key: &str, after: u64, until: u64) -> NewJob {
    let uniqueness = Uniqueness::For { until: at(until) };
    NewJob { uniqueness, created_at: at(after), run_at: at(after), ..unique(key) }
}

/// An edit made `after` seconds, due ten seconds later, thirty in all.
fn edit(key: &str, after: u64) -> NewJob {
    NewJob {
        created_at: at(after),
        run_at: at(after + 10),
        uniqueness: Uniqueness::Debounced { until: at(after + 30) },
        args: format!(r#"{{"made":{after}}}"#),
        expires_at: at(86_400 + after),
        ..unique(key)
    }
}

async fn recorded(ledger: &SqlLedger, job: &NewJob) -> Recorded {
    let recorded = ledger.enqueue(std::slice::from_ref(job)).await.expect("enqueue");
    assert_eq!(recorded.len(), 1);
    recorded[0]
}

async fn row(ledger: &SqlLedger, id: JobId) -> NewJob {
    ledger.job(id).await.expect("read").expect("it is there").job
}

fn started_with(standing: &Standing) -> Option<&str> {
    match standing {
        Standing::Yours { edit, .. } => edit.as_ref().map(|edit| edit.args.as_str()),
        other => panic!("it does not start: {other:?}"),
    }
}

/// Whatever comes in while a run goes on has a job of its own, and neither a retry nor a crash takes
/// the key back.
pub async fn a_key_held_until_the_start_is_free_while_the_job_runs(ledger: &SqlLedger) {
    let first = until_started("a");
    assert_eq!(recorded(ledger, &first).await, Recorded::Created);
    assert_eq!(recorded(ledger, &until_started("a")).await, Recorded::Existing(first.id));
    assert_eq!(recorded(ledger, &unique("a")).await, Recorded::Existing(first.id));
    assert_eq!(started_with(&stamped(ledger, first.id, token(1), NOW).await), None);

    let second = until_started("a");
    assert_eq!(recorded(ledger, &second).await, Recorded::Created);
    assert_eq!(settled(ledger, waits(first.id, token(1), at(5))).await, Settled::Done);
    assert_eq!(recorded(ledger, &until_started("a")).await, Recorded::Existing(second.id));
    // Its worker vanished; the next one has it, and the key stays free.
    assert_eq!(started_with(&stamped(ledger, second.id, token(2), NOW).await), None);
    assert_eq!(started_with(&stamped(ledger, second.id, token(3), NOW).await), None);
    assert_eq!(recorded(ledger, &until_started("a")).await, Recorded::Created);
    for id in [first.id, second.id] {
        assert_eq!(row(ledger, id).await.unique_key.as_deref(), Some("a"), "it is still shown");
        assert_eq!(state(ledger, id).await, State::Ready);
    }
}

/// A completed job holds its key to the end of the period, a live one beyond.
pub async fn a_key_of_a_period_outlasts_the_completed_job(ledger: &SqlLedger) {
    let first = for_a_period("a", 0, 60);
    assert_eq!(recorded(ledger, &first).await, Recorded::Created);
    assert_eq!(settled(ledger, completed(first.id, token(1))).await, Settled::Done);
    let early = NewJob { created_at: at(59), ..unique("a") };
    assert_eq!(recorded(ledger, &early).await, Recorded::Existing(first.id));
    let second = for_a_period("a", 60, 120);
    assert_eq!(recorded(ledger, &second).await, Recorded::Created);
    let late = NewJob { created_at: at(500), ..unique("a") };
    assert_eq!(recorded(ledger, &late).await, Recorded::Existing(second.id), "it is live");
    assert_eq!(row(ledger, first.id).await.unique_key.as_deref(), Some("a"));
}

/// What died or was cancelled keeps nobody out, whatever period it was made with.
pub async fn only_a_completed_job_holds_the_key_of_a_period(ledger: &SqlLedger) {
    let first = created(ledger, for_a_period("a", 0, 6_000)).await;
    assert_eq!(settled(ledger, dead(first, token(1), "broke")).await, Settled::Done);
    let second = created(ledger, for_a_period("a", 1, 6_000)).await;
    let cancelled = ledger.cancel(second, at(2), None).await.expect("cancel");
    assert!(matches!(cancelled, Cancel::Marked { .. }));
    let third = created(ledger, for_a_period("a", 3, 6_000)).await;
    assert_eq!(settled(ledger, completed(third, token(1))).await, Settled::Done);
    let back = ledger.redrive(&all(), put_back(at(9), Duration::from_secs(60))).await;
    assert_eq!(back.expect("redrive").superseded, [first], "a period is as good as a live job");
    let later = ledger.redrive(&all(), put_back(at(6_000), Duration::from_secs(60))).await;
    assert_eq!(later.expect("redrive").jobs.len(), 1);
}

/// The last edit's arguments run, ten seconds after it, and never later than was asked for.
pub async fn a_debounced_job_runs_with_the_last_arguments(ledger: &SqlLedger) {
    let first = created(ledger, edit("a", 0)).await;
    for after in [5, 12] {
        let urgent = NewJob { priority_s: 60, ..edit("a", after) };
        assert_eq!(recorded(ledger, &urgent).await, Recorded::Replaced(first));
    }
    let standing = stamped(ledger, first, token(1), at(15)).await;
    let Standing::NotYet { until, edit: Some(latest) } = standing else { panic!("{standing:?}") };
    assert_eq!((until, latest.args.as_str(), latest.priority_s), (at(22), r#"{"made":12}"#, 60));
    for after in [21, 25, 29] {
        assert_eq!(recorded(ledger, &edit("a", after)).await, Recorded::Replaced(first));
    }
    let waiting = row(ledger, first).await;
    assert_eq!((waiting.run_at, waiting.expires_at), (at(30), at(86_429)), "the longest delay");
    let standing = stamped(ledger, first, token(2), at(30)).await;
    assert_eq!(started_with(&standing), Some(r#"{"made":29}"#));

    let next = edit("a", 31);
    assert_eq!(recorded(ledger, &next).await, Recorded::Created, "a run is not changed under way");
    assert_eq!(row(ledger, first).await.args, r#"{"made":29}"#);
    assert_eq!(row(ledger, next.id).await.run_at, at(41));
    // The run is given to another worker: with what it began with.
    let again = stamped(ledger, first, token(3), at(32)).await;
    assert_eq!(started_with(&again), Some(r#"{"made":29}"#));
}

/// The second time somebody asks for the same, newer arguments stand, also once they run.
pub async fn a_replacement_repeated_after_a_lost_reply_changes_nothing(ledger: &SqlLedger) {
    let first = created(ledger, edit("a", 0)).await;
    let (older, newer) = (edit("a", 1), edit("a", 2));
    for edit in [&older, &newer, &older, &newer, &older] {
        assert_eq!(recorded(ledger, edit).await, Recorded::Replaced(first));
    }
    assert_eq!(row(ledger, first).await.args, r#"{"made":2}"#);
    assert!(started_with(&stamped(ledger, first, token(1), at(99)).await).is_some());
    assert_eq!(recorded(ledger, &older).await, Recorded::Replaced(first), "it runs by now");
    let second = created(ledger, edit("a", 3)).await;
    assert_eq!(recorded(ledger, &older).await, Recorded::Replaced(first));
    assert_eq!(row(ledger, second).await.args, r#"{"made":3}"#);
    assert_eq!(ledger.prune(Prune::Edits, at(2), 9, true).await.expect("count"), 1);
    assert_eq!(ledger.prune(Prune::Edits, at(99), 9, false).await.expect("prune"), 2);
}

/// One call or many, the same comes of it.
pub async fn debounced_jobs_of_one_key_in_one_call_are_one_job(ledger: &SqlLedger) {
    let jobs = [edit("a", 1), edit("a", 2), edit("b", 3), job(), edit("a", 4)];
    let (a, made) = (jobs[0].id, Recorded::Created);
    let answers = [made, Recorded::Replaced(a), made, made, Recorded::Replaced(a)];
    for _ in 0..2 {
        assert_eq!(ledger.enqueue(&jobs).await.expect("enqueue"), answers);
    }
    assert_eq!(
        (row(ledger, a).await.args, row(ledger, a).await.run_at),
        (jobs[4].args.clone(), at(14))
    );
    let more = [edit("b", 6), unique("a"), edit("a", 5), edit("b", 7)];
    let b = jobs[2].id;
    let replaced = [b, a, b].map(Recorded::Replaced);
    let answers = [replaced[0], Recorded::Existing(a), replaced[1], replaced[2]];
    assert_eq!(ledger.enqueue(&more).await.expect("enqueue"), answers);
    assert_eq!(
        (row(ledger, a).await.args, row(ledger, b).await.args),
        (more[2].args.clone(), more[3].args.clone())
    );
    assert_eq!(recorded(ledger, &jobs[4]).await, Recorded::Replaced(a), "alone, and later");
    assert_eq!(row(ledger, a).await.args, more[2].args);
}

/// What was made to hold its key to its end is not replaced: nobody would look whether it started. Nor
/// is what runs elsewhere: a broker holds it there.
pub async fn what_was_not_made_to_be_replaced_stays_as_it_is(ledger: &SqlLedger) {
    let plain = created(ledger, unique("a")).await;
    assert_eq!(recorded(ledger, &edit("a", 1)).await, Recorded::Existing(plain));
    let calls = [unique("b"), edit("b", 1)];
    let answers = ledger.enqueue(&calls).await.expect("enqueue");
    assert_eq!(answers, [Recorded::Created, Recorded::Existing(calls[0].id)]);
    let waiting = created(ledger, until_started("c")).await;
    assert_eq!(recorded(ledger, &edit("c", 1)).await, Recorded::Replaced(waiting));
    assert_eq!(row(ledger, waiting).await.run_at, NOW, "it waits for nothing");
    let kind = Kind::parse("post_publication").expect("a correct name");
    let queue = Queue::of_platform(&kind, "mastodon").expect("a correct name");
    let elsewhere = NewJob { queue, ..edit("c", 2) };
    assert_eq!(recorded(ledger, &elsewhere).await, Recorded::Existing(waiting));
    assert_eq!(row(ledger, waiting).await.args, r#"{"made":1}"#);
}

/// A dead job is put back beside one that has begun, but not in the way of one that waits.
pub async fn a_dead_job_is_put_back_unless_another_waits_with_its_key(ledger: &SqlLedger) {
    let (plain, debounced) = (unique("a"), edit("b", 0));
    for job in [&plain, &debounced] {
        created(ledger, job.clone()).await;
        stamped(ledger, job.id, token(1), at(99)).await;
        assert_eq!(settled(ledger, dead(job.id, token(1), "broke")).await, Settled::Done);
    }
    let (next_a, next_b) = (until_started("a"), edit("b", 1));
    assert_eq!(recorded(ledger, &next_a).await, Recorded::Created);
    assert_eq!(recorded(ledger, &next_b).await, Recorded::Created);
    let hour = Duration::from_secs(3_600);
    let back = ledger.redrive(&all(), put_back(at(9), hour)).await.expect("redrive");
    assert_eq!((back.jobs.len(), back.superseded.len()), (0, 2));
    let subjects = ledger.dead_subjects(&[plain.id, debounced.id], &[]).await.expect("look");
    assert!(subjects.iter().all(|dead| dead.key_holder.is_some()), "{subjects:?}");

    stamped(ledger, next_a.id, token(1), at(99)).await;
    stamped(ledger, next_b.id, token(1), at(99)).await;
    let subjects = ledger.dead_subjects(&[plain.id, debounced.id], &[]).await.expect("look");
    assert!(subjects.iter().all(|dead| dead.key_holder.is_none()), "{subjects:?}");
    for id in [plain.id, debounced.id] {
        let one = DeadFilter { ids: vec![id], ..all() };
        let back = ledger.redrive(&one, put_back(at(9), hour)).await.expect("redrive");
        assert_eq!(back.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [id]);
    }
    assert_eq!(recorded(ledger, &unique("a")).await, Recorded::Existing(plain.id));
    assert_eq!(
        recorded(ledger, &edit("b", 2)).await,
        Recorded::Created,
        "it does not take it again"
    );
}

/// What holds a key of a period is kept as long, and as long again as all that ended.
pub async fn a_cleanup_leaves_what_holds_a_key(ledger: &SqlLedger) {
    let held = created(ledger, for_a_period("a", 0, 600)).await;
    assert_eq!(settled(ledger, completed(held, token(1))).await, Settled::Done);
    for dry_run in [true, false] {
        let gone = ledger.prune(Prune::EndedJobs, at(600), 9, dry_run).await.expect("prune");
        assert_eq!(gone, 0);
    }
    assert_eq!(ledger.prune(Prune::EndedJobs, at(601), 9, true).await.expect("count"), 1);
    assert_eq!(ledger.prune(Prune::EndedJobs, at(601), 9, false).await.expect("prune"), 1);
}

/// Of a start and a replacement at the same moment one is first: the run has the new arguments, or
/// they are another job's.
pub async fn a_start_and_a_replacement_come_one_after_the_other(ledger: &SqlLedger) {
    for round in 0..15 {
        let key = format!("k{round}");
        let first = created(ledger, edit(&key, 0)).await;
        let answers = at_once(9, |n| {
            let (ledger, key) = (ledger.clone(), key.clone());
            async move {
                if n == 4 {
                    let standing = stamped(&ledger, first, token(1), at(9_000)).await;
                    return Err(started_with(&standing).map(str::to_owned));
                }
                let edit = edit(&key, u64::try_from(n).expect("small") + 1);
                Ok((edit.id, edit.args.clone(), recorded(&ledger, &edit).await))
            }
        })
        .await;
        let mut ran = row(ledger, first).await.args;
        let (mut replaced, mut next) = (vec![ran.clone()], Vec::new());
        for answer in answers {
            match answer {
                Ok((_, args, Recorded::Replaced(of))) if of == first => replaced.push(args),
                Ok((id, args, Recorded::Created)) => next.push((id, args)),
                Ok((_, args, Recorded::Replaced(of))) => next.push((of, args)),
                Ok(other) => panic!("{other:?}"),
                Err(started) => ran = started.unwrap_or_else(|| edit(&key, 0).args),
            }
        }
        assert_eq!(row(ledger, first).await.args, ran, "nothing changed after the start");
        assert!(replaced.contains(&ran) && !next.iter().any(|(_, args)| *args == ran));
        let waiting: Vec<JobId> = next.iter().map(|(id, _)| *id).collect();
        assert!(waiting.windows(2).all(|two| two[0] == two[1]), "one job waits: {next:?}");
        if let Some(id) = waiting.first() {
            let args = row(ledger, *id).await.args;
            assert!(next.iter().any(|(_, theirs)| *theirs == args));
        }
    }
}

/// Calls of several keys, starts and ends at the same moment: nobody gets an error, and no two jobs
/// wait with one key.
pub async fn calls_that_free_and_replace_the_same_keys_do_not_deadlock(ledger: &SqlLedger) {
    at_once(12, |n| {
        let ledger = ledger.clone();
        async move {
            for round in 0..12 {
                let keys = if n % 2 == 0 { ["a", "b", "c"] } else { ["c", "a", "b"] };
                let jobs = keys.map(|key| match (n + round) % 3 {
                    0 => until_started(key),
                    _ => edit(key, 0),
                });
                let answers = ledger.enqueue(&jobs).await.expect("enqueue");
                for (job, answer) in jobs.iter().zip(answers) {
                    let id = match answer {
                        Recorded::Created | Recorded::Waits => job.id,
                        Recorded::Existing(id) | Recorded::Replaced(id) => id,
                    };
                    let mine = token(u64::try_from(100 * round + n).expect("small") + 1);
                    let standings = ledger.stamp(&[(id, mine)], at(9_000)).await.expect("stamp");
                    if round % 2 == 0 && matches!(standings[0], Standing::Yours { .. }) {
                        ledger.settle(&[completed(id, mine)]).await.expect("settle");
                    }
                }
            }
        }
    })
    .await;
    for key in ["a", "b", "c"] {
        let last = edit(key, 1);
        let id = match recorded(ledger, &last).await {
            Recorded::Created | Recorded::Waits => last.id,
            Recorded::Existing(id) | Recorded::Replaced(id) => id,
        };
        assert_eq!(row(ledger, id).await.args, last.args);
    }
}
