//! Jobs that wait for others: every way in which a parent ends, and both policies.

use std::time::Duration;

use futures_util::FutureExt as _;
use uuid::Uuid;

use super::{
    all, at, at_once, completed, created, dead, job, put_back, settled, stamped, state, token,
    unique, verdict,
};
use crate::job::family::{OnFailure, WAIT_MAX, Waits};
use crate::job::{Category, JobId, NewJob, State, Tenant};
use crate::ledger::{
    Cancel, Error, Families, Ledger, Next, Prune, Recorded, Settled, SqlLedger, Standing, Told,
    Unpark,
};

const LIFE: Duration = Duration::from_secs(86_400);

/// A job that waits for these.
fn child(parents: &[JobId], on_failure: OnFailure) -> NewJob {
    let waits = Waits { parents: parents.to_vec(), on_failure, keeps_expiry: false };
    NewJob { waits: Some(Box::new(waits)), ..job() }
}

async fn waiting(ledger: &SqlLedger, job: NewJob) -> JobId {
    let recorded = ledger.enqueue(std::slice::from_ref(&job)).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Waits]);
    job.id
}

/// Tells all there is to tell; answers the jobs that were let go.
async fn tell(ledger: &SqlLedger, now: u64) -> Vec<JobId> {
    let families = Families::new(ledger.db().clone());
    let mut live = Vec::new();
    loop {
        let Told { found, live: jobs, .. } = families.tell(at(now), 100).await.expect("tell");
        live.extend(jobs.into_iter().map(|job| job.id));
        if found == 0 {
            return live;
        }
    }
}

/// How a job ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Settled,
    Dies,
    CancelledByHand,
    CancelledByItsWorker,
    Discarded,
    Overdue,
    DoneAfterAll,
}

impl End {
    const ALL: [Self; 7] = [
        Self::Settled,
        Self::Dies,
        Self::CancelledByHand,
        Self::CancelledByItsWorker,
        Self::Discarded,
        Self::Overdue,
        Self::DoneAfterAll,
    ];

    fn state(self) -> State {
        match self {
            Self::Settled | Self::DoneAfterAll => State::Completed,
            Self::Dies | Self::Overdue => State::Dead,
            Self::CancelledByHand | Self::CancelledByItsWorker | Self::Discarded => {
                State::Cancelled
            }
        }
    }

    async fn come(self, ledger: &SqlLedger, id: JobId) {
        match self {
            Self::Settled => drop(settled(ledger, completed(id, token(1))).await),
            Self::Dies => drop(settled(ledger, dead(id, token(1), "broke")).await),
            Self::CancelledByHand => {
                let cancelled = ledger.cancel(id, at(1), None).await.expect("cancel");
                assert!(matches!(cancelled, Cancel::Marked { .. }), "{cancelled:?}");
            }
            Self::CancelledByItsWorker => {
                let then = Next::Cancelled { at: at(1) };
                assert_eq!(settled(ledger, verdict(id, token(1), then)).await, Settled::Done);
            }
            Self::Discarded => {
                settled(ledger, dead(id, token(1), "broke")).await;
                let one = crate::ledger::DeadFilter { ids: vec![id], ..all() };
                assert_eq!(ledger.discard(&one, at(2), None).await.expect("discard"), 1);
            }
            Self::Overdue => {
                let then = Next::Parked { until: at(1), why: "needs_reauth", kept_until: None };
                assert_eq!(settled(ledger, verdict(id, token(1), then)).await, Settled::Done);
                ledger.unpark(Unpark::Due, at(100_000)).await.expect("unpark");
            }
            Self::DoneAfterAll => {
                settled(ledger, dead(id, token(1), "broke")).await;
                let mut tx = ledger.db().begin().await.expect("begin");
                let done = SqlLedger::complete_dead_in(&mut tx, id, at(2)).await.expect("complete");
                tx.commit().await.expect("commit");
                assert!(done);
            }
        }
    }
}

