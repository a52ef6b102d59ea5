//! Promises about what an operator does with dead letters.

use std::time::Duration;

use uuid::Uuid;

use super::{NOW, all, at, created, dead, job, put_back, settled, stamped, state, token, unique};
use crate::job::{JobId, Kind, NewJob, Queue, State, Tenant};
use crate::ledger::{
    AuditEntry, AuditFilter, DeadFilter, Edited, Ledger, Next, Prune, PutBack, Recorded, Redrive,
    RedriveState, Settled, SqlLedger, Verdict,
};

const DAY: Duration = Duration::from_secs(86_400);

/// The job runs once more, and ends so.
async fn ran_again(ledger: &SqlLedger, verdict: Verdict) {
    stamped(ledger, verdict.id, verdict.token, at(20)).await;
    assert_eq!(settled(ledger, verdict).await, Settled::Done);
}

async fn died(ledger: &SqlLedger, job: NewJob, sequence: u64, message: &str) -> JobId {
    let id = created(ledger, job).await;
    settled(ledger, dead(id, token(sequence), message)).await;
    id
}

fn of(ids: &[JobId]) -> DeadFilter {
    DeadFilter { ids: ids.to_vec(), ..all() }
}

fn note(action: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(7),
        at: at(3),
        actor: "api".to_owned(),
        action: action.to_owned(),
        subject: "all".to_owned(),
        detail: None,
        why: None,
        count: 0,
    }
}

/// The most numerous cause first, each with its youngest letter for an example.
pub async fn causes_are_listed_most_numerous_first(ledger: &SqlLedger) {
    let lone = died(ledger, job(), 1, "no route").await;
    let mut last = lone;
    for n in 0..3 {
        last = died(ledger, job(), 1, &format!("post {n} failed")).await;
    }
    let groups = ledger.dead_groups(&all()).await.expect("group");
    let seen: Vec<_> = groups
        .iter()
        .map(|group| (group.count, group.reason.message.as_str(), group.example))
        .collect();
    assert_eq!(seen, [(3, "post 2 failed", last), (1, "no route", lone)]);
    assert_eq!((groups[0].first_died_at, groups[0].last_died_at), (at(2), at(2)));
    assert_eq!(groups[0].kind, job().kind);
    let one = DeadFilter { limit: 1, ..all() };
    assert_eq!(ledger.dead_groups(&one).await.expect("group").len(), 1);
    let narrow = DeadFilter { ids: vec![lone], ..all() };
    assert_eq!(ledger.dead_groups(&narrow).await.expect("group")[0].example, lone);
    let none = DeadFilter { died_after: Some(at(9)), ..all() };
    assert!(ledger.dead_groups(&none).await.expect("group").is_empty());
}

/// By account and by time of death, the ends told apart.
pub async fn dead_letters_are_found_by_account_and_time(ledger: &SqlLedger) {
    let account = Uuid::from_u128(5);
    let mine = died(ledger, NewJob { account: Some(account), ..job() }, 1, "broke").await;
    died(ledger, job(), 1, "broke").await;
    let count = async |filter: DeadFilter| ledger.dead_letters(&filter).await.expect("list").len();
    let found = ledger.dead_letters(&DeadFilter { account: Some(account), ..all() }).await;
    assert_eq!(found.expect("list").iter().map(|l| l.id).collect::<Vec<_>>(), [mine]);
    assert_eq!(count(DeadFilter { account: Some(Uuid::from_u128(6)), ..all() }).await, 0);
    // They died at 2.
    for (after, before, found) in [
        (Some(at(2)), None, 2),
        (Some(at(3)), None, 0),
        (None, Some(at(2)), 0),
        (None, Some(at(3)), 2),
    ] {
        let filter = DeadFilter { died_after: after, died_before: before, ..all() };
        assert_eq!(count(filter).await, found, "{after:?} {before:?}");
    }
}

