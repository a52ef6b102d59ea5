//! Requests with an `Idempotency-Key` that are sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fleet::{Fleet, LONG, until};
use crate::world::{Answer, World};

async fn post(world: &World, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key);
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

fn cleanup(dry_run: bool) -> Value {
    json!({ "kind": "data_cleanup", "args": { "dry_run": dry_run } })
}

#[tokio::test]
async fn a_request_that_is_sent_again_gets_its_first_answer_and_makes_nothing() {
    let world = World::start().await;
    let connector = world.connector().await;
    let text = json!({ "text": "hello" });
    let made = post(&world, "/api/posts", "post", &text).await;
    let publish = json!({ "post_id": made.body["id"], "connector_ids": [connector] });
    let bulk = json!({ "jobs": [cleanup(true), cleanup(false)] });
    for (path, key, body, status) in [
        ("/api/posts", "post", &text, 201),
        ("/api/publish", "publish", &publish, 202),
        ("/api/jobs", "job", &cleanup(true), 202),
        ("/api/jobs/bulk", "bulk", &bulk, 202),
    ] {
        let first = post(&world, path, key, body).await;
        let again = post(&world, path, key, body).await;
        assert_eq!(first.status.as_u16(), status, "{path}: {}", first.body);
        assert_eq!((first.status, &first.body), (again.status, &again.body), "{path}");
        assert_eq!(again.headers[header::CONTENT_TYPE], "application/json");
        assert!(is_replayed(&again), "{path}");
        assert_eq!(is_replayed(&first), key == "post", "{path}");
    }
    assert_eq!(world.jobs().await, 4, "a publication, a job, and two");
    let posts = world.ask("GET", "/api/posts").await;
    assert_eq!(posts.body["items"].as_array().unwrap().len(), 1);
    let other = post(&world, "/api/jobs", "another key", &cleanup(true)).await;
    assert!(!is_replayed(&other));
    assert_eq!(world.jobs().await, 5);
}

#[tokio::test]
async fn a_key_that_comes_with_another_request_is_refused_and_nothing_is_done() {
    let world = World::start().await;
    let first = post(&world, "/api/jobs", "k", &cleanup(true)).await;
    assert_eq!(first.status.as_u16(), 202, "{}", first.body);
    let bulk = json!({ "jobs": [cleanup(true)] });
    for (path, body) in [("/api/jobs", &cleanup(false)), ("/api/jobs/bulk", &bulk)] {
        let answer = post(&world, path, "k", body).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), ["Idempotency-Key"]);
        assert!(answer.body["detail"].as_str().unwrap().contains("another request"));
    }
    assert_eq!(world.jobs().await, 1);
    assert!(is_replayed(&post(&world, "/api/jobs", "k", &cleanup(true)).await));
}

