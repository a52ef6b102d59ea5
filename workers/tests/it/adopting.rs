//! Publications of one account whose texts are the same, on a platform where nothing but its text tells
//! whose a post is: each takes its own, and none is lost or sent twice.

use postworks::clock::Clock as _;
use postworks::job::{ErrorClass, JobError};
use postworks::ledger::Db;
use postworks_workers::platforms::{Published, Reconciled};
use postworks_workers::store::PublicationState;
use uuid::Uuid;

use crate::overtaken::{run, sent, until_at, with_a_lost_request};
use crate::scripted::{ASKED, SECRET};
use crate::world::{SETTLED_S, World, on_both};

on_both! {
    a_post_that_another_publication_has_is_not_taken_for_ours,
    a_post_that_may_be_of_a_request_under_way_is_not_taken_for_ours,
    of_two_that_find_one_post_at_once_one_has_it,
    what_a_look_up_is_told_of_is_the_accounts_own_and_of_that_time,
    a_look_up_that_is_refused_is_no_answer,
    a_post_that_is_found_gets_its_address,
    that_a_post_was_found_is_kept_before_its_address_is_asked_for,
    who_is_short_of_time_does_without_the_address_of_a_post_that_was_found,
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };

pub(crate) fn post(id: &str) -> Published {
    Published { remote_id: id.to_owned(), remote_url: None }
}

/// The next look-up finds this post, of the same text.
fn will_find(world: &World, id: &str) {
    world.platform.server().reconciliations.push_back(Reconciled::Alike(post(id)));
}

fn is_told_to_wait(error: &JobError) -> bool {
    matches!(error.class(), ErrorClass::Unavailable { .. })
}

async fn a_post_that_another_publication_has_is_not_taken_for_ours(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    let theirs = world.publication("good morning").await;
    world.publish(theirs).await.unwrap();
    world.advance(SETTLED_S);
    will_find(&world, "post-0");
    let error = world.publish(ours).await.unwrap_err();
    assert!(is_told_to_wait(&error), "{error}");
    assert_eq!(world.row(ours).await.state, PublicationState::Sending);
    let told = world.platform.server().others.remove(0);
    assert!(told.ids.contains("post-0"), "the client would have left it out: {told:?}");

    world.publish(ours).await.unwrap();
    assert_eq!(world.row(theirs).await.remote_id.as_deref(), Some("post-0"));
    assert_eq!(world.row(ours).await.remote_id.as_deref(), Some("post-1"));
}

async fn a_post_that_may_be_of_a_request_under_way_is_not_taken_for_ours(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    let theirs = world.publication("good morning").await;
    let cx = world.run_of(theirs).await;
    let mut under_way = run(&world, &cx, theirs);
    until_at(&world.platform.publishing, &mut under_way).await;
    // The platform has it, and we do not know yet that it does.
    will_find(&world, "post-0");
    let error = world.publish(ours).await.unwrap_err();
    assert!(is_told_to_wait(&error), "{error}");
    assert_eq!(world.platform.server().others[0].texts, ["good morning"]);

    under_way.await.unwrap();
    world.publish(ours).await.unwrap();
    assert_eq!(world.row(theirs).await.remote_id.as_deref(), Some("post-0"));
    assert_eq!(world.row(ours).await.remote_id.as_deref(), Some("post-1"));
}

async fn of_two_that_find_one_post_at_once_one_has_it(db: Db) {
    let world = World::new(db, &ASKED).await;
    let first = with_a_lost_request(&world, "good morning").await;
    let second = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    let (first, second) = (world.row(first).await, world.row(second).await);
    let found = post("post-7");
    let adopted =
        tokio::join!(world.store.adopt(&first, &found), world.store.adopt(&second, &found));
    let (one, other) = (adopted.0.unwrap(), adopted.1.unwrap());
    assert!(one != other, "first: {one}, second: {other}");
    for (row, has) in [(first, one), (second, other)] {
        let row = world.row(row.id).await;
        assert_eq!(row.remote_id.as_deref(), has.then_some("post-7"));
        assert_eq!(row.state == PublicationState::Published, has);
    }
}

async fn what_a_look_up_is_told_of_is_the_accounts_own_and_of_that_time(db: Db) {
    let world = World::new(db, &ASKED).await;
    let long_ago = world.publication("long ago").await;
    world.publish(long_ago).await.unwrap();
    world.advance(600);
    let elsewhere = world.connect("bob", SECRET).await.id;
    let by_another = world.publication_on(elsewhere, "good morning").await;
    world.store.published(by_another, &post("post-of-bob")).await.unwrap();
    let before = world.publication("just before").await;
    world.publish(before).await.unwrap();
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(600);
    let later = world.publication("later").await;
    world.publish(later).await.unwrap();
    world.publish(ours).await.unwrap();
    let told = world.platform.server().others.remove(0);
    let ids: Vec<&str> = told.ids.iter().map(String::as_str).collect();
    assert_eq!(ids, ["post-1"], "of what was published just before on the account");
    assert_eq!(sent(&world), 4);
}

async fn a_look_up_that_is_refused_is_no_answer(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    world.platform.server().refuse_look_ups = 1;
    let error = world.publish(ours).await.unwrap_err();
    assert_eq!(error.class(), UNKNOWN, "{error}");
    assert!(error.to_string().contains("could not be looked up"), "{error}");
    assert_eq!(world.row(ours).await.state, PublicationState::Sending);
}

/// A publication whose request may have made a post, which the next look-up finds, and the address that
/// the platform tells when asked.
async fn with_a_post_to_be_found(world: &World) -> (Uuid, String) {
    let ours = with_a_lost_request(world, "good morning").await;
    world.advance(SETTLED_S);
    let address = "https://platform.example/post-9".to_owned();
    world.platform.server().addresses.insert("post-9".to_owned(), address.clone());
    will_find(world, "post-9");
    (ours, address)
}

async fn a_post_that_is_found_gets_its_address(db: Db) {
    let world = World::new(db, &ASKED).await;
    let (ours, address) = with_a_post_to_be_found(&world).await;
    world.publish(ours).await.unwrap();
    let row = world.row(ours).await;
    assert_eq!((row.state, row.remote_url), (PublicationState::Published, Some(address)));
}

async fn who_is_short_of_time_does_without_the_address_of_a_post_that_was_found(db: Db) {
    let world = World::new(db, &ASKED).await;
    let (ours, _) = with_a_post_to_be_found(&world).await;
    let mut cx = world.run_of(ours).await;
    cx.deadline = world.clock.now();
    world.publish_in(&cx, ours).await.unwrap();
    let row = world.row(ours).await;
    assert_eq!((row.state, row.remote_url), (PublicationState::Published, None));
}

async fn that_a_post_was_found_is_kept_before_its_address_is_asked_for(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    // By its key, so that nobody had to adopt it.
    world.platform.server().reconciliations.push_back(Reconciled::There(post("post-9")));
    let cx = world.run_of(ours).await;
    let mut cut_off = run(&world, &cx, ours);
    until_at(&world.platform.locating, &mut cut_off).await;
    drop(cut_off);
    cx.effect.get().unwrap().record().await.unwrap();
    assert_eq!(world.row(ours).await.state, PublicationState::Published);
}
