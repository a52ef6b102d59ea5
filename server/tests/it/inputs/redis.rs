//! Garbage written straight into Redis: workers live, and what the ledger knows is done.

use std::sync::Arc;
use std::time::Duration;

use postworks::config::{Config, Environment, Sources};
use postworks::job::{Category, JobId};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::Stop;
use postworks_workers::node::Node;
use serde_json::{Value, json};

use crate::fleet::until;
use crate::world::World;

/// Jobs that must complete in spite of everything.
const JOBS: usize = 40;
/// The relay's slowest sweep, and room.
const PATIENCE: Duration = Duration::from_secs(40);

struct Stores {
    redis: RedisServer,
    _postgres: PostgresServer,
    world: World,
}

impl Stores {
    async fn start() -> Self {
        let (redis, postgres) = (RedisServer::start(), PostgresServer::launch().await);
        let (database, url) = (postgres.database().await, redis.url());
        let environment = Environment::read(|name| match name {
            "DATABASE_URL" => Some(database.clone()),
            "REDIS_URL" => Some(url.clone()),
            "POSTWORKS_KEYS" => Some("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".into()),
            _ => None,
        })
        .unwrap();
        let config = Config::load(&Sources::default()).unwrap();
        let urls = environment.stores.as_ref().unwrap();
        let node = Node::connected(urls, config, &environment).unwrap();
        let world = World::of(node, tempfile::tempdir().unwrap());
        Self { redis, _postgres: postgres, world }
    }

    fn key(part: &str) -> String {
        format!("postworks:{{data_cleanup}}:{part}")
    }

    fn write(&self, line: &str) {
        let answer = self.redis.command(line);
        assert!(!answer.starts_with('-'), "{line}: {answer}");
    }

    async fn enqueue(&self) -> Vec<JobId> {
        let jobs = vec![json!({"kind": "data_cleanup", "args": {"dry_run": true}}); JOBS];
        let accepted = self.world.post("/api/jobs/bulk", json!({ "jobs": jobs })).await;
        assert_eq!(accepted.status, 202, "{}", accepted.body);
        self.world.node.producer.flush().await;
        let jobs = accepted.body["jobs"].as_array().unwrap();
        jobs.iter().map(|job| serde_json::from_value(job["id"].clone()).unwrap()).collect()
    }

    fn work(&self) -> (Stop, tokio::task::JoinHandle<()>) {
        let (node, stop) = (Arc::clone(&self.world.node), Stop::default());
        let told = stop.clone();
        let working = tokio::spawn(async move {
            node.work(1, told).await.unwrap();
        });
        (stop, working)
    }

    async fn until_completed(&self, ids: &[JobId]) {
        // One limit for all of them.
        let mut open: Vec<_> = ids.iter().collect();
        until("some jobs have not completed", PATIENCE, async || {
            while let Some(id) = open.last() {
                let job = self.world.ask("GET", &format!("/api/jobs/{id}")).await.body;
                assert_ne!(job["state"], "dead", "{job}");
                if job["state"] != "completed" {
                    return false;
                }
                open.pop();
            }
            true
        })
        .await;
    }

    async fn dead(&self) -> Vec<Value> {
        let dead = self.world.ask("GET", "/api/dlq").await.body;
        dead["items"].as_array().unwrap().clone()
    }
}

fn simple(id: JobId) -> String {
    id.as_uuid().simple().to_string()
}