/// A child starts when the last of its parents ended, however each did, and knows how.
pub async fn a_child_waits_for_the_end_of_every_parent_and_is_told_of_each(ledger: &SqlLedger) {
    let mut parents = Vec::new();
    for _ in End::ALL {
        parents.push(created(ledger, job()).await);
    }
    let mut at_last = child(&parents, OnFailure::Continue);
    at_last.run_at = at(50);
    at_last.expires_at = at(50).after(LIFE);
    let id = waiting(ledger, at_last).await;
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((row.state, row.parked_for.as_deref()), (State::Parked, Some("parents")));
    assert_eq!(row.job.run_at, at(50), "it is shown with its own time");
    for (n, (end, parent)) in End::ALL.into_iter().zip(&parents).enumerate() {
        assert_eq!(state(ledger, id).await, State::Parked, "{n} have ended");
        let told = ledger.parents(id).await.expect("parents");
        assert_eq!(told.iter().filter(|one| one.outcome.is_some()).count(), n);
        end.come(ledger, *parent).await;
        let live = tell(ledger, 40).await;
        assert_eq!(live.contains(&id), n + 1 == parents.len(), "{end:?}");
    }
    let row = ledger.job(id).await.expect("read").expect("there");
    assert_eq!((row.state, row.job.run_at), (State::Ready, at(50)), "not before its own time");
    assert_eq!(row.job.expires_at, at(50).after(LIFE), "its life begins now");
    for (end, parent) in End::ALL.into_iter().zip(ledger.parents(id).await.expect("parents")) {
        assert_eq!(parent.outcome, Some(end.state()), "{end:?}");
        assert_eq!(parent.reason.is_some(), end.state() == State::Dead, "{end:?}: {parent:?}");
        assert!(parent.ended_at.is_some());
    }
    assert!(tell(ledger, 41).await.is_empty(), "nothing is told twice");
}

/// A child whose parents need not complete dies with the first that does not, and says which.
pub async fn a_child_fails_with_the_first_parent_that_does_not_complete(ledger: &SqlLedger) {
    for end in End::ALL {
        let (good, bad) = (created(ledger, job()).await, created(ledger, job()).await);
        let id = waiting(ledger, child(&[good, bad], OnFailure::Fail)).await;
        let grandchild = waiting(ledger, child(&[id], OnFailure::Fail)).await;
        let brave = waiting(ledger, child(&[id], OnFailure::Continue)).await;
        end.come(ledger, bad).await;
        let live = tell(ledger, 3).await;
        if end.state() == State::Completed {
            assert_eq!((live.len(), state(ledger, id).await), (0, State::Parked), "{end:?}");
            continue;
        }
        for (dead, parent) in [(id, bad), (grandchild, id)] {
            let row = ledger.job(dead).await.expect("read").expect("there");
            assert_eq!((row.state, row.finished_at), (State::Dead, Some(at(3))), "{end:?}");
            let reason = row.reason.expect("a reason");
            assert_eq!(reason.category, Category::Parent);
            assert!(reason.message.contains(&parent.to_string()), "{}", reason.message);
            let cause = if end.state() == State::Dead { "is dead: " } else { "is cancelled" };
            let cause = if dead == grandchild { "is dead: parent: " } else { cause };
            assert!(reason.message.contains(cause), "{}", reason.message);
        }
        assert_eq!(live, [brave], "whoever wants to know is told of the failure");
        // What ends later finds a child that is dead, and leaves nothing to be told.
        settled(ledger, completed(good, token(1))).await;
        assert!(tell(ledger, 4).await.is_empty());
        assert_eq!(state(ledger, id).await, State::Dead);
    }
}

