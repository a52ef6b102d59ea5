//! An account's streams: each on its own, and posts also where the platform changes what was there.

use postworks::job::{ConnectorSync, ErrorClass, JobError, SyncStream, Timestamp};
use postworks::ledger::Db;
use postworks::on_db;
use postworks::worker::{Handler as _, JobContext};
use postworks_workers::handlers::SyncConnector;
use postworks_workers::platforms::{Profile, RemotePost, SyncPage};
use postworks_workers::store::FailingStream;

use crate::scripted::{FOLLOWED, Fault};
use crate::world::{World, on_both};

on_both! {
    what_is_late_or_edited_within_the_look_back_is_found,
    a_high_water_that_was_deleted_costs_no_walk_over_everything,
    posts_that_are_dated_back_hide_no_others,
    a_place_that_is_refused_in_the_middle_starts_the_walk_anew_and_only_once,
    a_stream_that_fails_keeps_none_from_running_and_a_retry_goes_on_with_what_is_left,
    an_account_that_must_wait_is_not_asked_for_its_other_streams,
    numbers_are_read_less_and_less_often_and_every_reading_is_kept,
    a_post_that_is_gone_is_asked_for_no_more,
    a_post_of_which_nothing_is_counted_any_more_keeps_its_numbers,
    of_two_runs_over_an_accounts_numbers_one_waits_and_neither_is_lost,
    who_asks_for_a_stream_by_name_has_it_at_once,
    a_profile_is_read_daily,
    a_stream_that_the_platform_lacks_is_refused,
}

const HOUR_S: u64 = 3_600;

/// The account's posts on the platform, the newest first, in pages.
struct Wall(Vec<RemotePost>);

impl Wall {
    /// So many posts, an hour apart, the newest an hour old.
    fn of(world: &World, count: u32) -> Self {
        let now = world.clock_now();
        let post = |n: u32| post(n, now.before(hours(u64::from(count - n) + 1)));
        let wall = Self((0..count).rev().map(post).collect());
        wall.hang(world, 5);
        wall
    }

    /// Shows it in pages of so many.
    fn hang(&self, world: &World, size: usize) {
        let mut server = world.platform.server();
        server.pages.clear();
        server.pages_read.clear();
        server.likes = self.0.iter().map(|post| (post.remote_id.clone(), Some(1))).collect();
        let mut cursor = None;
        let mut left = self.0.as_slice();
        loop {
            let (page, rest) = left.split_at(size.min(left.len()));
            let next = page.last().map(|last| last.remote_id.clone()).filter(|_| !rest.is_empty());
            server.pages.insert(cursor, SyncPage { posts: page.to_vec(), next: next.clone() });
            let Some(next) = next else { return };
            (cursor, left) = (Some(next), rest);
        }
    }
}

fn hours(hours: u64) -> std::time::Duration {
    std::time::Duration::from_secs(hours * HOUR_S)
}

fn post(n: u32, at: Timestamp) -> RemotePost {
    RemotePost { remote_id: format!("p{n}"), created_at: Some(at), text: format!("no. {n}") }
}

impl World {
    fn clock_now(&self) -> Timestamp {
        use postworks::clock::Clock as _;
        self.clock.now()
    }

    async fn sync_as(&self, streams: &[SyncStream], cx: &JobContext) -> Result<(), JobError> {
        let job = ConnectorSync { connector_id: self.account, streams: streams.to_vec() };
        SyncConnector::new(self.worker()).handle(job, cx).await
    }

    async fn failing(&self) -> Vec<FailingStream> {
        let failing = self.store.failing_streams(&[self.account]).await.unwrap();
        failing.into_values().flatten().collect()
    }

    async fn sync(&self, streams: &[SyncStream]) -> Result<(), JobError> {
        self.sync_as(streams, &self.context::<ConnectorSync>()).await
    }

    async fn texts(&self) -> Vec<String> {
        let found = self.store.remote_texts(self.account).await.unwrap();
        found.into_iter().map(|(_, text)| text).collect()
    }
}

