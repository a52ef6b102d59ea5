//! The API's promises.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use postworks::job::{Category, ErrorClass, JobError, JobId, SyncStream};
use postworks_server::api;
use serde_json::{Value, json};

use crate::world::{NOBODY, World};

#[tokio::test]
async fn a_job_is_accepted_shown_and_cancelled() {
    let world = World::start().await;
    let connector = world.connector().await;
    let body = json!({"kind": "ConnectorSync", "args": {"connector_id": connector},
        "unique_key": "k", "priority": 60, "max_attempts": 3});
    let accepted = world.post("/api/jobs", body.clone()).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    assert_eq!(accepted.body["state"], "ready");
    assert_eq!(accepted.body["created"], true);
    let again = world.post("/api/jobs", body).await;
    assert_eq!((again.status, &again.body["created"]), (StatusCode::OK, &json!(false)));
    assert_eq!(again.body["id"], accepted.body["id"]);
    let path = format!("/api/jobs/{}", accepted.body["id"].as_str().unwrap());
    let shown = world.ask("GET", &path).await;
    for (field, expected) in [
        ("kind", json!("connector_sync")),
        ("queue", json!("connector_sync.sandbox")),
        ("state", json!("ready")),
        ("args", json!({"connector_id": connector})),
        ("attempt", json!(0)),
        ("max_attempts", json!(3)),
        ("finished_at", Value::Null),
        ("reason", Value::Null),
        ("attempts", json!([])),
    ] {
        assert_eq!(shown.body[field], expected, "{field}");
    }
    let cancelled = world.ask("DELETE", &path).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.body), (200, json!({"state": "cancelled"})));
    assert_eq!(world.ask("DELETE", &path).await.body, json!({"state": "cancelled"}));
    assert_eq!(world.ask("GET", &path).await.body["state"], "cancelled");
}

#[tokio::test]
async fn an_account_is_synchronised_once_however_often_it_is_asked_for() {
    let world = World::start().await;
    let path = format!("/api/connectors/{}/sync", world.connector().await);
    let first = world.ask("POST", &path).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
    let again = world.ask("POST", &path).await;
    assert_eq!((again.status, &again.body["id"]), (StatusCode::OK, &first.body["id"]));
    assert_eq!(world.jobs().await, 1);
    world.ask("POST", &format!("/api/connectors/{NOBODY}/sync")).await.assert_problem(404);
    world.ask("POST", "/api/connectors/me/sync").await.assert_problem(404);
}

#[tokio::test]
async fn a_job_that_runs_is_told_from_one_that_waits() {
    let world = World::start().await;
    let (first, second) = (world.enqueue().await, world.enqueue().await);
    world.run(first).await;
    let delayed = json!({"kind": "data_cleanup", "delay_ms": 60_000});
    let delayed = world.post("/api/jobs", delayed).await;
    assert_eq!(delayed.body["state"], "delayed");
    let delayed = delayed.body["id"].as_str().unwrap().to_owned();
    for (state, expected) in
        [("running", first.to_string()), ("ready", second.to_string()), ("delayed", delayed)]
    {
        let listed = world.ask("GET", &format!("/api/jobs?state={state}")).await;
        let items = listed.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{state}: {}", listed.body);
        assert_eq!((&items[0]["state"], &items[0]["id"]), (&json!(state), &json!(expected)));
    }
    let shown = world.ask("GET", &format!("/api/jobs/{first}")).await;
    assert_eq!((&shown.body["state"], &shown.body["attempt"]), (&json!("running"), &json!(1)));
    let cancelled = world.ask("DELETE", &format!("/api/jobs/{first}")).await;
    assert_eq!(cancelled.body, json!({"state": "cancelling"}));
}

#[tokio::test]
async fn without_the_broker_jobs_are_accepted_and_time_alone_tells_their_state() {
    let world = World::without_broker().await;
    let id = world.enqueue().await;
    let shown = world.ask("GET", &format!("/api/jobs/{id}")).await;
    assert_eq!(shown.body["state"], "ready");
    let cancelled = world.ask("DELETE", &format!("/api/jobs/{id}")).await;
    assert_eq!(cancelled.body, json!({"state": "cancelling"}), "perhaps a worker has it");
    world.ask("GET", "/api/queues").await.assert_problem(503);
    assert_eq!(world.ask("GET", "/readyz").await.body["missing"], json!(["broker"]));
}

