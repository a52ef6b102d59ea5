//! Accounts that are lost, and accounts that are given up: one item for a person, and nothing left.

use std::slice::from_ref;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fleet::{Fleet, Http, LONG, run, until};
use crate::redaction::rows;
use crate::world::{NOBODY, World};

/// Jobs behind one account.
const JOBS: usize = 12;
const DAY_MS: i64 = 24 * 3_600_000;

/// What was told, oldest first, read as a webhook's sender does.
async fn told(http: &Http) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/api/events?limit=2{after}")).await.expect(200);
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["more"] == false {
            return all;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

/// Speaks to the platform past Postworks.
fn platform() -> reqwest::Client {
    reqwest::Client::builder().timeout(LONG).no_proxy().build().unwrap()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_account_is_one_item_however_many_jobs_wait() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let access = fleet.store().access(accounts[0].parse().unwrap()).await.unwrap().unwrap();
    // What a person does in the platform's settings.
    let platform = platform();
    let form = [("token", secrecy::ExposeSecret::expose_secret(&access.token.unwrap()).to_owned())];
    let request = platform.post(format!("{}/oauth/revoke", fleet.sandbox.url())).form(&form);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let lost = fleet.client.publish_many(JOBS, from_ref(&accounts[0])).await;
    let list = "/api/connectors?state=needs_reauth";
    until("the jobs do not wait behind one item", LONG, async || {
        let page = http.get(list).await.expect(200);
        page["items"].as_array().unwrap().len() == 1 && page["items"][0]["waiting"] == JOBS
    })
    .await;
    let item = http.get(list).await.expect(200)["items"][0].clone();
    assert_eq!(item["id"], accounts[0].as_str());
    assert!(
        item["state_reason"].as_str().unwrap().contains("token_revoked")
            || item["state_reason"].as_str().unwrap().contains("invalid_grant"),
        "{item}"
    );
    let events = told(http).await;
    let lost_ones: Vec<_> =
        events.iter().filter(|event| event["type"] == "connector.needs_reauth").collect();
    assert_eq!(lost_ones.len(), 1, "{events:?}");
    assert_eq!(lost_ones[0]["subject"], item["id"]);
    assert_eq!(lost_ones[0]["detail"]["reason"], item["state_reason"]);
    let shown = run(&["connector", "list", "--state", "needs_reauth"], fleet.vars()).await;
    assert_eq!((shown.code, shown.stdout.lines().count()), (0, 2), "{}", shown.stdout);
    let row = shown.stdout.lines().last().unwrap();
    assert!(row.contains(&accounts[0]) && row.contains(" 12 "), "{row}");
    // A weekend does not cost the posts.
    let now = SystemClock.now().as_millis();
    for publication in &lost {
        let job = fleet.client.job(&publication.job).await;
        let expires_at: Timestamp = job["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(expires_at.as_millis() > now + 6 * DAY_MS, "{job}");
    }

    let again = json!({"platform": "sandbox", "base_url": fleet.sandbox.url(),
        "identifier": "sandbox-0", "secret": fleet.sandbox.account("anew").await});
    let again = http.post("/api/connectors", &again).await.expect(201);
    assert_eq!(again["id"], item["id"], "it is the same account");
    fleet.client.until_published(&lost, LONG).await;
    worker.must_run();
    assert!(http.get(list).await.expect(200)["items"].as_array().unwrap().is_empty());
    let expected = ["connected", "connected", "needs_reauth", "reconnected"];
    assert_eq!(kinds(&told(http).await), expected.map(|kind| format!("connector.{kind}")));
    assert!(fleet.client.jobs("dead").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_accounts_tokens_are_gone_from_every_table_and_dead_at_the_platform() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let _worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let id: Uuid = accounts[0].parse().unwrap();
    let access = fleet.store().access(id).await.unwrap().unwrap().token.unwrap();
    let access = secrecy::ExposeSecret::expose_secret(&access).to_owned();
    let later =
        json!({"kind": "connector_sync", "args": {"connector_id": id}, "delay_ms": 3_600_000});
    let later = http.post("/api/jobs", &later).await.expect(202);
    let post = async |token: &str| {
        let request = platform().post(format!("{}/posts", fleet.sandbox.url()));
        let answer = request.bearer_auth(token).json(&json!({"text": "x"})).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(post(&access).await.0, 201, "it works before");
    let sealed = format!("({id},\"\\\\x");
    assert!(rows(&fleet).await.contains(&sealed), "the search finds nothing");

    let args = ["connector", "remove", &accounts[0], "--reason", "left", "-o", "json"];
    let removed = run(&args, fleet.vars()).await;
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let expected = json!({"state": "disconnecting", "revoked": true, "cancelled_jobs": 1});
    assert_eq!(removed.json(), expected);
    let (status, words) = post(&access).await;
    assert!(status == 401 && words.contains("token_revoked"), "{status} {words}");
    assert!(!rows(&fleet).await.contains(&sealed));
    assert_eq!(fleet.client.job(later["id"].as_str().unwrap()).await["state"], "cancelled");
    // The other one works on.
    let posts = fleet.client.publish("on the other", &accounts[1..]).await;
    fleet.client.until_published(&posts, LONG).await;
    // Again over HTTP: nothing is done twice.
    let again = run(&["--server", http.base(), "connector", "remove", &accounts[0]], &[]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    let shown = http.get("/api/connectors?state=disconnecting").await.expect(200);
    assert_eq!(shown["items"][0]["id"], accounts[0].as_str());
    let audits = http.get("/api/audit?action=connector.remove").await.expect(200);
    assert_eq!(audits["items"].as_array().unwrap().len(), 1, "{audits}");
    assert_eq!(audits["items"][0]["why"], "left");
    let events = told(http).await;
    assert_eq!(kinds(&events).last(), Some(&"connector.disconnected"), "{events:?}");
    let none = run(&["connector", "remove", &NOBODY.to_string()], fleet.vars()).await;
    assert_eq!(none.code, 3, "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_away_keeps_nobody_connected() {
    let world = World::start().await;
    // It takes the connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for base_url in ["http://127.0.0.1:1", &silent] {
        let account = json!({"platform": "sandbox", "base_url": base_url, "identifier": "ann",
            "secret": "hush"});
        let added = world.post("/api/connectors", account.clone()).await.body["id"].clone();
        let path = format!("/api/connectors/{}", added.as_str().unwrap());
        let sync = world.post(&format!("{path}/sync"), Value::Null).await;
        assert_eq!(sync.status, 202, "{}", sync.body);
        let gone = world.ask("DELETE", &path).await;
        assert_eq!(gone.status, 200, "{}", gone.body);
        let expected = json!({"state": "disconnecting", "revoked": false, "cancelled_jobs": 1});
        assert_eq!(gone.body, expected);
        let id: Uuid = added.as_str().unwrap().parse().unwrap();
        assert!(world.node.store.access(id).await.unwrap().is_none(), "its tokens are left");
        world.ask("POST", &format!("{path}/sync")).await.assert_problem(404);
        let again = world.ask("DELETE", &path).await.body;
        let nothing = json!({"state": "disconnecting", "revoked": null, "cancelled_jobs": 0});
        assert_eq!(again, nothing);
        // The same account may be connected anew, at once.
        let anew = world.post("/api/connectors", account).await;
        assert_eq!(anew.status, 201, "{}", anew.body);
        assert_ne!(anew.body["id"], added);
    }
    world.ask("DELETE", &format!("/api/connectors/{NOBODY}")).await.assert_problem(404);
    let wrong = world.ask("GET", "/api/connectors?state=lost").await;
    wrong.assert_problem(422);
    assert_eq!(wrong.fields(), ["/state"]);
    let wrong = world.ask("GET", "/api/events?after=here&limit=0").await;
    wrong.assert_problem(422);
    assert_eq!(wrong.fields(), ["/after"]);
    // Who is up to date keeps their place.
    let all = world.ask("GET", "/api/events").await.body;
    assert_eq!(all["items"].as_array().unwrap().len(), 6, "{all}");
    let next = all["next"].as_str().unwrap();
    let none = world.ask("GET", &format!("/api/events?after={next}")).await.body;
    assert_eq!(none, json!({"items": [], "next": next, "more": false}));
}
