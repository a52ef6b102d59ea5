//! Access tokens and the strict rotation of refresh tokens.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{World, answer, assert_refused};

#[tokio::test]
async fn a_refresh_answers_with_a_new_pair_and_the_accounts_lifetime() {
    let world = World::start().await;
    let (_, made) = world.post("/accounts", &json!({"handle": "ann", "token_ttl_s": 90})).await;
    let (status, body) = world.refresh(made["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(90), &json!("bearer")));
    assert_ne!(body["access_token"], made["access_token"]);
    assert_ne!(body["refresh_token"], made["refresh_token"]);
}

#[tokio::test]
async fn a_reused_refresh_token_revokes_the_grant() {
    let world = World::start().await;
    let mut ann = world.account("ann").await;
    let bob = world.account("bob").await;
    let (_, body) = world.refresh(&ann.refresh).await;
    assert_refused(&world.refresh(&ann.refresh).await, 400, "invalid_grant");

    assert_refused(&world.publish(&ann, "with the old token").await, 401, "token_revoked");
    ann.access = body["access_token"].as_str().unwrap().to_owned();
    assert_refused(&world.publish(&ann, "with the new token").await, 401, "token_revoked");
    let successor = body["refresh_token"].as_str().unwrap();
    assert_refused(&world.refresh(successor).await, 400, "invalid_grant");

    assert_eq!(world.publish(&bob, "untouched").await.0, StatusCode::CREATED);
    assert_eq!(world.journalled(), ["(refresh)", "untouched"]);
}

#[tokio::test]
async fn a_revoked_token_ends_its_grant_and_an_unknown_one_is_none() {
    let world = World::start().await;
    let (ann, bob) = (world.account("ann").await, world.account("bob").await);
    for token in ["of nobody", &ann.refresh] {
        let form = [("token", token), ("token_type_hint", "refresh_token")];
        let answer = answer(world.request(Method::POST, "/oauth/revoke").form(&form)).await;
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    }
    let missing = world.request(Method::POST, "/oauth/revoke").form(&[("hint", "x")]);
    assert_refused(&answer(missing).await, 400, "invalid_request");
    assert_refused(&world.publish(&ann, "after").await, 401, "token_revoked");
    assert_refused(&world.refresh(&ann.refresh).await, 400, "invalid_grant");
    assert_eq!(world.publish(&bob, "untouched").await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn of_many_concurrent_refreshes_one_wins_and_the_grant_still_dies() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    let attempts = (0..8).map(|_| world.refresh(&ann.refresh));
    let answers = futures_util::future::join_all(attempts).await;
    let won: Vec<_> = answers.iter().filter(|(status, _)| *status == StatusCode::OK).collect();
    assert_eq!(won.len(), 1);
    let successor = won[0].1["refresh_token"].as_str().unwrap();
    assert_refused(&world.refresh(successor).await, 400, "invalid_grant");
    assert_eq!(world.journalled(), ["(refresh)"]);
}

#[tokio::test]
async fn of_an_account_with_siblings_the_tokens_made_last_are_good() {
    let world = World::start().await;
    let account = json!({"handle": "ann", "rotation": "sibling"});
    let (_, made) = world.post("/accounts", &account).await;
    let first = made["refresh_token"].as_str().unwrap();
    let answers = [world.refresh(first).await, world.refresh(first).await];
    let token = |n: usize| answers[n].1["refresh_token"].as_str().unwrap().to_owned();
    assert_refused(&world.refresh(&token(0)).await, 400, "invalid_grant");
    assert_eq!(world.refresh(&token(1)).await.0, StatusCode::OK);
    assert_refused(&world.refresh(first).await, 400, "invalid_grant");
    assert_eq!(world.refresh(&token(1)).await.0, StatusCode::OK, "nothing else has ended");

    let odd = json!({"handle": "bob", "rotation": "never"});
    let (status, body) = world.post("/accounts", &odd).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
}

#[tokio::test]
async fn an_expired_access_token_is_told_from_an_unknown_one() {
    let world = World::start().await;
    let mut ann = world.account("ann").await;
    world.pass(Duration::from_millis(3_599_999));
    assert_eq!(world.publish(&ann, "in time").await.0, StatusCode::CREATED);
    world.pass(Duration::from_millis(1));
    assert_refused(&world.publish(&ann, "too late").await, 401, "token_expired");

    let (_, body) = world.refresh(&ann.refresh).await;
    ann.access = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.publish(&ann, "refreshed").await.0, StatusCode::CREATED);
    ann.access = "made-up".to_owned();
    assert_refused(&world.publish(&ann, "stranger").await, 401, "invalid_token");
    assert_eq!(world.journalled(), ["in time", "(refresh)", "refreshed"]);
}

#[tokio::test]
async fn a_post_needs_a_bearer_token() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    let request = || world.request(Method::POST, "/posts").json(&json!({"text": "hello"}));
    assert_refused(&answer(request()).await, 401, "invalid_token");
    let basic = request().basic_auth("ann", Some(&ann.access));
    assert_refused(&answer(basic).await, 401, "invalid_token");
    let refresh_token = request().bearer_auth(&ann.refresh);
    assert_refused(&answer(refresh_token).await, 401, "invalid_token");
    let challenge = request().send().await.unwrap();
    assert!(challenge.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn the_token_endpoint_words_its_errors_as_oauth_does() {
    let world = World::start().await;
    let post = |form: &'static [(&str, &str)]| {
        answer(world.request(Method::POST, "/oauth/token").form(form))
    };
    let password = [("grant_type", "password"), ("username", "ann")];
    let password = world.request(Method::POST, "/oauth/token").form(&password);
    assert_refused(&answer(password).await, 400, "unsupported_grant_type");
    assert_refused(&post(&[]).await, 400, "invalid_request");
    assert_refused(&post(&[("grant_type", "refresh_token")]).await, 400, "invalid_request");
    assert_refused(&world.refresh("made-up").await, 400, "invalid_grant");
    let json = world.post("/oauth/token", &json!({"grant_type": "refresh_token"})).await;
    assert_refused(&json, 400, "invalid_request");
}