#[tokio::test]
async fn jobs_whose_values_were_overwritten_are_loaded_again_and_complete() {
    let stores = Stores::start().await;
    let ids = stores.enqueue().await;
    let header = "00000000010000000000000000001";
    let garbage = ["garbage", "\"\"", "\"\\xff\\xfe\"", header, &format!("{header}{{}}")];
    for (id, value) in ids.iter().zip(garbage.iter().cycle()).take(10) {
        stores.write(&format!("HSET {} {} {value}", Stores::key("jobs"), simple(*id)));
    }
    // A place without a value.
    let stolen = simple(ids[20]);
    stores.write(&format!("HDEL {} {stolen}", Stores::key("jobs")));
    let (stop, working) = stores.work();
    stores.until_completed(&ids).await;
    assert_eq!(stores.dead().await, Vec::<Value>::new());
    stop.drain.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn values_that_are_overwritten_under_a_working_worker_are_loaded_again() {
    let stores = Stores::start().await;
    let (stop, working) = stores.work();
    stores.until_completed(&stores.enqueue().await).await;
    stores.write(&format!("HSET {} paused 1", Stores::key("gate")));
    let ids = stores.enqueue().await;
    for id in &ids {
        stores.write(&format!("HSET {} {} garbage", Stores::key("jobs"), simple(*id)));
    }
    stores.write(&format!("DEL {}", Stores::key("gate")));
    stores.until_completed(&ids).await;
    assert_eq!(stores.dead().await, Vec::<Value>::new());
    stop.drain.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn entries_that_nobody_enqueued_end_with_a_person_or_in_the_log() {
    let stores = Stores::start().await;
    let ids = stores.enqueue().await;
    let unknown = format!("{:032x}", 7);
    let empty = format!("{:032x}", 8);
    let (jobs, ready) = (Stores::key("jobs"), Stores::key("ready"));
    stores.write(&format!("HSET {jobs} {unknown} garbage nonsense garbage"));
    stores.write(&format!("ZADD {ready} 1 {unknown} 1 nonsense 1 {empty} -inf \"\\xff\""));
    stores.write(&format!("ZADD {} 1 nonsense 2 {empty}", Stores::key("delayed")));
    stores.write(&format!("ZADD {} 1 nonsense 2 a|b|c 3 {unknown}|1-1|w", Stores::key("leases")));
    let (stop, working) = stores.work();
    stores.until_completed(&ids).await;
    let dead = stores.dead().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0]["reason"]["category"], Category::Bug.as_str());
    assert_eq!(dead[0]["id"].as_str().unwrap().replace('-', ""), unknown);
    stop.drain.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn what_a_newer_program_wrote_waits_for_it_as_it_is() {
    let stores = Stores::start().await;
    let (stop, working) = stores.work();
    stores.until_completed(&stores.enqueue().await).await;
    let (jobs, delayed) = (Stores::key("jobs"), Stores::key("delayed"));
    let envelope = r#"{"v":4,"what":{"it":"is"}}"#;
    let id = format!("{:032x}", 9);
    let quoted = envelope.replace('"', "\\\"");
    stores.write(&format!("HSET {jobs} {id} \"00000000000000000000000000000{quoted}\""));
    stores.write(&format!("ZADD {} 1 {id}", Stores::key("ready")));
    stores.until_completed(&stores.enqueue().await).await;
    until("it is not put off", PATIENCE, async || {
        stores.redis.command(&format!("ZSCORE {delayed} {id}")).trim().len() > 5
    })
    .await;
    let held = stores.redis.command(&format!("HGET {jobs} {id}"));
    assert!(held.contains(envelope), "{held}");
    assert_eq!(stores.dead().await, Vec::<Value>::new());
    stop.drain.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_replaced_from_the_ledger() {
    for part in ["jobs", "ready", "delayed", "leases", "wake", "boot"] {
        let stores = Stores::start().await;
        let ids = stores.enqueue().await;
        let key = Stores::key(part);
        stores.write(&format!("DEL {key}"));
        stores.write(&format!("SADD {key} garbage"));
        let (stop, working) = stores.work();
        stores.until_completed(&ids).await;
        stop.drain.cancel();
        working.await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_breaks_under_a_working_worker_is_replaced_too() {
    let stores = Stores::start().await;
    let (stop, working) = stores.work();
    stores.until_completed(&stores.enqueue().await).await;
    for part in ["jobs", "ready", "leases", "boot"] {
        let key = Stores::key(part);
        stores.redis.command(&format!("DEL {key}"));
        stores.redis.command(&format!("SET {key} garbage"));
        stores.until_completed(&stores.enqueue().await).await;
    }
    stop.drain.cancel();
    working.await.unwrap();
}