/// A discarded job is over: no letter, no way back, its key is free, and who did it is known.
pub async fn a_discarded_letter_is_gone_for_good(ledger: &SqlLedger) {
    let ids = [died(ledger, unique("k"), 1, "broke").await, died(ledger, job(), 1, "broke").await];
    let kept = died(ledger, job(), 1, "broke").await;
    let note = note("dlq.discard");
    assert_eq!(ledger.discard(&of(&ids), at(5), Some(&note)).await.expect("discard"), 2);
    assert_eq!(ledger.discard(&of(&ids), at(6), Some(&note)).await.expect("discard"), 0);
    for id in ids {
        let row = ledger.job(id).await.expect("read").expect("there");
        assert_eq!((row.state, row.finished_at), (State::Cancelled, Some(at(5))));
    }
    assert_eq!(ledger.dead_letters(&all()).await.expect("list")[0].id, kept);
    let back = ledger.redrive(&of(&ids), put_back(at(7), DAY)).await.expect("redrive");
    assert!(back.jobs.is_empty() && back.superseded.is_empty());
    assert_eq!(ledger.enqueue(&[unique("k")]).await.expect("enqueue"), [Recorded::Created]);
    let noted = ledger.audits(&AuditFilter { limit: 9, ..AuditFilter::default() }).await;
    assert_eq!(noted.expect("list"), [AuditEntry { count: 2, ..note }]);
}

/// How often a job was put back, when, and from which death.
pub async fn a_job_remembers_from_which_deaths_it_was_put_back(ledger: &SqlLedger) {
    let redrive = Uuid::from_u128(9);
    let id = died(ledger, job(), 1, "no answer").await;
    assert!(ledger.lineage(id).await.expect("read").is_empty());
    ledger.redrive(&of(&[id]), put_back(at(5), DAY)).await.expect("redrive");
    ran_again(ledger, dead(id, token(2), "no route")).await;
    let how = PutBack { redrive: Some(redrive), ..put_back(at(8), DAY) };
    ledger.redrive(&of(&[id]), how).await.expect("redrive");
    let lineage = ledger.lineage(id).await.expect("read");
    let seen: Vec<_> = lineage
        .iter()
        .map(|once| (once.n, once.at, once.redrive, once.message.as_str(), once.died_at))
        .collect();
    assert_eq!(
        seen,
        [(1, at(5), None, "no answer", at(2)), (2, at(8), Some(redrive), "no route", at(2))]
    );
    assert_ne!(lineage[0].fingerprint, lineage[1].fingerprint);
}

/// A job of its key that lives or completed since, or, of kinds that catch up, one for its account.
/// What completed before it died says nothing, nor what died or was cancelled.
pub async fn what_made_a_dead_job_needless_is_found(ledger: &SqlLedger) {
    let kind = Kind::parse("connector_sync").expect("a name");
    let sync = |account: u128| {
        let account = Some(Uuid::from_u128(account));
        NewJob { kind: kind.clone(), account, ..job() }
    };
    let keyed = |key: &str| NewJob { kind: kind.clone(), ..unique(key) };
    let by = async |id: JobId, kinds: &[Kind]| {
        let found = ledger.dead_subjects(&[id], kinds).await.expect("find").remove(0);
        (found.key_holder, found.superseded_by)
    };
    let kinds = std::slice::from_ref(&kind);
    let ended = async |job: NewJob, then: Next| {
        let id = created(ledger, job).await;
        assert_eq!(settled(ledger, super::verdict(id, token(1), then)).await, Settled::Done);
        id
    };
    // All died at 2.
    let earlier = ended(keyed("a"), Next::Completed { at: at(1) }).await;
    let of_key = died(ledger, keyed("a"), 1, "broke").await;
    assert_eq!(by(of_key, kinds).await, (None, None), "{earlier} completed before");
    ended(keyed("a"), Next::Cancelled { at: at(3) }).await;
    died(ledger, keyed("a"), 1, "broke").await;
    assert_eq!(by(of_key, kinds).await, (None, None));
    let holder = created(ledger, keyed("a")).await;
    assert_eq!(by(of_key, &[]).await, (Some(holder), Some(holder)));
    settled(ledger, super::verdict(holder, token(1), Next::Completed { at: at(3) })).await;
    assert_eq!(by(of_key, &[]).await, (None, Some(holder)));

    ended(sync(1), Next::Completed { at: at(1) }).await;
    let of_account = died(ledger, sync(1), 1, "broke").await;
    created(ledger, sync(2)).await;
    assert_eq!(by(of_account, kinds).await, (None, None));
    let live = created(ledger, sync(1)).await;
    assert_eq!(by(of_account, &[]).await, (None, None), "the kind does not catch up");
    assert_eq!(by(of_account, kinds).await, (None, Some(live)));
    settled(ledger, super::verdict(live, token(1), Next::Completed { at: at(3) })).await;
    assert_eq!(by(of_account, kinds).await, (None, Some(live)));
    assert!(ledger.dead_subjects(&[live], kinds).await.expect("find").is_empty(), "it is not dead");
}

