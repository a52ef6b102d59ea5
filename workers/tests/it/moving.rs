//! Publications that are moved while somebody is at them: none is sent at its old time once the move
//! was confirmed, and none is sent twice or never.

use std::sync::Arc;
use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, JobId, State, Timestamp};
use postworks::ledger::{
    AuditEntry, AuditFilter, Db, Ledger as _, Next, PostgresOptions, Settled, Standing, Verdict,
};
use postworks::testing::chaos_proxy::{ChaosProxy, Spring, Target, Trap, Way};
use postworks::testing::postgres_server::PostgresServer;
use postworks_workers::store::{
    Begun, Earlier, Late, Move, Moved, NotMoved, PublicationState, Publish, Sender, Store, Which,
    Window,
};
use uuid::Uuid;

use crate::overtaken::{run, script, sent, until_at};
use crate::scripted::{ASKED, BLIND, Fault};
use crate::world::{World, key_ring, on_both};

on_both! {
    who_read_a_publication_before_it_was_moved_sends_nothing,
    what_may_have_been_sent_is_not_moved,
    what_is_surely_not_sent_is_moved_again_and_again,
    a_late_word_of_an_earlier_run_does_not_end_what_was_moved,
    a_post_is_moved_as_a_whole_but_for_what_has_begun,
    a_window_never_ends_before_it_begins,
    what_a_person_releases_before_its_time_waits_for_it,
    a_move_and_a_disconnection_leave_nothing_live,
    moves_and_intents_at_once_never_send_what_was_moved,
}

const HOUR: Duration = Duration::from_secs(3_600);
/// How long jobs of the kind are of use.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

fn note() -> AuditEntry {
    AuditEntry {
        id: Uuid::from_u128(rand::random()),
        at: Timestamp::from_millis(0),
        actor: "test".to_owned(),
        action: "publication.move".to_owned(),
        subject: "it".to_owned(),
        detail: None,
        why: None,
        count: 1,
    }
}

async fn noted(world: &World) -> Vec<AuditEntry> {
    let filter = AuditFilter { limit: 9, ..AuditFilter::default() };
    world.ledger().audits(&filter).await.unwrap()
}

async fn moved(world: &World, which: Which, to: Move) -> Moved {
    world.store.move_publications(which, &to, LIFE, &note()).await.unwrap()
}

fn to(at: Timestamp) -> Move {
    Move { at: Some(at), ..Move::default() }
}

async fn move_one(world: &World, id: Uuid, at: Timestamp) -> Option<NotMoved> {
    let mut moved = moved(world, Which::One(id), to(at)).await;
    assert_eq!(moved.moved.len() + moved.not_moved.len(), 1);
    moved.not_moved.pop().map(|(_, why)| why)
}

async fn state(world: &World, id: Uuid) -> PublicationState {
    world.row(id).await.state
}

async fn who_read_a_publication_before_it_was_moved_sends_nothing(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let cx = world.run_of(id).await;
    let mut reader = run(&world, &cx, id);
    until_at(&world.platform.refreshing, &mut reader).await;
    let later = world.clock.now().after(HOUR);
    assert_eq!(move_one(&world, id, later).await, None);
    let error = reader.await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    assert_eq!((sent(&world), state(&world, id).await), (0, PublicationState::Scheduled));
    // What the engine records of that run does not bring the old time back.
    let until = world.clock.now();
    let then = Next::Waits { until, failed_attempts: 1 };
    let verdict = Verdict { id: cx.id, token: cx.token, then, failed: None };
    assert_eq!(world.ledger().settle(&[verdict]).await.unwrap(), [Settled::Moved]);
    let standing = world.ledger().stamp(&[(cx.id, world.claim())], world.clock.now()).await;
    assert_eq!(standing.unwrap(), [Standing::NotYet { until: later, edit: None }]);
    world.clock.advance(HOUR);
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 1);
    assert_eq!(noted(&world).await.len(), 1);
}

async fn what_may_have_been_sent_is_not_moved(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    let cx = world.run_of(id).await;
    let mut sending = run(&world, &cx, id);
    until_at(&world.platform.publishing, &mut sending).await;
    let later = world.clock.now().after(HOUR);
    assert_eq!(move_one(&world, id, later).await, Some(NotMoved::Sending));
    sending.await.unwrap();
    assert_eq!(move_one(&world, id, later).await, Some(NotMoved::Published));
    let unknown = world.publication("hello").await;
    script(&world, Fault::LOST);
    world.publish(unknown).await.unwrap_err();
    assert_eq!(move_one(&world, unknown, later).await, Some(NotMoved::Sending));
    assert_eq!(sent(&world), 2);
    for (end, expected) in [(true, State::Cancelled), (false, State::Dead)] {
        let id = world.publication("hello").await;
        let run = world.run_of(id).await;
        if end {
            world.ledger().cancel(run.id, world.clock.now(), None).await.unwrap();
        } else {
            script(&world, Fault::INVALID);
            let error = world.publish_in(&run, id).await.unwrap_err();
            let reason = postworks::job::Reason {
                category: error.category(),
                class: "invalid".to_owned(),
                message: error.chain(),
            };
            let at = world.clock.now();
            let then = Next::Dead { at, reason, failed_attempts: 1, job: None };
            let verdict = Verdict { id: run.id, token: run.token, then, failed: None };
            world.ledger().settle(&[verdict]).await.unwrap();
        }
        assert_eq!(move_one(&world, id, later).await, Some(NotMoved::JobEnded(expected)));
    }
    let nothing = moved(&world, Which::One(Uuid::nil()), to(later)).await;
    assert!(nothing.moved.is_empty() && nothing.not_moved.is_empty());
    assert!(noted(&world).await.is_empty(), "nothing was moved");
}

