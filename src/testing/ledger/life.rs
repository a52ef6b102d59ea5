//! Promises about what a person or time does to jobs.

use std::collections::HashSet;
use std::time::Duration;

use super::{
    NOW, all, at, at_once, completed, created, dead, is_yours, is_yours_until, job, put_back,
    settled, stamped, state, token, unique, verdict,
};
use crate::job::{Category, JobId, Kind, NewJob, State};
use crate::ledger::{
    DeadFilter, Ledger, Next, Prune, Recorded, Settled, SqlLedger, Standing, Unpark,
};

const DAY: Duration = Duration::from_secs(86_400);

/// Put back means as good as new, but for the history and the fence.
pub async fn a_redriven_job_has_all_its_attempts_again(ledger: &SqlLedger) {
    let id = created(ledger, job()).await;
    stamped(ledger, id, token(5), at(1)).await;
    settled(ledger, dead(id, token(5), "broke")).await;
    let redriven = ledger.redrive(&all(), put_back(at(500), DAY)).await.expect("redrive");
    let [put_back] = &redriven.jobs[..] else { panic!("{redriven:?}") };
    assert_eq!((put_back.id, put_back.failed_attempts), (id, 0));
    assert_eq!((put_back.run_at, put_back.expires_at), (at(500), at(500).after(DAY)));
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((&row.job, row.state, row.finished_at), (put_back, State::Ready, None));
    assert_eq!(row.reason, None);
    assert!(ledger.dead_letters(&all()).await.expect("list").is_empty());

    assert_eq!(settled(ledger, completed(id, token(4))).await, Settled::Stale);
    assert_eq!(stamped(ledger, id, token(4), at(501)).await, Standing::Superseded);
    let next = stamped(ledger, id, token(6), at(501)).await;
    assert_eq!(next, is_yours_until(0, at(500).after(DAY)));
    assert_eq!(settled(ledger, completed(id, token(5))).await, Settled::Stale);
    // It dies once more, at an attempt of the same number: both are remembered.
    assert_eq!(settled(ledger, dead(id, token(6), "broke again")).await, Settled::Done);
    let history = ledger.attempts(id).await.expect("read");
    let said: Vec<&str> = history.iter().map(|attempt| attempt.error.as_str()).collect();
    assert_eq!(said, ["broke", "broke again"]);
}

/// A job's trace stays with it, through its death and back.
pub async fn a_job_keeps_its_callers_trace(ledger: &SqlLedger) {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
    let traced = NewJob { trace, ..job() };
    let id = created(ledger, traced.clone()).await;
    assert_eq!(ledger.job(id).await.expect("read").expect("there").job, traced);
    settled(ledger, dead(id, token(1), "broke")).await;
    let back = ledger.redrive(&all(), put_back(at(9), DAY)).await.expect("redrive");
    assert_eq!(back.jobs[0].trace, trace);
}

/// A successor is at work: the dead job stays dead. Of two dead ones with one key, one comes back.
pub async fn a_redrive_never_takes_a_unique_key_from_a_live_job(ledger: &SqlLedger) {
    let first = created(ledger, unique("a")).await;
    settled(ledger, dead(first, token(1), "broke")).await;
    let second = created(ledger, unique("a")).await;
    settled(ledger, dead(second, token(1), "broke")).await;
    let third = created(ledger, unique("a")).await;
    let redriven = ledger.redrive(&all(), put_back(at(9), DAY)).await.expect("redrive");
    assert!(redriven.jobs.is_empty());
    assert_eq!(redriven.superseded, [first, second]);
    assert_eq!(ledger.dead_letters(&all()).await.expect("list").len(), 2);

    settled(ledger, completed(third, token(1))).await;
    let redriven = ledger.redrive(&all(), put_back(at(9), DAY)).await.expect("redrive");
    assert_eq!(redriven.jobs[0].id, first);
    assert_eq!(redriven.superseded, [second]);
    let taken = ledger.enqueue(&[unique("a")]).await.expect("enqueue");
    assert_eq!(taken, [Recorded::Existing(first)]);
}

/// Two people press the button at once: each job comes back once.
pub async fn a_redrive_pressed_twice_puts_each_job_back_once(ledger: &SqlLedger) {
    for _ in 0..20 {
        let id = created(ledger, job()).await;
        settled(ledger, dead(id, token(1), "broke")).await;
    }
    let answers = at_once(4, |_| {
        let ledger = ledger.clone();
        async move { ledger.redrive(&all(), put_back(at(9), DAY)).await.expect("redrive") }
    })
    .await;
    let back: Vec<JobId> =
        answers.iter().flat_map(|answer| &answer.jobs).map(|job| job.id).collect();
    assert_eq!(back.len(), 20);
    assert_eq!(back.iter().collect::<HashSet<_>>().len(), 20);
    assert!(answers.iter().all(|answer| answer.superseded.is_empty()));
}

