//! A walk over an account's posts leaves no gap, wherever it breaks off.

use postworks::job::{ConnectorSync, ErrorClass, JobError, SyncStream};
use postworks::ledger::Db;
use postworks::worker::Handler as _;
use postworks_workers::handlers::SyncConnector;
use postworks_workers::platforms::{RemotePost, SyncPage};
use postworks_workers::store::Cursor;

use crate::overtaken::{Run, until_at};
use crate::scripted::{FOLLOWED, Fault, KEYED};
use crate::world::{World, on_both};

on_both! {
    a_walk_that_crashed_between_pages_goes_on_and_the_high_water_moves_only_at_the_end,
    a_walk_stops_where_the_last_one_started,
    a_place_the_platform_forgot_starts_the_walk_anew,
    a_huge_account_is_walked_in_several_jobs,
    of_two_walks_at_once_one_waits,
    of_many_jobs_for_an_account_one_asks_the_platform_and_those_that_wait_are_no_failure,
    a_walk_that_is_cut_off_makes_way_for_the_next,
    a_page_may_name_a_post_twice_and_hold_any_text,
}

/// Posts `from` down to `to`, `size` a page; cursors are the last post's number.
fn pages(world: &World, from: u32, to: u32, size: usize) {
    let numbers: Vec<u32> = (to..=from).rev().collect();
    let chunks: Vec<&[u32]> = numbers.chunks(size).collect();
    let mut server = world.platform.server();
    server.pages.clear();
    for (n, chunk) in chunks.iter().enumerate() {
        let cursor = n.checked_sub(1).map(|before| chunks[before].last().unwrap().to_string());
        let next = chunks.get(n + 1).map(|_| chunk.last().unwrap().to_string());
        let posts = chunk.iter().map(|number| post(*number)).collect();
        server.pages.insert(cursor, SyncPage { posts, next });
    }
}

fn post(number: u32) -> RemotePost {
    RemotePost { remote_id: format!("p{number}"), created_at: None, text: format!("no. {number}") }
}

async fn sync(world: &World) -> Result<(), JobError> {
    let job = ConnectorSync::of(world.account);
    world.attempt(SyncConnector::new(world.worker()), job).await
}

async fn cursor(world: &World) -> Cursor {
    world.store.cursor(world.account, SyncStream::Posts).await.unwrap()
}

async fn found(world: &World) -> u64 {
    world.store.remote_posts_count(world.account).await.unwrap()
}

fn read(world: &World) -> Vec<Option<String>> {
    std::mem::take(&mut world.platform.server().pages_read)
}

async fn a_walk_that_crashed_between_pages_goes_on_and_the_high_water_moves_only_at_the_end(
    db: Db,
) {
    let world = World::new(db, &KEYED).await;
    pages(&world, 3, 1, 10);
    sync(&world).await.unwrap();
    assert_eq!(cursor(&world).await.high_water.as_deref(), Some("p3"));
    read(&world);

    // Eight new posts on pages of three; the second page fails.
    pages(&world, 11, 1, 3);
    world.platform.server().page_faults.push_back(Fault::Fails(ErrorClass::Transient));
    sync(&world).await.unwrap_err();
    sync(&world).await.unwrap();
    // That took all pages at once; now a walk that really breaks off after its first page.
    assert_eq!(cursor(&world).await.high_water.as_deref(), Some("p11"));
    pages(&world, 20, 1, 3);
    let lost = world.platform.server().pages.remove(&Some("18".to_owned())).unwrap();
    sync(&world).await.unwrap_err();
    let broken = cursor(&world).await;
    assert_eq!(broken.high_water.as_deref(), Some("p11"), "not before the end");
    assert_eq!(broken.pending_high_water.as_deref(), Some("p20"));
    assert_eq!(broken.page_token.as_deref(), Some("18"));
    assert_eq!(found(&world).await, 14);
    read(&world);

    // More posts arrive meanwhile; the walk still ends where it must.
    pages(&world, 21, 1, 3);
    world.platform.server().pages.insert(Some("18".to_owned()), lost);
    pages_below(&world, 15);
    sync(&world).await.unwrap();
    assert_eq!(read(&world), ["18", "15", "12"].map(|at| Some(at.to_owned())));
    assert_eq!(cursor(&world).await.high_water.as_deref(), Some("p20"));
    assert_eq!(found(&world).await, 20);
    sync(&world).await.unwrap();
    assert_eq!(found(&world).await, 21);
}

/// The pages of the walk that started at post 20, from `at` on.
fn pages_below(world: &World, at: u32) {
    let mut server = world.platform.server();
    for at in (3..=at).rev().step_by(3) {
        let posts = (at.saturating_sub(3)..at).rev().map(post).collect();
        let next = Some((at - 3).to_string());
        server.pages.insert(Some(at.to_string()), SyncPage { posts, next });
    }
}

