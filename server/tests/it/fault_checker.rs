//! The fault suite's checker, on histories that are bad in one known way: it must say so, and
//! nothing else.

use crate::checker::{Allowed, Invariant, check};
use crate::history::{Asked, Change, Effect, History, Job, Publication, Told, Usage};

const JOB: &str = "job-1";
const PUBLICATION: &str = "publication-1";

fn job() -> Job {
    Job {
        id: JOB.to_owned(),
        kind: "post_publication".to_owned(),
        state: "completed".to_owned(),
        failed_attempts: 0,
        max_attempts: 12,
        run_at: 0,
        unique_key: None,
        attempt_rows: 0,
        letters: 0,
        category: None,
    }
}

fn effect() -> Effect {
    Effect { publish: true, account: "account-1".to_owned(), text: Some("hello".to_owned()) }
}

fn change(app: &str, token: i64, settled: bool) -> Change {
    Change {
        at_ms: 0,
        app: app.to_owned(),
        job: JOB.to_owned(),
        old_state: Some("open".to_owned()),
        state: if settled { "completed" } else { "open" }.to_owned(),
        old_token: if settled { Some(token) } else { None },
        token: Some(token),
        old_settled: Some(false),
        settled,
        old_failed: Some(0),
        failed: 0,
    }
}

/// One post, accepted, claimed, published and settled.
fn good() -> History {
    History {
        asked: vec![Asked {
            at_ms: 0,
            told: Told::Accepted,
            mark: "hello".to_owned(),
            jobs: vec![(JOB.to_owned(), Some(PUBLICATION.to_owned()))],
        }],
        effects: vec![effect()],
        jobs: vec![job()],
        publications: vec![Publication {
            id: PUBLICATION.to_owned(),
            job_id: JOB.to_owned(),
            state: "published".to_owned(),
            account: "account-1".to_owned(),
            text: "hello".to_owned(),
        }],
        changes: vec![change("worker-1", 7, false), change("worker-1", 7, true)],
        publish_calls: 1,
        ..History::default()
    }
}

#[track_caller]
fn must_break(spoil: impl FnOnce(&mut History), invariant: Invariant) {
    let mut history = good();
    spoil(&mut history);
    let allowed = Allowed { extra_calls: Some(0), peak_mib: Some(256), ..Allowed::default() };
    let found = check(&history, &allowed);
    let mut found: Vec<Invariant> = found.iter().map(|violation| violation.invariant).collect();
    // One fault may show in two ways.
    found.dedup();
    assert_eq!(found, [invariant]);
}

#[test]
fn a_good_history_breaks_nothing() {
    let allowed = Allowed { extra_calls: Some(0), peak_mib: Some(256), ..Allowed::default() };
    let found = check(&good(), &allowed);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_lost_job_is_seen() {
    must_break(|history| history.jobs.clear(), Invariant::I1);
    must_break(|history| history.effects.clear(), Invariant::I1);
}

#[test]
fn a_job_that_never_ends_is_seen() {
    must_break(|history| history.jobs[0].state = "open".to_owned(), Invariant::I9);
    must_break(|history| history.broker = [("leases".to_owned(), 1)].into(), Invariant::I9);
}

#[test]
fn a_post_that_is_out_twice_is_seen() {
    must_break(|history| history.effects.push(effect()), Invariant::I2);
}

#[test]
fn what_runs_of_a_refused_request_is_seen() {
    let refused = |history: &mut History| {
        let told = Told::Refused;
        history.asked.push(Asked { at_ms: 0, told, mark: "no".to_owned(), jobs: Vec::new() });
    };
    must_break(
        |history| {
            refused(history);
            let refresh = Effect { publish: false, account: "no".to_owned(), text: None };
            history.effects.push(refresh);
        },
        Invariant::I3,
    );
    must_break(
        |history| {
            let stray = Effect { text: Some("nobody's".to_owned()), ..effect() };
            history.effects.push(stray);
        },
        Invariant::I3,
    );
}

#[test]
fn a_zombies_hand_is_seen() {
    must_break(|history| history.changes[1].app = "worker-2".to_owned(), Invariant::I4);
    must_break(
        |history| {
            let back = Change { old_token: Some(9), ..change("worker-1", 7, false) };
            history.changes.insert(1, back);
        },
        Invariant::I4,
    );
    must_break(
        |history| {
            let old_state = Some("completed".to_owned());
            history.changes.push(Change { old_state, ..change("worker-1", 8, false) });
        },
        Invariant::I4,
    );
}

#[test]
fn attempts_that_are_counted_wrong_are_seen() {
    must_break(|history| history.jobs[0].failed_attempts = 1, Invariant::I5);
    must_break(|history| history.jobs[0].letters = 1, Invariant::I5);
    must_break(|history| history.changes[1].failed = 2, Invariant::I5);
}

#[test]
fn waste_leaks_and_wrong_numbers_are_seen() {
    let hungry = Usage { process: "worker-1".to_owned(), peak_mib: 300 };
    must_break(|history| history.usage.push(hungry), Invariant::I8);
    must_break(|history| history.metrics = [("completed".to_owned(), 2.0)].into(), Invariant::I10);
    must_break(|history| history.publish_calls = 9, Invariant::I11);
    must_break(|history| history.leaks.push("worker-1.log".to_owned()), Invariant::I12);
}