/// A parked job waits for its account, or for its time, and is nobody's business until then.
pub async fn a_parked_job_waits_for_its_account_or_its_time(ledger: &SqlLedger) {
    let account = uuid::Uuid::from_u128(7);
    let of_account = NewJob { account: Some(account), ..job() };
    let ids = [created(ledger, of_account).await, created(ledger, job()).await];
    for id in ids {
        let park = Next::Parked { until: at(60), why: "needs_reauth", kept_until: None };
        assert_eq!(settled(ledger, verdict(id, token(1), park)).await, Settled::Done);
    }
    let row = ledger.job(ids[0]).await.expect("read").expect("there");
    assert_eq!(row.state, State::Parked);
    assert_eq!(row.parked_for.as_deref(), Some("needs_reauth"));
    assert!(ledger.open_jobs(None, at(99), at(99), 10).await.expect("list").jobs.is_empty());

    let other = Unpark::Account(uuid::Uuid::from_u128(8));
    assert_eq!(ledger.unpark(other, at(5)).await.expect("unpark"), 0);
    assert_eq!(ledger.unpark(Unpark::Due, at(59)).await.expect("unpark"), 0);
    let whose = Unpark::Account(account);
    assert_eq!(ledger.unpark(whose, at(5)).await.expect("unpark"), 1);
    let row = ledger.job(ids[0]).await.expect("read").expect("there");
    assert_eq!((row.state, row.parked_for, row.job.run_at), (State::Ready, None, at(5)));
    assert_eq!(ledger.unpark(Unpark::Due, at(60)).await.expect("unpark"), 1);
    assert_eq!(state(ledger, ids[1]).await, State::Ready);
}

/// Jobs that wait for a person outlive their expiry, once as long as their verdict says and not for
/// ever; what ends there is one group an account, whatever it was to do.
pub async fn jobs_that_wait_for_a_person_outlive_a_weekend(ledger: &SqlLedger) {
    const WEEK: u64 = 7 * 86_400;
    let sync = Kind::parse("connector_sync").expect("a kind");
    let mut ids = Vec::new();
    for (n, account) in [1, 1, 2].into_iter().enumerate() {
        let kind = if n == 1 { sync.clone() } else { job().kind };
        let account = Some(uuid::Uuid::from_u128(account));
        ids.push(created(ledger, NewJob { kind, account, ..job() }).await);
    }
    let look = 3_600;
    let park = |at_s: u64| Next::Parked {
        until: at(at_s + look),
        why: "needs_reauth",
        kept_until: Some(at(at_s + WEEK)),
    };
    // Every hour each looks again, finds the account as it was, and parks again.
    for hour in 0..WEEK / look {
        let now = hour * look;
        for id in &ids {
            let stamped = stamped(ledger, *id, token(hour + 1), at(now)).await;
            let until = if hour == 0 { job().expires_at } else { at(WEEK) };
            assert_eq!(stamped, is_yours_until(0, until), "in hour {hour}");
            assert_eq!(
                settled(ledger, verdict(*id, token(hour + 1), park(now))).await,
                Settled::Done
            );
            let row = ledger.job(*id).await.expect("read").expect("there");
            assert_eq!(row.job.expires_at, at(WEEK), "counted from the first time");
        }
        if hour + 1 < WEEK / look {
            assert_eq!(ledger.unpark(Unpark::Due, at(now + look)).await.expect("unpark"), 3);
        }
    }
    // A person saves one account's jobs: they wait as long once more if it is lost again.
    let second = Unpark::Account(uuid::Uuid::from_u128(2));
    assert_eq!(ledger.unpark(second, at(WEEK - 60)).await.expect("unpark"), 1);
    let saved = stamped(ledger, ids[2], token(900), at(WEEK - 60)).await;
    assert_eq!(saved, is_yours_until(0, at(WEEK)));
    let parked = verdict(ids[2], token(900), park(WEEK - 60));
    assert_eq!(settled(ledger, parked).await, Settled::Done);
    let row = ledger.job(ids[2]).await.expect("read").expect("there");
    assert_eq!(row.job.expires_at, at(2 * WEEK - 60));

    assert_eq!(ledger.unpark(Unpark::Due, at(WEEK)).await.expect("unpark"), 0);
    assert_eq!(state(ledger, ids[2]).await, State::Parked);
    let letters = ledger.dead_letters(&all()).await.expect("letters");
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        assert_eq!(letter.reason.category, Category::Auth);
        assert_eq!(letter.reason.class, "auth_revoked");
        let account = uuid::Uuid::from_u128(1).to_string();
        assert!(letter.reason.message.contains(&account), "{}", letter.reason.message);
    }
    let groups = ledger.dead_groups(&all()).await.expect("groups");
    assert_eq!(groups.iter().map(|group| group.count).collect::<Vec<_>>(), [2]);
    // Put back, they have a life of their own again.
    let back = ledger.redrive(&all(), put_back(at(WEEK + 9), DAY)).await.expect("redrive");
    assert_eq!(back.jobs.len(), 2);
    let renewed = stamped(ledger, ids[0], token(999), at(WEEK + 9)).await;
    assert_eq!(renewed, is_yours_until(0, at(WEEK + 9).after(DAY)));
    let parked = verdict(ids[0], token(999), park(WEEK + 9));
    assert_eq!(settled(ledger, parked).await, Settled::Done);
    let row = ledger.job(ids[0]).await.expect("read").expect("there");
    assert_eq!(row.job.expires_at, at(2 * WEEK + 9));
}

