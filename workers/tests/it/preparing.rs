//! What a platform holds ready before a post is published, and what it says of one that may be there.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, JobError};
use postworks::ledger::Db;
use postworks_workers::platforms::{Preparation, Prepared, Published, Reconciled};
use postworks_workers::store::PublicationState;
use serde_json::json;
use uuid::Uuid;

use crate::overtaken::{run, script, sent, until_at};
use crate::scripted::{ASKED, BLIND, Fault, SIGNED};
use crate::world::{SETTLED_S, World, on_both};

on_both! {
    what_is_prepared_is_kept_and_gone_on_from,
    a_preparation_that_is_cut_off_goes_on_where_it_was_kept,
    an_overtaken_run_does_not_change_what_its_successor_committed,
    a_post_like_one_that_was_there_before_is_refused,
    a_post_that_the_platform_says_it_has_is_found_by_its_id,
    a_post_that_nobody_can_be_sure_of_is_for_a_person,
    a_key_of_an_earlier_sign_in_is_looked_up_and_not_sent_again,
    a_sign_in_in_the_middle_of_a_run_is_noticed_before_the_key_is_sent,
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

fn part(n: u64) -> Prepared {
    Prepared(json!({ "part": n }))
}

fn waits(world: &World, n: u64, seconds: u64) -> Preparation {
    let until = world.clock.now().after(Duration::from_secs(seconds));
    Preparation::Waits { so_far: part(n), until }
}

fn will_prepare(world: &World, steps: impl IntoIterator<Item = Preparation>) {
    world.platform.server().preparations.extend(steps);
}

fn is_told_to_wait(error: &JobError) -> bool {
    matches!(error.class(), ErrorClass::Unavailable { .. })
}

/// A publication whose first request was applied, which nobody knows.
async fn with_a_lost_answer(world: &World) -> Uuid {
    let id = world.publication("hello").await;
    script(world, Fault::LosesTheAnswer(UNKNOWN));
    world.publish(id).await.unwrap_err();
    id
}

/// An account that was signed in a while ago.
async fn signed_in(db: Db) -> World {
    let world = World::new(db, &SIGNED).await;
    let first = world.publication("first").await;
    world.publish(first).await.unwrap();
    world.advance(SETTLED_S);
    world
}

async fn what_is_prepared_is_kept_and_gone_on_from(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    will_prepare(&world, [waits(&world, 1, 10)]);
    let error = world.publish(id).await.unwrap_err();
    assert!(is_told_to_wait(&error), "{error}");
    assert_eq!(world.row(id).await.prepared, part(1));
    assert_eq!(world.row(id).await.state, PublicationState::Scheduled, "nothing was sent");

    will_prepare(&world, [Preparation::Ready(part(2))]);
    world.publish(id).await.unwrap();
    let server = world.platform.server();
    assert_eq!(server.prepared_from, [Prepared::NOTHING, part(1)]);
    assert_eq!(server.committed_with, [part(2)]);
}

async fn a_preparation_that_is_cut_off_goes_on_where_it_was_kept(db: Db) {
    let world = World::new(db, &BLIND).await;
    let id = world.publication("hello").await;
    // Each of these is a place that it can go on from at once.
    will_prepare(&world, [waits(&world, 1, 0), waits(&world, 2, 0), waits(&world, 3, 0)]);
    let cx = world.run_of(id).await;
    let mut cut_off = run(&world, &cx, id);
    until_at(&world.platform.preparing, &mut cut_off).await;
    until_at(&world.platform.preparing, &mut cut_off).await;
    drop(cut_off);

    world.platform.server().preparations.clear();
    world.publish(id).await.unwrap();
    assert_eq!(world.platform.server().committed_with, [part(1)]);
}

async fn an_overtaken_run_does_not_change_what_its_successor_committed(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    will_prepare(&world, [Preparation::Ready(part(1)), Preparation::Ready(part(2))]);
    let zombie = world.run_of(id).await;
    let mut frozen = run(&world, &zombie, id);
    until_at(&world.platform.preparing, &mut frozen).await;
    script(&world, Fault::LosesTheAnswer(UNKNOWN));
    world.publish(id).await.unwrap_err();
    let error = frozen.await.unwrap_err();
    assert!(is_told_to_wait(&error), "{error}");
    assert_eq!(world.row(id).await.prepared, part(2), "what was committed is asked for");
    assert_eq!(world.platform.server().committed_with, [part(2)]);
}

async fn a_post_like_one_that_was_there_before_is_refused(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = world.publication("hello").await;
    world.platform.server().taken.push_back(None);
    let error = world.publish(id).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid, "{error}");
    assert_eq!(world.row(id).await.state, PublicationState::Failed);
}

async fn a_post_that_the_platform_says_it_has_is_found_by_its_id(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = with_a_lost_answer(&world).await;
    world.advance(SETTLED_S);
    // It does not show the post when it is asked, and knows better when it is sent again.
    let there = Published { remote_id: "post-0".to_owned(), remote_url: None };
    {
        let mut server = world.platform.server();
        server.reconciliations.extend([Reconciled::Absent, Reconciled::There(there)]);
        server.taken.push_back(Some("post-0".to_owned()));
    }
    world.publish(id).await.unwrap();
    assert_eq!(world.row(id).await.remote_id.as_deref(), Some("post-0"));
    assert_eq!(sent(&world), 1);
    assert_eq!(world.platform.server().named, [None, Some("post-0".to_owned())]);
}

async fn a_post_that_nobody_can_be_sure_of_is_for_a_person(db: Db) {
    let world = World::new(db, &ASKED).await;
    let id = with_a_lost_answer(&world).await;
    let unsure = || Reconciled::Unsure("its list is not to be had".to_owned());
    world.platform.server().reconciliations.extend([unsure(), unsure()]);
    let error = world.publish(id).await.unwrap_err();
    assert!(is_told_to_wait(&error), "it may still come: {error}");
    world.advance(SETTLED_S);
    let error = world.publish(id).await.unwrap_err();
    assert_eq!(error.class(), UNKNOWN);
    assert!(
        error.to_string().contains("its list is not to be had: look at the account"),
        "{error}"
    );
    assert_eq!(world.row(id).await.state, PublicationState::Sending);
    assert_eq!(sent(&world), 1);
}

async fn a_key_of_an_earlier_sign_in_is_looked_up_and_not_sent_again(db: Db) {
    let world = signed_in(db).await;
    let id = with_a_lost_answer(&world).await;
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 3, "within a sign-in the key is the same");

    let id = with_a_lost_answer(&world).await;
    world.advance(SETTLED_S);
    world.platform.forget_grant();
    let other = world.publication("another").await;
    world.publish(other).await.unwrap();
    assert_eq!(world.platform.server().sign_ins, 2);
    let before = sent(&world);
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), before, "it was looked up");
    assert_eq!(world.row(id).await.state, PublicationState::Published);
}

async fn a_sign_in_in_the_middle_of_a_run_is_noticed_before_the_key_is_sent(db: Db) {
    let world = signed_in(db).await;
    let id = with_a_lost_answer(&world).await;
    world.advance(SETTLED_S);
    // The run reads an account whose key is still good, and has to sign in to use it.
    world.platform.forget_grant();
    let error = world.publish(id).await.unwrap_err();
    assert!(is_told_to_wait(&error), "{error}");
    world.publish(id).await.unwrap();
    assert_eq!(sent(&world), 2, "the first and this one, which was looked up");
}
