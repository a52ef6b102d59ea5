//! A person's word that a publication is out as a post which another publication of the account has:
//! then one of the two was never published, and nobody would know.

use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _};
use postworks::on_tx;
use postworks_workers::store::{Owner, PublicationState, Resolution, Resolved};
use uuid::Uuid;

use crate::adopting::post;
use crate::overtaken::{run, until_at, with_a_lost_request};
use crate::scripted::{ASKED, SECRET};
use crate::world::{SETTLED_S, World, on_both};

on_both! {
    a_post_that_another_publication_has_is_not_given_to_a_second,
    a_post_is_the_accounts_whichever_way_it_is_connected,
    a_post_of_the_same_id_on_another_account_is_another,
    a_post_that_may_be_of_a_request_under_way_is_not_given_to_another,
    of_two_people_who_give_one_post_at_once_one_does,
    of_a_person_and_a_look_up_that_give_one_post_at_once_one_does,
}

fn out_as(remote_id: &str) -> Resolution {
    Resolution::Published { remote_id: Some(remote_id.to_owned()) }
}

async fn resolve(world: &World, id: Uuid, remote_id: &str) -> Resolved {
    world.store.resolve(id, &out_as(remote_id), Some(&note(world, id))).await.unwrap()
}

fn note(world: &World, id: Uuid) -> AuditEntry {
    world.note("effects.resolve", &id.to_string())
}

async fn noted(world: &World) -> usize {
    let all = AuditFilter { limit: 100, ..AuditFilter::default() };
    world.ledger().audits(&all).await.unwrap().len()
}

/// Who has it, by a refusal.
fn owner(resolved: &Resolved) -> Owner {
    let Resolved::Taken { by, .. } = resolved else { panic!("it was given: {resolved:?}") };
    *by
}

async fn a_post_that_another_publication_has_is_not_given_to_a_second(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    // Whatever it says: the person may have looked at the wrong post.
    let theirs = world.publication("good night").await;
    world.publish(theirs).await.unwrap();
    world.advance(SETTLED_S);
    let before = world.row(ours).await;
    let refused = resolve(&world, ours, "post-0").await;
    assert_eq!(owner(&refused), Owner { id: theirs, unsure_until: None });
    let after = world.row(ours).await;
    assert_eq!((after.state, after.version), (PublicationState::Sending, before.version));
    assert_eq!((after.remote_id, noted(&world).await), (None, 0));

    assert!(matches!(resolve(&world, ours, "post-1").await, Resolved::Done(_)));
    assert_eq!(world.row(ours).await.remote_id.as_deref(), Some("post-1"));
    assert_eq!(noted(&world).await, 1);
}

async fn a_post_is_the_accounts_whichever_way_it_is_connected(db: Db) {
    const SAME: &str = "UPDATE connectors SET remote_id = 'ada'";
    let world = World::new(db, &ASKED).await;
    let other_name = world.connect("ada@example.com", SECRET).await.id;
    let theirs = world.publication_on(other_name, "good night").await;
    world.store.published(theirs, &post("post-7")).await.unwrap();
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    let mut tx = world.db.begin().await.unwrap();
    on_tx!(&mut tx, conn => sqlx::query(SAME).execute(conn).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(owner(&resolve(&world, ours, "post-7").await).id, theirs);
}

async fn a_post_of_the_same_id_on_another_account_is_another(db: Db) {
    let world = World::new(db, &ASKED).await;
    let bob = world.connect("bob", SECRET).await.id;
    let theirs = world.publication_on(bob, "good morning").await;
    world.store.published(theirs, &post("7")).await.unwrap();
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    assert!(matches!(resolve(&world, ours, "7").await, Resolved::Done(_)));
}

async fn a_post_that_may_be_of_a_request_under_way_is_not_given_to_another(db: Db) {
    let world = World::new(db, &ASKED).await;
    let ours = with_a_lost_request(&world, "good morning").await;
    world.advance(SETTLED_S);
    let theirs = world.publication("good morning").await;
    let cx = world.run_of(theirs).await;
    let mut under_way = run(&world, &cx, theirs);
    until_at(&world.platform.publishing, &mut under_way).await;
    // The platform has it, the person sees it, and we do not know yet whose it is.
    let refused = resolve(&world, ours, "post-0").await;
    let unsure_until = world.row(theirs).await.proof_from();
    assert!(unsure_until.is_some());
    assert_eq!(owner(&refused), Owner { id: theirs, unsure_until });

    under_way.await.unwrap();
    let refused = resolve(&world, ours, "post-0").await;
    assert_eq!(owner(&refused), Owner { id: theirs, unsure_until: None });
    assert_eq!((world.row(ours).await.state, noted(&world).await), (PublicationState::Sending, 0));
}

/// Often enough that they meet.
const ROUNDS: usize = 8;

async fn two_lost(world: &World) -> [Uuid; 2] {
    let first = with_a_lost_request(world, "good morning").await;
    let second = with_a_lost_request(world, "good morning").await;
    world.advance(SETTLED_S);
    [first, second]
}

/// Of these one has the post, and nothing is known of the other.
async fn has_one_owner(world: &World, publications: [Uuid; 2], remote_id: &str) {
    let mut owners = 0;
    for id in publications {
        let row = world.row(id).await;
        let has = row.remote_id.as_deref() == Some(remote_id);
        assert_eq!(row.state == PublicationState::Published, has, "{row:?}");
        owners += usize::from(has);
    }
    assert_eq!(owners, 1, "{remote_id}");
}

async fn of_two_people_who_give_one_post_at_once_one_does(db: Db) {
    let world = World::new(db, &ASKED).await;
    for round in 0..ROUNDS {
        let [first, second] = two_lost(&world).await;
        let seen = format!("seen-{round}");
        let (one, other) =
            tokio::join!(resolve(&world, first, &seen), resolve(&world, second, &seen));
        match (&one, &other) {
            (Resolved::Done(_), refused) => assert_eq!(owner(refused).id, first),
            (refused, _) => assert_eq!(owner(refused).id, second),
        }
        has_one_owner(&world, [first, second], &seen).await;
    }
    assert_eq!(noted(&world).await, ROUNDS);
}

async fn of_a_person_and_a_look_up_that_give_one_post_at_once_one_does(db: Db) {
    let world = World::new(db, &ASKED).await;
    for round in 0..ROUNDS {
        let [first, second] = two_lost(&world).await;
        let (row, seen) = (world.row(second).await, format!("seen-{round}"));
        let found = post(&seen);
        let (said, adopted) =
            tokio::join!(resolve(&world, first, &seen), world.store.adopt(&row, &found));
        assert_eq!(matches!(said, Resolved::Done(_)), !adopted.unwrap(), "{said:?}");
        has_one_owner(&world, [first, second], &seen).await;
    }
}