async fn a_walk_stops_where_the_last_one_started(db: Db) {
    let world = World::new(db, &KEYED).await;
    pages(&world, 30, 1, 3);
    sync(&world).await.unwrap();
    assert_eq!(read(&world).len(), 10);
    pages(&world, 32, 1, 3);
    sync(&world).await.unwrap();
    assert_eq!(read(&world), [None]);
    assert_eq!(found(&world).await, 32);
    assert_eq!(cursor(&world).await.high_water.as_deref(), Some("p32"));
    // Nothing new, and then nothing at all.
    sync(&world).await.unwrap();
    world.platform.server().pages.insert(None, SyncPage::default());
    sync(&world).await.unwrap();
    assert_eq!(cursor(&world).await.high_water.as_deref(), Some("p32"));
}

async fn a_place_the_platform_forgot_starts_the_walk_anew(db: Db) {
    let world = World::new(db, &KEYED).await;
    pages(&world, 9, 1, 3);
    world.platform.server().pages.remove(&Some("7".to_owned()));
    sync(&world).await.unwrap_err();
    assert_eq!(cursor(&world).await.page_token.as_deref(), Some("7"));
    pages(&world, 10, 1, 5);
    sync(&world).await.unwrap();
    assert_eq!(found(&world).await, 10);
}

async fn a_huge_account_is_walked_in_several_jobs(db: Db) {
    let world = World::new(db, &KEYED).await;
    pages(&world, 450, 1, 1);
    for (rows, high_water) in [(200, None), (400, None), (450, Some("p450"))] {
        sync(&world).await.unwrap();
        assert_eq!(found(&world).await, rows);
        assert_eq!(cursor(&world).await.high_water.as_deref(), high_water);
    }
}

async fn of_two_walks_at_once_one_waits(db: Db) {
    let world = World::new(db, &KEYED).await;
    let seen = cursor(&world).await;
    let next = |at: &str| Cursor { page_token: Some(at.to_owned()), ..seen.clone() };
    let keep = |posts: Vec<RemotePost>, next: Cursor| {
        let (store, account) = (world.store.clone(), world.account);
        async move { store.keep_page(account, &posts, false, &next).await.unwrap() }
    };
    assert!(keep(vec![post(2)], next("2")).await);
    assert!(!keep(vec![post(9)], next("9")).await, "it has read an older version");
    assert_eq!(found(&world).await, 1);
    assert_eq!(cursor(&world).await.page_token.as_deref(), Some("2"));
}

/// A run of a job, one of several in this process.
fn run<'a>(world: &'a World, process: &'a SyncConnector) -> Run<'a> {
    Box::pin(async {
        let cx = world.context::<ConnectorSync>();
        process.handle(ConnectorSync::of(world.account), &cx).await
    })
}

async fn of_many_jobs_for_an_account_one_asks_the_platform_and_those_that_wait_are_no_failure(
    db: Db,
) {
    let world = World::new(db, &FOLLOWED).await;
    pages(&world, 5, 1, 10);
    let waits = |ended: Result<(), JobError>| {
        matches!(ended.unwrap_err().class(), ErrorClass::Unavailable { .. })
    };
    let process = SyncConnector::new(world.worker());
    let mut first = run(&world, &process);
    until_at(&world.platform.listing, &mut first).await;
    let calls = || world.platform.server().calls;
    let before = calls();
    for _ in 0..5 {
        assert!(waits(run(&world, &process).await));
    }
    assert_eq!(calls(), before, "they have not asked, for any stream");
    // Another process does not know of it; of those two the rows decide.
    sync(&world).await.unwrap();
    let (before, pages_read) = (calls(), read(&world).len());
    assert!(waits(first.await));
    assert_eq!((pages_read, read(&world).len(), found(&world).await), (1, 1, 5));
    assert_eq!(calls(), before + 1, "it leaves the other streams to who has overtaken it");
    let failing = world.store.failing_streams(&[world.account]).await.unwrap();
    assert!(failing.is_empty(), "{failing:?}");
    run(&world, &process).await.unwrap();
}

async fn a_walk_that_is_cut_off_makes_way_for_the_next(db: Db) {
    let world = World::new(db, &KEYED).await;
    pages(&world, 5, 1, 10);
    let process = SyncConnector::new(world.worker());
    let mut cut_off = run(&world, &process);
    until_at(&world.platform.listing, &mut cut_off).await;
    drop(cut_off);
    run(&world, &process).await.unwrap();
    assert_eq!(found(&world).await, 5);
}

async fn a_page_may_name_a_post_twice_and_hold_any_text(db: Db) {
    let world = World::new(db, &KEYED).await;
    let odd = RemotePost { text: "a\0b '; DROP TABLE posts; -- 🙂".to_owned(), ..post(1) };
    let page = SyncPage { posts: vec![odd, post(1), post(2)], next: None };
    world.platform.server().pages.insert(None, page);
    sync(&world).await.unwrap();
    assert_eq!(found(&world).await, 2);
}
