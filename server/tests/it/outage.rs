//! Stores that go away under load and come back: workers go on by themselves.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::json;
use tokio::task::block_in_place;

use crate::fleet::{Client, Fleet, LONG, Process, Publication, seconds, until};

/// Accounts, and posts on each: enough that work is left when a store goes away.
const ACCOUNTS: usize = 20;
const POSTS: usize = 15;
/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 100;
/// Every worker's places.
const CONCURRENCY: &str = "10";
/// Leases are short here, so that an outage may outlast them.
const LEASE: Duration = Duration::from_secs(1);
const RENEW: Duration = Duration::from_millis(200);
/// While a store is away, a process's processor time is at most this part of the time that passes.
const IDLE_PART: f64 = 0.3;

/// The API refuses within this what it cannot do, once it knows that a store is away.
const AT_ONCE: Duration = Duration::from_millis(250);

/// A few jobs are done within this after a store's return, unless they wait for a relay's next
/// round, which may be 20 s away.
const SOON: Duration = Duration::from_secs(5);

/// A fleet in the middle of its work.
struct Load {
    workers: [Process; 2],
    fleet: Fleet,
    accounts: Vec<String>,
    publications: Vec<Publication>,
}

impl Load {
    async fn over(redis: RedisServer, postgres: PostgresServer) -> Self {
        let mut fleet = Fleet::over(redis, postgres).await;
        fleet.set("POSTWORKS__LEASE__DURATION", &format!("{}ms", LEASE.as_millis()));
        fleet.set("POSTWORKS__LEASE__RENEW", &format!("{}ms", RENEW.as_millis()));
        let flags = ["--concurrency", CONCURRENCY];
        let workers = [fleet.worker(&flags).await, fleet.worker(&flags).await];
        let accounts = fleet.connect("sandbox", ACCOUNTS).await;
        fleet.sandbox.slow_down(LATENCY_MS).await;
        let publications = fleet.client.publish_many(POSTS, &accounts).await;
        let load = Self { workers, fleet, accounts, publications };
        until("the work does not start", LONG, async || {
            load.published() > load.publications.len() / 10
        })
        .await;
        load
    }

    /// How many posts the platform has.
    fn published(&self) -> usize {
        self.fleet.sandbox.journal().count(&self.publications)
    }

    /// Returns once every worker says that it misses this store, and as long again as a lease
    /// lasts has passed. Nobody may spin meanwhile.
    async fn noticed(&self, store: &str) {
        let clients = self.workers.each_ref().map(|worker| Client::new(worker.url()));
        until("the outage is not noticed", LONG, async || {
            for client in &clients {
                let readiness = client.http.get("/readyz").await;
                if readiness.status != 503 || readiness.body["missing"][0] != store {
                    return false;
                }
            }
            true
        })
        .await;
        let processes = [&self.fleet.api, &self.workers[0], &self.workers[1]];
        let (before, start) = (processes.map(Process::cpu), Instant::now());
        // Time itself is what must pass here: every lease's end, if nobody renews it.
        tokio::time::sleep(2 * LEASE).await;
        let passed = start.elapsed();
        for (process, before) in processes.into_iter().zip(before) {
            let part = (process.cpu() - before).as_secs_f64() / passed.as_secs_f64();
            println!("without its {store}, a process uses {:.0} % of a processor", 100.0 * part);
            assert!(part < IDLE_PART, "a process spins without its {store}");
        }
    }

    /// Waits until all the work is done; prints how long after the store's return.
    async fn ends_well(&mut self, what: &str) {
        let (before, back) = (self.published(), Instant::now());
        let left = self.publications.len() - before;
        assert!(left > 0, "nothing was left to do: the test proves nothing");
        until("nothing more is published", LONG, async || self.published() > before).await;
        let first = back.elapsed();
        self.fleet.client.until_published(&self.publications, LONG).await;
        println!(
            "{what}: the first of {left} jobs was published after {}, the last after {}",
            seconds(first),
            seconds(back.elapsed())
        );
        self.fleet.sandbox.journal().must_have_each_once(&self.publications);
        self.workers.iter_mut().for_each(Process::must_run);
        self.fleet.api.must_run();
        let dead = self.fleet.client.jobs("dead").await;
        assert!(dead.is_empty(), "{dead:?}");
    }

