//! Workers and chores serve every tenant, and mix up none.

use postworks::worker::Stop;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fleet::{LONG, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_the_jobs_of_every_tenant() {
    let house = House::open().await;
    let tenants = [house.admin_of("acme").await, house.admin_of("default").await];
    let stop = Stop::default();
    let (node, told) = (Arc::clone(&house.world.node), stop.clone());
    let worker = tokio::spawn(async move { node.work(1, told).await });
    for tenant in &tenants {
        let connector = house.connector(tenant).await;
        let job = house.sync(tenant, connector).await;
        // Nobody is at the account's address: its tokens cannot be renewed, as the tenant can see.
        let ran = async || {
            let path = format!("/api/jobs/{job}/why");
            let told = house.done(tenant, "GET", &path, Value::Null).await;
            told["reason"] == "token_refresh"
        };
        until("a tenant's job does not run", LONG, ran).await;
    }
    stop.drain.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_in_the_background_puts_back_its_tenants_letters_alone() {
    let house = House::open().await;
    let (acme, default) = (house.admin_of("acme").await, house.admin_of("default").await);
    let mut dead = Vec::new();
    for tenant in [&acme, &default] {
        let connector = house.connector(tenant).await;
        dead.push(house.dead(tenant, connector).await);
    }
    let retry = json!({"all": true, "rate": 1000});
    let redrive = house.done(&acme, "POST", "/api/dlq/retry", retry).await;
    assert_eq!(redrive["plan"]["matched"], 1, "{redrive}");
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    // By the house's chore, which sees all redrives.
    tokio::spawn(house.world.app.clone().carry_on_redrives_until(stop));
    let path = format!("/api/dlq/redrives/{}", id_of(&redrive["redrive"]));
    let done = async || house.done(&acme, "GET", &path, Value::Null).await["state"] == "done";
    until("the redrive does not end", LONG, done).await;
    assert!(house.ids(&acme, "/api/dlq", "id").await.is_empty());
    assert_eq!(house.ids(&default, "/api/dlq", "id").await, [dead[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_chosen_among_all_is_chosen_among_ones_own() {
    let house = House::open().await;
    let (acme, bolt) = (house.admin_of("acme").await, house.admin_of("bolt").await);
    let mut dead = Vec::new();
    for tenant in [&acme, &acme, &bolt] {
        let connector = house.connector(tenant).await;
        dead.push(house.dead(tenant, connector).await);
    }
    let told = house.world.app.tenants().await.unwrap().items;
    let told: Vec<_> = told.iter().map(|tenant| (tenant.name.as_str(), tenant.dead)).collect();
    assert_eq!(told, [("default", 0), ("acme", 2), ("bolt", 1)]);
    let named = json!({"filter": {"ids": dead}, "reason": "tidy"});
    let discarded = house.done(&bolt, "POST", "/api/dlq/discard", named).await;
    assert_eq!(discarded["discarded"], 1, "{discarded}");
    let retried = house.done(&bolt, "POST", "/api/dlq/retry", json!({"all": true})).await;
    assert_eq!(retried["plan"]["matched"], 0, "{retried}");
    let retried = house.done(&acme, "POST", "/api/dlq/retry", json!({"all": true})).await;
    assert_eq!(retried["plan"]["matched"], 2, "{retried}");
    let audit = house.done(&acme, "GET", "/api/audit?action=dlq.discard", Value::Null).await;
    assert_eq!(audit["items"], json!([]));
}
