//! Publishing, and idempotency keys.

use reqwest::StatusCode;
use serde_json::json;

use super::{World, answer, assert_bad_field, assert_refused};

#[tokio::test]
async fn the_same_key_again_gets_the_same_answer_and_makes_no_second_post() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    let first = world.publish_keyed(&ann, "k", "hello").await;
    assert_eq!(first.0, StatusCode::CREATED);
    assert_eq!(world.publish_keyed(&ann, "k", "hello").await, first);
    let (_, list) = world.get(&format!("/posts?account={}", ann.id)).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.journalled(), ["hello"]);
}

#[tokio::test]
async fn concurrent_posts_with_one_key_make_one_post() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    let attempts = (0..16).map(|_| world.publish_keyed(&ann, "k", "hello"));
    let answers = futures_util::future::join_all(attempts).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.journalled(), ["hello"]);
}

#[tokio::test]
async fn the_same_key_with_another_text_is_refused() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    world.publish_keyed(&ann, "k", "hello").await;
    let answer = world.publish_keyed(&ann, "k", "goodbye").await;
    assert_refused(&answer, 422, "idempotency_key_reused");
    assert_eq!(world.journalled(), ["hello"]);
}

#[tokio::test]
async fn a_key_belongs_to_its_account() {
    let world = World::start().await;
    let (ann, bob) = (world.account("ann").await, world.account("bob").await);
    let (_, anns) = world.publish_keyed(&ann, "k", "hello").await;
    let (status, bobs) = world.publish_keyed(&bob, "k", "goodbye").await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(anns["id"], bobs["id"]);
}

#[tokio::test]
async fn without_a_key_the_same_post_is_made_twice() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    let post = json!({"text": "hello", "client_ref": "r"});
    let first = answer(world.publishing(&ann, &post)).await;
    let second = answer(world.publishing(&ann, &post)).await;
    assert_ne!(first.1["id"], second.1["id"], "a client_ref is for looking up only");
    assert_eq!(world.journalled(), ["hello", "hello"]);
}

#[tokio::test]
async fn a_text_has_1_to_5000_characters() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    for text in ["", " \n", &"x".repeat(5_001)] {
        assert_bad_field(&world.publish(&ann, text).await, "text");
    }
    let longest = "\u{1F980}".repeat(5_000);
    assert_eq!(world.publish(&ann, &longest).await.0, StatusCode::CREATED);
    assert_eq!(world.journalled(), [longest]);
}

#[tokio::test]
async fn keys_and_references_have_1_to_255_bytes() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    for name in ["", &"x".repeat(256)] {
        assert_bad_field(&world.publish_keyed(&ann, name, "hello").await, "Idempotency-Key");
        let post = json!({"text": "hello", "client_ref": name});
        assert_bad_field(&answer(world.publishing(&ann, &post)).await, "client_ref");
    }
    let longest = "x".repeat(255);
    assert_eq!(world.publish_keyed(&ann, &longest, "hello").await.0, StatusCode::CREATED);
}
