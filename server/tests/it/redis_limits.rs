//! A Redis at its limits under a fleet: what was accepted is done, nobody spins, and the log says
//! what to do.

use std::time::{Duration, Instant};

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::Value;

use crate::fleet::{Client, Fleet, LONG, Process, run, seconds, until};

const ACCOUNTS: usize = 10;
const POSTS: usize = 20;
/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 50;
/// While Redis refuses it, a process's processor time is at most this part of the time that passes.
const IDLE_PART: f64 = 0.3;

/// How often a process has logged this.
fn logged(process: &Process, words: &str) -> usize {
    process.log().lines().filter(|line| line.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_drained_and_new_jobs_are_accepted_meanwhile() {
    let fleet = Fleet::start_with(&[
        ("POSTWORKS__LEASE__DURATION", "1s"),
        ("POSTWORKS__LEASE__RENEW", "200ms"),
    ])
    .await;
    let workers =
        [fleet.worker(&["--concurrency", "5"]).await, fleet.worker(&["--concurrency", "5"]).await];
    let accounts = fleet.connect("sandbox", ACCOUNTS).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let backlog = fleet.client.publish_many(POSTS, &accounts).await;
    let published = || fleet.sandbox.journal().count(&backlog);
    let held = || {
        let answer = fleet.redis.command("HLEN postworks:{post_publication.sandbox}:jobs");
        answer.trim_start_matches(':').parse::<usize>().unwrap()
    };
    until("the backlog does not get to Redis", LONG, async || {
        published() > 10 && held() + published() >= backlog.len()
    })
    .await;
    fleet.redis.command("CONFIG SET maxmemory 1");
    assert!(published() < backlog.len(), "nothing was left to do: the test proves nothing");
    let late = fleet.client.publish("written while Redis was full", &accounts).await;
    fleet.client.until_published(&backlog, LONG).await;
    let waiting = fleet.sandbox.journal().count(&late);
    assert_eq!(waiting, 0, "a full Redis takes no new jobs: the test proves nothing");
    fleet.redis.command("CONFIG SET maxmemory 0");
    let back = Instant::now();
    fleet.client.until_published(&late, LONG).await;
    println!("what waited for room was published {} after there was some", seconds(back.elapsed()));
    let all: Vec<_> = backlog.into_iter().chain(late).collect();
    fleet.sandbox.journal().must_have_each_once(&all);
    for worker in &workers {
        let metrics = Client::new(worker.url()).http;
        for name in ["postworks_jobs_reclaimed_total", "postworks_leases_lost_total"] {
            assert_eq!(metrics.metric(name).await, 0.0, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_under_load_is_told_once_and_waited_for() {
    let redis = RedisServer::start();
    redis.command("ACL SETUSER ann on >secret ~* &* +@all");
    let url = format!("{}?user=ann&pass=secret", redis.url());
    let settings = [("REDIS_URL", url.as_str())];
    let mut fleet = Fleet::build(redis, PostgresServer::launch().await, &settings).await;
    let mut worker = fleet.worker(&["--concurrency", "5"]).await;
    let accounts = fleet.connect("sandbox", ACCOUNTS).await;
    fleet.sandbox.slow_down(LATENCY_MS).await;
    let posts = fleet.client.publish_many(POSTS, &accounts).await;
    let published = |fleet: &Fleet| fleet.sandbox.journal().count(&posts);
    until("the work does not start", LONG, async || published(&fleet) > 10).await;
    fleet.redis.command("ACL SETUSER ann resetpass >other");
    fleet.redis.command("CLIENT KILL USER ann");
    let told = "check the user and the password in REDIS_URL";
    until("the refusal is not told", LONG, async || logged(&worker, told) > 0).await;
    let late = fleet.client.publish("written while Redis refused us", &accounts).await;
    let (before, start) = ([worker.cpu(), fleet.api.cpu()], Instant::now());
    // Time itself is what must pass here.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (process, before) in [&worker, &fleet.api].into_iter().zip(before) {
        let part = (process.cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        assert!(part < IDLE_PART, "a process spins: {:.0} %", 100.0 * part);
    }
    // Who claims, who renews, who settles and who relays: each tells it once.
    let times = logged(&worker, told);
    assert!(times <= 8, "told {times} times");
    assert!(!worker.log().contains("secret"), "a password is in the log");
    fleet.redis.command("ACL SETUSER ann >secret");
    let back = Instant::now();
    let before = published(&fleet);
    until("nothing more is published", LONG, async || published(&fleet) > before).await;
    println!(
        "the first job was published {} after the password was right",
        seconds(back.elapsed())
    );
    let all: Vec<_> = posts.iter().cloned().chain(late).collect();
    fleet.client.until_published(&all, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&all);
    worker.must_run();
    fleet.api.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_redis_refuses_does_not_start_and_says_why() {
    let fleet = Fleet::start().await;
    fleet.redis.command("ACL SETUSER ann on >secret ~* &* +@all");
    for (login, words) in [
        ("?user=ann&pass=hunter2", &["WRONGPASS", "check the user and the password"][..]),
        ("?db=99", &["DB index is out of range", "number of the database"]),
    ] {
        let mut vars = fleet.vars().to_vec();
        vars.push(("REDIS_URL", format!("{}{login}", fleet.redis.url())));
        for role in [&["worker"][..], &["api", "--listen", "127.0.0.1:0"]] {
            let ran = run(role, &vars).await;
            assert_eq!(ran.code, 69, "{role:?} {login}: {}", ran.stderr);
            for words in words {
                assert!(ran.stderr.contains(words), "{words} is missing in {}", ran.stderr);
            }
            assert!(ran.stdout.is_empty() && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
        }
        let doctor = run(&["doctor", "-o", "json"], &vars).await;
        assert_eq!(doctor.code, 69, "{}", doctor.stdout);
        assert!(doctor.stdout.contains(words[0]) && !doctor.stdout.contains("hunter2"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_wrong_with_the_stores_and_what_to_do() {
    let mut fleet = Fleet::start().await;
    let vars = fleet.vars().to_vec();
    let doctor = async || {
        let ran = run(&["doctor", "-o", "json"], &vars).await;
        let found: Vec<Value> = ran.json().as_array().unwrap().clone();
        (ran.code, found)
    };
    let of = |found: &[Value], check: &str| -> Value {
        let named = found.iter().find(|found| found["check"] == check);
        named.unwrap_or_else(|| panic!("{check} is missing in {found:?}")).clone()
    };
    let (code, found) = doctor().await;
    assert_eq!(code, 0, "{found:?}");
    assert!(found.iter().all(|found| found["status"] != "fail"), "{found:?}");
    let good = [
        "postworks",
        "environment",
        "keys",
        "tables",
        "postgres version",
        "postgres rights",
        "redis version",
        "queues",
    ];
    for check in good {
        assert_eq!(of(&found, check)["status"], "ok", "{found:?}");
    }
    assert_eq!(of(&found, "keys")["detail"], "test seals and signs");
    let workers = of(&found, "workers");
    assert_eq!(workers["status"], "warn");
    assert!(workers["detail"].as_str().unwrap().contains("none is connected"), "{workers}");
    assert!(found.iter().any(|found| found["check"] == "disk"), "{found:?}");
    let persistence = of(&found, "redis persistence");
    assert_eq!(persistence["status"], "warn");
    assert!(persistence["advice"].as_str().unwrap().contains("CONFIG SET appendonly yes"));

    fleet.redis.command("CONFIG SET maxmemory-policy allkeys-lru");
    let (code, found) = doctor().await;
    assert_eq!(code, 1, "{found:?}");
    let eviction = of(&found, "redis eviction");
    assert_eq!(eviction["status"], "fail");
    assert!(eviction["advice"].as_str().unwrap().contains("maxmemory-policy noeviction"));
    let worker = fleet.worker(&["--queues", "post_publication.*"]).await;
    until("the policy is not in the log", LONG, async || {
        logged(&worker, "CONFIG SET maxmemory-policy noeviction") == 1
    })
    .await;
    until("the worker is not seen", LONG, async || {
        let workers = of(&doctor().await.1, "workers")["detail"].to_string();
        workers.contains("data_cleanup") && !workers.contains("post_publication")
    })
    .await;
    let paused = run(&["queue", "pause", "data_cleanup", "--reason", "a look"], &vars).await;
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    let (_, found) = doctor().await;
    let advice = of(&found, "queues")["advice"].clone();
    assert_eq!(advice, "`postworks queue resume data_cleanup`", "{found:?}");

    tokio::task::block_in_place(|| fleet.redis.stop());
    let (code, found) = doctor().await;
    assert_eq!((code, &of(&found, "broker")["status"]), (69, &"fail".into()), "{found:?}");
    assert_eq!(of(&found, "tables")["status"], "ok", "the other store is looked at all the same");
}
