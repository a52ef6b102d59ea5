//! Publications that have a window: what is late is skipped or says so, and what may have left is
//! followed up, window or not.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{
    Attempt, Category, ErrorClass, JobError, JobId, Outcome, PostPublication, RateScope,
    RetryPolicy, Timestamp, decide,
};
use postworks::ledger::{Db, Ledger as _};
use postworks::worker::{Handler as _, JobContext};
use postworks_workers::handlers::PublishPost;
use postworks_workers::store::{Late, PublicationState, Publish, Window};
use uuid::Uuid;

use crate::overtaken::{run, script, sent, until_at};
use crate::scripted::{ASKED, BLIND, Fault, KEYED};
use crate::world::{SETTLED_S, World, on_both};

on_both! {
    what_is_late_is_skipped_or_says_so,
    the_window_is_looked_at_when_the_request_is_recorded,
    a_request_that_may_have_left_is_followed_up_after_its_window,
    what_turns_out_not_to_have_been_sent_misses_its_window,
    what_is_told_to_wait_beyond_its_window_is_given_up_at_once,
    nothing_but_the_window_ends_its_job,
}

const MINUTE: u64 = 60;

/// A publication that is due now and has a window of a minute.
async fn windowed(world: &World, late: Late) -> Uuid {
    let post_id = world.store.add_post("hello").await.unwrap();
    let not_after = world.clock.now().after(Duration::from_secs(MINUTE));
    let window = Some(Window { not_after, late });
    let publish =
        Publish { post_id, connector_ids: vec![world.account], at: None, window, reply: None };
    let made = world.store.publish(&publish, |request| world.prepare(request)).await.unwrap();
    made[0].publication_id
}

/// What the engine makes of a failure of this run; it is recorded.
async fn judged(world: &World, cx: &JobContext, error: &JobError) -> Outcome {
    let effect = cx.effect.get().unwrap();
    let attempt = Attempt {
        number: cx.attempt,
        max: cx.max_attempts,
        expires_at: effect.expires_at(cx.expires_at),
        now: world.clock.now(),
        jitter: 1.0,
    };
    let mut outcome = decide(Err(error), attempt, &RetryPolicy::DEFAULT);
    if let Outcome::Dead { reason } = &mut outcome {
        *reason = effect.dies_of(reason.clone());
    }
    effect.record().await.unwrap();
    outcome
}

/// One attempt that fails, and what the engine makes of it.
async fn failed(world: &World, cx: &JobContext, id: Uuid) -> Outcome {
    let handler = PublishPost(world.worker());
    let result = handler.handle(PostPublication { publication_id: id }, cx).await;
    judged(world, cx, &result.unwrap_err()).await
}

async fn expires_at(world: &World, id: Uuid) -> Timestamp {
    let job = JobId::from_uuid(world.row(id).await.job_id);
    world.ledger().job(job).await.unwrap().unwrap().job.expires_at
}

/// A run as the engine makes it: it knows until when the job is of use.
async fn run_of(world: &World, id: Uuid) -> JobContext {
    let mut cx = world.run_of(id).await;
    cx.expires_at = expires_at(world, id).await;
    cx
}

async fn must_be_missed(world: &World, id: Uuid, outcome: Outcome) {
    let row = world.row(id).await;
    let Outcome::Dead { reason } = outcome else { panic!("{outcome:?}") };
    let end = row.window.unwrap().not_after.to_string();
    assert_eq!(reason.category, Category::Expired);
    assert!(reason.message.contains(&end), "{}", reason.message);
    assert!(reason.message.contains(&row.scheduled_at.to_string()), "{}", reason.message);
    assert_eq!(row.state, PublicationState::Failed);
    assert_eq!(row.missed.unwrap().why, Some(reason.message));
}

async fn what_is_late_is_skipped_or_says_so(db: Db) {
    let world = World::new(db, &BLIND).await;
    let in_time = windowed(&world, Late::Skip).await;
    world.publish(in_time).await.unwrap();
    assert_eq!(world.row(in_time).await.missed, None);

    let (skipped, late) =
        (windowed(&world, Late::Skip).await, windowed(&world, Late::Publish).await);
    assert_eq!(
        expires_at(&world, skipped).await,
        world.row(skipped).await.window.unwrap().not_after
    );
    world.advance(MINUTE + 1);
    let cx = run_of(&world, skipped).await;
    let outcome = failed(&world, &cx, skipped).await;
    must_be_missed(&world, skipped, outcome).await;
    assert_eq!(sent(&world), 1, "the one in time");
    world.publish(late).await.unwrap();
    let row = world.row(late).await;
    assert_eq!((row.state, sent(&world)), (PublicationState::Published, 2));
    let missed = row.missed.unwrap();
    assert!(missed.at > row.window.unwrap().not_after && missed.why.is_none(), "{missed:?}");
}