/// A newer worker releases what it knows, and nothing that waits for something else.
pub async fn a_job_parked_for_a_newer_worker_is_released_by_one(ledger: &SqlLedger) {
    let mut ids = Vec::new();
    for (kind_version, why) in [(2, "newer_worker"), (3, "newer_worker"), (2, "needs_reauth")] {
        let id = created(ledger, NewJob { kind_version, ..job() }).await;
        let park = Next::Parked { until: at(60), why, kept_until: None };
        assert_eq!(settled(ledger, verdict(id, token(1), park)).await, Settled::Done);
        ids.push(id);
    }
    let kind = job().kind;
    let known = |version| {
        Unpark::Kinds(vec![(Kind::parse("other").expect("a kind"), 9), (kind.clone(), version)])
    };
    assert_eq!(ledger.unpark(known(1), at(5)).await.expect("unpark"), 0);
    assert_eq!(ledger.unpark(known(2), at(5)).await.expect("unpark"), 1);
    assert_eq!(ledger.unpark(known(2), at(5)).await.expect("unpark"), 0, "it is no loop");
    let row = ledger.job(ids[0]).await.expect("read").expect("there");
    assert_eq!((row.state, row.parked_for, row.job.run_at), (State::Ready, None, at(5)));
    assert_eq!(row.job.failed_attempts, 0);
    assert_eq!(state(ledger, ids[1]).await, State::Parked);
    assert_eq!(state(ledger, ids[2]).await, State::Parked);
    // An older worker that meets it again parks it again.
    assert_eq!(stamped(ledger, ids[0], token(2), at(6)).await, is_yours(0));
    let park = Next::Parked { until: at(60), why: "newer_worker", kept_until: None };
    assert_eq!(settled(ledger, verdict(ids[0], token(2), park)).await, Settled::Done);
    assert_eq!(ledger.unpark(known(3), at(7)).await.expect("unpark"), 2);
}

/// The sweep that refills a broker sees each live job exactly once, page by page, and no other.
pub async fn open_jobs_walks_every_live_job_once(ledger: &SqlLedger) {
    let mut expected = Vec::new();
    for n in 0..57 {
        let id = created(ledger, job()).await;
        match n % 4 {
            0 => drop(settled(ledger, completed(id, token(1))).await),
            1 => drop(ledger.cancel(id, NOW, None).await.expect("cancel")),
            2 => drop(settled(ledger, super::waits(id, token(1), at(9))).await),
            _ => {}
        }
        if n % 4 >= 2 {
            expected.push(id);
        }
    }
    created(ledger, NewJob { run_at: at(3_600), ..job() }).await;
    created(ledger, NewJob { created_at: at(10), ..job() }).await;
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.open_jobs(after, at(10), at(10), 7).await.expect("list");
        walked.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(walked, expected);
}

/// The cleanup takes what ended long ago, in bounded steps, and nothing that lives.
pub async fn a_cleanup_deletes_only_what_ended_before(ledger: &SqlLedger) {
    let live = created(ledger, job()).await;
    let mut ended = Vec::new();
    for _ in 0..5 {
        let id = created(ledger, job()).await;
        settled(ledger, completed(id, token(1))).await;
        ended.push(id);
    }
    let dead_job = created(ledger, job()).await;
    settled(ledger, dead(dead_job, token(1), "broke")).await;
    let prune = |what, before, limit, dry_run| ledger.prune(what, before, limit, dry_run);

    assert_eq!(prune(Prune::EndedJobs, at(1), 100, false).await.expect("prune"), 0);
    assert_eq!(prune(Prune::EndedJobs, at(2), 2, true).await.expect("count"), 5);
    assert_eq!(prune(Prune::EndedJobs, at(2), 2, false).await.expect("prune"), 2);
    assert_eq!(prune(Prune::EndedJobs, at(2), 100, false).await.expect("prune"), 3);
    for id in ended {
        assert!(ledger.job(id).await.expect("read").is_none());
    }
    assert_eq!(state(ledger, live).await, State::Ready);

    assert_eq!(prune(Prune::DeadLetters, at(2), 100, false).await.expect("prune"), 0);
    assert_eq!(prune(Prune::DeadLetters, at(3), 100, true).await.expect("count"), 1);
    assert_eq!(prune(Prune::DeadLetters, at(3), 100, false).await.expect("prune"), 1);
    assert!(ledger.job(dead_job).await.expect("read").is_none());
    assert!(ledger.dead_letters(&DeadFilter { limit: 9, ..all() }).await.expect("list").is_empty());
    assert!(ledger.attempts(dead_job).await.expect("read").is_empty());
}
