//! What happens while the fleet works, and when. A step more is a line more: it has the whole scene.

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fleet::{LONG, until};
use crate::scene::Scene;

type Act = for<'a> fn(&'a mut Scene) -> LocalBoxFuture<'a, ()>;

/// One thing that happens.
pub(crate) struct Step {
    /// How long after the load began; or as soon after as the step before is done.
    pub(crate) at: Duration,
    /// What the run says of it.
    pub(crate) says: &'static str,
    /// Does it.
    pub(crate) act: Act,
}

const fn at(seconds: u64, says: &'static str, act: Act) -> Step {
    Step { at: Duration::from_secs(seconds), says, act }
}

/// All of them, in order. What alerts look back on for five minutes comes first, so that these end
/// within the run.
pub(crate) fn all() -> Vec<Step> {
    vec![
        at(5, "a worker is killed", |scene| Box::pin(scene.kill_a_worker())),
        at(12, "Redis is told to evict, and does", |scene| Box::pin(evict(scene))),
        at(16, "an account is connected whose grant is worth nothing", |scene| {
            Box::pin(connect_in_vain(scene))
        }),
        at(20, "11,000 clean-ups are asked for, which nobody serves", |scene| {
            Box::pin(spike(scene))
        }),
        at(45, "somebody locks the table of jobs", |scene| Box::pin(lock(scene))),
        at(58, "a worker takes the place of the one that was killed", |scene| {
            Box::pin(replace(scene))
        }),
        at(62, "a worker for clean-ups starts", |scene| Box::pin(scene.worker("data_cleanup"))),
        at(66, "a worker is frozen for longer than a lease", |scene| {
            Box::pin(scene.freeze_a_worker())
        }),
        at(82, "300 posts come which the platform refuses for good", |scene| Box::pin(doom(scene))),
        at(90, "answers get lost on a platform that forgets", |scene| {
            Box::pin(lose_answers(scene))
        }),
        at(110, "Redis is nearly full, for a while", |scene| Box::pin(fill(scene))),
        at(140, "the platform fails", |scene| {
            let failing = json!([{"op": "*", "action": "error", "status": 503}]);
            Box::pin(scene.fault("outage", failing))
        }),
        at(185, "the platform is well again", |scene| Box::pin(scene.mend("outage"))),
        at(200, "somebody pauses a queue", |scene| Box::pin(pause(scene))),
        at(225, "and resumes it", |scene| Box::pin(resume(scene))),
        at(230, "people look at what only they can tell", |scene| Box::pin(look(scene))),
        at(240, "dead letters are put back, exported and discarded", |scene| {
            Box::pin(redrive(scene))
        }),
    ]
}

/// Lets Redis throw away keys of ours that are nobody's.
async fn evict(scene: &mut Scene) {
    let junk = "x".repeat(20_000);
    for n in 0..200 {
        scene.redis(&format!("SET junk:{n} {junk} EX 600"));
    }
    scene.redis("CONFIG SET maxmemory-policy volatile-lru");
    scene.fill_redis(1.1);
    for n in 200..220 {
        scene.redis(&format!("SET junk:{n} {junk} EX 600"));
    }
    scene.free_redis();
    scene.redis("CONFIG SET maxmemory-policy noeviction");
}

fn grant(scene: &Scene, secret: &str) -> Value {
    json!({"platform": "sandbox", "base_url": scene.fleet.sandbox.url(), "identifier": "walker",
        "secret": secret})
}

async fn connect_in_vain(scene: &mut Scene) {
    let connector = grant(scene, "worth nothing");
    let made = scene.tell("/api/connectors", connector, 201).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    scene.publish("what waits for its account", &[id]).await;
}

/// Asks for as much as the API takes, and for some more.
async fn spike(scene: &mut Scene) {
    let cleanup = json!({"kind": "data_cleanup", "args": {"dry_run": true, "scope": "jobs"}});
    let jobs = vec![cleanup.clone(); 1_000];
    let http = &scene.fleet.client.http;
    for _ in 0..11 {
        let _ = http.try_post("/api/jobs/bulk", &json!({ "jobs": jobs })).await;
    }
    for _ in 0..600 {
        let _ = http.try_post("/api/jobs", &cleanup).await;
    }
}

