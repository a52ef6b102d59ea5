//! No post is published twice, and none is called unpublished that may be out there.

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, JobError, PostPublication};
use postworks::ledger::Db;
use postworks::worker::Handler as _;
use postworks_workers::handlers::PublishPost;
use postworks_workers::platforms::Platform as _;
use postworks_workers::store::{PublicationState, Resolution};
use uuid::Uuid;

use crate::scripted::{ASKED, BLIND, Fault, KEYED};
use crate::world::{World, on_both};

on_both! {
    a_post_is_published_once_however_often_its_job_runs,
    a_blind_platform_is_never_sent_to_twice,
    a_keyed_platform_gets_the_same_post_again,
    a_platform_that_can_be_asked_is_sent_to_again_only_when_absence_is_proof,
    a_post_that_is_found_is_not_sent_again,
    a_refusal_leaves_the_post_to_the_next_attempt_and_the_last_one_fails_it,
    a_text_that_is_too_long_is_refused_before_it_is_sent,
    a_post_whose_account_needs_a_person_stays_scheduled_and_unsent,
    a_cancelled_or_late_attempt_does_not_start_to_send,
    an_interrupted_attempt_goes_by_what_the_platform_offers,
    a_person_can_settle_an_unknown_outcome,
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

async fn publish(world: &World, publication_id: Uuid) -> Result<(), JobError> {
    world.attempt(PublishPost(world.worker()), PostPublication { publication_id }).await
}

fn script(world: &World, fault: Fault) {
    world.platform.server().publish_faults.push_back(fault);
}

fn sent(world: &World) -> usize {
    world.platform.server().sent.len()
}

async fn a_post_is_published_once_however_often_its_job_runs(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    for _ in 0..3 {
        publish(&world, id).await.unwrap();
    }
    assert_eq!(sent(&world), 1);
    let row = world.row(id).await;
    assert_eq!(row.state, PublicationState::Published);
    assert_eq!(row.remote_id.as_deref(), Some("post-0"));
    assert!(row.finished_at.is_some());
    let missing = publish(&world, Uuid::nil()).await.unwrap_err();
    assert!(matches!(missing.class(), ErrorClass::Invalid));
}

async fn a_blind_platform_is_never_sent_to_twice(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    script(&world, Fault::LosesTheAnswer(UNKNOWN));
    for _ in 0..4 {
        let error = publish(&world, id).await.unwrap_err();
        assert_eq!(error.class(), UNKNOWN);
        world.advance(600);
    }
    assert_eq!(sent(&world), 1);
    assert_eq!(world.row(id).await.state, PublicationState::Sending);
}

async fn a_keyed_platform_gets_the_same_post_again(db: Db) {
    let world = World::new(db, &KEYED).await;
    let id = world.publication("hello").await;
    script(&world, Fault::LosesTheAnswer(ErrorClass::Unknown { repeatable: true }));
    publish(&world, id).await.unwrap_err();
    world.advance(600);
    // A refusal of the repetition says nothing about the first request.
    script(&world, Fault::Fails(ErrorClass::Transient));
    publish(&world, id).await.unwrap_err();
    assert_eq!(world.row(id).await.state, PublicationState::Sending);
    publish(&world, id).await.unwrap();
    let posts = world.platform.server().sent.clone();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].publication_id, posts[1].publication_id);
    assert_eq!((&posts[0].text, posts[0].created_at), (&posts[1].text, posts[1].created_at));
    assert_eq!(world.row(id).await.remote_id.as_deref(), Some("post-0"));
}

async fn a_platform_that_can_be_asked_is_sent_to_again_only_when_absence_is_proof(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    // The request was lost on its way, which nobody knows.
    script(&world, Fault::Fails(UNKNOWN));
    let error = publish(&world, id).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unknown { repeatable: true });
    let error = publish(&world, id).await.unwrap_err();
    let ErrorClass::Unavailable { until } = error.class() else { panic!("{error}") };
    assert_eq!(sent(&world), 0);
    world.clock.advance(until.since(world.clock.now()));
    publish(&world, id).await.unwrap();
    assert_eq!(sent(&world), 1);
}

async fn a_post_that_is_found_is_not_sent_again(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    script(&world, Fault::LosesTheAnswer(UNKNOWN));
    publish(&world, id).await.unwrap_err();
    publish(&world, id).await.unwrap();
    assert_eq!(sent(&world), 1);
    assert_eq!(world.row(id).await.remote_id.as_deref(), Some("post-0"));
}

