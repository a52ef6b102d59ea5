//! Cleaning up: by each tenant's policy, whole months at one stroke, and what a dry run tells of it.

use std::time::Duration;

use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, ErrorClass, JobError, Tenant, Timestamp};
use postworks::ledger::{AuditEntry, Db, PostgresOptions};
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::{Handler as _, JobContext};
use postworks_workers::handlers::CleanUp;
use postworks_workers::platforms::{Numbers, RemotePost};
use postworks_workers::store::{
    Cursor, DueNumbers, Keeps, NamedTenant, NewConnector, NumbersRead, Progress,
};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::scripted::FOLLOWED;
use crate::world::{World, on_both};

on_both! {
    a_dry_run_changes_nothing_and_tells_what_the_run_after_it_takes,
    a_run_whose_time_is_up_goes_on_and_its_counts_add_up,
    a_policy_of_the_only_tenant_holds_on_either_database,
}

const DAY_S: u64 = 24 * 3_600;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY_S)
}

async fn clean(world: &World, job: DataCleanup, cx: &JobContext) -> Result<(), JobError> {
    let mut worker = world.worker();
    worker.retention.batch = 3;
    CleanUp(worker).handle(job, cx).await
}

fn all(dry_run: bool) -> DataCleanup {
    DataCleanup { scope: None, dry_run }
}

/// What a cleanup of everything tells.
async fn told(world: &World, dry_run: bool) -> Vec<Progress> {
    let cx = world.context::<DataCleanup>();
    clean(world, all(dry_run), &cx).await.unwrap();
    world.store.cleanup_progress(cx.id).await.unwrap()
}

fn of(told: &[Progress], scope: CleanupScope) -> &Progress {
    told.iter().find(|progress| progress.scope == scope).unwrap()
}

/// Finds posts on an account, and reads the numbers of each.
async fn found(world: &World, account: Uuid, ids: std::ops::Range<u32>) {
    let post = |n| RemotePost {
        remote_id: format!("p{n}"),
        created_at: Some(world.clock.now()),
        text: String::new(),
    };
    let posts: Vec<RemotePost> = ids.map(post).collect();
    let cursor = world.store.cursor(account, postworks::job::SyncStream::Posts).await.unwrap();
    let next = Cursor { version: cursor.version, ..Cursor::default() };
    assert!(world.store.keep_page(account, &posts, true, &next).await.unwrap());
    let read: Vec<NumbersRead> = posts
        .into_iter()
        .map(|post| NumbersRead {
            post: DueNumbers { remote_id: post.remote_id, created_at: world.clock.now() },
            numbers: Some(Numbers { likes: Some(1), ..Numbers::default() }),
        })
        .collect();
    let next = world.store.cursor(account, postworks::job::SyncStream::Metrics).await.unwrap();
    assert!(world.store.keep_numbers(account, &read, &next).await.unwrap());
}

fn note(world: &World) -> AuditEntry {
    world.note("tenant.test", "")
}

async fn keeps(world: &World, tenant: Tenant, scope: CleanupScope, keep: Duration) {
    let keeps = Keeps { tenant, scope, keep };
    world.store.set_retention(&keeps, &note(world)).await.unwrap();
}

/// A tenant with an account of its own.
async fn tenant(world: &World, name: &str) -> (Tenant, Uuid) {
    let tenant = Tenant::from_uuid(world.store.new_id());
    let named = NamedTenant { tenant, name: name.to_owned(), created_at: world.clock.now() };
    assert!(world.store.add_tenant(&named, &note(world)).await.unwrap());
    let new = NewConnector {
        platform: "followed".to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        identifier: name.to_owned(),
        target: None,
        secret: SecretString::from("secret"),
    };
    (tenant, world.store.for_tenant(tenant).add_connector(new).await.unwrap().id)
}

async fn posts(world: &World, account: Uuid) -> u64 {
    world.store.remote_posts_count(account).await.unwrap()
}

async fn readings(world: &World, account: Uuid, ids: std::ops::Range<u32>) -> usize {
    let mut count = 0;
    for n in ids {
        count += world.store.readings(account, &format!("p{n}")).await.unwrap().len();
    }
    count
}

async fn a_dry_run_changes_nothing_and_tells_what_the_run_after_it_takes(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    found(&world, world.account, 0..7).await;
    world.advance(60 * DAY_S);
    found(&world, world.account, 7..12).await;
    for id in [world.publication("one").await, world.publication("two").await] {
        world.publish(id).await.unwrap();
    }
    world.advance(50 * DAY_S);
    let dry = told(&world, true).await;
    assert_eq!(told(&world, true).await, dry, "it changes nothing");
    assert_eq!(posts(&world, world.account).await, 12);
    assert_eq!(readings(&world, world.account, 0..12).await, 12);
    let wet = told(&world, false).await;
    assert_eq!(wet, dry);
    assert_eq!(of(&wet, CleanupScope::RemotePosts).rows, 7);
    assert_eq!(of(&wet, CleanupScope::Metrics).rows, 7);
    assert_eq!(of(&wet, CleanupScope::Publications).rows, 0);
    assert!(wet.iter().all(|progress| progress.done), "{wet:?}");
    assert_eq!(wet.len(), CleanupScope::ALL.len());
    assert_eq!(posts(&world, world.account).await, 5);
    assert_eq!(readings(&world, world.account, 0..12).await, 5);
    world.advance(200 * DAY_S);
    let (dry, wet) = (told(&world, true).await, told(&world, false).await);
    assert_eq!(of(&dry, CleanupScope::Publications), of(&wet, CleanupScope::Publications));
    assert_eq!(of(&wet, CleanupScope::Publications).rows, 2);
    assert!(told(&world, false).await.iter().all(|progress| progress.rows == 0));
}