async fn what_is_surely_not_sent_is_moved_again_and_again(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    script(&world, Fault::Fails(ErrorClass::Transient));
    let cx = world.run_of(id).await;
    world.publish_in(&cx, id).await.unwrap_err();
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
    let mut versions = vec![world.row(id).await.version];
    for hours in [3, 1, 2] {
        let at = world.clock.now().after(HOUR * hours);
        assert_eq!(move_one(&world, id, at).await, None);
        let row = world.row(id).await;
        assert_eq!(row.scheduled_at, at);
        versions.push(row.version);
        let job = world.ledger().job(cx.id).await.unwrap().unwrap().job;
        assert_eq!((job.run_at, job.expires_at), (at, at.after(LIFE)));
    }
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    let untold = world.store.untold(None).await.unwrap();
    assert_eq!(untold.len(), 1);
    let older = postworks_workers::store::Untold { version: versions[2], ..untold[0].clone() };
    world.store.told(&older).await.unwrap();
    assert_eq!(world.store.untold(None).await.unwrap(), untold, "there was a move since");
    world.store.told(&untold[0]).await.unwrap();
    assert!(world.store.untold(None).await.unwrap().is_empty());
}

async fn a_late_word_of_an_earlier_run_does_not_end_what_was_moved(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    script(&world, Fault::INVALID);
    let cx = world.run_of(id).await;
    world.publish_in(&cx, id).await.unwrap_err();
    // The engine has not recorded yet that the job is dead.
    assert_eq!(state(&world, id).await, PublicationState::Failed);
    assert_eq!(move_one(&world, id, world.clock.now()).await, None);
    // And repeats what it knows of the effect, since the answer got lost.
    cx.effect.get().unwrap().record().await.unwrap();
    assert_eq!(state(&world, id).await, PublicationState::Scheduled);
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 1);
}

async fn a_post_is_moved_as_a_whole_but_for_what_has_begun(db: Db) {
    let world = World::new(db, &BLIND).await;
    let others =
        [world.connect("bea", "other-secret").await.id, world.connect("cid", "x").await.id];
    let post_id = world.store.add_post("hello").await.unwrap();
    let connector_ids = [&[world.account][..], &others].concat();
    let publish = Publish { post_id, connector_ids, at: None, window: None, reply: None };
    let made = world.store.publish(&publish, |request| world.prepare(request)).await.unwrap();
    world.publish(made[0].publication_id).await.unwrap();
    let later = world.clock.now().after(HOUR);
    let all = moved(&world, Which::OfPost(post_id), to(later)).await;
    let ids: Vec<Uuid> = all.moved.iter().map(|(row, _)| row.id).collect();
    assert_eq!(ids, [made[1].publication_id, made[2].publication_id]);
    assert_eq!(all.not_moved.len(), 1);
    assert_eq!(all.not_moved[0].1, NotMoved::Published);
    assert_eq!(noted(&world).await[0].count, 2);
}

async fn a_window_never_ends_before_it_begins(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let now = world.clock.now();
    let (soon, later) = (now.after(HOUR), now.after(HOUR * 2));
    let change = |not_after, late| Move { at: None, not_after, late };
    let refused =
        async |to: Move| moved(&world, Which::One(id), to).await.not_moved.pop().unwrap().1;
    assert_eq!(refused(change(None, Some(Late::Skip))).await, NotMoved::NoWindow);
    assert_eq!(refused(change(Some(Some(now)), None)).await, NotMoved::Inverted(now));
    moved(&world, Which::One(id), change(Some(Some(soon)), None)).await;
    let window = Some(Window { not_after: soon, late: Late::Skip });
    assert_eq!(world.row(id).await.window, window);
    let job = JobId::from_uuid(world.row(id).await.job_id);
    let expires = async || world.ledger().job(job).await.unwrap().unwrap().job.expires_at;
    assert_eq!(expires().await, soon);
    assert_eq!(refused(to(later)).await, NotMoved::Inverted(soon));
    let both = Move { at: Some(later), not_after: Some(Some(later.after(HOUR))), late: None };
    moved(&world, Which::One(id), both).await;
    moved(&world, Which::One(id), change(None, Some(Late::Publish))).await;
    let window = Window { not_after: later.after(HOUR), late: Late::Publish };
    assert_eq!(world.row(id).await.window, Some(window));
    assert_eq!(expires().await, later.after(HOUR).after(LIFE));
    moved(&world, Which::One(id), change(Some(None), None)).await;
    let row = world.row(id).await;
    assert_eq!((row.window, row.scheduled_at), (None, later));
    assert_eq!(expires().await, later.after(LIFE));
}