/// Leaves Redis hardly any room until somebody would be called.
async fn fill(scene: &mut Scene) {
    scene.fill_redis(0.975);
    scene.until_fires("PostworksRedisMemoryFull").await;
    scene.until_fires("PostworksRedisMemory").await;
    scene.free_redis();
}

/// Holds a lock on the table of jobs, again and again, until somebody would be called.
async fn lock(scene: &mut Scene) {
    let url = scene.fleet.postgres.url("postgres");
    let mut database = PgConnection::connect(&url).await.expect("the database");
    let end = Instant::now() + LONG;
    while !scene.fires("PostworksDatabaseVerySlow").await && Instant::now() < end {
        let held = "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.5); COMMIT";
        sqlx::raw_sql(held).execute(&mut database).await.expect("a lock");
    }
}

async fn replace(scene: &mut Scene) {
    scene.another_worker().await;
    scene.forget_the_gone();
}

async fn doom(scene: &mut Scene) {
    let rule = json!([{"op": "publish", "account": "sandbox-4", "action": "error", "status": 422,
        "message": "the text is against the rules"}]);
    scene.fault("doom", rule).await;
    let doomed = scene.doomed.clone();
    let mut accepted = 0;
    until("posts that the API will not take", LONG, async || {
        accepted += scene.publish("against the rules", &doomed).await.len();
        accepted >= 300
    })
    .await;
}

async fn lose_answers(scene: &mut Scene) {
    let rule = json!([{"op": "publish", "account": "sandbox_blind-0", "action": "drop_after"}]);
    scene.fault("lost", rule).await;
    let blind = scene.blind.clone();
    for n in 0..3 {
        for publication in scene.publish(&format!("lost {n}"), &blind).await {
            scene.fleet.client.until_job(&publication.job, "dead", LONG).await;
        }
    }
    scene.mend("lost").await;
}

const PAUSED: &str = "connector_sync.sandbox_lookup";

async fn pause(scene: &mut Scene) {
    scene.command(&["queue", "pause", PAUSED, "--reason", "publishing goes first"]).await;
}

async fn resume(scene: &mut Scene) {
    scene.command(&["queue", "resume", PAUSED]).await;
}

async fn look(scene: &mut Scene) {
    let unknown: Value =
        serde_json::from_str(&scene.command(&["-o", "json", "effects", "list"]).await)
            .expect("JSON");
    let rows = unknown["items"].as_array().cloned().unwrap_or_default();
    assert!(!rows.is_empty(), "nothing is unknown: {unknown}");
    for row in rows.iter().filter(|row| row["needs"] == "person") {
        let id = row["id"].as_str().expect("an id");
        scene.command(&["effects", "resolve", id, "--as", "published"]).await;
    }
    let secret = scene.fleet.sandbox.account("walker").await;
    let connector = grant(scene, &secret);
    let again = scene.fleet.client.http.post("/api/connectors", &connector).await;
    assert!(again.status < 300, "{}", again.body);
}

/// Works on some of the dead letters, and leaves the rest lying.
async fn redrive(scene: &mut Scene) {
    scene.mend("doom").await;
    let list = ["-o", "json", "dlq", "list", "--filter", "category=invalid", "--limit", "20"];
    let letters: Value = serde_json::from_str(&scene.command(&list).await).expect("JSON");
    let ids: Vec<&str> = letters["items"]
        .as_array()
        .expect("a page")
        .iter()
        .map(|letter| letter["id"].as_str().expect("an id"))
        .collect();
    let (again, never) = ids.split_at(10);
    scene.command(&["dlq", "export", "--filter", "category=invalid"]).await;
    scene.command(&[&["dlq", "retry", "--yes"], again].concat()).await;
    scene.command(&[&["dlq", "discard", "--yes", "--reason", "too late"], never].concat()).await;
}