fn pages_read(world: &World) -> usize {
    std::mem::take(&mut world.platform.server().pages_read).len()
}

/// The posts of each request for numbers since the last look.
fn numbers_read(world: &World) -> Vec<usize> {
    let read = std::mem::take(&mut world.platform.server().numbers_read);
    read.iter().map(Vec::len).collect()
}

async fn what_is_late_or_edited_within_the_look_back_is_found(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let mut wall = Wall::of(&world, 40);
    world.sync(&[]).await.unwrap();
    assert_eq!(pages_read(&world), 8);
    // One of an hour and a half before the high water comes late; the one after it is edited, and so
    // is one that is older than the look-back.
    let at = wall.0[1].created_at.unwrap();
    wall.0.insert(1, post(100, at.after(hours(1) / 2)));
    "edited".clone_into(&mut wall.0[2].text);
    "edited too long after".clone_into(&mut wall.0[20].text);
    wall.hang(&world, 5);
    world.sync(&[]).await.unwrap();
    assert_eq!(pages_read(&world), 1, "the whole look-back is on the first page");
    let texts = world.texts().await;
    assert_eq!(texts.len(), 41);
    assert!(texts.contains(&"edited".to_owned()) && texts.contains(&"no. 100".to_owned()));
    assert!(!texts.contains(&"edited too long after".to_owned()));
}

async fn a_high_water_that_was_deleted_costs_no_walk_over_everything(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let mut wall = Wall::of(&world, 100);
    world.sync(&[]).await.unwrap();
    assert_eq!(pages_read(&world), 20);
    for _ in 0..3 {
        wall.0.remove(0);
        wall.hang(&world, 5);
        world.sync(&[]).await.unwrap();
        let pages = pages_read(&world);
        assert!(pages <= 2, "{pages} of 20 pages");
    }
    assert_eq!(world.texts().await.len(), 100, "what was found stays");
}

async fn posts_that_are_dated_back_hide_no_others(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let mut wall = Wall::of(&world, 30);
    world.sync(&[]).await.unwrap();
    // New ones, and above them ten that somebody took along from elsewhere, with their old dates; and
    // the high water is gone.
    wall.0.remove(0);
    let now = world.clock_now();
    for n in 100..108 {
        wall.0.insert(0, post(n, now));
    }
    for n in 200..210 {
        wall.0.insert(0, post(n, now.before(hours(24 * 400))));
    }
    wall.hang(&world, 5);
    world.sync(&[]).await.unwrap();
    assert_eq!(world.texts().await.len(), 30 + 8 + 10);
    // Their dates make no later walk longer either.
    pages_read(&world);
    world.sync(&[]).await.unwrap();
    assert!(pages_read(&world) <= 3);
}