async fn what_a_person_releases_before_its_time_waits_for_it(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let cx = world.run_of(id).await;
    let until = world.clock.now().after(HOUR);
    let park = Next::Parked { until, why: "needs_reauth", kept_until: Some(until.after(LIFE)) };
    let verdict = Verdict { id: cx.id, token: cx.token, then: park, failed: None };
    world.ledger().settle(&[verdict]).await.unwrap();
    let later = world.clock.now().after(HOUR * 2);
    assert_eq!(move_one(&world, id, later).await, None);
    let whose = postworks::ledger::Unpark::Account(world.account);
    assert_eq!(world.ledger().unpark(whose, world.clock.now()).await.unwrap(), 1);
    let error = world.publish(id).await.unwrap_err();
    assert_eq!((error.class(), sent(&world)), (ErrorClass::Unavailable { until: later }, 0));
    world.clock.advance(HOUR * 2);
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 1);
}

async fn a_move_and_a_disconnection_leave_nothing_live(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (before, after) = (world.publication("hello").await, world.publication("hello").await);
    let later = world.clock.now().after(HOUR);
    assert_eq!(move_one(&world, before, later).await, None);
    world.store.disconnect(world.account, &note()).await.unwrap();
    let (cancelled, _) = world.store.cancel_jobs_of(world.account, None, 100).await.unwrap();
    assert_eq!(cancelled.len(), 2);
    for id in [before, after] {
        let refused = move_one(&world, id, later).await;
        assert_eq!(refused, Some(NotMoved::JobEnded(State::Cancelled)));
    }
}

/// Many rounds in which a run records its intent while a person moves the publication.
async fn moves_and_intents_at_once_never_send_what_was_moved(db: Db) {
    let world = World::new(db, &BLIND).await;
    let (mut begun_first, mut moved_first) = (0, 0);
    for round in 0..60 {
        let id = world.publication("hello").await;
        let cx = world.run_of(id).await;
        let seen = world.row(id).await.version;
        let (worker, run_at) = (cx.worker.clone(), cx.run_at);
        let sender = Sender { job: cx.id, token: cx.token, worker, run_at };
        let later = world.clock.now().after(HOUR);
        let begin = world.store.begin(id, &sender, seen, Earlier::None);
        let (begun, not_moved) = if round % 2 == 0 {
            tokio::join!(begin, move_one(&world, id, later))
        } else {
            let (not_moved, begun) = tokio::join!(move_one(&world, id, later), begin);
            (begun, not_moved)
        };
        let row = world.row(id).await;
        match (begun.unwrap(), not_moved) {
            (Begun::Recorded { .. }, Some(NotMoved::Sending)) => {
                begun_first += 1;
                assert_eq!(row.state, PublicationState::Sending);
            }
            (Begun::Overtaken, None) => {
                moved_first += 1;
                assert_eq!((row.state, row.scheduled_at), (PublicationState::Scheduled, later));
            }
            other => panic!("both, or none: {other:?}"),
        }
    }
    assert_eq!(begun_first + moved_first, 60);
}

/// The server has committed, and nobody heard of it: the repetition finds that out, and does not move
/// anew what others have moved or sent since.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_answer_was_lost_is_done_once() {
    let server = PostgresServer::launch().await;
    let proxy = ChaosProxy::start(Target::Unix(server.folder().join(".s.PGSQL.5432")), 1).await;
    let direct = server.database().await;
    let db = Db::connect_postgres(&direct, &PostgresOptions::default()).unwrap();
    let world = World::new(db, &BLIND).await;
    let path = direct.split('?').next().unwrap();
    let through = path.replace("@localhost", &format!("@{}", proxy.address()));
    let through = format!("{through}?sslmode=disable");
    let through = Db::connect_postgres(&through, &PostgresOptions::default()).unwrap();
    let store = Store::new(through, key_ring(), Arc::clone(&world.clock) as _);
    for how in [Spring::CutBefore, Spring::LoseAnswer] {
        let id = world.publication("hello").await;
        let before = world.row(id).await.version;
        let at = world.clock.now().after(HOUR);
        let lost = proxy.set_trap(Trap::new(Way::ToServer, "COMMIT", how));
        let note = note();
        let moved = store.move_publications(Which::One(id), &to(at), LIFE, &note).await.unwrap();
        assert_eq!((lost.count(), moved.moved.len()), (1, 1), "{how:?}");
        let row = world.row(id).await;
        assert_eq!((row.scheduled_at, row.version), (at, before + 1), "{how:?}");
        assert_eq!(noted(&world).await[0].count, 1, "{how:?}");
    }
}