async fn a_run_whose_time_is_up_goes_on_and_its_counts_add_up(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    found(&world, world.account, 0..10).await;
    world.advance(100 * DAY_S);
    let job = DataCleanup { scope: Some(CleanupScope::RemotePosts), dry_run: false };
    let mut cx = world.context::<DataCleanup>();
    // Each run has time for one batch.
    cx.deadline = world.clock.now();
    let mut left = Vec::new();
    for _ in 0..3 {
        let error = clean(&world, job.clone(), &cx).await.unwrap_err();
        assert!(matches!(error.class(), ErrorClass::Unavailable { .. }), "{error}");
        left.push(posts(&world, world.account).await);
    }
    assert_eq!(left, [7, 4, 1]);
    let progress = world.store.cleanup_progress(cx.id).await.unwrap();
    assert_eq!((progress[0].rows, progress[0].done), (9, false));
    clean(&world, job.clone(), &cx).await.unwrap();
    let progress = world.store.cleanup_progress(cx.id).await.unwrap();
    assert_eq!((progress.len(), progress[0].rows, progress[0].done), (1, 10, true));
    assert_eq!(progress[0].tenants[&Tenant::DEFAULT], 10);
    // A run of the same job that comes once more does not count what another has taken.
    found(&world, world.account, 20..22).await;
    world.advance(100 * DAY_S);
    clean(&world, job, &cx).await.unwrap();
    assert_eq!(world.store.cleanup_progress(cx.id).await.unwrap(), progress);
    // What is noted goes with the jobs.
    world.advance(31 * DAY_S);
    clean(&world, all(false), &world.context::<DataCleanup>()).await.unwrap();
    assert_eq!(world.store.cleanup_progress(cx.id).await.unwrap(), []);
}

