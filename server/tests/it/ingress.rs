//! Tasks of stock producers: the released `apalis-redis` pushes, and its queue becomes jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use apalis_core::backend::TaskSink as _;
use apalis_redis::{Config, RedisStorage};
use postworks::clock::{Clock as _, SystemClock};
use postworks::testing::redis_server::RedisServer;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::block_in_place;

use crate::fleet::{Fleet, LONG, Ran, run, until};

/// A stock producer of this queue.
async fn producer(redis: &RedisServer, queue: &str) -> RedisStorage<Value> {
    let connection = apalis_redis::connect(redis.url()).await.unwrap();
    RedisStorage::new(connection).with_config(Config::default().queue(queue))
}

async fn database(fleet: &Fleet) -> PgConnection {
    PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap()
}

/// The unique keys of all jobs: the ids of the tasks they were.
async fn tasks_recorded(fleet: &Fleet) -> Vec<String> {
    let sql = "SELECT unique_key FROM jobs ORDER BY unique_key";
    sqlx::query_scalar(sql).fetch_all(&mut database(fleet).await).await.unwrap()
}

async fn recorded(fleet: &Fleet) -> i64 {
    let sql = "SELECT count(*) FROM jobs";
    sqlx::query_scalar(sql).fetch_one(&mut database(fleet).await).await.unwrap()
}

/// Moves what waits.
async fn once(fleet: &Fleet, more: &[&str]) -> Ran {
    let args = [&["ingress", "apalis-redis", "--queue", "stock", "--once"], more].concat();
    run(&args, fleet.vars()).await
}

