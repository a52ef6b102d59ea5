//! Runs that are frozen, cut off or overtaken in the middle: nothing is published twice, and
//! nobody is bothered with what somebody knows.

use std::pin::Pin;

use postworks::clock::Clock as _;
use postworks::job::{Category, ErrorClass, JobError, Reason, State};
use postworks::ledger::{Db, Ledger as _, Next, Verdict};
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::JobContext;
use postworks_workers::store::PublicationState;
use sqlx::{Executor as _, PgPool};
use uuid::Uuid;

use crate::scripted::{ASKED, BLIND, Fault, KEYED, Pause};
use crate::world::{SETTLED_S, World, on_both};

on_both! {
    a_frozen_run_sends_nothing_after_its_successor_has,
    a_frozen_run_sends_nothing_while_its_successor_does,
    a_frozen_runs_refusal_does_not_hide_its_successors_request,
    a_frozen_runs_late_answer_is_recorded,
    a_run_that_is_cut_off_goes_by_how_far_it_came,
    a_job_that_is_cancelled_before_its_request_leaves_is_not_sent,
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send + 'a>>;

/// A run of this publication, which goes on only while it is awaited: that is how it freezes.
pub(crate) fn run<'a>(world: &'a World, cx: &'a JobContext, id: Uuid) -> Run<'a> {
    Box::pin(world.publish_in(cx, id))
}

/// Awaits a run until it comes to this place. Others pass there afterwards.
pub(crate) async fn until_at(place: &Pause, run: &mut Run<'_>) {
    place.close();
    tokio::select! {
        ended = run => panic!("it did not come by: {ended:?}"),
        () = place.until_reached() => {}
    }
    place.open_wide();
}

pub(crate) fn script(world: &World, fault: Fault) {
    world.platform.server().publish_faults.push_back(fault);
}

pub(crate) fn sent(world: &World) -> usize {
    world.platform.server().sent.len()
}

async fn state(world: &World, id: Uuid) -> PublicationState {
    world.row(id).await.state
}

/// A publication whose first request was lost on its way, which nobody knows.
pub(crate) async fn with_a_lost_request(world: &World, text: &str) -> Uuid {
    let id = world.publication(text).await;
    script(world, Fault::Fails(UNKNOWN));
    world.publish(id).await.unwrap_err();
    id
}

async fn a_frozen_run_sends_nothing_after_its_successor_has(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = with_a_lost_request(&world, "hello").await;
    world.advance(SETTLED_S);
    let zombie = world.run_of(id).await;
    let mut frozen = run(&world, &zombie, id);
    // It has learned that nothing is there, and does not get to act on it.
    until_at(&world.platform.looked_up, &mut frozen).await;
    world.publish(id).await.unwrap();
    frozen.await.unwrap();
    assert_eq!(sent(&world), 1);
}

async fn a_frozen_run_sends_nothing_while_its_successor_does(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = with_a_lost_request(&world, "hello").await;
    world.advance(SETTLED_S);
    let zombie = world.run_of(id).await;
    let mut frozen = run(&world, &zombie, id);
    until_at(&world.platform.looked_up, &mut frozen).await;
    let successor = world.run_of(id).await;
    let mut sending = run(&world, &successor, id);
    until_at(&world.platform.publishing, &mut sending).await;
    let error = frozen.await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    assert_eq!(sent(&world), 0);
    sending.await.unwrap();
    assert_eq!(sent(&world), 1);
    assert_eq!(state(&world, id).await, PublicationState::Published);
}

async fn a_frozen_runs_refusal_does_not_hide_its_successors_request(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    let zombie = world.run_of(id).await;
    let mut frozen = run(&world, &zombie, id);
    until_at(&world.platform.publishing, &mut frozen).await;
    world.advance(SETTLED_S);
    let successor = world.run_of(id).await;
    let mut sending = run(&world, &successor, id);
    until_at(&world.platform.publishing, &mut sending).await;

    script(&world, Fault::Fails(ErrorClass::Transient));
    frozen.await.unwrap_err();
    assert_eq!(state(&world, id).await, PublicationState::Sending, "the successor's");
    script(&world, Fault::LosesTheAnswer(UNKNOWN));
    sending.await.unwrap_err();
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 1, "it was looked up, not sent again");
}