async fn a_policy_of_the_only_tenant_holds_on_either_database(db: Db) {
    let world = World::new(db, &FOLLOWED).await;
    found(&world, world.account, 0..4).await;
    let house = Tenant::DEFAULT;
    keeps(&world, house, CleanupScope::RemotePosts, days(10)).await;
    keeps(&world, house, CleanupScope::Metrics, days(9)).await;
    keeps(&world, house, CleanupScope::Metrics, days(20)).await;
    world.advance(11 * DAY_S);
    let told_now = told(&world, false).await;
    assert_eq!(of(&told_now, CleanupScope::RemotePosts).rows, 4);
    assert_eq!(of(&told_now, CleanupScope::Metrics).rows, 0);
    let cleared = world.store.clear_retention(house, CleanupScope::Metrics, &note(&world)).await;
    assert!(cleared.unwrap());
    world.advance(10 * DAY_S);
    assert_eq!(of(&told(&world, false).await, CleanupScope::Metrics).rows, 0, "95 days again");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenants_rows_go_by_its_own_policy_and_no_others_do() {
    let server = PostgresServer::launch().await;
    let world = World::new(server.db().await, &FOLLOWED).await;
    let (brief, brief_account) = tenant(&world, "brief").await;
    let (long, long_account) = tenant(&world, "long").await;
    let (_, plain_account) = tenant(&world, "plain").await;
    for scope in [CleanupScope::RemotePosts, CleanupScope::Metrics, CleanupScope::Events] {
        keeps(&world, brief, scope, days(5)).await;
        keeps(&world, long, scope, days(1_000)).await;
    }
    let accounts = [world.account, brief_account, long_account, plain_account];
    for account in accounts {
        found(&world, account, 0..8).await;
    }
    let left = async || {
        let mut left = Vec::new();
        for account in accounts {
            left.push((posts(&world, account).await, readings(&world, account, 0..8).await));
        }
        left
    };
    world.advance(6 * DAY_S);
    let (dry, wet) = (told(&world, true).await, told(&world, false).await);
    assert_eq!(dry, wet);
    assert_eq!(left().await, [(8, 8), (0, 0), (8, 8), (8, 8)]);
    let posts = of(&wet, CleanupScope::RemotePosts);
    assert_eq!((posts.rows, posts.tenants.len(), posts.tenants[&brief]), (8, 1, 8));
    assert_eq!(of(&wet, CleanupScope::Events).tenants[&brief], 1, "that it was connected");

    world.advance(91 * DAY_S);
    let (dry, wet) = (told(&world, true).await, told(&world, false).await);
    assert_eq!(dry, wet);
    assert_eq!(left().await, [(0, 0), (0, 0), (8, 8), (0, 0)]);
    assert_eq!(of(&wet, CleanupScope::Metrics).rows, 16);
    assert_eq!(of(&wet, CleanupScope::Metrics).partitions, 0, "one tenant keeps the month");
    let events = world.store.for_tenant(long).events(None, 10).await.unwrap();
    assert_eq!(events.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_goes_whole_once_no_tenant_keeps_it() {
    let server = PostgresServer::launch().await;
    let world = World::new(server.db().await, &FOLLOWED).await;
    let (long, long_account) = tenant(&world, "long").await;
    keeps(&world, long, CleanupScope::Metrics, days(200)).await;
    for n in 0..3 {
        found(&world, world.account, n..n + 1).await;
        found(&world, long_account, n..n + 1).await;
        world.advance(31 * DAY_S);
    }
    let months = async || {
        let far = Timestamp::from_millis(i64::MAX);
        world.store.months_before(far).await.unwrap().len()
    };
    // The months of the readings, and two more.
    let made = months().await;
    assert!((4..=6).contains(&made), "{made}");
    world.advance(100 * DAY_S);
    let wet = told(&world, false).await;
    assert_eq!(of(&wet, CleanupScope::Metrics).partitions, 0);
    assert_eq!(readings(&world, world.account, 0..3).await, 0);
    assert_eq!(readings(&world, long_account, 0..3).await, 3);
    // Nobody keeps the first month any more, nor what is left of it.
    world.advance(40 * DAY_S);
    let (dry, wet) = (told(&world, true).await, told(&world, false).await);
    assert_eq!(dry, wet);
    let metrics = of(&wet, CleanupScope::Metrics);
    assert!(metrics.partitions >= 1 && metrics.rows >= 1, "{metrics:?}");
    assert_eq!(metrics.tenants[&long], metrics.rows);
    assert_eq!(months().await, made - usize::try_from(metrics.partitions).unwrap());
    let left = readings(&world, long_account, 0..3).await;
    assert_eq!(left, 3 - usize::try_from(metrics.rows).unwrap());
    // Readings go on: their month is made when it is needed.
    found(&world, world.account, 9..10).await;
    assert_eq!(readings(&world, world.account, 9..10).await, 1);
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn months_that_many_make_at_once_are_made_once_also_without_the_right_to_make_tables() {
    let server = PostgresServer::launch().await;
    let url = server.database().await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    run(
        &mut owner,
        "CREATE ROLE worker LOGIN; GRANT postworks_engine, postworks_tenant TO worker; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker",
    )
    .await
    .unwrap();
    let login = url.replace("postgres://postworks@", "postgres://worker@");
    let mut plain = PgConnection::connect(&login).await.unwrap();
    assert!(run(&mut plain, "CREATE TABLE x (y int)").await.is_err(), "it may make tables");
    let mut nodes = Vec::new();
    for _ in 0..8 {
        let login = login.clone();
        nodes.push(tokio::spawn(async move {
            let db = Db::connect_postgres(&login, &PostgresOptions::default()).unwrap();
            let world = World::new(db, &FOLLOWED).await;
            world.advance(400 * DAY_S);
            world.store.ready_for(world.clock.now()).await.unwrap();
            world
        }));
    }
    let mut worlds = Vec::new();
    for node in nodes {
        worlds.push(node.await.unwrap());
    }
    let world = &worlds[0];
    let far = Timestamp::from_millis(i64::MAX);
    assert_eq!(world.store.months_before(far).await.unwrap().len(), 3 + 3);
    found(world, world.account, 0..2).await;
    assert_eq!(readings(world, world.account, 0..2).await, 2);
    // A tenant sees its own readings, through the table and in a partition alike, and no others.
    let (other, _) = tenant(world, "other").await;
    for (tenant, seen) in [(Tenant::DEFAULT, 2), (other, 0)] {
        let mine = world.store.for_tenant(tenant);
        assert_eq!(mine.readings(world.account, "p0").await.unwrap().len(), usize::from(seen > 0));
    }
    let partition: String = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relname LIKE 'post_metrics_y%' \
         AND relkind = 'r' ORDER BY 1 DESC LIMIT 1 OFFSET 2",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    run(&mut owner, "SET ROLE postworks_tenant").await.unwrap();
    assert!(run(&mut owner, &format!("SELECT FROM {partition}")).await.is_err(), "{partition}");
    // Who is a tenant makes and drops none.
    assert!(run(&mut owner, "SELECT postworks_drop_metrics_month(0)").await.is_err());
    // And once it is over the login drops them as it made them.
    world.advance(400 * DAY_S);
    let metrics = told(world, false).await;
    assert_eq!(of(&metrics, CleanupScope::Metrics).partitions, 6);
}