/// What came back to the operator's hands is counted by cause, and not put back a second time.
pub async fn a_redrive_knows_what_came_back(ledger: &SqlLedger) {
    let id = Uuid::from_u128(9);
    let mut ids = Vec::new();
    for message in ["no answer", "no answer", "no answer", "no route", "no route"] {
        ids.push(died(ledger, job(), 1, message).await);
    }
    let filter = DeadFilter { untouched_by: Some(id), ..all() };
    let how = PutBack { redrive: Some(id), ..put_back(NOW, DAY) };
    ledger.redrive(&filter, how).await.expect("redrive");
    ran_again(ledger, dead(ids[0], token(2), "no answer")).await;
    // Of something else: that is no return.
    ran_again(ledger, dead(ids[1], token(2), "a new fault")).await;
    ran_again(ledger, super::completed(ids[3], token(2))).await;
    let mut causes = ledger.redrive_causes(id).await.expect("count");
    causes.sort_by_key(|cause| cause.put_back);
    let seen: Vec<_> =
        causes.iter().map(|cause| (cause.put_back, cause.underway, cause.returned)).collect();
    assert_eq!(seen, [(2, 1, 0), (3, 1, 1)]);
    assert_eq!(ledger.dead_letters(&all()).await.expect("list").len(), 2);
    assert!(ledger.dead_letters(&filter).await.expect("list").is_empty());
    assert!(ledger.redrive_causes(Uuid::from_u128(8)).await.expect("count").is_empty());
}

fn redrive() -> Redrive {
    Redrive {
        tenant: Tenant::DEFAULT,
        id: Uuid::from_u128(7),
        actor: "api".to_owned(),
        subject: "all".to_owned(),
        why: Some("it is repaired".to_owned()),
        filter: "{}".to_owned(),
        canary: Some(3),
        rate: None,
        state: RedriveState::Running,
        progress: "{}".to_owned(),
        matched: 10,
        put_back: 0,
        done: 0,
        unknown: 0,
        superseded: 0,
        started_at: at(3),
        step_at: at(3),
        ended_at: None,
        stopped_why: None,
        version: 0,
    }
}

/// Two nodes that take the same step: one of them counts. A person's stop is final.
pub async fn a_redrive_is_carried_on_by_one_and_stopped_by_a_person(ledger: &SqlLedger) {
    let new = redrive();
    for _ in 0..2 {
        ledger.start_redrive(&new, &note("dlq.retry")).await.expect("start");
    }
    assert_eq!(ledger.redrive_of(new.id).await.expect("read"), Some(new.clone()));
    assert_eq!(ledger.redrives(true, None, 9).await.expect("list"), std::slice::from_ref(&new));

    let step = Redrive { put_back: 3, step_at: at(4), ..new.clone() };
    assert!(ledger.save_redrive(&step).await.expect("save"));
    assert!(!ledger.save_redrive(&step).await.expect("save"), "an old version");
    let step = Redrive { version: 1, ..step };
    assert_eq!(ledger.redrive_of(new.id).await.expect("read"), Some(step.clone()));

    let stop = AuditEntry { id: Uuid::from_u128(8), at: at(6), ..note("redrive.stop") };
    assert!(ledger.stop_redrive(new.id, "stopped by ann", &stop).await.expect("stop"));
    assert!(!ledger.stop_redrive(new.id, "stopped by bob", &stop).await.expect("stop"));
    let late = Redrive { version: 2, state: RedriveState::Done, ..step.clone() };
    assert!(!ledger.save_redrive(&late).await.expect("save"), "it has ended");
    let ended = Redrive {
        state: RedriveState::Stopped,
        ended_at: Some(at(6)),
        stopped_why: Some("stopped by ann".to_owned()),
        version: 2,
        ..step
    };
    assert_eq!(ledger.redrives(false, None, 9).await.expect("list"), [ended]);
    assert!(ledger.redrives(true, None, 9).await.expect("list").is_empty());
    assert!(ledger.redrives(false, Some(new.id), 9).await.expect("list").is_empty());
}