    /// A metric's value, over all workers.
    async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for worker in &self.workers {
            sum += Client::new(worker.url()).http.metric(name).await;
        }
        sum
    }

    /// Asks the API for what it cannot do without the ledger; answers how long 99 % of the
    /// refusals take at most.
    async fn refused_at_once(&self) -> Duration {
        let requests = [
            ("/api/posts", json!({ "text": "too early" })),
            ("/api/jobs", json!({ "kind": "data_cleanup", "args": { "dry_run": true } })),
        ];
        let mut waits = Vec::new();
        for _ in 0..100 {
            for (path, body) in &requests {
                let asked = Instant::now();
                let refused = self.fleet.client.http.post(path, body).await;
                waits.push(asked.elapsed());
                assert_eq!(refused.status, 503, "{}", refused.body);
                assert_eq!(refused.body["detail"], "Service busy, retry in 30s");
            }
        }
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }

    /// What the API accepts while Redis is away is published all the same.
    async fn accepts_more(&mut self) {
        let more = self.fleet.client.publish("written while Redis was away", &self.accounts).await;
        self.publications.extend(more);
    }
}

async fn without_redis(redis: RedisServer, what: &str) {
    let mut load = Load::over(redis, PostgresServer::launch().await).await;
    block_in_place(|| load.fleet.redis.kill9());
    load.noticed("broker").await;
    load.accepts_more().await;
    block_in_place(|| load.fleet.redis.resume());
    load.ends_well(what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_by_themselves_after_redis_was_restarted_under_load() {
    without_redis(RedisServer::start_durable(), "Redis restarted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_by_themselves_after_redis_was_wiped_under_load() {
    without_redis(RedisServer::start(), "Redis wiped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_by_themselves_after_postgres_was_restarted_under_load() {
    let postgres = PostgresServer::launch_durable().await;
    let mut load = Load::over(RedisServer::start(), postgres).await;
    block_in_place(|| load.fleet.postgres.kill9());
    load.noticed("ledger").await;
    let p99 = load.refused_at_once().await;
    println!("PostgreSQL is down: 99 % of the API's refusals take {} or less", seconds(p99));
    assert!(p99 < AT_ONCE, "{p99:?}");
    block_in_place(|| load.fleet.postgres.start());
    load.ends_well("PostgreSQL restarted").await;
    // What could not be settled was kept, with its lease, for longer than a lease lasts.
    for name in ["postworks_jobs_reclaimed_total", "postworks_leases_lost_total"] {
        assert_eq!(load.metric(name).await, 0.0, "{name}");
    }
}

/// The connection is lost, and Redis is not: nothing tells it apart from a quiet one afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_while_redis_was_out_of_reach_runs_soon_after() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", ACCOUNTS).await;
    let socket = fleet.redis.folder().join("redis.sock");
    let hidden = socket.with_extension("hidden");
    std::fs::rename(&socket, &hidden).unwrap();
    let mut stream = UnixStream::connect(&hidden).unwrap();
    stream.write_all(b"CLIENT KILL TYPE normal SKIPME yes\r\nQUIT\r\n").unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    for process in [&fleet.api, &worker] {
        let pages = Client::new(process.url()).http;
        until("the outage is not noticed", LONG, async || pages.get("/readyz").await.status == 503)
            .await;
    }
    let publications = fleet.client.publish("written out of reach", &accounts).await;
    std::fs::rename(&hidden, &socket).unwrap();
    let back = Instant::now();
    fleet.client.until_published(&publications, LONG).await;
    println!("written out of Redis' reach, published {} after its return", seconds(back.elapsed()));
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    fleet.sandbox.journal().must_have_each_once(&publications);
}