async fn a_place_that_is_refused_in_the_middle_starts_the_walk_anew_and_only_once(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    let wall = Wall::of(&world, 40);
    // The third page of the first walk is refused, whatever its place.
    world.platform.server().refuse_page = Some(2);
    world.sync(&[SyncStream::Posts]).await.unwrap();
    assert_eq!(world.texts().await.len(), wall.0.len());
    assert_eq!(pages_read(&world), 2 + 8);
    // A platform that refuses every place, also those it has just named, is no walk without an end.
    let place = wall.0[4].remote_id.clone();
    let mut wall = wall;
    for n in 300..340 {
        wall.0.insert(0, post(n, world.clock_now()));
    }
    wall.hang(&world, 5);
    world.platform.server().pages.retain(|cursor, _| cursor.is_none());
    let error = world.sync(&[SyncStream::Posts]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert_eq!(pages_read(&world), 2 + 2, "{place}");
    let failing = world.failing().await;
    assert!(failing.len() == 1 && failing[0].last_error.starts_with("invalid: "), "{failing:?}");
    // Once it knows them again nothing is missing.
    wall.hang(&world, 5);
    world.sync(&[SyncStream::Posts]).await.unwrap();
    assert_eq!(world.texts().await.len(), wall.0.len());
    assert_eq!(world.failing().await, []);
}

async fn a_stream_that_fails_keeps_none_from_running_and_a_retry_goes_on_with_what_is_left(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 7);
    world.platform.server().numbers_faults.push_back(Fault::INVALID);
    world.platform.server().profile_faults.push_back(Fault::Fails(ErrorClass::Transient));
    let cx = world.context::<ConnectorSync>();
    let error = world.sync_as(&[], &cx).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid, "the worst");
    assert_eq!(world.texts().await.len(), 7);
    assert_eq!((pages_read(&world), numbers_read(&world)), (2, vec![7]));
    let failing = world.failing().await;
    let failed: Vec<_> =
        failing.iter().map(|failing| (failing.stream.as_str(), failing.failures)).collect();
    assert_eq!(failed, [("metrics", 1), ("profile", 1)]);
    // Another attempt of the same job.
    world.sync_as(&[], &cx).await.unwrap();
    assert_eq!((pages_read(&world), numbers_read(&world)), (0, vec![7]));
    assert_eq!(world.platform.server().profiles_read, 2);
    // And another, as after a crash before its end was recorded: nothing is left.
    let calls = world.platform.server().calls;
    world.sync_as(&[], &cx).await.unwrap();
    assert_eq!(world.platform.server().calls, calls);
}

async fn an_account_that_must_wait_is_not_asked_for_its_other_streams(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 3);
    let limited = ErrorClass::RateLimited {
        until: world.clock_now().after(hours(1)),
        scope: postworks::job::RateScope::Account,
    };
    world.platform.server().page_faults.push_back(Fault::Fails(limited));
    let error = world.sync(&[]).await.unwrap_err();
    assert_eq!(error.class(), limited);
    let server = world.platform.server();
    assert_eq!((server.calls, server.profiles_read), (1, 0));
}

async fn numbers_are_read_less_and_less_often_and_every_reading_is_kept(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    // Three posts: an hour old, two hours, three hours.
    Wall::of(&world, 3);
    world.sync(&[]).await.unwrap();
    assert_eq!(numbers_read(&world), [3]);
    world.platform.server().likes.insert("p2".to_owned(), Some(7));
    let quarter = HOUR_S / 4;
    let mut readings = Vec::new();
    for quarters in [4 * 20, 4 * 6 * 24, 4 * 24 * 30] {
        for _ in 0..quarters / 4 {
            world.advance(4 * quarter);
            world.sync(&[SyncStream::Posts]).await.unwrap();
            world.sync(&[]).await.unwrap();
        }
        readings.push(numbers_read(&world).len());
    }
    // Hourly for a day in all, four times a day for a week in all, then daily until they are thirty days
    // old; three posts whose times differ by an hour.
    assert_eq!(readings[0], 20, "{readings:?}");
    assert!((24..=90).contains(&readings[1]), "{readings:?}");
    assert!((23..=72).contains(&readings[2]), "{readings:?}");
    let kept = world.store.readings(world.account, "p2").await.unwrap();
    assert_eq!(kept[0].1.likes, Some(1));
    assert!(kept[1..].iter().all(|(_, numbers)| numbers.likes == Some(7)));
    assert!(kept.is_sorted_by_key(|(at, _)| *at));
    assert!((65..=75).contains(&kept.len()), "{}", kept.len());
    let due = world.store.due_numbers(world.account, crate::scripted::FAR, crate::scripted::FAR, 9);
    assert_eq!(due.await.unwrap(), [], "they are old");
}

async fn a_post_that_is_gone_is_asked_for_no_more(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 2);
    world.platform.server().likes.remove("p1");
    world.sync(&[]).await.unwrap();
    world.advance(2 * HOUR_S);
    world.sync(&[]).await.unwrap();
    assert_eq!(numbers_read(&world), [2, 1]);
    assert_eq!(world.texts().await.len(), 2, "what was found stays");
}