/// What operators did goes by when they began it, and a redrive once it has ended; a batch at a time.
pub async fn a_cleanup_leaves_what_operators_do_now(ledger: &SqlLedger) {
    let entry =
        |id: u128, seconds| AuditEntry { id: Uuid::from_u128(id), at: at(seconds), ..note("x") };
    for n in 1..=5 {
        ledger.audit(&entry(n, 10 + u64::try_from(n).expect("small"))).await.expect("note");
    }
    let prune = |what, before, limit, dry_run| ledger.prune(what, before, limit, dry_run);
    assert_eq!(prune(Prune::Audit, at(11), 9, false).await.expect("prune"), 0);
    assert_eq!(prune(Prune::Audit, at(15), 1, true).await.expect("count"), 4);
    assert_eq!(prune(Prune::Audit, at(15), 3, false).await.expect("prune"), 3);
    assert_eq!(prune(Prune::Audit, at(15), 3, false).await.expect("prune"), 1);
    let left = ledger.audits(&AuditFilter { limit: 9, ..AuditFilter::default() }).await;
    assert_eq!(left.expect("list"), [entry(5, 15)]);

    let new = redrive();
    ledger.start_redrive(&new, &note("dlq.retry")).await.expect("start");
    assert_eq!(prune(Prune::Redrives, at(99), 9, false).await.expect("prune"), 0, "it runs");
    let stop = AuditEntry { id: Uuid::from_u128(8), at: at(20), ..note("redrive.stop") };
    assert!(ledger.stop_redrive(new.id, "stopped by ann", &stop).await.expect("stop"));
    assert_eq!(prune(Prune::Redrives, at(20), 9, false).await.expect("prune"), 0);
    assert_eq!(prune(Prune::Redrives, at(21), 9, true).await.expect("count"), 1);
    assert_eq!(prune(Prune::Redrives, at(21), 9, false).await.expect("prune"), 1);
    assert_eq!(ledger.redrive_of(new.id).await.expect("read"), None);
}

/// Put back with what it should have said in the first place.
pub async fn a_dead_job_is_put_back_with_other_arguments(ledger: &SqlLedger) {
    let id = died(ledger, job(), 1, "wrong").await;
    let queue = Queue::of_platform(&job().kind, "sandbox").expect("a name");
    let account = Some(Uuid::from_u128(3));
    let args = r#"{"publication_id":"0198f3a0-0000-7000-8000-000000000009"}"#.to_owned();
    let edited = Edited { args, kind_version: 2, queue, account };
    let how = PutBack { edited: Some(&edited), ..put_back(at(5), DAY) };
    let back = ledger.redrive(&of(&[id]), how).await.expect("redrive").jobs.remove(0);
    assert_eq!(state(ledger, id).await, State::Ready);
    let (args, queue) = (edited.args, edited.queue);
    let expected =
        NewJob { args, queue, kind_version: 2, account, failed_attempts: 0, ..back.clone() };
    assert_eq!(ledger.job(id).await.expect("read").expect("there").job, expected);
    assert_eq!(back, expected);
}
