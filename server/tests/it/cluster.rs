//! A fleet on a Redis Cluster, one of whose masters is killed under load.

use std::time::Instant;

use postworks::job::Queue;
use postworks::testing::cluster::ClusterServers;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::fleet::{Fleet, LONG, Process, run, seconds, until};

const ACCOUNTS: usize = 10;
const POSTS: usize = 40;
/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_on_after_the_master_of_its_busiest_queue_was_killed() {
    let mut redis = block_in_place(ClusterServers::start_replicated);
    let url = redis.url();
    // The fleet's own Redis stays idle.
    let (idle, postgres) = (RedisServer::start(), PostgresServer::launch().await);
    let mut fleet = Fleet::build(idle, postgres, &[("REDIS_URL", &url)]).await;
    let flags = ["--concurrency", "5"];
    let mut workers = [fleet.worker(&flags).await, fleet.worker(&flags).await];
    let doctor = run(&["doctor", "-o", "json"], fleet.vars()).await;
    let found: Value = doctor.json();
    let told: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .filter(|found| found["check"] == "redis cluster" && found["status"] == "ok")
        .filter_map(|found| found["detail"].as_str())
        .collect();
    for number in 0..3 {
        let node = format!("127.0.0.1:{}: one of 3 nodes; it has 1 replicas", redis.port(number));
        assert!(told.contains(&node.as_str()), "{node} is missing in {found}");
    }

    let accounts = fleet.connect("sandbox", ACCOUNTS).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let mut posts = fleet.client.publish_many(POSTS, &accounts).await;
    let published = |fleet: &Fleet| fleet.sandbox.journal().count(&posts);
    until("the work does not start", LONG, async || published(&fleet) > 20).await;

    let home = redis.home(&Queue::parse("post_publication.sandbox").unwrap());
    redis.servers[home].kill9();
    let killed = Instant::now();
    let told = fleet.client.http.get("/api/queues").await.expect(200);
    for queue in told["items"].as_array().unwrap() {
        let name = queue["queue"].as_str().unwrap();
        let is_away = redis.home(&Queue::parse(name).unwrap()) == home;
        assert_eq!(queue["ready"].is_null(), is_away, "{queue}");
    }
    let late = fleet.client.publish("written while there was no master", &accounts).await;
    block_in_place(|| redis.until_master_is(home + 3));
    println!("its replica is master {} after the kill", seconds(killed.elapsed()));
    let before = published(&fleet);
    assert!(before < posts.len(), "nothing was left to do: the test proves nothing");
    until("nothing more is published", LONG, async || published(&fleet) > before).await;
    println!("the first job was published {} after the kill", seconds(killed.elapsed()));

    block_in_place(|| redis.servers[home].resume());
    let later = fleet.client.publish("written while the old master came back", &accounts).await;
    posts.extend(late.into_iter().chain(later));
    fleet.client.until_published(&posts, LONG).await;
    println!("the last job was published {} after the kill", seconds(killed.elapsed()));
    fleet.sandbox.journal().must_have_each_once(&posts);
    workers.iter_mut().for_each(Process::must_run);
    fleet.api.must_run();
    let dead = fleet.client.jobs("dead").await;
    assert!(dead.is_empty(), "{dead:?}");
}