async fn a_refusal_leaves_the_post_to_the_next_attempt_and_the_last_one_fails_it(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let until = world.clock.now();
    for class in [ErrorClass::Transient, ErrorClass::NotSent, ErrorClass::RateLimited { until }] {
        script(&world, Fault::Fails(class));
        assert_eq!(publish(&world, id).await.unwrap_err().class(), class);
        assert_eq!(world.row(id).await.state, PublicationState::Scheduled, "{class:?}");
    }
    let mut last = world.context::<PostPublication>();
    last.attempt = last.max_attempts;
    script(&world, Fault::Fails(ErrorClass::Transient));
    let handler = PublishPost(world.worker());
    handler.handle(PostPublication { publication_id: id }, &last).await.unwrap_err();
    assert_eq!(world.row(id).await.state, PublicationState::Failed);
    // Put back by a person, it is tried again.
    script(&world, Fault::Fails(ErrorClass::Invalid));
    publish(&world, id).await.unwrap_err();
    assert_eq!(world.row(id).await.state, PublicationState::Failed);
    publish(&world, id).await.unwrap();
    assert_eq!(world.row(id).await.state, PublicationState::Published);
    assert_eq!(sent(&world), 1);
}

async fn a_text_that_is_too_long_is_refused_before_it_is_sent(db: Db) {
    let world = World::new(db, &KEYED).await;
    let fits = world.publication(&"é".repeat(20)).await;
    publish(&world, fits).await.unwrap();
    let id = world.publication(&"é".repeat(21)).await;
    let error = publish(&world, id).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("21 characters"), "{error}");
    assert_eq!(world.row(id).await.state, PublicationState::Failed);
    assert_eq!(sent(&world), 1);
}

async fn a_post_whose_account_needs_a_person_stays_scheduled_and_unsent(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    world.platform.forget_grant();
    for _ in 0..2 {
        let error = publish(&world, id).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::AuthRevoked);
        assert_eq!(world.row(id).await.state, PublicationState::Scheduled);
    }
    world.platform.new_secret("new");
    world.connect("ada", "new").await;
    publish(&world, id).await.unwrap();
    assert_eq!(sent(&world), 1);
}

async fn a_cancelled_or_late_attempt_does_not_start_to_send(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let handler = PublishPost(world.worker());
    let cancelled = world.context::<PostPublication>();
    cancelled.cancelled.cancel();
    let job = || PostPublication { publication_id: id };
    let error = handler.handle(job(), &cancelled).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");

    // The tokens take so long that too little time is left.
    let late = world.context::<PostPublication>();
    world.platform.gate.forget_permits(1_000);
    let slow = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        world.advance(40);
        world.platform.gate.add_permits(1_000);
    };
    let (result, ()) = futures_util::future::join(handler.handle(job(), &late), slow).await;
    let error = result.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    assert_eq!(world.row(id).await.state, PublicationState::Scheduled);
    assert_eq!(sent(&world), 0);
    publish(&world, id).await.unwrap();
}

async fn an_interrupted_attempt_goes_by_what_the_platform_offers(db: Db) {
    let mut db = Some(db);
    for (descriptor, repeatable) in [(&KEYED, true), (&ASKED, true), (&BLIND, false)] {
        let world = World::new(db.take().unwrap(), descriptor).await;
        let queue = world.context::<PostPublication>().queue;
        assert_eq!(queue.platform(), Some(world.platform.descriptor().name));
        let class = PublishPost(world.worker()).interrupted(&queue);
        assert_eq!(class, ErrorClass::Unknown { repeatable });
        db = Some(world.db);
    }
}

async fn a_person_can_settle_an_unknown_outcome(db: Db) {
    let world = World::new(db, &BLIND).await;
    let lost = Fault::LosesTheAnswer(UNKNOWN);
    let (there, absent) = (world.publication("there").await, world.publication("absent").await);
    for id in [there, absent] {
        script(&world, lost);
        publish(&world, id).await.unwrap_err();
    }
    assert!(world.store.unresolved(world.clock.now(), 10).await.unwrap().is_empty());
    world.advance(60);
    let open = world.store.unresolved(world.clock.now(), 10).await.unwrap();
    assert_eq!(open.iter().map(|row| row.id).collect::<Vec<_>>(), [there, absent]);
    let published = Resolution::Published { remote_id: Some("seen".into()) };
    assert!(world.store.resolve(there, &published).await.unwrap());
    assert!(!world.store.resolve(there, &Resolution::Absent).await.unwrap());
    assert!(world.store.resolve(absent, &Resolution::Absent).await.unwrap());
    publish(&world, there).await.unwrap();
    publish(&world, absent).await.unwrap();
    assert_eq!(sent(&world), 3, "the one a person called absent was sent again");
}