/// A diamond's last job starts once, after both sides; a long chain goes link by link.
pub async fn diamonds_and_chains_start_in_their_order(ledger: &SqlLedger) {
    let top = job();
    let left = child(&[top.id], OnFailure::Fail);
    let right = child(&[top.id], OnFailure::Fail);
    let bottom = child(&[left.id, right.id, top.id], OnFailure::Fail);
    // In one call, and not in their order.
    let family = [bottom.clone(), right.clone(), top.clone(), left.clone()];
    let recorded = ledger.enqueue(&family).await.expect("enqueue");
    let waits = Recorded::Waits;
    assert_eq!(recorded, [waits, waits, Recorded::Created, waits]);
    settled(ledger, completed(top.id, token(1))).await;
    assert_eq!(tell(ledger, 1).await, [left.id, right.id]);
    settled(ledger, completed(right.id, token(1))).await;
    assert!(tell(ledger, 1).await.is_empty());
    settled(ledger, completed(left.id, token(1))).await;
    assert_eq!(tell(ledger, 1).await, [bottom.id]);

    let mut chain = vec![job()];
    for n in 0..200 {
        chain.push(child(&[chain[n].id], OnFailure::Continue));
    }
    ledger.enqueue(&chain).await.expect("enqueue");
    for pair in chain.windows(2) {
        settled(ledger, completed(pair[0].id, token(1))).await;
        assert_eq!(tell(ledger, 2).await, [pair[1].id]);
    }
}

/// Whoever looks, and however many do at once, a child is let go once.
pub async fn children_are_let_go_once_however_many_tell_them(ledger: &SqlLedger) {
    let mut parents: Vec<NewJob> = (0..30).map(|_| job()).collect();
    parents.sort_by_key(|job| job.id);
    ledger.enqueue(&parents).await.expect("enqueue");
    let ids: Vec<JobId> = parents.iter().map(|job| job.id).collect();
    let mut children: Vec<NewJob> = Vec::new();
    for n in 0..60 {
        let some: Vec<JobId> = ids.iter().copied().skip(n % 5).step_by(1 + n % 7).collect();
        children.push(child(&some, OnFailure::Continue));
    }
    ledger.enqueue(&children).await.expect("enqueue");
    let told = at_once(8, |n| {
        let (ledger, ids) = (ledger.clone(), ids.clone());
        async move {
            let families = Families::new(ledger.db().clone());
            let mut live = Vec::new();
            for id in ids.iter().skip(n).step_by(8) {
                settled(&ledger, completed(*id, token(1))).await;
                live.extend(families.tell(at(1), 7).await.expect("tell").live);
            }
            live.into_iter().map(|job| job.id).collect::<Vec<_>>()
        }
    })
    .await;
    let mut let_go: Vec<JobId> = told.into_iter().flatten().collect();
    let_go.extend(tell(ledger, 2).await);
    let_go.sort();
    let mut expected: Vec<JobId> = children.iter().map(|job| job.id).collect();
    expected.sort();
    assert_eq!(let_go, expected);
}

/// An enqueue that is repeated since its answer got lost makes no second child, and changes nothing
/// of what became of the first.
pub async fn a_family_enqueued_again_is_the_same_family(ledger: &SqlLedger) {
    let parent = job();
    let waits = child(&[parent.id], OnFailure::Fail);
    let family = [parent.clone(), waits.clone()];
    for _ in 0..2 {
        let recorded = ledger.enqueue(&family).await.expect("enqueue");
        assert_eq!(recorded, [Recorded::Created, Recorded::Waits]);
    }
    settled(ledger, completed(parent.id, token(1))).await;
    assert_eq!(tell(ledger, 1).await, [waits.id]);
    ledger.enqueue(&family).await.expect("enqueue");
    assert_eq!(state(ledger, waits.id).await, State::Ready, "it does not wait again");
    assert!(tell(ledger, 2).await.is_empty());
    settled(ledger, dead(waits.id, token(1), "broke")).await;
    ledger.enqueue(&family).await.expect("enqueue");
    assert_eq!(state(ledger, waits.id).await, State::Dead);
}

/// A job whose parents have all ended is an ordinary one, and knows how they did.
pub async fn who_comes_after_the_end_of_its_parents_does_not_wait(ledger: &SqlLedger) {
    let (done, broken) = (created(ledger, job()).await, created(ledger, job()).await);
    settled(ledger, completed(done, token(1))).await;
    settled(ledger, dead(broken, token(1), "broke")).await;
    let id = created(ledger, child(&[done, broken], OnFailure::Continue)).await;
    assert_eq!(stamped(ledger, id, token(1), at(1)).await, super::is_yours(0));
    let outcomes: Vec<_> = ledger.parents(id).await.expect("parents");
    assert_eq!(outcomes[0].outcome, Some(State::Completed));
    assert_eq!(outcomes[1].reason.as_deref(), Some("platform_api: broke"));
}

