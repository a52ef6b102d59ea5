//! What is promised of a queue with more jobs than its window.

use std::time::Duration;

use super::super::{Harness, TERM, envelope, fresh, with_args};
use super::SECOND;
use crate::broker::{Beyond, Place, Push, Pushed, Refill, Removed, Settled, Then};
use crate::job::{Durability, Envelope, JobId, Tenant, Turn};

const WINDOW: usize = 10;

/// Jobs that fell due one second after the other, the last one now.
fn backlog(on: &Harness, jobs: u32) -> Vec<Envelope> {
    (0..jobs).rev().map(|age| envelope(on.now().before(age * SECOND), 0)).collect()
}

async fn offer(on: &Harness, jobs: &[Envelope]) -> Vec<Pushed> {
    let pushes: Vec<Push> = jobs.iter().map(|job| fresh(job.clone(), on.now())).collect();
    on.broker.push(&on.queue, &pushes).await.unwrap()
}

/// Whether each job is held.
async fn held(on: &Harness, jobs: &[Envelope]) -> Vec<bool> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let places = on.broker.find(&on.queue, &ids).await.unwrap();
    places.iter().map(Option::is_some).collect()
}

fn turn(on: &Harness, job: &Envelope) -> Turn {
    Turn::of(job.id, job.run_at, job.priority_s, on.now())
}

async fn cutoff(on: &Harness) -> Option<Turn> {
    on.broker.cutoffs(std::slice::from_ref(&on.queue)).await.unwrap()[0]
}

async fn has_gap(on: &Harness) -> bool {
    let queues = std::slice::from_ref(&on.queue);
    let gap = on.broker.has_gaps(queues).await.unwrap();
    assert_eq!(on.broker.depth(queues).await.unwrap()[0].unwrap().beyond, gap);
    gap
}

/// Claims and ends so many jobs; answers whether the last claim found the window low.
async fn work_off(on: &Harness, jobs: usize) -> bool {
    let worker = super::super::worker("a");
    let lease = super::super::LEASE;
    let claimed = on.broker.claim(&on.queue, &worker, jobs, lease).await.unwrap();
    assert_eq!(claimed.deliveries.len(), jobs);
    for delivery in claimed.deliveries {
        assert_eq!(on.settle(&delivery.lease, Then::Gone).await, Settled::Done);
    }
    claimed.beyond == Beyond::Low
}

/// Memory is bounded, and an urgent job overtakes at once.
pub async fn a_full_window_lets_only_earlier_turns_in(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    assert!(!has_gap(&on).await);
    let jobs = backlog(&on, 12);
    assert_eq!(offer(&on, &jobs).await, [Pushed::Added; 12], "all at once");
    let first: Vec<bool> = (0..12).map(|n| n < WINDOW).collect();
    assert_eq!(held(&on, &jobs).await, first);
    assert_eq!(cutoff(&on).await, Some(turn(&on, &jobs[10])));
    assert!(has_gap(&on).await);
    assert_eq!(offer(&on, &jobs[9..]).await, [Pushed::Held, Pushed::Left, Pushed::Left]);
    let younger = on.job(Duration::ZERO);
    let later = on.job(60 * SECOND);
    let urgent = envelope(on.now(), 3_600);
    let pushed = offer(&on, &[younger, later, urgent.clone()]).await;
    assert_eq!(pushed, [Pushed::Left, Pushed::Left, Pushed::Added]);
    assert_eq!(held(&on, &jobs[8..10]).await, [true, false]);
    assert_eq!(cutoff(&on).await, Some(turn(&on, &jobs[9])));
    assert_eq!(on.claim("a", 1).await[0].lease.id, urgent.id);
    assert_eq!(on.broker.remove(&on.queue, jobs[11].id).await.unwrap(), Removed::Absent);
}

/// A retry in an hour does not keep a job that could run now out.
pub async fn what_is_not_due_yet_goes_before_what_is_and_running_jobs_stay(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let running = on.push_due(5).await;
    assert_eq!(on.claim("a", 5).await.len(), 5);
    // With a head start, which counts from the due time on.
    let later: Vec<Envelope> =
        (1..=8).map(|minutes| envelope(on.now().after(minutes * 60 * SECOND), 3_600)).collect();
    assert_eq!(offer(&on, &later).await, [Pushed::Added; 8]);
    let due = backlog(&on, 4);
    assert_eq!(offer(&on, &due).await, [Pushed::Added; 4]);
    let kept: Vec<bool> = (0..8).map(|n| n < 6).collect();
    assert_eq!(held(&on, &later).await, kept);
    assert_eq!(held(&on, &due).await, [true; 4]);
    assert_eq!(cutoff(&on).await, Some(turn(&on, &later[6])));
    let more = backlog(&on, 7);
    assert_eq!(offer(&on, &more).await, [Pushed::Added; 7]);
    assert_eq!(held(&on, &later).await, [false; 8]);
    let due_ones = [held(&on, &due).await, held(&on, &more).await].concat();
    assert_eq!(due_ones.iter().filter(|held| **held).count(), WINDOW);
    let places = on.broker.find(&on.queue, &running).await.unwrap();
    assert!(places.iter().all(|place| matches!(place, Some(Place::Running(_)))));
}

