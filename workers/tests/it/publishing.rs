//! No post is published twice, and none is called unpublished that may be out there.

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, JobError, RateScope};
use postworks::ledger::Db;
use postworks_workers::images::measure;
use postworks_workers::store::{Content, PostImage, PublicationState, Publish};
use postworks_workers::testing::pictures;
use uuid::Uuid;

use crate::content::SHOWING;
use crate::scripted::{ASKED, BLIND, FORGETFUL, FORGETFUL_ASKED, Fault, KEYED};
use crate::world::{World, on_both};

on_both! {
    a_post_is_published_once_however_often_its_job_runs,
    a_blind_platform_is_never_sent_to_twice,
    a_keyed_platform_gets_the_same_post_again,
    a_platform_that_can_be_asked_is_sent_to_again_only_when_absence_is_proof,
    a_post_that_is_found_is_not_sent_again,
    a_token_that_expired_on_the_way_costs_no_second_post,
    a_key_that_the_platform_has_forgotten_is_no_key,
    a_forgotten_key_is_made_up_for_by_looking,
    a_refusal_leaves_the_post_to_the_next_attempt_and_the_last_one_fails_it,
    a_text_that_is_too_long_is_refused_before_it_is_sent,
    images_that_a_platform_would_not_take_are_refused_before_it_is_asked,
    a_post_whose_account_needs_a_person_stays_scheduled_and_unsent,
    a_cancelled_or_late_attempt_does_not_start_to_send,
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

async fn publish(world: &World, publication_id: Uuid) -> Result<(), JobError> {
    world.publish(publication_id).await
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

async fn a_token_that_expired_on_the_way_costs_no_second_post(db: Db) {
    let world = World::new(db, &BLIND).await;
    let first = world.publication("first").await;
    publish(&world, first).await.unwrap();
    world.platform.forget_access();
    let id = world.publication("hello").await;
    publish(&world, id).await.unwrap();
    assert_eq!(sent(&world), 2);
    assert_eq!(world.row(id).await.state, PublicationState::Published);
}

const LOST: Fault = Fault::LosesTheAnswer(ErrorClass::Unknown { repeatable: true });
/// Just short of a day: what is begun now may take this long to arrive.
const NEARLY_A_DAY_S: u64 = 24 * 3_600 - 60;

async fn a_key_that_the_platform_has_forgotten_is_no_key(db: Db) {
    let world = World::new(db, &FORGETFUL).await;
    let (soon, late) = (world.publication("soon").await, world.publication("late").await);
    for id in [soon, late] {
        script(&world, LOST);
        publish(&world, id).await.unwrap_err();
    }
    world.advance(NEARLY_A_DAY_S);
    // Repeating it does not make the first request any younger.
    script(&world, LOST);
    publish(&world, late).await.unwrap_err();
    publish(&world, soon).await.unwrap();
    assert_eq!(sent(&world), 4);
    world.advance(60);
    for _ in 0..2 {
        let error = publish(&world, late).await.unwrap_err();
        assert_eq!(error.class(), UNKNOWN, "{error}");
    }
    assert_eq!(sent(&world), 4);
    assert_eq!(world.row(late).await.state, PublicationState::Sending);
}

async fn a_forgotten_key_is_made_up_for_by_looking(db: Db) {
    let world = World::new(db, &FORGETFUL_ASKED).await;
    let (there, absent) = (world.publication("there").await, world.publication("absent").await);
    script(&world, LOST);
    publish(&world, there).await.unwrap_err();
    script(&world, Fault::Fails(ErrorClass::Unknown { repeatable: true }));
    publish(&world, absent).await.unwrap_err();
    world.advance(25 * 3_600);
    publish(&world, there).await.unwrap();
    assert_eq!(sent(&world), 1, "it was found");
    publish(&world, absent).await.unwrap();
    assert_eq!(sent(&world), 2);
}

async fn a_refusal_leaves_the_post_to_the_next_attempt_and_the_last_one_fails_it(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    let until = world.clock.now();
    for class in [
        ErrorClass::Transient,
        ErrorClass::NotSent,
        ErrorClass::RateLimited { until, scope: RateScope::Account },
    ] {
        script(&world, Fault::Fails(class));
        assert_eq!(publish(&world, id).await.unwrap_err().class(), class);
        assert_eq!(world.row(id).await.state, PublicationState::Scheduled, "{class:?}");
    }
    let mut last = world.run_of(id).await;
    last.attempt = last.max_attempts;
    script(&world, Fault::Fails(ErrorClass::Transient));
    world.publish_in(&last, id).await.unwrap_err();
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

/// Whoever made these publications looked at no limits, as a release that knew none.
async fn images_that_a_platform_would_not_take_are_refused_before_it_is_asked(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (small, large) = (pictures::png(1, 1), pictures::png(1_024, 1_024));
    let alt = "x".repeat(101);
    for (images, words) in [
        (vec![(&small, ""); 5], "the post has 5 images; showing takes at most 4"),
        (vec![(&small, ""), (&small, &alt)], "the alt text of image 2 has 101 characters"),
        (vec![(&large, "")], "bytes; showing takes at most 1048576"),
        (vec![(&pictures::gif(), "")], "image 1 is image/gif; showing takes image/jpeg"),
    ] {
        let mut content = Content::of_text("look");
        for (bytes, alt) in images {
            let media = world.store.add_media(measure(bytes).unwrap(), bytes).await.unwrap();
            content.images.push(PostImage { media_id: media.id, alt: alt.to_owned() });
        }
        let post_id = world.store.add_content(&content).await.unwrap();
        let publish = Publish {
            post_id,
            connector_ids: vec![world.account],
            at: None,
            window: None,
            reply: None,
        };
        let made = world.store.publish(&publish, |request| world.prepare(request)).await.unwrap();
        let id = made[0].publication_id;
        let error = world.publish(id).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Invalid);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(world.row(id).await.state, PublicationState::Failed);
    }
    let server = world.platform.server();
    assert_eq!((server.calls, server.sign_ins, server.refreshes), (0, 0, 0), "it was never asked");
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
    let cancelled = world.run_of(id).await;
    cancelled.cancelled.cancel();
    let error = world.publish_in(&cancelled, id).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");

    // The tokens take so long that too little time is left.
    let late = world.run_of(id).await;
    world.platform.gate.forget_permits(1_000);
    let slow = async {
        world.platform.at_gate.acquire().await.unwrap().forget();
        world.advance(40);
        world.platform.gate.add_permits(1_000);
    };
    let (result, ()) = futures_util::future::join(world.publish_in(&late, id), slow).await;
    let error = result.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
    assert_eq!(world.row(id).await.state, PublicationState::Scheduled);
    assert_eq!(sent(&world), 0);
    publish(&world, id).await.unwrap();
}