/// What nobody could wait for is refused, and nothing of the call is recorded.
pub async fn a_job_cannot_wait_for_what_is_not_there_or_has_failed(ledger: &SqlLedger) {
    let broken = created(ledger, job()).await;
    settled(ledger, dead(broken, token(1), "broke")).await;
    let foreign = created(ledger, job()).await;
    let of_other = NewJob {
        tenant: Tenant::from_uuid(Uuid::from_u128(7)),
        ..child(&[foreign], OnFailure::Fail)
    };
    let unknown = job().id;
    for (refused, parent, ended) in [
        (child(&[unknown], OnFailure::Continue), unknown, None),
        (of_other, foreign, None),
        (child(&[broken], OnFailure::Fail), broken, Some(State::Dead)),
    ] {
        let other = job();
        let answer = ledger.enqueue(&[other.clone(), refused.clone()]).await;
        let Err(Error::Parents(unfit)) = answer else { panic!("{answer:?}") };
        assert_eq!(unfit.len(), 1);
        assert_eq!((unfit[0].child, unfit[0].parent), (refused.id, parent));
        assert_eq!(unfit[0].ended, ended);
        assert!(unfit[0].words().contains(&parent.to_string()));
        for id in [other.id, refused.id] {
            assert!(ledger.job(id).await.expect("read").is_none(), "nothing is recorded");
        }
    }
}

/// A waiting job is live: it has its key, and whoever cancels it ends it.
pub async fn a_waiting_child_holds_its_key_and_can_be_cancelled(ledger: &SqlLedger) {
    let parent = created(ledger, job()).await;
    let keyed = NewJob { unique_key: Some("k".into()), ..child(&[parent], OnFailure::Fail) };
    let id = waiting(ledger, keyed.clone()).await;
    let taken = ledger.enqueue(&[unique("k")]).await.expect("enqueue");
    assert_eq!(taken, [Recorded::Existing(id)]);
    // Who names a job that stands for another one waits for that.
    let (stand_in, after) = (unique("k"), job());
    let waits =
        Waits { parents: vec![stand_in.id], on_failure: OnFailure::Continue, keeps_expiry: false };
    let after = NewJob { waits: Some(Box::new(waits)), ..after };
    let recorded = ledger.enqueue(&[stand_in, after.clone()]).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Existing(id), Recorded::Waits]);
    assert_eq!(ledger.parents(after.id).await.expect("parents")[0].id, id);

    assert_eq!(stamped(ledger, id, token(1), at(1)).await, Standing::Parked);
    let cancelled = ledger.cancel(id, at(1), None).await.expect("cancel");
    assert!(matches!(cancelled, Cancel::Marked { .. }));
    assert_eq!(tell(ledger, 1).await, [after.id]);
    settled(ledger, completed(parent, token(1))).await;
    assert!(tell(ledger, 2).await.is_empty());
    assert_eq!(state(ledger, id).await, State::Cancelled);
    assert_eq!(ledger.enqueue(&[unique("k")]).await.expect("enqueue"), [Recorded::Created]);
}

/// Neither time nor an account that is back lets a waiting job go; its own expiry ends it, and one
/// that has none of its own waits as long as its parents take.
pub async fn nothing_but_its_parents_lets_a_waiting_child_go(ledger: &SqlLedger) {
    let account = Some(Uuid::from_u128(9));
    let parent = created(ledger, job()).await;
    let patient = NewJob { account, ..child(&[parent], OnFailure::Fail) };
    let mut hasty = NewJob { account, expires_at: at(60), ..patient.clone() };
    hasty.id = job().id;
    if let Some(waits) = &mut hasty.waits {
        waits.keeps_expiry = true;
    }
    let (patient, hasty) = (waiting(ledger, patient).await, waiting(ledger, hasty).await);
    ledger.unpark(Unpark::Account(Uuid::from_u128(9)), at(1)).await.expect("unpark");
    ledger.unpark(Unpark::Due, at(59)).await.expect("unpark");
    for id in [patient, hasty] {
        assert_eq!(state(ledger, id).await, State::Parked);
    }
    ledger.unpark(Unpark::Due, at(60)).await.expect("unpark");
    let row = ledger.job(hasty).await.expect("read").expect("there");
    let reason = row.reason.expect("a reason");
    assert_eq!((row.state, reason.category), (State::Dead, Category::Expired));
    assert!(reason.message.contains("parents"), "{}", reason.message);
    ledger.unpark(Unpark::Due, at(100 * 86_400)).await.expect("unpark");
    assert_eq!(state(ledger, patient).await, State::Parked);
    let row = ledger.job(patient).await.expect("read").expect("there");
    assert_eq!(row.job.expires_at, super::NOW.after(WAIT_MAX), "and even that has an end");
    settled(ledger, completed(parent, token(1))).await;
    assert_eq!(tell(ledger, 100 * 86_400).await, [patient]);
}

