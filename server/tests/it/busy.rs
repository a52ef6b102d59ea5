//! More work than can be done in good time: the API refuses at once, and says until when.

use std::time::{Duration, Instant};

use axum::http::header;
use postworks::ledger::{Db, PostgresOptions, Tx};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Http, LONG, until};
use crate::world::{Answer, World};

/// A refusal takes no longer.
const REFUSED_WITHIN: Duration = Duration::from_millis(50);

fn cleanup() -> Value {
    json!({"kind": "data_cleanup", "args": {}})
}

fn bulk(jobs: usize) -> Value {
    json!({ "jobs": vec![cleanup(); jobs] })
}

#[track_caller]
fn assert_busy(answer: &Answer, reason: &str) {
    answer.assert_problem(503);
    assert_eq!(answer.body["detail"], "Service busy, retry in 30s");
    let cause = answer.body["cause"].as_str().unwrap();
    assert!(cause.starts_with(&format!("{reason}: ")), "{cause}");
    let wait: u32 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((30..=45).contains(&wait), "{wait}");
}

/// Waits until a job is refused (or taken).
pub(crate) async fn until_refused(world: &World, refused: bool) {
    until("the API does not change its mind", LONG, async || {
        let asked = world.post("/api/jobs", json!({"kind": "data_cleanup", "args": 0})).await;
        (asked.status.as_u16() == 503) == refused
    })
    .await;
}

