//! Posts that answer others: those that a platform has, and those that we are still to publish.

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, ErrorClass, JobId, State};
use postworks::ledger::{Cancel, Db, Families, Ledger as _, Next, Settled, Verdict};
use postworks_workers::handlers::CleanUp;
use postworks_workers::platforms::Published;
use postworks_workers::store::{Error, Publish, Reply, Resolution, Resolved, Scheduled};
use uuid::Uuid;

use crate::content::SHOWING;
use crate::scripted::{Fault, SECRET};
use crate::world::{World, on_both};

on_both! {
    a_reply_waits_for_what_it_answers_and_names_it_as_the_platform_does,
    a_reply_to_what_is_out_need_not_wait,
    what_cannot_be_answered_is_refused_and_why,
    a_reply_whose_post_is_not_out_is_not_sent,
    what_is_still_to_be_answered_is_not_cleaned_up,
}

async fn ask(
    world: &World,
    accounts: &[Uuid],
    reply: Option<Reply>,
) -> Result<Vec<Scheduled>, Error> {
    let post_id = world.store.add_post("hello").await.unwrap();
    let connector_ids = accounts.to_vec();
    let publish = Publish { post_id, connector_ids, at: None, window: None, reply };
    world.store.publish(&publish, |request| world.prepare(request)).await
}

/// A publication of the world's account, and its job.
async fn publish(world: &World, reply: Option<Reply>) -> (Uuid, JobId) {
    let made = ask(world, &[world.account], reply).await.unwrap();
    (made[0].publication_id, made[0].job.id)
}

async fn refused(world: &World, accounts: &[Uuid], reply: Reply) -> String {
    ask(world, accounts, Some(reply)).await.unwrap_err().to_string()
}

fn published(id: &str) -> Published {
    Published { remote_id: id.to_owned(), remote_url: None }
}

async fn state(world: &World, job: JobId) -> (State, Option<String>) {
    let row = world.ledger().job(job).await.unwrap().unwrap();
    (row.state, row.parked_for)
}

async fn a_reply_waits_for_what_it_answers_and_names_it_as_the_platform_does(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (first, parent) = publish(&world, None).await;
    let (second, job) = publish(&world, Some(Reply::Publication(first))).await;
    assert_eq!(state(&world, job).await, (State::Parked, Some("parents".to_owned())));
    let waits = world.ledger().parents(job).await.unwrap();
    assert_eq!(waits.iter().map(|one| one.id).collect::<Vec<_>>(), [parent]);
    assert_eq!(world.store.freeze(second).await.unwrap().unanswerable, Some(first));
    world.store.published(first, &published("at://1")).await.unwrap();
    let frozen = world.store.freeze(second).await.unwrap();
    assert_eq!((frozen.reply_to.as_deref(), frozen.unanswerable), (Some("at://1"), None));
    // Whatever becomes of the other one's row, it answers the same.
    let row = world.row(second).await;
    assert_eq!((row.reply_to.as_deref(), row.in_reply_to), (Some("at://1"), Some(first)));
}

async fn a_reply_to_what_is_out_need_not_wait(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (first, _) = publish(&world, None).await;
    world.store.published(first, &published("p1")).await.unwrap();
    for reply in [Reply::Publication(first), Reply::Remote("p1".to_owned())] {
        let (second, job) = publish(&world, Some(reply.clone())).await;
        assert_eq!(state(&world, job).await.1, None, "{reply:?}");
        let frozen = world.store.freeze(second).await.unwrap();
        assert_eq!((frozen.reply_to.as_deref(), frozen.unanswerable), (Some("p1"), None));
    }
}

async fn what_cannot_be_answered_is_refused_and_why(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let bob = world.connect("bob", SECRET).await.id;
    let (first, job) = publish(&world, None).await;
    let one = [world.account];
    let to = Reply::Publication;
    assert_eq!(
        refused(&world, &one, to(Uuid::nil())).await,
        "/in_reply_to: no publication with this id"
    );
    assert_eq!(
        refused(&world, &[bob], to(first)).await,
        "/in_reply_to: is on another account: a post is answered where it is"
    );
    for reply in [to(first), Reply::Remote("p1".to_owned())] {
        let words = refused(&world, &[world.account, bob], reply).await;
        assert!(words.starts_with("/connector_ids: must name one account"), "{words}");
    }
    let cancelled = world.ledger().cancel(job, world.clock.now(), None).await.unwrap();
    assert!(matches!(cancelled, Cancel::Marked { .. }));
    let words = refused(&world, &one, to(first)).await;
    let expected = format!("/in_reply_to: is not published, and its job {job} is cancelled");
    assert!(words.starts_with(&expected), "{words}");
    // A person says that it is out, and not under which id.
    let (unknown, _) = publish(&world, None).await;
    world.platform.server().publish_faults.push_back(Fault::LOST);
    world.publish(unknown).await.unwrap_err();
    world.advance(60);
    let resolution = Resolution::Published { remote_id: None };
    let resolved = world.store.resolve(unknown, &resolution, None).await.unwrap();
    assert!(matches!(resolved, Resolved::Done(_)), "{resolved:?}");
    let words = refused(&world, &one, to(unknown)).await;
    assert!(words.contains("nobody knows under which id"), "{words}");
}

async fn a_reply_whose_post_is_not_out_is_not_sent(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (first, parent) = publish(&world, None).await;
    let (second, job) = publish(&world, Some(Reply::Publication(first))).await;
    // As if somebody had put its job back though what it answers never came out.
    let error = world.publish(second).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid, "{error}");
    assert!(error.to_string().contains(&first.to_string()), "{error}");
    assert!(world.platform.server().sent.is_empty());
    let cx = world.run_of(first).await;
    world.publish_in(&cx, first).await.unwrap();
    let (token, now) = (cx.token, world.clock.now());
    let verdict = Verdict { id: parent, token, then: Next::Completed { at: now }, failed: None };
    assert_eq!(world.ledger().settle(&[verdict]).await.unwrap(), [Settled::Done]);
    let told = Families::new(world.db.clone()).tell(now, 9).await.unwrap();
    assert_eq!(told.live.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    world.publish(second).await.unwrap();
    let first = world.row(first).await.remote_id;
    assert_eq!(world.platform.server().sent[1].reply_to, first);
}

async fn what_is_still_to_be_answered_is_not_cleaned_up(db: Db) {
    const HALF_A_YEAR_S: u64 = 181 * 24 * 3_600;
    let world = World::new(db, &SHOWING).await;
    let (first, _) = publish(&world, None).await;
    let (second, _) = publish(&world, Some(Reply::Publication(first))).await;
    world.publish(first).await.unwrap();
    world.advance(HALF_A_YEAR_S);
    let clean = async || {
        let job = DataCleanup { scope: Some(CleanupScope::Publications), dry_run: false };
        world.attempt(CleanUp(world.worker()), job).await.unwrap();
        world.store.publication(first).await.unwrap().is_some()
    };
    assert!(clean().await, "its id on the platform is still of use");
    world.store.freeze(second).await.unwrap();
    assert!(!clean().await);
}