#[tokio::test]
async fn a_refused_request_may_come_again_under_its_key_with_its_faults_mended() {
    let world = World::start().await;
    let wrong = json!({ "kind": "data_clenup", "args": {} });
    for _ in 0..2 {
        let refused = post(&world, "/api/jobs", "k", &wrong).await;
        refused.assert_problem(422);
        assert!(!is_replayed(&refused));
    }
    let broken = post(&world, "/api/jobs", "k", &json!("no object")).await;
    broken.assert_problem(422);
    let mended = post(&world, "/api/jobs", "k", &cleanup(true)).await;
    assert_eq!(mended.status.as_u16(), 202, "{}", mended.body);
    assert_eq!(world.jobs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_equal_requests_at_once_make_one_job() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let body = cleanup(true);
    let answers = join_all((0..100).map(|_| http.post_keyed("/api/jobs", "once", &body))).await;
    let mut ids = BTreeSet::new();
    for (answer, _) in answers {
        match answer.status {
            202 => drop(ids.insert(answer.body["id"].to_string())),
            409 => assert!(answer.body["detail"].as_str().unwrap().contains("under way")),
            status => panic!("{status}: {}", answer.body),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let (again, replayed) = http.post_keyed("/api/jobs", "once", &body).await;
    assert!(replayed && ids.contains(&again.body["id"].to_string()), "{}", again.body);
    let jobs = http.get("/api/jobs").await.expect(200);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
}

/// The rows of one table.
async fn count(database: &mut PgConnection, table: &'static str) -> i64 {
    let sql = match table {
        "jobs" => "SELECT count(*) FROM jobs",
        "publications" => "SELECT count(*) FROM publications",
        _ => panic!("{table}"),
    };
    sqlx::query_scalar(sql).fetch_one(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_broke_off_before_its_answer_was_kept_is_done_again_and_finds_what_it_made()
{
    let fleet = Fleet::start().await;
    let mut worker = fleet.worker(&["--concurrency", "4"]).await;
    let accounts = fleet.connect("sandbox", 3).await;
    let earlier = fleet.sandbox.journal().posts();
    let http = &fleet.client.http;
    let post = http.post("/api/posts", &json!({ "text": "once" })).await.expect(201);
    let publish = json!({ "post_id": post["id"], "connector_ids": accounts });
    let (first, _) = http.post_keyed("/api/publish", "k", &publish).await;
    let first = first.expect(202);
    let published = || fleet.sandbox.journal().posts() - earlier;
    until("nothing is published", LONG, async || published() == accounts.len()).await;
    let mut database = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
    let before = (count(&mut database, "jobs").await, count(&mut database, "publications").await);

    // As a process leaves it that dies in between.
    const BROKEN_OFF: &str = "UPDATE requests SET status = NULL, answer = NULL, held_until = 0";
    sqlx::raw_sql(BROKEN_OFF).execute(&mut database).await.unwrap();
    let (again, replayed) = http.post_keyed("/api/publish", "k", &publish).await;
    assert_eq!((again.expect(202), replayed), (first, false));
    let after = (count(&mut database, "jobs").await, count(&mut database, "publications").await);
    assert_eq!(after, before);
    assert!(http.post_keyed("/api/publish", "k", &publish).await.1, "now its answer is kept");

    // A later post comes through; if one of the first had run again, it would have before.
    fleet.client.until_published(&fleet.client.publish("later", &accounts).await, LONG).await;
    assert_eq!(published(), 2 * accounts.len());
    worker.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_left_is_done_and_answered_to_who_asks_again() {
    let fleet = Fleet::start().await;
    let mut database = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
    let mut lock = database.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE jobs IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let http = &fleet.client.http;
    let body = cleanup(true);
    // Time is the subject: a client that has no more patience than this.
    let patience = Duration::from_millis(500);
    let left = tokio::time::timeout(patience, http.post_keyed("/api/jobs", "k", &body)).await;
    assert!(left.is_err(), "the table was locked");
    let (busy, _) = http.post_keyed("/api/jobs", "k", &body).await;
    assert_eq!(busy.status, 409, "{}", busy.body);
    lock.commit().await.unwrap();
    until("the request is not answered", LONG, async || {
        let (answer, replayed) = http.post_keyed("/api/jobs", "k", &body).await;
        answer.status == 202 && replayed
    })
    .await;
    assert_eq!(count(&mut database, "jobs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_for_a_day_and_then_for_another_request() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let (first, _) = http.post_keyed("/api/jobs", "k", &cleanup(true)).await;
    let mut database = PgConnection::connect(&fleet.postgres.url("postgres")).await.unwrap();
    let age = async |database: &mut PgConnection, hours: i64| {
        let sql = "UPDATE requests SET created_at = created_at - $1 * 3600000";
        sqlx::query(sql).bind(hours).execute(database).await.unwrap();
    };
    age(&mut database, 23).await;
    assert!(http.post_keyed("/api/jobs", "k", &cleanup(true)).await.1);
    age(&mut database, 1).await;
    let (other, replayed) = http.post_keyed("/api/jobs", "k", &cleanup(false)).await;
    assert!(!replayed);
    assert_ne!(first.expect(202)["id"], other.expect(202)["id"]);
}