async fn the_window_is_looked_at_when_the_request_is_recorded(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = windowed(&world, Late::Skip).await;
    let cx = run_of(&world, id).await;
    let mut slow = run(&world, &cx, id);
    // It was in time when it began.
    until_at(&world.platform.refreshing, &mut slow).await;
    world.advance(20);
    assert_eq!(sent(&world), 0);
    // Its attempt is not over by then, so only the window keeps it.
    let moved = "UPDATE publications SET not_after = scheduled_at + 1";
    let mut tx = world.db.begin().await.unwrap();
    postworks::on_tx!(&mut tx, conn => sqlx::query(moved).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
    let error = slow.await.unwrap_err();
    assert_eq!((error.class(), sent(&world)), (ErrorClass::Expired, 0));
    assert_eq!(world.row(id).await.state, PublicationState::Failed);
}

async fn a_request_that_may_have_left_is_followed_up_after_its_window(db: Db) {
    let mut db = Some(db);
    // What knows our key says that a repeat is harmless.
    for (descriptor, repeatable) in [(&ASKED, false), (&KEYED, true)] {
        let world = World::new(db.take().unwrap(), descriptor).await;
        let id = windowed(&world, Late::Skip).await;
        script(&world, Fault::LosesTheAnswer(ErrorClass::Unknown { repeatable }));
        let cx = run_of(&world, id).await;
        let outcome = failed(&world, &cx, id).await;
        assert!(!matches!(outcome, Outcome::Dead { .. }), "{outcome:?}");
        assert!(expires_at(&world, id).await > world.row(id).await.window.unwrap().not_after);
        world.advance(2 * MINUTE + SETTLED_S);
        let later = run_of(&world, id).await;
        let handler = PublishPost(world.worker());
        handler.handle(PostPublication { publication_id: id }, &later).await.unwrap();
        later.effect.get().unwrap().record().await.unwrap();
        let row = world.row(id).await;
        assert_eq!((row.state, row.missed), (PublicationState::Published, None));
        // Sent again, the same, where the platform knows it; else it was looked up.
        assert_eq!(sent(&world), 1 + usize::from(repeatable));
        db = Some(world.db);
    }
}

async fn what_turns_out_not_to_have_been_sent_misses_its_window(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = windowed(&world, Late::Skip).await;
    script(&world, Fault::Fails(ErrorClass::Unknown { repeatable: false }));
    let cx = run_of(&world, id).await;
    failed(&world, &cx, id).await;
    assert_eq!(world.row(id).await.state, PublicationState::Sending);
    world.advance(2 * MINUTE + SETTLED_S);
    let later = run_of(&world, id).await;
    let outcome = failed(&world, &later, id).await;
    must_be_missed(&world, id, outcome).await;
    assert_eq!(sent(&world), 0);
}

async fn what_is_told_to_wait_beyond_its_window_is_given_up_at_once(db: Db) {
    let world = World::new(db, &BLIND).await;
    for beyond in [false, true] {
        let id = windowed(&world, Late::Skip).await;
        let wait = Duration::from_secs(if beyond { 10 * MINUTE } else { MINUTE / 2 });
        let until = world.clock.now().after(wait);
        let class = ErrorClass::RateLimited { until, scope: RateScope::Account };
        script(&world, Fault::Fails(class));
        let cx = run_of(&world, id).await;
        let outcome = failed(&world, &cx, id).await;
        if beyond {
            must_be_missed(&world, id, outcome).await;
        } else {
            assert!(matches!(outcome, Outcome::Snooze { .. }), "{outcome:?}");
            let row = world.row(id).await;
            assert_eq!(row.state, PublicationState::Scheduled);
            let end = row.window.unwrap().not_after;
            assert_eq!(expires_at(&world, id).await, end, "there is nothing to follow up");
        }
    }
    // With the other policy it waits.
    let id = windowed(&world, Late::Publish).await;
    let until = world.clock.now().after(Duration::from_secs(10 * MINUTE));
    script(&world, Fault::Fails(ErrorClass::RateLimited { until, scope: RateScope::Account }));
    let cx = run_of(&world, id).await;
    let outcome = failed(&world, &cx, id).await;
    assert!(matches!(outcome, Outcome::Snooze { .. }), "{outcome:?}");
}

async fn nothing_but_the_window_ends_its_job(db: Db) {
    let world = World::new(db, &BLIND).await;
    // Kept for a person, who came: it is the window that counts.
    let id = windowed(&world, Late::Skip).await;
    let mut kept = run_of(&world, id).await;
    kept.expires_at = kept.expires_at.after(Duration::from_secs(7 * 86_400));
    world.advance(MINUTE + 1);
    let outcome = failed(&world, &kept, id).await;
    must_be_missed(&world, id, outcome).await;
    // Without one, a job that came too late ends its publication, too.
    let plain = world.publication("hello").await;
    world.advance(25 * 3_600);
    let cx = run_of(&world, plain).await;
    let outcome = failed(&world, &cx, plain).await;
    let Outcome::Dead { reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!((reason.category, reason.class.as_str()), (Category::Expired, "expired"));
    let row = world.row(plain).await;
    assert_eq!((row.state, row.missed), (PublicationState::Failed, None));
    assert_eq!(sent(&world), 0);
}