#[tokio::test]
async fn a_job_that_ended_is_not_cancelled() {
    let world = World::start().await;
    let id = world.enqueue().await;
    world.complete(id).await;
    world.ask("DELETE", &format!("/api/jobs/{id}")).await.assert_problem(409);
    let shown = world.ask("GET", &format!("/api/jobs/{id}")).await;
    assert_eq!(shown.body["attempts"][0]["outcome"], "completed");
    assert_eq!(shown.body["attempts"][0]["n"], 1);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let world = World::start().await;
    for (body, fields) in [
        (json!({"kind": "post_publicaton", "args": {}}), vec!["/kind"]),
        (json!({"kind": "post_publication", "args": {}}), vec!["/args/publication_id"]),
        (json!({"kind": "post_publication"}), vec!["/args/publication_id"]),
        (
            json!({"kind": "connector_sync", "args": {"connector_id": "x"}}),
            vec!["/args/connector_id"],
        ),
        (
            json!({"kind": "connector_sync", "args": {"connector_id": JobId::from_uuid(uuid::Uuid::nil())}}),
            vec!["/args/connector_id"],
        ),
        (json!({"kind": "data_cleanup", "args": {"scop": "jobs"}}), vec!["/args/scop"]),
        (json!({"kind": "data_cleanup", "args": {}, "colour": 1}), vec!["/colour"]),
        (
            json!({"kind": "data_cleanup", "args": {}, "priority": 3601, "max_attempts": 0,
            "unique_key": "", "run_at": "1999-01-01T00:00:00Z"}),
            vec!["/run_at", "/priority", "/max_attempts", "/unique_key"],
        ),
        (json!({"kind": "data_cleanup", "delay_ms": u64::MAX}), vec!["/delay_ms"]),
        (
            json!({"kind": "data_cleanup", "delay_ms": 1, "run_at": "2999-01-01T00:00:00Z"}),
            vec!["/delay_ms", "/delay_ms"],
        ),
        (json!({"kind": "data_cleanup", "unique_for_ms": 1_000}), vec!["/unique_for_ms"]),
        (
            json!({"kind": "data_cleanup", "unique_key": "k", "unique_until": "never"}),
            vec!["/unique_until"],
        ),
        (
            json!({"kind": "data_cleanup", "unique_key": "k", "debounce_ms": 99, "delay_ms": 1,
            "unique_until": "ended", "unique_for_ms": 999}),
            vec!["/unique_for_ms", "/debounce_ms", "/unique_until", "/unique_for_ms", "/delay_ms"],
        ),
    ] {
        let answer = world.post("/api/jobs", body.clone()).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), fields, "{body}");
    }
    assert_eq!(world.jobs().await, 0, "nothing was recorded");
}

#[tokio::test]
async fn a_debounced_job_is_replaced_while_it_waits() {
    let world = World::start().await;
    let edit = |dry_run: bool| {
        json!({"kind": "data_cleanup", "args": {"dry_run": dry_run}, "unique_key": "k",
            "debounce_ms": 60_000, "max_delay_ms": 86_400_000})
    };
    let first = world.post("/api/jobs", edit(true)).await;
    assert_eq!((first.status.as_u16(), &first.body["state"]), (202, &json!("delayed")));
    assert_eq!(first.body.get("replaced"), None, "it is there where it is so");
    let id = &first.body["id"];
    let second = world.post("/api/jobs", edit(false)).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.body);
    let answer = json!({"id": id, "state": "delayed", "created": false, "replaced": true});
    assert_eq!(second.body, answer);
    let shown = world.ask("GET", &format!("/api/jobs/{}", id.as_str().unwrap())).await;
    assert_eq!(shown.body["args"], json!({"dry_run": false}));
    assert_eq!(shown.body["unique_key"], "k");

    let bulk = world.post("/api/jobs/bulk", json!({"jobs": [edit(true), edit(false)]})).await;
    let replaced = json!({"id": id, "created": false, "replaced": true});
    assert_eq!(bulk.body, json!({"jobs": [replaced, replaced]}));
    let plain = json!({"kind": "data_cleanup", "args": {}, "unique_key": "k"});
    let plain = world.post("/api/jobs", plain).await;
    assert_eq!(plain.body, json!({"id": id, "state": "delayed", "created": false}));
    assert_eq!(world.jobs().await, 1);
}

#[tokio::test]
async fn a_bulk_is_accepted_whole_or_not_at_all() {
    let world = World::start().await;
    let good = json!({"kind": "data_cleanup"});
    let bad = json!({"kind": "connector_sync", "args": {"connector_id": 5}});
    let answer = world.post("/api/jobs/bulk", json!({"jobs": [good, bad, good, bad]})).await;
    answer.assert_problem(422);
    assert_eq!(answer.fields(), ["/jobs/1/args/connector_id", "/jobs/3/args/connector_id"]);
    assert_eq!(world.jobs().await, 0);
    let answer = world.post("/api/jobs/bulk", json!({"jobs": vec![good.clone(); 1_000]})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["jobs"].as_array().unwrap().len(), 1_000);
    for jobs in [vec![], vec![good; 1_001]] {
        let answer = world.post("/api/jobs/bulk", json!({"jobs": jobs})).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), ["/jobs"]);
    }
}