async fn a_frozen_runs_late_answer_is_recorded(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let zombie = world.run_of(id).await;
    let mut frozen = run(&world, &zombie, id);
    until_at(&world.platform.publishing, &mut frozen).await;
    let successor = world.run_of(id).await;
    let error = world.publish_in(&successor, id).await.unwrap_err();
    assert_eq!(error.class(), UNKNOWN);
    let (category, class) = (Category::UnknownOutcome, "unknown".to_owned());
    let reason = Reason { category, class, message: error.chain() };
    let then = Next::Dead { at: world.clock.now(), reason, failed_attempts: 1, job: None };
    let verdict = Verdict { id: successor.id, token: successor.token, then, failed: None };
    world.ledger().settle(&[verdict]).await.unwrap();

    frozen.await.unwrap();
    assert_eq!(sent(&world), 1);
    assert_eq!(world.row(id).await.remote_id.as_deref(), Some("post-0"));
    let job = world.ledger().job(successor.id).await.unwrap().unwrap();
    assert_eq!(job.state, State::Completed, "nobody needs to look any more");
}

async fn a_run_that_is_cut_off_goes_by_how_far_it_came(db: Db) {
    let mut db = Some(db);
    for (descriptor, repeatable) in [(&KEYED, true), (&ASKED, true), (&BLIND, false)] {
        let world = World::new(db.take().unwrap(), descriptor).await;
        let id = world.publication("hello").await;
        for (place, class, left) in [
            (&world.platform.refreshing, ErrorClass::Transient, PublicationState::Scheduled),
            (
                &world.platform.publishing,
                ErrorClass::Unknown { repeatable },
                PublicationState::Sending,
            ),
        ] {
            let cx = world.run_of(id).await;
            let mut doomed = run(&world, &cx, id);
            until_at(place, &mut doomed).await;
            drop(doomed);
            let effect = cx.effect.get().unwrap();
            assert_eq!(effect.interrupted(), class);
            effect.record().await.unwrap();
            assert_eq!(state(&world, id).await, left);
        }
        db = Some(world.db);
    }
}

async fn a_job_that_is_cancelled_before_its_request_leaves_is_not_sent(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let cx = world.run_of(id).await;
    let mut late = run(&world, &cx, id);
    until_at(&world.platform.refreshing, &mut late).await;
    world.ledger().cancel(cx.id, world.clock.now(), None).await.unwrap();
    late.await.unwrap_err();
    assert_eq!((sent(&world), state(&world, id).await), (0, PublicationState::Scheduled));
}

/// Every commit of an intent takes long from now on.
const SLOW_COMMITS: &str = "\
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ \
    BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$; \
    CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON publications \
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
    WHEN (NEW.state = 'sending' AND OLD.state <> 'sending') EXECUTE FUNCTION dawdle();";

/// Returns once a commit is under way.
async fn until_committing(pool: &PgPool) {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE query = 'COMMIT' AND wait_event = 'PgSleep'";
    loop {
        let count: i64 = sqlx::query_scalar(SQL).fetch_one(pool).await.unwrap();
        if count > 0 {
            return;
        }
    }
}

/// The answer to the commit is lost, and the intent is recorded: only this run knows that nothing
/// was sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_commit_was_not_acknowledged_is_withdrawn() {
    let server = PostgresServer::launch().await;
    let db = server.db().await;
    let Db::Postgres(guarded) = db.clone() else { panic!("it is PostgreSQL") };
    let pool = guarded.connections().clone();
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    pool.execute(SLOW_COMMITS).await.unwrap();
    let cx = world.run_of(id).await;
    let mut doomed = run(&world, &cx, id);
    tokio::select! {
        ended = &mut doomed => panic!("it is committing: {ended:?}"),
        () = until_committing(&pool) => {}
    }
    drop(doomed);
    let effect = cx.effect.get().unwrap();
    assert_eq!(effect.interrupted(), ErrorClass::Transient);
    // The commit holds the row: what waits for it too long is repeated, as the engine does.
    let mut tries = 0;
    while let Err(error) = effect.record().await {
        tries += 1;
        assert!(tries < 20, "{error}");
    }
    let row = world.row(id).await;
    assert_eq!((row.state, row.version), (PublicationState::Scheduled, 2), "begun and withdrawn");
    pool.execute("DROP TRIGGER dawdle ON publications").await.unwrap();
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 1);
}