/// As one argument of a command that is written in a line.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// Nothing of the queue's is left but what stock producers keep for themselves.
fn assert_empty(redis: &RedisServer, queue: &str) {
    let keys = redis.command(&format!("KEYS {queue}:*"));
    let left: Vec<&str> = keys.lines().filter(|line| line.starts_with(queue)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Far more than a stock worker's script can take at once.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_stock_tasks_become_a_job_each_though_their_mover_is_killed_half_way() {
    const TASKS: usize = 50_000;
    let fleet = Fleet::start().await;
    let mut stock = producer(&fleet.redis, "stock").await;
    for _ in 0..TASKS / 1_000 {
        stock.push_bulk(vec![json!({ "dry_run": true }); 1_000]).await.unwrap();
    }
    let args = ["ingress", "apalis-redis", "--queue", "stock", "--kind", "data_cleanup"];
    let mut mover = fleet.command("mover", &args);
    until("nothing moves", LONG, async || recorded(&fleet).await > 5_000).await;
    mover.kill9().await;
    let before = recorded(&fleet).await;
    assert!(before < TASKS as i64, "it was killed too late to prove anything");

    let ran = once(&fleet, &["--kind", "data_cleanup"]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    println!("{before} jobs when it was killed; then {}", ran.stdout.trim());
    let tasks = tasks_recorded(&fleet).await;
    assert_eq!(tasks.len(), TASKS);
    assert_eq!(tasks.iter().collect::<BTreeSet<_>>().len(), TASKS);
    assert_empty(&fleet.redis, "stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_recorded_is_not_recorded_again_even_after_its_job_has_ended() {
    let fleet = Fleet::start().await;
    let mut stock = producer(&fleet.redis, "stock").await;
    stock.push_bulk(vec![json!({ "dry_run": true }); 3]).await.unwrap();
    assert!(once(&fleet, &["--kind", "data_cleanup"]).await.code == 0);
    let jobs = fleet.client.http.get("/api/jobs").await.expect(200);
    let ids: BTreeSet<&str> =
        jobs["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    let ended = ids.first().unwrap();
    assert_eq!(run(&["job", "cancel", ended], fleet.vars()).await.code, 0);

    // As its mover leaves it when it dies before it gives them up.
    for task in tasks_recorded(&fleet).await {
        fleet.redis.command(&format!("ZADD stock:postworks:taken 1 {task}"));
        fleet.redis.command(&format!("HSET stock:data {task} {}", quoted(r#"{"dry_run":true}"#)));
    }
    let ran = once(&fleet, &["--kind", "data_cleanup"]).await;
    assert!(ran.stdout.contains("3 moved, 0 refused"), "{}", ran.stdout);
    assert_eq!(recorded(&fleet).await, 3);
    assert_empty(&fleet.redis, "stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_a_whole_job_and_one_that_is_none_stays_where_it_is_with_the_reason() {
    let fleet = Fleet::start().await;
    let mut stock = producer(&fleet.redis, "stock").await;
    let whole = json!({ "kind": "data_cleanup", "args": { "dry_run": true }, "priority": 60 });
    let keyed = json!({ "kind": "data_cleanup", "args": {}, "unique_key": "mine" });
    let bad = [
        json!({ "kind": "data_clean_up", "args": {} }),
        json!({ "kind": "data_cleanup", "args": { "no_such": 1 } }),
        json!({ "kind": "connector_sync", "args":
            { "connector_id": "0198f3a0-0000-7000-8000-000000000000" } }),
        json!({ "kind": "data_cleanup", "extra": 1 }),
        json!("a\u{0}b"),
        json!([1, 2]),
        json!({ "kind": "data_cleanup", "args": { "scope": "x".repeat(70_000) } }),
    ];
    for task in bad.iter().chain([&whole, &keyed]) {
        stock.push(task.clone()).await.unwrap();
    }
    let later = SystemClock.now().as_millis() / 1_000 + 3_600;
    let plain = quoted(r#"{"kind":"data_cleanup"}"#);
    fleet.redis.command(&format!("HSET stock:data later {plain}"));
    fleet.redis.command(&format!("ZADD stock:scheduled {later} later"));
    fleet.redis.command("RPUSH stock:active vanished");

    let ran = once(&fleet, &[]).await;
    assert!(ran.stdout.contains("3 moved, 8 refused"), "{} {}", ran.stdout, ran.stderr);
    let jobs = fleet.client.http.get("/api/jobs?state=delayed").await.expect(200);
    let run_at: jiff::Timestamp = jobs["items"][0]["run_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(run_at.as_second(), later);
    assert!(tasks_recorded(&fleet).await.contains(&"mine".to_owned()));

    let reasons = fleet.redis.command("HVALS stock:postworks:refused");
    for reason in [
        "unknown kind",
        "no_such",
        "/args/connector_id",
        "extra",
        "its arguments cannot be read",
        "its arguments are gone",
        "/args",
    ] {
        assert!(reasons.contains(reason), "{reason}: {reasons}");
    }
    assert!(fleet.redis.command("HLEN stock:data").contains('7'));

    // Whoever mended what was wrong with them lets them be tried again.
    let ran = once(&fleet, &["--retry-refused", "--kind", "data_cleanup"]).await;
    assert!(ran.stdout.contains("8 refused"), "{} {}", ran.stdout, ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_waits_for_a_redis_that_is_not_there_yet_and_moves_what_comes() {
    let fleet = Fleet::start().await;
    let mut theirs = block_in_place(RedisServer::start);
    producer(&theirs, "stock").await.push(json!({ "dry_run": true })).await.unwrap();
    theirs.command("SAVE");
    block_in_place(|| theirs.kill9());
    let url = theirs.url();
    let args =
        ["ingress", "apalis-redis", "--queue", "stock", "--kind", "data_cleanup", "--redis-url"];
    let mut mover = fleet.command("mover", &[&args[..], &[&url]].concat());
    until("it does not say that it waits", LONG, async || {
        mover.log().contains("no task can be moved")
    })
    .await;
    block_in_place(|| theirs.resume());
    until("the first task is not moved", LONG, async || recorded(&fleet).await == 1).await;
    producer(&theirs, "stock").await.push(json!({ "dry_run": true })).await.unwrap();
    until("a task that comes later is not moved", LONG, async || recorded(&fleet).await == 2).await;
    mover.signal(nix::sys::signal::Signal::SIGTERM);
    let (status, _) = mover.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", mover.log());
}