#[tokio::test]
async fn no_body_is_too_strange_for_an_answer() {
    let world = World::start().await;
    let deep = format!(
        r#"{{"kind":"data_cleanup","args":{}1{}}}"#,
        "[".repeat(25_000),
        "]".repeat(25_000)
    );
    for (path, body, status) in [
        ("/api/jobs", String::new(), 400),
        ("/api/jobs", "{\"kind\":".to_owned(), 400),
        ("/api/jobs", deep, 422),
        ("/api/jobs", "[".repeat(60_000), 400),
        ("/api/jobs", " ".repeat(65_537), 413),
        ("/api/jobs", "x".repeat(10 << 20), 413),
        ("/api/jobs/bulk", " ".repeat((1 << 20) + 1), 413),
        ("/api/posts", format!("{{\"text\":\"{}\"}}", "é".repeat(30_000)), 422),
        ("/api/posts", r#"{"text":"a\u0000b"}"#.to_owned(), 422),
        ("/api/dlq/retry", "{}".to_owned(), 422),
    ] {
        let start: String = body.chars().take(40).collect();
        let answer = world.post_text(path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {start}");
        answer.assert_problem(status);
    }
}

#[tokio::test]
async fn addresses_methods_and_types_that_do_not_fit_are_problems_too() {
    let world = World::start().await;
    world.ask("GET", "/api/nothing").await.assert_problem(404);
    world.ask("GET", "/").await.assert_problem(404);
    world.ask("GET", "/api/jobs/abc").await.assert_problem(404);
    world.ask("GET", "/api/jobs/%ff").await.assert_problem(404);
    let unknown = format!("/api/jobs/{NOBODY}");
    world.ask("GET", &unknown).await.assert_problem(404);
    world.ask("DELETE", &unknown).await.assert_problem(404);
    world.ask("GET", &format!("/api/publications/{NOBODY}")).await.assert_problem(404);
    let put = world.ask("PUT", "/api/jobs").await;
    put.assert_problem(405);
    assert!(put.headers.contains_key(header::ALLOW));
    world.ask("GET", "/api/jobs/bulk").await.assert_problem(405);
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = Request::builder().method("POST").uri("/api/jobs");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        world.send(request.body(Body::from("{}")).unwrap()).await.assert_problem(415);
    }
}

#[tokio::test]
async fn lists_are_walked_by_cursor() {
    let world = World::start().await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(world.enqueue().await.to_string());
    }
    expected.sort();
    expected.reverse();
    for filter in ["", "&state=ready"] {
        let mut seen = Vec::new();
        let mut path = format!("/api/jobs?limit=2{filter}");
        loop {
            let page = world.ask("GET", &path).await.body;
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/jobs?limit=2{filter}&cursor={next}");
        }
        assert_eq!(seen, expected, "{filter}");
    }
    for (query, field) in [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=x", "/limit"),
        ("cursor=x", "/cursor"),
        ("state=done", "/state"),
        ("kind=nothing", "/kind"),
        ("queue=A", "/queue"),
        ("colour=red", "/colour"),
    ] {
        let answer = world.ask("GET", &format!("/api/jobs?{query}")).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), [field]);
    }
    assert_eq!(world.ask("GET", "/api/connectors").await.body, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn the_product_is_asked_in_its_own_words() {
    let world = World::start().await;
    let connector = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
        "identifier": "ann", "secret": "hush"});
    let added = world.post("/api/connectors", connector.clone()).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let id = added.body["id"].clone();
    for (field, value) in [("platform", ""), ("base_url", "ftp://x"), ("identifier", " ")] {
        let mut wrong = connector.clone();
        wrong[field] = json!(value);
        let answer = world.post("/api/connectors", wrong).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), [format!("/{field}")]);
        assert!(!answer.body.to_string().contains("hush"));
    }
    let post = world.post("/api/posts", json!({"text": "hello"})).await;
    assert_eq!(post.status, StatusCode::CREATED);
    let publish = json!({"post_id": post.body["id"], "connector_ids": [id]});
    let published = world.post("/api/publish", publish).await;
    assert_eq!(published.status, StatusCode::ACCEPTED);
    assert_eq!(published.body["publications"][0]["connector_id"], id);
    for (ids, field) in [(json!([]), "/connector_ids"), (json!([id, id]), "/connector_ids/1")] {
        let publish = json!({"post_id": post.body["id"], "connector_ids": ids});
        let answer = world.post("/api/publish", publish).await;
        answer.assert_problem(422);
        assert_eq!(answer.fields(), [field]);
    }
}