/// What fell due and no claim has looked at yet is not better than what is urgent.
pub async fn an_urgent_job_gets_in_before_jobs_that_just_fell_due(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let at = on.now().after(60 * SECOND);
    let jobs: Vec<Envelope> = (0..10).map(|_| envelope(at, 0)).collect();
    offer(&on, &jobs).await;
    on.advance(120 * SECOND);
    let urgent = envelope(on.now(), 3_600);
    assert_eq!(offer(&on, std::slice::from_ref(&urgent)).await, [Pushed::Added]);
    assert_eq!(held(&on, &jobs[8..]).await, [true, false]);
    assert_eq!(on.claim("a", 1).await[0].lease.id, urgent.id);
}

/// A thousand jobs scheduled for the same instant are in order, too.
pub async fn jobs_of_one_millisecond_have_turns_of_their_own(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let now = on.now();
    let mut jobs: Vec<Envelope> = (0..12).map(|_| envelope(now, 0)).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    offer(&on, &jobs).await;
    let last: Vec<bool> = (0..12).map(|n| n >= 2).collect();
    assert_eq!(held(&on, &jobs).await, last);
    assert_eq!(cutoff(&on).await, Some(turn(&on, &jobs[1])));
}

/// There is nowhere else where it could wait.
pub async fn a_job_recorded_nowhere_else_is_always_taken_and_stays(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let only_here = |job: Envelope| Envelope { durability: Durability::Broker, ..job };
    let tail = on.now().after(30 * SECOND);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    let kept = [
        only_here(on.job(Duration::ZERO)),
        only_here(Envelope { account: Some(uuid::Uuid::max()), ..envelope(tail, 0) }),
        only_here(Envelope { tenant: Tenant::from_uuid(uuid::Uuid::max()), ..envelope(tail, 0) }),
        only_here(Envelope { trace, ..envelope(tail, 0) }),
    ];
    // Whoever writes such arguments gains nothing by it.
    let cunning = with_args(&on.job(Duration::ZERO), r#"{"x":{"d":"broker"}}"#);
    let jobs = backlog(&on, 12);
    offer(&on, &kept).await;
    offer(&on, &[std::slice::from_ref(&cunning), &jobs].concat()).await;
    assert_eq!(held(&on, &kept).await, [true; 4]);
    assert_eq!(held(&on, &[cunning]).await, [false]);
    let late = only_here(on.job(3_000 * SECOND));
    assert_eq!(offer(&on, std::slice::from_ref(&late)).await, [Pushed::Added]);
    let first: Vec<bool> = (0..12).map(|n| n < WINDOW - kept.len()).collect();
    assert_eq!(held(&on, &jobs).await, first);
}

/// The three steps of a refill, from a full window to one that holds everything there is.
pub async fn a_refill_brings_a_window_up_to_the_end_of_the_backlog(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let jobs = backlog(&on, 16);
    offer(&on, &jobs[..12]).await;
    offer(&on, &jobs[12..]).await;
    assert!(!work_off(&on, 4).await);
    assert_eq!(on.begin_refill().await, None, "more than half is there");
    assert!(work_off(&on, 1).await);
    let refill = on.begin_refill().await.expect("half is gone");
    assert_eq!((refill.from, refill.room), (turn(&on, &jobs[10]), 5));
    assert_eq!(on.begin_refill().await, None, "one is under way");
    let until = Some(turn(&on, &jobs[14]));
    assert!(on.broker.widen(&on.queue, &refill, until).await.unwrap());
    assert_eq!(offer(&on, &jobs[10..15]).await[3..], [Pushed::Added, Pushed::Left]);
    on.broker.end_refill(&on.queue, &refill, until).await.unwrap();
    assert_eq!(cutoff(&on).await, until);
    assert!(work_off(&on, 4).await);
    let refill = on.begin_refill().await.expect("half is gone");
    assert_eq!((refill.from, refill.room), (turn(&on, &jobs[14]), 5));
    assert!(on.broker.widen(&on.queue, &refill, None).await.unwrap());
    assert_eq!(offer(&on, &jobs[13..]).await[1..], [Pushed::Added; 2]);
    on.broker.end_refill(&on.queue, &refill, None).await.unwrap();
    assert_eq!(cutoff(&on).await, None);
    assert!(!has_gap(&on).await);
    assert!(!work_off(&on, 7).await);
    assert_eq!(on.begin_refill().await, None);
}

async fn empty_and_begin(on: &Harness) -> (Vec<Envelope>, Refill) {
    let jobs = backlog(on, 12);
    offer(on, &jobs).await;
    work_off(on, 10).await;
    (jobs, on.begin_refill().await.expect("nothing is left"))
}

/// It would read the ledger from its own start on, and leave them behind.
pub async fn a_refill_below_which_jobs_were_put_out_does_not_go_on(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let (jobs, refill) = empty_and_begin(&on).await;
    let urgent: Vec<Envelope> = (0..12).map(|_| envelope(on.now(), 60)).collect();
    offer(&on, &urgent).await;
    assert_eq!(held(&on, &urgent[10..]).await, [false; 2]);
    let until = Some(turn(&on, &jobs[11]));
    assert!(!on.broker.widen(&on.queue, &refill, until).await.unwrap());
    on.broker.end_refill(&on.queue, &refill, Some(refill.from)).await.unwrap();
    assert_eq!(cutoff(&on).await, Some(turn(&on, &urgent[10])));
    work_off(&on, 5).await;
    assert_eq!(on.begin_refill().await.unwrap().from, turn(&on, &urgent[10]));
}

/// The gap must not pass what is not held.
pub async fn jobs_put_out_during_a_refill_lie_beyond_its_end(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let (jobs, refill) = empty_and_begin(&on).await;
    on.broker.widen(&on.queue, &refill, None).await.unwrap();
    offer(&on, &jobs[10..]).await;
    let newer = backlog(&on, 11);
    let urgent: Vec<Envelope> = (0..9).map(|_| envelope(on.now(), 60)).collect();
    offer(&on, &urgent).await;
    offer(&on, &newer[..1]).await;
    assert_eq!(held(&on, &jobs[10..]).await, [false, false]);
    on.broker.end_refill(&on.queue, &refill, None).await.unwrap();
    assert_eq!(cutoff(&on).await, Some(turn(&on, &jobs[10])));
    work_off(&on, 10).await;
    assert_eq!(on.begin_refill().await.unwrap().from, turn(&on, &jobs[10]));
}

/// A refiller that was frozen wakes up to a queue that went on without it.
pub async fn of_two_refills_the_latest_counts(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let (jobs, old) = empty_and_begin(&on).await;
    on.advance(TERM + SECOND);
    let new = on.begin_refill().await.expect("the first took too long");
    assert_eq!(new.from, old.from);
    let until = Some(turn(&on, &jobs[11]));
    assert!(!on.broker.widen(&on.queue, &old, None).await.unwrap());
    assert!(on.broker.widen(&on.queue, &new, until).await.unwrap());
    on.broker.end_refill(&on.queue, &old, None).await.unwrap();
    assert!(has_gap(&on).await);
    on.broker.end_refill(&on.queue, &new, until).await.unwrap();
    on.broker.end_refill(&on.queue, &new, None).await.unwrap();
    assert_eq!(on.begin_refill().await.unwrap().from, turn(&on, &jobs[11]));
}

/// A broker that restarted may have lost jobs anywhere.
pub async fn a_new_generation_knows_nothing_of_what_is_held(on: Harness) {
    let on = on.narrow(WINDOW);
    on.open().await;
    let (jobs, under_way) = empty_and_begin(&on).await;
    offer(&on, &backlog(&on, 1)).await;
    on.broker.open(&on.queue, 2).await.unwrap();
    assert_eq!(cutoff(&on).await, Some(turn(&on, &jobs[10])), "nobody overtakes meanwhile");
    on.broker.end_refill(&on.queue, &under_way, None).await.unwrap();
    assert!(has_gap(&on).await);
    let refill = on.begin_refill().await.unwrap();
    assert_eq!((refill.from, refill.room), (Turn::FIRST, WINDOW));
    on.broker.open(&on.queue, 1).await.unwrap();
    assert!(on.broker.widen(&on.queue, &refill, None).await.unwrap(), "an old generation is none");
}