#[tokio::test]
async fn an_api_under_too_much_work_refuses_more_and_takes_it_again_at_four_fifths() {
    let world = World::with("[admission]\ndepth = 50").await;
    let _watch = world.watch_load();
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(world.enqueue().await);
    }
    until_refused(&world, true).await;
    let mut took = Vec::new();
    for _ in 0..50 {
        let asked = Instant::now();
        assert_busy(&world.post("/api/jobs", cleanup()).await, "depth");
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    println!("a refusal takes {:?}, the slowest {:?}", took[25], took[49]);
    assert!(took[25] < REFUSED_WITHIN);
    assert_busy(&world.post("/api/jobs/bulk", bulk(1)).await, "depth");
    let publish = json!({"post_id": crate::world::NOBODY, "connector_ids": []});
    assert_busy(&world.post("/api/publish", publish).await, "depth");
    assert_eq!(world.jobs().await, 50, "what is refused is not recorded");
    // What makes no work is answered, and what ends some.
    assert_eq!(world.post("/api/posts", json!({"text": "hello"})).await.status.as_u16(), 201);
    let last = jobs.pop().unwrap();
    assert_eq!(world.ask("DELETE", &format!("/api/jobs/{last}")).await.status.as_u16(), 200);
    for id in &jobs[..8] {
        world.complete(*id).await;
    }
    // Time itself is what must pass here: several looks at 41 jobs, one more than four fifths.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_busy(&world.post("/api/jobs", cleanup()).await, "depth");
    world.complete(jobs[8]).await;
    until_refused(&world, false).await;
    world.enqueue().await;
    assert_eq!(world.ask("GET", "/readyz").await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_refused_request_with_a_key_is_done_when_it_is_sent_again() {
    let world = World::with("[admission]\ndepth = 5").await;
    let _watch = world.watch_load();
    let id = world.enqueue().await;
    for _ in 0..4 {
        world.enqueue().await;
    }
    until_refused(&world, true).await;
    let keyed = || {
        let request = axum::http::Request::builder().method("POST").uri("/api/jobs");
        let request =
            request.header("idempotency-key", "once").header("content-type", "application/json");
        world.send(request.body(cleanup().to_string().into()).unwrap())
    };
    assert_busy(&keyed().await, "depth");
    world.complete(id).await;
    until_refused(&world, false).await;
    let done = keyed().await;
    assert_eq!(done.status.as_u16(), 202, "{}", done.body);
    until_refused(&world, true).await;
    assert_eq!(world.jobs().await, 6);
}

#[tokio::test]
async fn urgent_work_is_let_in_longer() {
    let world = World::with("[admission]\ndepth = 10").await;
    let _watch = world.watch_load();
    let urgent = || world.post("/api/jobs", json!({"kind": "data_cleanup", "priority": 1}));
    for _ in 0..10 {
        world.enqueue().await;
    }
    until_refused(&world, true).await;
    for _ in 0..10 {
        assert_eq!(urgent().await.status.as_u16(), 202);
        assert_busy(&world.post("/api/jobs", cleanup()).await, "depth");
    }
    until("urgent work is never refused", LONG, async || urgent().await.status.as_u16() == 503)
        .await;
    assert_busy(&urgent().await, "depth");
}

#[tokio::test]
async fn a_bulk_that_would_not_fit_is_refused_before_single_jobs_are() {
    let world = World::with("[admission]\ndepth = 20").await;
    let _watch = world.watch_load();
    let whole = world.post("/api/jobs/bulk", bulk(25)).await;
    assert_eq!(whole.status.as_u16(), 202, "nothing waits: it is taken whatever its size");
    let world = World::with("[admission]\ndepth = 20").await;
    let _watch = world.watch_load();
    for _ in 0..15 {
        world.enqueue().await;
    }
    until("a bulk is never refused", LONG, async || {
        // A job too many, and one of them wrong: it is refused either way.
        let mut jobs = bulk(6);
        jobs["jobs"][0]["args"] = json!(0);
        world.post("/api/jobs/bulk", jobs).await.status.as_u16() == 503
    })
    .await;
    assert_busy(&world.post("/api/jobs/bulk", bulk(6)).await, "depth");
    world.enqueue().await;
}

#[tokio::test]
async fn old_jobs_keep_others_out_only_if_they_are_many() {
    let world = World::with("[admission]\ndepth = 0\noldest = \"100ms\"").await;
    let _watch = world.watch_load();
    let taken = world.post("/api/jobs/bulk", bulk(990)).await;
    assert_eq!(taken.status.as_u16(), 202, "{}", taken.body);
    // Time itself is the subject: they are old, and looked at a few times.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..10 {
        world.enqueue().await;
    }
    until_refused(&world, true).await;
    assert_busy(&world.post("/api/jobs", cleanup()).await, "oldest");
}

#[tokio::test]
async fn jobs_that_wait_in_the_ledger_alone_count_as_well() {
    let world = World::with("[broker]\nwindow = 100\n[admission]\ndepth = 150").await;
    let _watch = world.watch_load();
    let taken = world.post("/api/jobs/bulk", bulk(160)).await;
    assert_eq!(taken.status.as_u16(), 202, "{}", taken.body);
    until_refused(&world, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_count_does_not_let_too_much_work_in() {
    let settings = [("POSTWORKS__BROKER__WINDOW", "100"), ("POSTWORKS__ADMISSION__DEPTH", "60")];
    let fleet = Fleet::start_with(&settings).await;
    let http = Http::new(fleet.client.http.base());
    http.post("/api/jobs/bulk", &bulk(150)).await.expect(202);
    until("the API never has enough", LONG, async || status(&http, &cleanup()).await == 503).await;
    fleet.postgres.freeze();
    // Time itself is what must pass here: several looks at a ledger that does not answer.
    for _ in 0..30 {
        let body = http.post("/api/jobs", &cleanup()).await.expect(503);
        assert!(body["cause"].as_str().unwrap().starts_with("depth: "), "{body}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    fleet.postgres.thaw();
}

/// Whether the API of a fleet takes a job.
async fn status(http: &Http, body: &Value) -> u16 {
    http.post("/api/jobs", body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_alone_refuses_nobody() {
    let mut fleet = Fleet::start_with(&[("POSTWORKS__ADMISSION__DEPTH", "10")]).await;
    let http = Http::new(fleet.client.http.base());
    until("the API never has enough", LONG, async || status(&http, &cleanup()).await == 503).await;
    assert!(http.metric("postworks_admission_refused_total").await >= 1.0);
    assert_eq!(http.metric("postworks_admission_state").await, 1.0, "of depth alone");
    fleet.redis.stop();
    until("a Redis that is down refuses", LONG, async || status(&http, &cleanup()).await == 202)
        .await;
    // Time itself is what must pass here: several looks at a Redis that is down.
    for _ in 0..20 {
        assert_eq!(status(&http, &cleanup()).await, 202);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(http.metric("postworks_admission_state").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_gets_full_refuses_where_that_is_asked_for_and_urgent_work_later() {
    let fleet = Fleet::start_with(&[("POSTWORKS__ADMISSION__REDIS_MEMORY", "50%")]).await;
    let http = Http::new(fleet.client.http.base());
    let urgent = json!({"kind": "data_cleanup", "priority": 1});
    assert_eq!(status(&http, &cleanup()).await, 202, "it has no limit yet");
    let info = fleet.redis.command("INFO memory");
    let used = info.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap();
    let used: u64 = used.parse().unwrap();
    let limit = |percent: u64| {
        fleet.redis.command(&format!("CONFIG SET maxmemory {}", used * 100 / percent));
    };
    limit(60);
    until("a full Redis refuses nobody", LONG, async || status(&http, &cleanup()).await == 503)
        .await;
    assert_eq!(status(&http, &urgent).await, 202);
    limit(90);
    until("urgent work goes on", LONG, async || status(&http, &urgent).await == 503).await;
    limit(20);
    until("room refuses", LONG, async || status(&http, &cleanup()).await == 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_for_connections_refuses_work_within_milliseconds() {
    let fleet = Fleet::start_with(&[("POSTWORKS__ADMISSION__POSTGRES_WAIT", "100ms")]).await;
    let http = Http::new(fleet.client.http.base());
    // Whoever holds the table lets every reader wait, each with a connection.
    let db = Db::connect_postgres(&fleet.postgres.url("postgres"), &PostgresOptions::default());
    let Tx::Postgres(mut held) = db.unwrap().begin().await.unwrap() else { panic!("PostgreSQL") };
    for statement in
        ["SET idle_in_transaction_session_timeout = 0", "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"]
    {
        sqlx::raw_sql(statement).execute(&mut *held).await.unwrap();
    }
    let readers = async {
        let reader = async || {
            loop {
                http.get("/api/jobs").await;
            }
        };
        futures_util::future::join_all((0..30).map(|_| reader())).await
    };
    let refused = async {
        until("a queue for connections refuses nobody", LONG, async || {
            // Its arguments are wrong: it never needs the table.
            let wrong = json!({"kind": "data_cleanup", "args": 0});
            status(&http, &wrong).await == 503
        })
        .await;
        let asked = Instant::now();
        let answer = http.post("/api/jobs", &cleanup()).await;
        let took = asked.elapsed();
        let body = answer.expect(503);
        let cause = body["cause"].as_str().unwrap().to_owned();
        assert!(cause.starts_with("postgres_wait: "), "{cause}");
        println!("refused within {took:?}: {cause}");
    };
    tokio::select! {
        _ = readers => {}
        () = refused => {}
    }
    drop(held);
    until("free connections refuse", LONG, async || status(&http, &cleanup()).await == 202).await;
}
