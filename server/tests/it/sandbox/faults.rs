//! Faults on demand: what the client sees, and what the journal says really happened.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Account, World, answer, assert_bad_field, assert_refused};

/// Short, because the tests that use it wait it out.
const IMPATIENT: Duration = Duration::from_millis(200);

async fn world_with(rule: Value) -> (World, Account) {
    let world = World::start().await;
    let ann = world.account("ann").await;
    world.fault(rule).await;
    (world, ann)
}

fn faults_in_journal(world: &World) -> Vec<Value> {
    let fault = |entry| serde_json::to_value(entry).unwrap()["fault"].clone();
    world.running.journal().into_iter().map(fault).collect()
}

/// Asserts that the connection ended without an answer.
async fn assert_cut(request: RequestBuilder) {
    let error = request.send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn drop_before_cuts_the_connection_and_applies_nothing() {
    let (world, ann) = world_with(json!({"op": "*", "action": "drop_before", "times": 2})).await;
    assert_cut(world.publishing(&ann, &json!({"text": "lost"}))).await;
    assert_cut(world.refreshing(&ann.refresh)).await;
    assert!(world.journalled().is_empty());
    assert_eq!(world.refresh(&ann.refresh).await.0, StatusCode::OK, "the token is not spent");
}

#[tokio::test]
async fn drop_after_cuts_the_connection_though_the_post_was_made() {
    let (world, ann) = world_with(json!({"op": "publish", "action": "drop_after"})).await;
    assert_cut(world.publishing(&ann, &json!({"text": "made"}))).await;
    assert_eq!(world.journalled(), ["made"]);
    assert_eq!(faults_in_journal(&world), [json!("drop_after")]);
}

#[tokio::test]
async fn a_refresh_whose_answer_is_dropped_has_spent_its_token() {
    let rule = json!({"op": "refresh", "action": "drop_after", "times": 1});
    let (world, ann) = world_with(rule).await;
    assert_cut(world.refreshing(&ann.refresh)).await;
    assert_eq!(world.journalled(), ["(refresh)"]);
    assert_refused(&world.refresh(&ann.refresh).await, 400, "invalid_grant");
    assert_refused(&world.publish(&ann, "revoked").await, 401, "token_revoked");
}

#[tokio::test]
async fn a_cut_connection_carries_not_one_byte() {
    for action in ["drop_before", "drop_after"] {
        let (world, _) = world_with(json!({"op": "list", "action": action})).await;
        let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
        let request = b"GET /posts?account=ann HTTP/1.1\r\nHost: sandbox\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        // A reset instead of an orderly end would be a cut as well.
        let _ = stream.read_to_end(&mut bytes).await;
        assert_eq!(String::from_utf8_lossy(&bytes), "", "{action}");
    }
}

#[tokio::test]
async fn a_hang_never_answers_though_the_post_was_made() {
    let (world, ann) = world_with(json!({"op": "publish", "action": "hang", "times": 1})).await;
    let request = world.publishing(&ann, &json!({"text": "made"})).timeout(IMPATIENT);
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(world.journalled(), ["made"]);
    assert_eq!(faults_in_journal(&world), [json!("hang")]);
}

#[tokio::test]
async fn latency_delays_the_answer_of_a_post_already_made() {
    let latency = json!({"p50": 250, "p99": 250});
    let rule = json!({"op": "publish", "action": "latency", "latency_ms": latency, "times": 1});
    let (world, ann) = world_with(rule).await;
    let start = Instant::now();
    assert_eq!(world.publish(&ann, "slow").await.0, StatusCode::CREATED);
    assert!(start.elapsed() >= Duration::from_millis(250));
    assert_eq!(faults_in_journal(&world), [json!("latency")]);

    let latency = json!({"p50": 60_000, "p99": 60_000});
    world.fault(json!({"op": "publish", "action": "latency", "latency_ms": latency})).await;
    let request = world.publishing(&ann, &json!({"text": "slower"})).timeout(IMPATIENT);
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(world.journalled(), ["slow", "slower"]);
}

#[tokio::test]
async fn an_error_applies_nothing_and_answers_as_told() {
    let headers = json!({"X-Upstream": "down", "Retry-After": 7});
    let rule = json!({"op": "*", "action": "error", "status": 502, "headers": headers});
    let (world, ann) = world_with(rule).await;
    let request = world.publishing(&ann, &json!({"text": "lost"}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["x-upstream"], "down");
    assert_eq!(response.headers()["retry-after"], "7");
    assert_refused(&world.refresh(&ann.refresh).await, 502, "injected");

    world.fault(json!({"op": "publish", "action": "error"})).await;
    assert_refused(&world.publish(&ann, "lost").await, 503, "injected");
    assert!(world.journalled().is_empty());
    assert_eq!(world.refresh(&ann.refresh).await.0, StatusCode::OK, "the token is not spent");
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let (world, ann) = world_with(json!({"op": "publish", "action": "rate_limit"})).await;
    let request = || world.publishing(&ann, &json!({"text": "lost"})).send();
    let response = request().await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");

    let headers = json!({"retry-after": "30"});
    world.fault(json!({"op": "publish", "action": "rate_limit", "headers": headers})).await;
    assert_eq!(request().await.unwrap().headers()["retry-after"], "30");
    assert!(world.journalled().is_empty());
}

#[tokio::test]
async fn a_keyed_repeat_after_a_lost_answer_makes_no_second_post() {
    let rule = json!({"op": "publish", "action": "drop_after", "times": 1});
    let (world, ann) = world_with(rule).await;
    let post = world.publishing(&ann, &json!({"text": "made"}));
    assert_cut(post.header("Idempotency-Key", "k")).await;
    let (status, body) = world.publish_keyed(&ann, "k", "made").await;
    assert_eq!(status, StatusCode::CREATED);
    let entry = world.running.journal().remove(0);
    assert_eq!((body["id"].as_str(), world.running.journal().len()), (Some(&*entry.id), 1));
}

#[tokio::test]
async fn what_the_sandbox_refuses_itself_uses_up_no_rule() {
    let (world, mut ann) = world_with(json!({"op": "*", "action": "error", "times": 1})).await;
    assert_bad_field(&world.publish(&ann, "").await, "text");
    assert_refused(&world.refresh("made-up").await, 400, "invalid_grant");
    let access = std::mem::replace(&mut ann.access, "made-up".to_owned());
    assert_refused(&world.publish(&ann, "hello").await, 401, "invalid_token");
    ann.access = access;
    assert_refused(&world.publish(&ann, "hello").await, 503, "injected");
    assert_eq!(world.publish(&ann, "hello").await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn rules_are_shown_with_their_defaults_and_remaining_times_until_they_are_cleared() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    assert_eq!(world.get("/_control/faults").await.1, json!({"seed": 1, "rules": []}));
    let plan = json!({"seed": 9, "rules": [{"op": "publish", "action": "error", "times": 2}]});
    world.put_faults(&plan).await;
    world.publish(&ann, "lost").await;
    let (_, shown) = world.get("/_control/faults").await;
    let rule = json!({
        "op": "publish", "account": "*", "p": 1.0, "times": 1, "action": "error",
        "latency_ms": {"p50": 50.0, "p99": 400.0}, "status": 503, "headers": {},
    });
    assert_eq!(shown, json!({"seed": 9, "rules": [rule]}));
    assert_eq!(world.put_faults(&shown).await, (StatusCode::OK, shown), "it can be put back");

    let cleared = answer(world.request(Method::DELETE, "/_control/faults")).await;
    assert_eq!(cleared.0, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/_control/faults").await.1, json!({"seed": 1, "rules": []}));
    assert_eq!(world.publish(&ann, "made").await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn bad_rules_are_refused_by_field_and_change_nothing() {
    let (world, _) = world_with(json!({"op": "list", "action": "hang"})).await;
    let (_, before) = world.get("/_control/faults").await;
    let cases = [
        (json!({"p": 1.5}), "p"),
        (json!({"p": -0.1}), "p"),
        (json!({"times": -1}), "times"),
        (json!({"op": "delete"}), "op"),
        (json!({"action": "explode"}), "action"),
        (json!({"account": ""}), "account"),
        (json!({"status": 200}), "status"),
        (json!({"status": 600}), "status"),
        (json!({"latency_ms": {"p50": 0}}), "latency_ms.p50"),
        (json!({"latency_ms": {"p50": 50, "p99": 49}}), "latency_ms.p99"),
        (json!({"latency_ms": {"p95": 50}}), "latency_ms.p95"),
        (json!({"headers": {"two words": "x"}}), "headers.two words"),
        (json!({"headers": {"x": "\n"}}), "headers.x"),
        (json!({"headers": {"Content-Length": "1"}}), "headers.Content-Length"),
        (json!({"probability": 1}), "probability"),
    ];
    for (change, field) in cases {
        let mut rule = json!({"op": "publish", "action": "error"});
        rule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let plan = json!({"rules": [{"op": "*", "action": "hang"}, rule]});
        assert_bad_field(&world.put_faults(&plan).await, &format!("rules[1].{field}"));
    }
    assert_bad_field(&world.put_faults(&json!({"seed": "x"})).await, "seed");
    assert_eq!(world.get("/_control/faults").await.1, before);
}