/// A parent's row stays until its children know how it ended.
pub async fn a_cleanup_leaves_parents_whose_end_was_not_told(ledger: &SqlLedger) {
    for (end, what) in [(End::Settled, Prune::EndedJobs), (End::Dies, Prune::DeadLetters)] {
        let parent = created(ledger, job()).await;
        let id = waiting(ledger, child(&[parent], OnFailure::Continue)).await;
        end.come(ledger, parent).await;
        let later = at(1_000);
        assert_eq!(ledger.prune(what, later, 100, false).await.expect("prune"), 0);
        assert_eq!(tell(ledger, 3).await, [id]);
        assert_eq!(ledger.prune(what, later, 100, false).await.expect("prune"), 1);
        let told = ledger.parents(id).await.expect("parents");
        assert_eq!((told[0].outcome, told[0].state), (Some(end.state()), None));
    }
}

/// A person who puts back a job that failed with its parent has decided: it does not wait again. One
/// who puts back the parent before its end was told has its children wait for the new end.
pub async fn what_a_person_puts_back_runs(ledger: &SqlLedger) {
    let parent = created(ledger, job()).await;
    let id = waiting(ledger, child(&[parent], OnFailure::Fail)).await;
    settled(ledger, dead(parent, token(1), "broke")).await;
    let put_back = || put_back(at(5), LIFE);
    ledger.redrive(&all(), put_back()).await.expect("redrive");
    assert!(tell(ledger, 5).await.is_empty(), "it lives again");
    assert_eq!(state(ledger, id).await, State::Parked);
    settled(ledger, dead(parent, token(2), "broke")).await;
    stamped(ledger, parent, token(3), at(6)).await;
    settled(ledger, dead(parent, token(3), "broke")).await;
    tell(ledger, 7).await;
    assert_eq!(state(ledger, id).await, State::Dead);
    let back = ledger.redrive(&all(), put_back()).await.expect("redrive");
    assert_eq!(back.jobs.len(), 2);
    assert_eq!(
        stamped(ledger, id, token(1), at(6)).await,
        super::is_yours_until(0, at(5).after(LIFE))
    );
    let told = ledger.parents(id).await.expect("parents");
    assert_eq!(told[0].outcome, Some(State::Dead), "it is told of the end that it failed with");
    settled(ledger, verdict(id, token(1), Next::Completed { at: at(7) })).await;
    assert!(tell(ledger, 8).await.is_empty());
}

/// Whoever tells children need not wait for the next look: an end in this process wakes him.
pub async fn the_end_of_a_parent_wakes_who_tells_children(ledger: &SqlLedger) {
    let families = Families::new(ledger.db().clone());
    let is_woken = || families.ends().notified().now_or_never().is_some();
    settled(ledger, completed(created(ledger, job()).await, token(1))).await;
    assert!(!is_woken(), "nobody waits for it");
    for end in [End::Settled, End::Dies, End::CancelledByHand, End::CancelledByItsWorker] {
        let parent = created(ledger, job()).await;
        waiting(ledger, child(&[parent], OnFailure::Continue)).await;
        assert!(!is_woken(), "{end:?} has not come yet");
        end.come(ledger, parent).await;
        assert!(is_woken(), "{end:?}");
        assert_eq!(tell(ledger, 9).await.len(), 1, "{end:?}");
    }
}
