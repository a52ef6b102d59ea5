//! What an operator does to queues and breakers, and what the product says about waiting jobs.

use std::time::Duration;

use postworks::broker::{Breaker, Phase, Room, Settlement, Then};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Category, JobId, Queue};
use postworks_workers::store::CoolDown;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::postworks;
use crate::fleet::{Fleet, LONG, run, until};
use crate::world::World;

const QUEUE: &str = "data_cleanup";

fn queue() -> Queue {
    Queue::parse(QUEUE).unwrap()
}

async fn why(world: &World, id: JobId) -> Value {
    let answer = world.ask("GET", &format!("/api/jobs/{id}/why")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["detail"].as_str().unwrap().len() > 10, "a sentence: {}", answer.body);
    answer.body
}

async fn act(world: &World, path: &str, reason: &str) -> Value {
    let answer = world.post(path, json!({ "reason": reason })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_paused_queue_says_who_paused_it_and_why_everywhere() {
    let world = World::start().await;
    world.node.broker.serves(&[queue()]);
    let first = world.enqueue().await;
    world.complete(first).await;
    let waiting = world.enqueue().await;
    let gate = act(&world, "/api/queues/data_cleanup/pause", "wrong text").await;
    assert_eq!(gate["paused"]["by"], "api");
    assert_eq!(gate["applied"], true);
    let told = why(&world, waiting).await;
    assert_eq!(told["reason"], "paused");
    assert!(told["detail"].as_str().unwrap().contains("api since"), "{told}");
    assert!(told["detail"].as_str().unwrap().contains("wrong text"), "{told}");
    let queues = world.ask("GET", "/api/queues").await.body;
    let shown = queues["items"].as_array().unwrap().iter().find(|row| row["queue"] == QUEUE);
    assert_eq!(shown.unwrap()["paused"]["why"], "wrong text");
    act(&world, "/api/queues/data_cleanup/resume", "it was right").await;
    assert_eq!(why(&world, waiting).await["reason"], "waiting");
    world.complete(waiting).await;
    assert_eq!(why(&world, waiting).await["reason"], "completed");
    let audit = world.ask("GET", "/api/audit?subject=data_cleanup").await.body;
    let actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert_eq!(actions, ["queue.resume", "queue.pause"]);
}

#[tokio::test]
async fn every_waiting_job_says_what_it_waits_for() {
    let world = World::start().await;
    let job = world.enqueue().await;
    assert_eq!(why(&world, job).await["reason"], "no_worker");
    world.node.broker.serves(&[queue()]);
    let told = why(&world, job).await;
    assert_eq!((&told["reason"], told["eta"].is_string()), (&json!("waiting"), true));
    for _ in 0..3 {
        world.enqueue().await;
    }
    let last = world.enqueue().await;
    let told = why(&world, last).await;
    assert!(told["detail"].as_str().unwrap().contains("behind 4 jobs"), "{told}");

    let later = json!({"kind": "data_cleanup", "args": {}, "delay_ms": 60_000});
    let later = world.post("/api/jobs", later).await.body;
    let told = why(&world, serde_json::from_value(later["id"].clone()).unwrap()).await;
    assert_eq!(told["reason"], "delayed");
    assert!(told["eta"].is_string(), "{told}");

    world.kill(job, Category::Invalid).await;
    assert_eq!(why(&world, job).await["reason"], "dead");
    let now = SystemClock.now();
    world.node.broker.shut(&queue(), now.after(Duration::from_secs(90))).await.unwrap();
    let told = why(&world, last).await;
    assert_eq!((&told["reason"], told["eta"].is_string()), (&json!("rate_window"), true));
}

#[tokio::test]
async fn a_job_of_an_account_that_must_wait_says_until_when() {
    let world = World::start().await;
    let queue = Queue::parse("connector_sync.sandbox").unwrap();
    world.node.broker.serves(&[queue]);
    let account = world.connector().await;
    let until = SystemClock.now().after(Duration::from_secs(90));
    world.node.broker.block(account, until).await.unwrap();
    let waits = json!({"kind": "connector_sync", "args": {"connector_id": account}});
    let mut told_itself = waits.clone();
    told_itself["run_at"] = json!(until);
    for job in [waits, told_itself] {
        let job = world.post("/api/jobs", job).await.body;
        world.node.producer.flush().await;
        let told = why(&world, serde_json::from_value(job["id"].clone()).unwrap()).await;
        assert_eq!((&told["reason"], &told["eta"]), (&json!("account_window"), &json!(until)));
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_accounts_token_says_so() {
    let world = World::start().await;
    let (name, store) = ("connector_sync.sandbox", &world.node.store);
    world.node.broker.serves(&[Queue::parse(name).unwrap()]);
    let account = world.connector().await;
    let job = json!({"kind": "connector_sync", "args": {"connector_id": account}});
    let job = world.post("/api/jobs", job).await.body;
    let id: JobId = serde_json::from_value(job["id"].clone()).unwrap();
    world.node.producer.flush().await;
    let seen = store.access(account).await.unwrap().unwrap();
    let (owner, until) = (Uuid::new_v4(), SystemClock.now().after(Duration::from_secs(45)));
    store.acquire_refresh(&seen, owner, until).await.unwrap().unwrap();
    assert_eq!(why(&world, id).await["reason"], "waiting", "it has not started");
    let args = json!({"connector_id": account});
    let later = json!({"kind": "connector_sync", "args": args, "delay_ms": 20_000});
    let later = world.post("/api/jobs", later).await.body;
    let told = why(&world, serde_json::from_value(later["id"].clone()).unwrap()).await;
    assert_eq!(told["reason"], "token_refresh", "it was put off for that: {told}");
    world.claim(&Queue::parse(name).unwrap(), id).await;
    let told = why(&world, id).await;
    assert_eq!((&told["reason"], &told["eta"]), (&json!("token_refresh"), &json!(until)));
    assert!(told["detail"].as_str().unwrap().contains("is being refreshed"), "{told}");

    let until = until.after(Duration::from_secs(45));
    let failure = CoolDown { until, unknown: false, error: "no answer".to_owned() };
    assert!(store.cool_down(account, owner, seen.version, &failure).await.unwrap());
    assert_eq!(why(&world, id).await["reason"], "running", "nobody refreshes");
    let other = json!({"kind": "connector_sync", "args": {"connector_id": account}});
    let other = world.post("/api/jobs", other).await.body;
    world.node.producer.flush().await;
    let told = why(&world, serde_json::from_value(other["id"].clone()).unwrap()).await;
    assert_eq!((&told["reason"], &told["eta"]), (&json!("token_refresh"), &json!(until)));
    assert!(told["detail"].as_str().unwrap().contains("failed in a row: 1"), "{told}");
}

#[tokio::test]
async fn a_job_that_a_quota_put_off_says_which_and_until_when() {
    let world = World::with("[platforms.sandbox.quotas]\naccount = \"20/1h\"\n").await;
    let queue = Queue::parse("connector_sync.sandbox").unwrap();
    world.node.broker.serves(std::slice::from_ref(&queue));
    let account = world.connector().await;
    let job = json!({"kind": "connector_sync", "args": {"connector_id": account}});
    let id: JobId =
        serde_json::from_value(world.post("/api/jobs", job).await.body["id"].clone()).unwrap();
    world.node.producer.flush().await;
    assert_eq!(why(&world, id).await["reason"], "waiting", "there is room");
    let call = world.node.quotas().call(&queue, Some(account), 0);
    let rooms = world.node.broker.take_room(&vec![call; 4]).await.unwrap();
    let Room::Full { until, .. } = rooms[3] else { panic!("{rooms:?}") };
    let told = why(&world, id).await;
    let words =
        "the quota of 20/1h calls in platforms.sandbox.quotas.account is used up; its turn is at ";
    assert_eq!(told["reason"], "quota", "{told}");
    assert!(told["detail"].as_str().unwrap().starts_with(words), "{told}");
    let lease = world.claim(&queue, id).await.lease;
    let put_off = Settlement { lease, then: Then::Later(until) };
    world.node.broker.settle(&queue, &[put_off]).await.unwrap();
    assert_eq!(why(&world, id).await["eta"], json!(until));
}

#[tokio::test]
async fn a_breaker_is_opened_and_closed_by_hand() {
    let world = World::start().await;
    world.node.broker.serves(&[queue()]);
    let job = world.enqueue().await;
    let gate = act(&world, "/api/breakers/data_cleanup/open", "maintenance").await;
    assert_eq!(
        (&gate["state"], &gate["forced_by"]["why"]),
        (&json!("open"), &json!("maintenance"))
    );
    assert_eq!(why(&world, job).await["reason"], "breaker_open");
    let gate = act(&world, "/api/breakers/data_cleanup/close", "done").await;
    assert_eq!((&gate["state"], &gate["forced_by"]), (&json!("closed"), &Value::Null));

    // One that opened by itself is closed as well.
    let until = SystemClock.now().after(Duration::from_secs(300));
    let open = Breaker { phase: Phase::Opened { until }, ..Breaker::default() };
    assert!(world.node.broker.switch(&queue(), 0, open).await.unwrap());
    let told = why(&world, job).await;
    assert_eq!((&told["reason"], told["eta"].is_string()), (&json!("breaker_open"), true));
    let listed = world.ask("GET", "/api/breakers").await.body;
    let shown =
        listed["items"].as_array().unwrap().iter().find(|row| row["name"] == QUEUE).unwrap();
    assert_eq!((&shown["state"], shown["until"].is_string()), (&json!("open"), true));
    assert_eq!(act(&world, "/api/breakers/data_cleanup/close", "now").await["state"], "closed");
    world.complete(job).await;
}

#[tokio::test]
async fn a_name_that_is_none_is_answered_with_one_that_is() {
    let world = World::start().await;
    for path in ["/api/queues/data_clenup/pause", "/api/breakers/data_clenup/open"] {
        let answer = world.post_text(path, "").await;
        answer.assert_problem(404);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("did you mean data_cleanup?"), "{detail}");
    }
    let wrong = world.post("/api/queues/data_cleanup/pause", json!({"why": "x"})).await;
    wrong.assert_problem(422);
    let (url, _serving) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let refused = postworks(&["queue", "pause", "no such/queue"], &vars).await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
}

#[tokio::test]
async fn a_wish_is_recorded_while_the_broker_is_away() {
    let world = World::without_broker().await;
    let gate = act(&world, "/api/queues/data_cleanup/pause", "now").await;
    assert_eq!(gate["applied"], false);
    assert_eq!(gate["paused"]["why"], "now");
    let job = json!({"kind": "data_cleanup", "args": {}});
    let job = world.post("/api/jobs", job).await.body;
    let told = why(&world, serde_json::from_value(job["id"].clone()).unwrap()).await;
    assert_eq!(told["reason"], "broker_unreachable");
}

/// What people want is no less kept than jobs: a wiped Redis knows it again before anything is
/// claimed from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_stays_paused_when_redis_loses_everything() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 2).await;
    let name = "post_publication.sandbox";
    let asked = async |args: &[&str]| run(args, fleet.vars()).await;
    let paused = asked(&["queue", "pause", name, "--reason", "at night"]).await;
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    let publications = fleet.client.publish("held back", &accounts).await;
    fleet.redis.command("FLUSHALL");
    // Another queue is served again, so the worker has opened its queues.
    let other = json!({"kind": "data_cleanup", "args": {"dry_run": true}});
    let other = fleet.client.http.post("/api/jobs", &other).await.expect(202);
    fleet.client.until_job(other["id"].as_str().unwrap(), "completed", LONG).await;
    until("the queue is not opened", LONG, async || {
        fleet.redis.command(&format!("HGET postworks:{{{name}}}:boot generation")).len() > 5
    })
    .await;
    for publication in &publications {
        let told = asked(&["job", "why", &publication.job, "-o", "json"]).await.json();
        assert_eq!(told["reason"], "paused", "{told}");
    }
    assert_eq!(asked(&["queue", "resume", name]).await.code, 0);
    fleet.client.until_published(&publications, LONG).await;
    drop(worker);
}
