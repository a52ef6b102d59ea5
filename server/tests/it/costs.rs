//! What putting dead posts back costs on a platform that charges for them.

use axum::http::StatusCode;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Category, JobId, Reason, Token};
use postworks::ledger::{Next, Settled, Verdict};
use postworks_workers::images::measure;
use postworks_workers::store::NewConnector;
use postworks_workers::testing::pictures;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

/// An account on a platform, which nobody asks anything.
pub(crate) async fn account(world: &World, platform: &str, at: &str) -> Uuid {
    let connector = NewConnector {
        platform: platform.to_owned(),
        base_url: at.parse().unwrap(),
        identifier: "ann".to_owned(),
        target: None,
        secret: SecretString::from("hush"),
    };
    world.node.store.add_connector(connector).await.unwrap().id
}

/// Publishes this on the account, where its job dies; answers the publication.
async fn dead(world: &World, account: Uuid, post: Value) -> Value {
    let added = world.post("/api/posts", post).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let publish = json!({"post_id": added.body["id"], "connector_ids": [account]});
    let published = world.post("/api/publish", publish).await;
    assert_eq!(published.status, StatusCode::ACCEPTED, "{}", published.body);
    let made = published.body["publications"][0].clone();
    let id: JobId = serde_json::from_value(made["job_id"].clone()).unwrap();
    let reason = Reason { category: Category::Auth, class: "auth".into(), message: "no".into() };
    let then = Next::Dead { at: SystemClock.now(), reason, failed_attempts: 1, job: None };
    let token = Token { generation: 0, sequence: 1 };
    let settled = world.node.ledger.settle(&[Verdict { id, token, then, failed: None }]).await;
    assert_eq!(settled.unwrap(), [Settled::Done]);
    made
}

async fn plan(world: &World, retry: Value) -> Value {
    let planned = world.post("/api/dlq/retry", retry).await;
    assert_eq!(planned.status, StatusCode::ACCEPTED, "{}", planned.body);
    planned.body["plan"].clone()
}

#[tokio::test]
async fn an_operator_knows_what_a_redrive_costs_before_it_is_done() {
    let world = World::start().await;
    let png = pictures::png(3, 3);
    let png = world.node.store.add_media(measure(&png).unwrap(), &png).await.unwrap().id;
    let free = account(&world, "sandbox", "http://127.0.0.1:1").await;
    dead(&world, free, json!({"text": "see https://example.org"})).await;
    let dry = json!({"all": true, "dry_run": true});
    assert_eq!(plan(&world, dry.clone()).await["cost"], Value::Null, "the sandbox is free");

    let paid = account(&world, "x", "https://api.x.com").await;
    let plain = dead(&world, paid, json!({"text": "Hello"})).await;
    dead(&world, paid, json!({"text": "see example.org"})).await;
    dead(&world, paid, json!({"text": "It", "link": {"url": "https://example.org/a"}})).await;
    let images = [json!({"media_id": png, "alt": "a dot"}), json!({"media_id": png})];
    dead(&world, paid, json!({"images": images})).await;
    let planned = plan(&world, dry).await;
    assert_eq!((&planned["matched"], &planned["runnable"]), (&5.into(), &5.into()));
    // $0.015, twice $0.2, and $0.015 with a description for $0.005.
    assert_eq!(planned["cost"], json!({"posts": 4, "usd_micros": 435_000}));

    // Of those that are chosen, and when they are put back as well.
    let one = json!({"filter": {"ids": [plain["job_id"]]}});
    assert_eq!(plan(&world, one).await["cost"], json!({"posts": 1, "usd_micros": 15_000}));
    let rest = plan(&world, json!({"all": true, "dry_run": true})).await;
    assert_eq!(rest["cost"], json!({"posts": 3, "usd_micros": 420_000}));
}
