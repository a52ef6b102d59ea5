//! Requests with a key of their client's: who may do them, and what is kept of them.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup};
use postworks::ledger::Db;
use postworks_workers::handlers::CleanUp;
use postworks_workers::store::{Answered, Holding, Keyed, Taken};

use crate::scripted::KEYED;
use crate::world::{World, on_both};

on_both! {
    a_key_is_held_by_one_until_its_answer_is_kept_for_all,
    a_key_whose_holder_is_gone_goes_on_with_its_ids,
    a_cleanup_takes_answers_that_are_a_day_old,
}

const HOLD: Duration = Duration::from_secs(40);
const HOLD_S: u64 = 40;
const DAY_S: u64 = 24 * 3_600;

fn keyed(key: &str, asked: u8) -> Keyed<'_> {
    Keyed { actor: "api", key, asked: [asked; 32] }
}

async fn take(world: &World, key: &str, asked: u8) -> Taken {
    world.store.take_request(keyed(key, asked), HOLD).await.unwrap()
}

async fn hold(world: &World, key: &str) -> Holding {
    match take(world, key, 1).await {
        Taken::Ours(holding) => holding,
        other => panic!("{other:?}"),
    }
}

fn answer() -> Answered {
    Answered { status: 202, body: r#"{"id":"7"}"#.to_owned() }
}

async fn a_key_is_held_by_one_until_its_answer_is_kept_for_all(db: Db) {
    let world = World::new(db, &KEYED).await;
    let holding = hold(&world, "k").await;
    assert!(holding.first);
    assert!(matches!(take(&world, "k", 1).await, Taken::UnderWay(_)));
    assert_eq!(take(&world, "k", 2).await, Taken::OfAnother);
    assert!(hold(&world, "K").await.first, "another key");
    let other = Keyed { actor: "somebody else", ..keyed("k", 1) };
    let theirs = world.store.take_request(other, HOLD).await.unwrap();
    assert!(matches!(theirs, Taken::Ours(_)), "{theirs:?}");

    world.store.keep_answer(keyed("k", 1), holding, &answer()).await.unwrap();
    let later = Answered { status: 500, body: "{}".to_owned() };
    world.store.keep_answer(keyed("k", 1), holding, &later).await.unwrap();
    world.store.forget_request(keyed("k", 1), holding).await.unwrap();
    world.advance(DAY_S - 1);
    assert_eq!(take(&world, "k", 1).await, Taken::Done(answer()), "the first answer stays");
    assert_eq!(take(&world, "k", 2).await, Taken::OfAnother);
    world.advance(1);
    assert!(matches!(take(&world, "k", 2).await, Taken::Ours(Holding { first: true, .. })));
}

async fn a_key_whose_holder_is_gone_goes_on_with_its_ids(db: Db) {
    let world = World::new(db, &KEYED).await;
    let first = hold(&world, "k").await;
    let made = |holding: Holding| {
        let ids = holding.ids();
        [(); 3].map(|()| ids.next(world.clock.now(), rand::random()))
    };
    let ids = made(first);
    world.advance(HOLD_S - 1);
    assert!(matches!(take(&world, "k", 1).await, Taken::UnderWay(_)));
    world.advance(1);
    assert_eq!(take(&world, "k", 2).await, Taken::OfAnother);
    let second = hold(&world, "k").await;
    assert!(!second.first, "the one before may have done it");
    assert_eq!(made(second), ids);
    world.store.let_go(keyed("k", 1), second).await.unwrap();
    let third = hold(&world, "k").await;
    assert_eq!((made(third), third.first), (ids, false), "nobody has to wait");
    world.store.forget_request(keyed("k", 1), third).await.unwrap();
    let anew = hold(&world, "k").await;
    assert!(anew.first);
    assert_ne!(made(anew), ids);
}

async fn a_cleanup_takes_answers_that_are_a_day_old(db: Db) {
    let world = World::new(db, &KEYED).await;
    for key in ["a", "b", "c"] {
        let holding = hold(&world, key).await;
        world.store.keep_answer(keyed(key, 1), holding, &answer()).await.unwrap();
    }
    world.advance(DAY_S);
    hold(&world, "d").await;
    world.advance(1);
    let count = async || world.store.prune_requests(world.clock.now(), 9, true).await.unwrap();
    assert_eq!(count().await, 4);
    let mut worker = world.worker();
    worker.retention.batch = 2;
    let job = DataCleanup { scope: Some(CleanupScope::Requests), dry_run: false };
    world.attempt(CleanUp(worker), job).await.unwrap();
    assert_eq!(count().await, 1);
    assert!(matches!(take(&world, "d", 1).await, Taken::UnderWay(_)));
}
