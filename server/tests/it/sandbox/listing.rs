//! Looking posts up.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Account, World, answer, assert_bad_field, assert_refused};

fn texts(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap()).collect()
}

async fn world_with_posts(count: usize) -> (World, Account) {
    let world = World::start().await;
    let ann = world.account("ann").await;
    for n in 0..count {
        world.publish(&ann, &n.to_string()).await;
    }
    (world, ann)
}

#[tokio::test]
async fn anybody_may_list_an_accounts_posts_by_id_or_handle() {
    let world = World::start().await;
    let (ann, bob) = (world.account("ann").await, world.account("bob").await);
    let post = json!({"text": "hello", "client_ref": "r"});
    let (_, made) = answer(world.publishing(&ann, &post)).await;
    world.publish(&bob, "not ann's").await;

    let (status, by_id) = world.get(&format!("/posts?account={}", ann.id)).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({"items": [{
        "id": made["id"], "account": ann.id, "text": "hello", "client_ref": "r",
        "created_at": "2023-11-14T22:13:20.000Z",
    }], "next": null});
    assert_eq!(by_id, expected);
    assert_eq!(world.get("/posts?account=ann&client_ref=&cursor=").await.1, expected);
}

#[tokio::test]
async fn pages_are_newest_first_and_meet_every_post_once() {
    let (world, _) = world_with_posts(7).await;
    let mut path = "/posts?account=ann&limit=3".to_owned();
    let mut pages = Vec::new();
    loop {
        let (_, list) = world.get(&path).await;
        pages.push(texts(&list).join(" "));
        let Some(cursor) = list["next"].as_str() else { break };
        path = format!("/posts?account=ann&limit=3&cursor={cursor}");
    }
    assert_eq!(pages, ["6 5 4", "3 2 1", "0"]);
}

#[tokio::test]
async fn a_page_has_50_posts_unless_asked_otherwise() {
    let (world, _) = world_with_posts(51).await;
    assert_eq!(texts(&world.get("/posts?account=ann").await.1).len(), 50);
    assert_eq!(texts(&world.get("/posts?account=ann&limit=100").await.1).len(), 51);
}

#[tokio::test]
async fn a_client_reference_finds_its_posts_only_within_the_account() {
    let world = World::start().await;
    let (ann, bob) = (world.account("ann").await, world.account("bob").await);
    for (account, text, reference) in [(&ann, "1", "r"), (&ann, "2", "s"), (&bob, "3", "r")] {
        let post = json!({"text": text, "client_ref": reference});
        answer(world.publishing(account, &post)).await;
    }
    assert_eq!(texts(&world.get("/posts?account=ann&client_ref=r").await.1), ["1"]);
    assert!(texts(&world.get("/posts?account=ann&client_ref=t").await.1).is_empty());
}

#[tokio::test]
async fn a_token_lists_its_own_account_and_must_be_good_if_given() {
    let (world, ann) = world_with_posts(1).await;
    let list = |path| answer(world.request(Method::GET, path).bearer_auth(&ann.access));
    assert_eq!(texts(&list("/posts").await.1), ["0"]);
    world.pass(Duration::from_secs(3_600));
    assert_refused(&list("/posts?account=ann").await, 401, "token_expired");
    assert_refused(&world.get("/posts").await, 401, "invalid_token");
    assert_eq!(world.get("/posts?account=ann").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_list_that_cannot_be_meant_is_refused() {
    let (world, _) = world_with_posts(0).await;
    for limit in ["0", "101", "-1", "many"] {
        assert_bad_field(&world.get(&format!("/posts?account=ann&limit={limit}")).await, "limit");
    }
    assert_bad_field(&world.get("/posts?account=ann&cursor=x").await, "cursor");
    assert_bad_field(&world.get("/posts?account=ann&client=r").await, "query");
    assert_refused(&world.get("/posts?account=nobody").await, 404, "unknown_account");
}
