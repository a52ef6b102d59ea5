//! Accounts that are connected over OAuth at a real provider, by what a person's browser does, step
//! by step.

mod world;

use std::slice::from_ref;

use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::oidc::{Counts, OidcServer};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fleet::{LONG, run};
use crate::redaction::rows;
use world::{CALLBACK, World, parameter};

/// Where tokens come from.
const TOKEN: &str = "/token";

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_connected_through_a_browsers_steps() {
    let world = World::start().await;
    let begun = world.begin(json!({})).await;
    let back = world.oidc.consent(&begun.authorize_url, "ann").await;
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    let (status, page) = world.browse(&back, &begun.cookie).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("is connected"), "{page}");
    let connectors = world.connectors().await;
    assert_eq!(connectors.len(), 1);
    let (ann, row) = (world::id(&connectors[0]), &connectors[0]);
    assert_eq!((&row["identifier"], &row["state"]), (&json!("ann.example"), &json!("active")));
    let worker = world.fleet.worker(&[]).await;
    let published = world.client.publish("hello from ann", from_ref(&ann)).await;
    world.client.until_published(&published, LONG).await;

    // It is renewed at the same provider, and connected again it keeps its id and its jobs run.
    world.oidc.expire("ann").await;
    let published = world.client.publish("with the next token", from_ref(&ann)).await;
    world.client.until_published(&published, LONG).await;
    world.revoke(&ann).await;
    let parked = world.client.publish("after a person was needed", from_ref(&ann)).await;
    world.client.until_job(&parked[0].job, "parked", LONG).await;
    let again = world.begin(json!({"connector_id": ann, "reason": "she asked"})).await;
    let back = world.oidc.consent(&again.authorize_url, "ann").await;
    let connected = world.bring(&back).await.expect(201);
    assert_eq!(connected, json!({ "id": ann }));
    world.client.until_published(&parked, LONG).await;
    // Nor does beginning anew make a second one of her.
    let anew = world.begin(json!({})).await;
    let back_anew = world.oidc.consent(&anew.authorize_url, "ann").await;
    assert_eq!(world.bring(&back_anew).await.expect(201), json!({ "id": ann }));
    let texts: Vec<String> = world.oidc.posts().await.into_iter().map(|post| post.text).collect();
    assert_eq!(texts, ["hello from ann", "with the next token", "after a person was needed"]);
    let audit = world.client.http.get("/api/audit?action=connector.add").await.expect(200);
    assert_eq!(audit["items"].as_array().unwrap().len(), 3, "{audit}");
    assert_eq!(audit["items"][1]["why"], "she asked");

    // Of all that, neither logs nor tables nor metrics tell what a browser carried.
    let mut told = vec![("the API's log", world.fleet.api.log()), ("a worker's log", worker.log())];
    told.push(("the tables", rows(&world.fleet).await));
    let metrics = world.client.http.get("/metrics").await.expect(200);
    told.push(("the metrics", metrics.as_str().unwrap().to_owned()));
    told.push(("the audit", audit.to_string()));
    for (place, text) in told {
        assert!(text.contains("connect"), "{place} is not what it should be");
        for (back, begun) in [(&back, &again), (&back_anew, &anew)] {
            let (_, cookie) = begun.cookie.split_once('=').unwrap();
            for secret in [&parameter(back, "code"), &parameter(back, "state"), cookie] {
                assert!(!text.contains(secret), "{place} tells {secret}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_exchanged_once() {
    let world = World::start().await;
    let begun = world.begin(json!({})).await;
    let back = world.oidc.consent(&begun.authorize_url, "ann").await;
    let browsed = (0..3).map(|_| world.browse(&back, &begun.cookie));
    let mut statuses: Vec<u16> = futures_util::future::join_all(browsed)
        .await
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 422, 422], "a page that is loaded again");
    let once = Counts { token_requests: 1, granted: 1, invalid_grant: 0 };
    assert_eq!(world.oidc.counts("ann").await, once);

    // With another state it is the provider who refuses it.
    let other = world.begin(json!({})).await;
    let mut stolen = back.clone();
    let state = parameter(&other.authorize_url, "state");
    let (code, iss) = (parameter(&back, "code"), parameter(&back, "iss"));
    stolen.query_pairs_mut().clear().extend_pairs([
        ("code", &code),
        ("state", &state),
        ("iss", &iss),
    ]);
    let refused = world.bring(&stolen).await.expect(422);
    assert_eq!(refused["errors"][0]["field"], "/code", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("invalid_grant"), "{refused}");
    // And a code of one's own does not fit to what another browser set out with (PKCE).
    let (mallory, victim) = (world.begin(json!({})).await, world.begin(json!({})).await);
    let back = world.oidc.consent(&mallory.authorize_url, "mallory").await;
    let state = parameter(&victim.authorize_url, "state");
    let (code, iss) = (parameter(&back, "code"), parameter(&back, "iss"));
    let mut injected = back.clone();
    injected.query_pairs_mut().clear().extend_pairs([
        ("code", &code),
        ("state", &state),
        ("iss", &iss),
    ]);
    let (status, page) = world.browse(&injected, &victim.cookie).await;
    assert_eq!(status, 422, "{page}");
    assert!(page.contains("invalid_grant"), "{page}");
    assert_eq!(world.connectors().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_not_asked_for_again() {
    let oidc = OidcServer::start().await;
    let proxy = LossyProxy::start(oidc.address()).await;
    let world = World::before(oidc, proxy.address()).await;
    proxy.lose(Loss::Answer, TOKEN, 1);
    let begun = world.begin(json!({})).await;
    let back = world.oidc.consent(&begun.authorize_url, "ann").await;
    let refused = world.bring(&back).await.expect(502);
    assert!(refused["detail"].as_str().unwrap().contains("anew"), "{refused}");
    assert_eq!(world.bring(&back).await.expect(422)["errors"][0]["field"], "/state");
    assert_eq!(proxy.forwarded(TOKEN), 1);
    assert!(world.connectors().await.is_empty());
    let begun = world.begin(json!({})).await;
    let back = world.oidc.consent(&begun.authorize_url, "ann").await;
    world.bring(&back).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_reconnects_nothing() {
    let world = World::start().await;
    let begun = world.begin(json!({})).await;
    let back = world.oidc.consent(&begun.authorize_url, "ann").await;
    world.bring(&back).await.expect(201);
    let ann = world::id(&world.connectors().await[0]);
    world.revoke(&ann).await;
    let before = (world.connectors().await, world.version(&ann).await);
    let again = world.begin(json!({ "connector_id": ann })).await;
    let back = world.oidc.consent(&again.authorize_url, "bob").await;
    let (status, page) = world.browse(&back, &again.cookie).await;
    assert_eq!(status, 409, "{page}");
    assert!(page.contains("another account"), "{page}");
    assert_eq!((world.connectors().await, world.version(&ann).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disconnected_account_had_is_dead_at_the_provider() {
    let world = World::start().await;
    for login in ["ann", "bob"] {
        let begun = world.begin(json!({})).await;
        let back = world.oidc.consent(&begun.authorize_url, login).await;
        world.bring(&back).await.expect(201);
    }
    // As with a platform that granted no refresh token.
    let sql = "UPDATE connector_tokens SET refresh_ct = NULL WHERE connector_id = \
         (SELECT id FROM connectors WHERE identifier = 'bob.example')";
    let mut database = PgConnection::connect(&world.fleet.postgres.url("postgres")).await.unwrap();
    assert_eq!(sqlx::query(sql).execute(&mut database).await.unwrap().rows_affected(), 1);
    for row in world.connectors().await {
        let id = world::id(&row);
        let access = world.fleet.store().access(id.parse().unwrap()).await.unwrap().unwrap();
        let token = access.token.unwrap();
        assert_eq!(world.posts_by(&token).await, 200);
        let removed = run(&["connector", "remove", &id, "-o", "json"], world.fleet.vars()).await;
        assert_eq!(removed.code, 0, "{}", removed.stderr);
        assert_eq!(removed.json()["revoked"], true, "{row}");
        assert_eq!(world.posts_by(&token).await, 401, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_is_not_ours_is_refused_by_the_provider() {
    let world = World::start().await;
    let begun = world.begin(json!({})).await;
    let mut changed = begun.authorize_url.clone();
    let pairs = begun.authorize_url.query_pairs().map(|(name, value)| match name.as_ref() {
        "redirect_uri" => (name, "https://evil.example/callback".into()),
        _ => (name, value),
    });
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    let answer = world.ask(&changed, &[]).await;
    assert_eq!(answer.status(), 400);
    assert!(!answer.headers().contains_key("location"), "nobody is sent there");
    assert!(answer.text().await.unwrap().contains("redirect_uri"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_refuses_is_told_that_nothing_was_connected() {
    let world = World::start().await;
    let begun = world.begin(json!({})).await;
    let back = world.refuse(&begun.authorize_url).await;
    assert_eq!(parameter(&back, "error"), "access_denied");
    let (status, page) = world.browse(&back, &begun.cookie).await;
    assert_eq!(status, 422, "{page}");
    assert!(page.contains("Not connected") && page.contains("access_denied"), "{page}");
    assert_eq!(world.connectors().await, Vec::<Value>::new());
}