async fn a_post_of_which_nothing_is_counted_any_more_keeps_its_numbers(db: Db) {
    const NEWEST: &str = "SELECT likes FROM remote_posts WHERE remote_id = 'p0'";
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 1);
    world.platform.server().likes.insert("p0".to_owned(), Some(7));
    world.sync(&[]).await.unwrap();
    world.platform.server().likes.insert("p0".to_owned(), None);
    world.advance(2 * HOUR_S);
    world.sync(&[]).await.unwrap();
    let newest: Option<i64> =
        on_db!(&world.db, pool => sqlx::query_scalar(NEWEST).fetch_one(pool).await).unwrap();
    assert_eq!(newest, Some(7));
    assert_eq!(world.store.readings(world.account, "p0").await.unwrap().len(), 1);
    // It may be counted again.
    world.platform.server().likes.insert("p0".to_owned(), Some(8));
    world.advance(2 * HOUR_S);
    world.sync(&[]).await.unwrap();
    assert_eq!(numbers_read(&world), [1, 1, 1]);
    assert_eq!(world.store.readings(world.account, "p0").await.unwrap().len(), 2);
}

async fn of_two_runs_over_an_accounts_numbers_one_waits_and_neither_is_lost(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 90);
    world.sync(&[SyncStream::Posts]).await.unwrap();
    let runs = (0..6).map(|_| world.sync(&[SyncStream::Metrics]));
    let ended = futures_util::future::join_all(runs).await;
    let waits = |error: &JobError| matches!(error.class(), ErrorClass::Unavailable { .. });
    assert!(ended.iter().any(Result::is_ok), "{ended:?}");
    assert!(ended.iter().filter_map(|ended| ended.as_ref().err()).all(waits), "{ended:?}");
    assert!(!world.store.readings(world.account, "p0").await.unwrap().is_empty());
}

async fn who_asks_for_a_stream_by_name_has_it_at_once(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 250);
    world.sync(&[]).await.unwrap();
    assert_eq!(numbers_read(&world), [100, 100, 50]);
    world.advance(60);
    world.sync(&[]).await.unwrap();
    assert!(numbers_read(&world).is_empty(), "none is due");
    let cx = world.context::<ConnectorSync>();
    world.platform.server().numbers_faults.extend([Fault::INVALID]);
    world.sync_as(&[SyncStream::Metrics], &cx).await.unwrap_err();
    numbers_read(&world);
    pages_read(&world);
    world.sync_as(&[SyncStream::Metrics], &cx).await.unwrap();
    assert_eq!(numbers_read(&world), [100, 100, 50], "each once");
    assert_eq!(pages_read(&world), 0);
}

async fn a_profile_is_read_daily(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    Wall::of(&world, 1);
    let says = |name: &str| Profile { display_name: Some(name.to_owned()), ..Profile::default() };
    world.platform.server().profile = says("Ada\0");
    for _ in 0..2 {
        world.sync(&[]).await.unwrap();
        assert_eq!(world.platform.server().profiles_read, 1);
    }
    let read = world.store.remote_profile(world.account).await.unwrap().unwrap();
    assert_eq!(read, says("Ada"));
    world.platform.server().profile = says("Countess");
    world.advance(25 * HOUR_S);
    world.sync(&[]).await.unwrap();
    let read = world.store.remote_profile(world.account).await.unwrap().unwrap();
    assert_eq!(read, says("Countess"));
    world.sync(&[SyncStream::Profile]).await.unwrap();
    assert_eq!(world.platform.server().profiles_read, 3);
}

async fn a_stream_that_the_platform_lacks_is_refused(db: Db) {
    let world = World::new(db, &crate::scripted::KEYED).await;
    let error = world.sync(&[SyncStream::Metrics]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert!(error.to_string().contains("keyed has no stream metrics"), "{error}");
}
