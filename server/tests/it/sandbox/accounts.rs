//! Accounts, and what is refused before anything else.

use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::{World, answer, assert_bad_field, assert_refused};

#[tokio::test]
async fn a_handle_is_taken_once() {
    let world = World::start().await;
    let first = world.account("ann").await;
    assert_refused(&world.post("/accounts", &json!({"handle": "ann"})).await, 409, "handle_taken");
    assert_ne!(world.account("bob").await.id, first.id);
}

#[tokio::test]
async fn an_impossible_token_lifetime_is_refused() {
    let world = World::start().await;
    for ttl in [json!(0), json!(-1), json!(315_360_001), json!(1.5), json!("60"), json!(u64::MAX)] {
        let answer = world.post("/accounts", &json!({"handle": "ann", "token_ttl_s": ttl})).await;
        assert_bad_field(&answer, "token_ttl_s");
    }
    let answer = world.post("/accounts", &json!({"handle": "ann", "token_ttl_s": 1})).await;
    assert_eq!(answer.0, StatusCode::CREATED, "no refusal has taken the handle");
}

#[tokio::test]
async fn an_impossible_handle_is_refused() {
    let world = World::start().await;
    for handle in ["", " ", "*", &"x".repeat(256)] {
        assert_bad_field(&world.post("/accounts", &json!({"handle": handle})).await, "handle");
    }
}

#[tokio::test]
async fn unknown_and_missing_fields_are_refused_by_name() {
    let world = World::start().await;
    let answer = world.post("/accounts", &json!({"handle": "ann", "ttl": 5})).await;
    assert_bad_field(&answer, "ttl");
    let answer = world.post("/accounts", &json!({})).await;
    assert_refused(&answer, 422, "invalid_field");
    assert!(answer.1["message"].as_str().unwrap().contains("`handle`"), "{}", answer.1);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_bad_request() {
    let world = World::start().await;
    for body in ["", "{", "{\"handle\":\"ann\"} extra", "handle=ann", "\u{0}"] {
        let request = world.request(Method::POST, "/accounts").body(body);
        assert_refused(&answer(request).await, 400, "invalid_json");
    }
}

#[tokio::test]
async fn a_body_over_64_kib_is_too_large() {
    let world = World::start().await;
    let body = "x".repeat(64 * 1024 + 1);
    for path in ["/accounts", "/posts", "/oauth/token"] {
        let request = world
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.clone());
        assert_refused(&answer(request).await, 413, "body_too_large");
    }
}

#[tokio::test]
async fn a_wrong_path_or_method_is_told_in_json() {
    let world = World::start().await;
    assert_refused(&world.get("/nowhere").await, 404, "not_found");
    assert_refused(&world.get("/accounts").await, 405, "method_not_allowed");
    assert_eq!(world.get("/_health").await.0, StatusCode::OK);
}