#[tokio::test]
async fn dead_letters_are_put_back_but_never_blindly() {
    let world = World::start().await;
    let (invalid, unknown) = (world.enqueue().await, world.enqueue().await);
    world.kill(invalid, Category::Invalid).await;
    world.kill(unknown, Category::UnknownOutcome).await;
    let listed = world.ask("GET", "/api/dlq?category=invalid").await;
    assert_eq!(listed.body["items"][0]["id"], invalid.to_string());
    assert_eq!(world.ask("GET", &format!("/api/dlq/{invalid}")).await.status, StatusCode::OK);
    let all = |dry_run: bool| json!({"filter": {}, "all": true, "dry_run": dry_run});
    let plan =
        json!({"plan": {"matched": 2, "runnable": 1, "done": 0, "unknown": 1, "superseded": 0}});
    for dry_run in [true, false] {
        let answer = world.post("/api/dlq/retry", all(dry_run)).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (202, &plan), "dry run: {dry_run}");
    }
    let left = world.ask("GET", "/api/dlq").await;
    assert_eq!(left.body["items"].as_array().unwrap().len(), 1, "{}", left.body);
    let named = world.post("/api/dlq/retry", json!({"filter": {"ids": [unknown]}})).await;
    assert_eq!(named.body["plan"]["runnable"], 1, "a person named it");
    let wrong = world.post("/api/dlq/retry", json!({"filter": {"kind": "nothing"}})).await;
    wrong.assert_problem(422);
    assert_eq!(wrong.fields(), ["/filter/kind"]);
}

#[tokio::test]
async fn a_missing_store_is_said_so() {
    let world = World::start().await;
    assert_eq!(world.ask("GET", "/readyz").await.body, json!({"status": "ok", "missing": []}));
    let world = World::without_stores();
    let refused = world.post("/api/jobs", json!({"kind": "data_cleanup"})).await;
    refused.assert_problem(503);
    assert_eq!(refused.headers[header::RETRY_AFTER], "30");
    assert_eq!(refused.body["detail"], "Service busy, retry in 30s");
    assert_eq!(refused.body["cause"], "the ledger is unavailable");
    for path in ["/readyz", "/health", "/api/health"] {
        let answer = world.ask("GET", path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.body["missing"], json!(["ledger", "broker"]));
    }
    assert_eq!(world.ask("GET", "/livez").await.status, StatusCode::OK);
    assert_eq!(world.ask("GET", "/metrics").await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_names_of_this_machine_are_answered() {
    let world = World::start().await;
    for (host, status) in [("localhost:7000", 200), ("evil.example", 403)] {
        let request = Request::builder().uri("/api/queues").header(header::HOST, host);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    assert!(api::check_listen("127.0.0.1:0".parse().unwrap()).is_ok());
    let told = api::check_listen("0.0.0.0:7000".parse().unwrap()).unwrap_err().to_string();
    assert!(told.contains("switch it on with POSTWORKS_AUTH=on"), "{told}");
}

/// Over a real connection: a client that writes on must still see the answer.
#[tokio::test]
async fn a_body_that_is_far_too_long_is_answered_on_the_wire() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let body = vec![b'['; 10 << 20];
        let request = client.post(format!("{url}/api/jobs"));
        let request = request.header("content-type", "application/json").body(body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 413);
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_of_an_account_is_listed_with_it_until_it_can() {
    let world = World::start().await;
    let account = world.connector().await;
    let store = &world.node.store;
    let listed = async || world.ask("GET", "/api/connectors").await.body["items"][0].clone();
    assert_eq!(listed().await.get("failing"), None);
    for reason in ["no connection", "not enough permissions"] {
        let error = JobError::new(ErrorClass::Invalid, reason);
        store.note_failure(account, SyncStream::Metrics, &error).await.unwrap();
    }
    let failing = &listed().await["failing"];
    assert_eq!(failing.as_array().unwrap().len(), 1, "{failing}");
    assert_eq!((&failing[0]["stream"], &failing[0]["failures"]), (&json!("metrics"), &json!(2)));
    assert_eq!(failing[0]["last_error"], "invalid: not enough permissions");
    assert!(failing[0]["failed_at"].is_string(), "{failing}");
    let place = store.cursor(account, SyncStream::Metrics).await.unwrap();
    assert!(store.keep_numbers(account, &[], &place).await.unwrap());
    assert_eq!(listed().await.get("failing"), None);
}
