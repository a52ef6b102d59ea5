//! Keys of a fleet of processes: the wrong ones are found at the start, and they are changed while
//! everything runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks_server::sandbox::Op;
use serde_json::{Value, json};

use crate::fleet::{ANY, Client, Fleet, KEYS, LONG, POSTWORKS, Process, Ran, run, seconds};
use crate::redaction::rows;

/// The key that the fleet begins with is called `test`.
const NEW: &str = "new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// Another key of that id.
const WRONG: &str = "test:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
/// Nine processes share a server with 100 connections.
const POOL: (&str, &str) = ("POSTWORKS__LEDGER__POOL_SIZE", "5");

const WORKERS: usize = 8;
const ACCOUNTS: usize = 60;
/// Rotations, each the other way round, while the workers refresh.
const ROTATIONS: usize = 12;

/// The environment of the fleet with another ring; without one if there is none.
fn with_keys(fleet: &Fleet, ring: Option<&str>) -> Vec<(&'static str, String)> {
    let others = fleet.vars().iter().filter(|(name, _)| *name != "POSTWORKS_KEYS").cloned();
    others.chain(ring.map(|ring| ("POSTWORKS_KEYS", ring.to_owned()))).collect()
}

#[track_caller]
fn assert_refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    for words in words {
        let said = [&ran.stderr, &ran.stdout];
        assert!(said.iter().any(|said| said.contains(words)), "{words:?} not in {}", ran.stderr);
    }
}

/// A key as `keys list` shows it.
async fn listed(fleet: &Fleet, id: &str) -> Value {
    let page = run(&["keys", "list", "-o", "json"], fleet.vars()).await.json();
    let keys = page["items"].as_array().unwrap();
    keys.iter().find(|key| key["id"] == id).unwrap_or_else(|| panic!("{id} in {page}")).clone()
}

/// Asks for a refresh of every account; answers the jobs.
async fn enqueue_refreshes(client: &Client, accounts: &[String]) -> Vec<String> {
    let one = |account| json!({ "kind": "token_refresh", "args": { "connector_id": account } });
    let bulk = json!({ "jobs": accounts.iter().map(one).collect::<Vec<_>>() });
    let made = client.http.post("/api/jobs/bulk", &bulk).await.expect(202);
    let ids = made["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_while_eight_workers_refresh_and_nothing_fails() {
    let forth = format!("{KEYS},{NEW}");
    let back = format!("{NEW},{KEYS}");
    let mut fleet = Fleet::start_with(&[POOL, ("POSTWORKS_KEYS", &forth)]).await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        // Half of them are deployed with the new key first.
        fleet.set("POSTWORKS_KEYS", if n % 2 == 0 { &back } else { &forth });
        workers.push(fleet.worker(&["--concurrency", "4"]).await);
    }
    let accounts = fleet.connect("sandbox", ACCOUNTS).await;
    let stop = AtomicBool::new(false);
    let refreshing = async {
        let mut jobs: Vec<String> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let made = enqueue_refreshes(&fleet.client, &accounts).await;
            for id in &made {
                fleet.client.until_job(id, "completed", LONG).await;
            }
            jobs.extend(made);
        }
        jobs
    };
    let rotating = async {
        let (begun, mut resealed) = (Instant::now(), 0);
        for n in 0..ROTATIONS {
            let ring: &str = if n % 2 == 0 { &back } else { &forth };
            let vars = with_keys(&fleet, Some(ring));
            let ran = run(&["keys", "rotate", "-o", "json"], &vars).await;
            // 75: somebody who seals with the other key has refreshed meanwhile, as half of them do.
            assert!(matches!(ran.code, 0 | 75), "{}{}", ran.stdout, ran.stderr);
            let rotated = ran.json();
            assert_eq!(rotated["damaged"], json!([]));
            resealed += rotated["resealed"].as_u64().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        (begun.elapsed(), resealed)
    };
    let (jobs, (took, resealed)) = futures_util::future::join(refreshing, rotating).await;
    let mut burnt = 0;
    for job in &jobs {
        burnt += u32::from(fleet.client.job(job).await["attempt"] != 1);
    }
    let journal = fleet.sandbox.journal();
    let refreshes = journal.0.iter().filter(|entry| entry.op == Op::Refresh).count();
    println!(
        "{WORKERS} workers: {} refresh jobs, {refreshes} refreshes, {ROTATIONS} rotations in {}, \
         {resealed} rows sealed anew, {burnt} attempts burnt",
        jobs.len(),
        seconds(took)
    );
    assert_eq!(burnt, 0);
    assert!(fleet.client.jobs("dead").await.is_empty());
    let shown = fleet.client.http.get("/api/connectors?limit=100").await.expect(200);
    let states = shown["items"].as_array().unwrap().iter();
    assert!(states.clone().count() == ACCOUNTS && states.clone().all(|a| a["state"] == "active"));
    assert!(resealed > ACCOUNTS as u64, "the rotations had nothing to do");
    assert!(refreshes >= jobs.len(), "each job has refreshed");
    for worker in &workers {
        assert!(!worker.log().contains("does not open"), "{}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_key_of_the_right_name_does_not_start() {
    let fleet = Fleet::start().await;
    let accounts = fleet.client.connect(&fleet.sandbox, "sandbox", 1).await;
    let secret = fleet.sandbox.account("another").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    let add = ["connector", "add", "--platform", "sandbox", "--base-url", fleet.sandbox.url()];
    let add = [&add[..], &["--identifier", "another", "--secret-file"]].concat();
    let add = [&add[..], &[file.path().to_str().unwrap()]].concat();

    let wrong = with_keys(&fleet, Some(WRONG));
    for args in [&["worker"][..], &["api", "--listen", ANY], &["up", "--listen", ANY], &add] {
        let ran = run(args, &wrong).await;
        assert_refused(&ran, 78, &["\"test\"", "give this node the same bytes"]);
        assert_eq!(ran.stdout, "");
    }
    assert_refused(&run(&["doctor"], &wrong).await, 78, &["\"test\""]);
    assert_refused(&run(&["keys", "rotate"], &wrong).await, 78, &["\"test\""]);
    // And a ring without the key.
    let without = with_keys(&fleet, Some(NEW));
    for args in [&["worker"][..], &["api", "--listen", ANY], &add] {
        let words = ["\"test\"", "has sealed an account's secrets", "add what is missing"];
        assert_refused(&run(args, &without).await, 78, &words);
    }
    // Who looks needs none.
    assert_eq!(run(&["connector", "list"], &wrong).await.code, 0);
    // The right one is as good as before.
    let _worker = fleet.worker(&[]).await;
    let published = fleet.client.publish("still there", &accounts).await;
    fleet.client.until_published(&published, LONG).await;
    assert_eq!(run(&add, fleet.vars()).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ring_is_invented_beside_sealed_rows() {
    let fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut vars = with_keys(&fleet, None);
    vars.push(("POSTWORKS_DATA_DIR", data.to_str().unwrap().to_owned()));
    let words = ["POSTWORKS_KEYS is missing", "the keys that the others have"];
    // The API lives and has a ring, though nothing is sealed yet.
    assert_refused(&run(&["worker"], &vars).await, 78, &words);
    fleet.client.connect(&fleet.sandbox, "sandbox", 1).await;
    for args in [&["worker"][..], &["api", "--listen", ANY], &["up", "--listen", ANY]] {
        assert_refused(&run(args, &vars).await, 78, &[&words[..], &["test"]].concat());
    }
    assert!(!data.join("keys").exists(), "a ring was made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_found_when_the_ledger_is_back() {
    let mut fleet = Fleet::start().await;
    fleet.client.connect(&fleet.sandbox, "sandbox", 1).await;
    fleet.api.kill9().await;
    let (redis, postgres) = (&fleet.redis, &fleet.postgres);
    let vars = |ring: &str| {
        vec![
            ("DATABASE_URL", postgres.url("postgres")),
            ("REDIS_URL", redis.url()),
            ("POSTWORKS_KEYS", ring.to_owned()),
            ("POSTWORKS_AUTH", "off".to_owned()),
            ("POSTWORKS_ALLOW_LOOPBACK", "1".to_owned()),
        ]
    };
    let folder = tempfile::tempdir().unwrap();
    postgres.stop();
    let mut started = Vec::new();
    for (ring, role, args) in [
        (WRONG, "worker", &["worker", "--metrics-listen", ANY][..]),
        (WRONG, "api", &["api", "--listen", ANY]),
        (KEYS, "api", &["api", "--listen", ANY]),
    ] {
        let mut process = Process::start(role, POSTWORKS, args, &vars(ring), folder.path());
        let url = process.listening(role).await;
        started.push((process, Client::new(&url)));
    }
    postgres.start();
    for (process, _) in &mut started[..2] {
        let (status, _) = process.ended(LONG).await;
        assert_eq!(status.code(), Some(78), "{}", process.log());
        assert!(process.log().contains("give this node the same bytes"), "{}", process.log());
    }
    // Whose keys are right seals as soon as it knows.
    let (right, client) = &mut started[2];
    let connector = json!({ "platform": "sandbox", "base_url": "http://127.0.0.1:9",
        "identifier": "bob", "secret": "hush" });
    let mut last = 0;
    crate::fleet::until("nothing can be sealed", LONG, async || {
        last = client.http.post("/api/connectors", &connector).await.status;
        assert!(matches!(last, 201 | 503), "{last}");
        last == 201
    })
    .await;
    right.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_key_may_go_once_nothing_is_sealed_with_it() {
    let mut fleet = Fleet::start().await;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 3).await;
    // One who begins with the end is told what comes first.
    let hasty = with_keys(&fleet, Some(&format!("{NEW},{KEYS}")));
    for args in [&["keys", "rotate"][..], &["keys", "rotate", "--dry-run"]] {
        let refused = run(args, &hasty).await;
        assert_refused(&refused, 4, &["would not open what the key \"new\" seals"]);
    }
    // Added everywhere, then put first everywhere.
    for ring in [format!("{KEYS},{NEW}"), format!("{NEW},{KEYS}")] {
        fleet.set("POSTWORKS_KEYS", &ring);
        fleet.restart_api().await;
        worker.signal(Signal::SIGTERM);
        worker.ended(LONG).await;
        worker = fleet.worker(&[]).await;
    }
    let planned = run(&["keys", "rotate", "--dry-run", "-o", "json"], fleet.vars()).await.json();
    assert_eq!((&planned["matched"], &planned["resealed"]), (&json!(3), &json!(0)));
    let test = listed(&fleet, "test").await;
    assert_eq!((&test["rows"], &test["may_go"]), (&json!(3), &json!(false)));
    let doctor = run(&["doctor"], fleet.vars()).await;
    assert!(doctor.stdout.contains("has still sealed 3 accounts' secrets"), "{}", doctor.stdout);

    let rotated = run(&["keys", "rotate", "-o", "json"], fleet.vars()).await.json();
    assert_eq!((&rotated["resealed"], &rotated["retired"]), (&json!(3), &json!(["test"])));
    let (test, new) = (listed(&fleet, "test").await, listed(&fleet, "new").await);
    assert_eq!((&test["rows"], &new["rows"], &new["sealing"]), (&json!(0), &json!(3), &json!(2)));
    let why = test["needed"].as_str().unwrap();
    assert!(why.starts_with("access tokens that it signed are good until"), "{why}");
    let audit = run(&["audit", "list", "--action", "keys.rotate", "-o", "json"], fleet.vars());
    let noted = &audit.await.json()["items"];
    assert_eq!((&noted[0]["subject"], &noted[0]["count"]), (&json!("new"), &json!(3)));

    // Nobody seals with it any more, nor starts that would; and without it all goes on.
    let ran = run(&["worker"], &with_keys(&fleet, Some(&format!("{KEYS},{NEW}")))).await;
    assert_refused(&ran, 78, &["\"test\" stands first", "was retired at"]);
    fleet.set("POSTWORKS_KEYS", NEW);
    fleet.restart_api().await;
    worker.signal(Signal::SIGTERM);
    worker.ended(LONG).await;
    let _worker = fleet.worker(&[]).await;
    let published = fleet.client.publish("with the new key alone", &accounts).await;
    fleet.client.until_published(&published, LONG).await;
    let doctor = run(&["doctor"], fleet.vars()).await;
    assert!(doctor.stdout.contains("new seals and signs"), "{}", doctor.stdout);
    // What the ledger knows of keys is not the keys.
    let everything = rows(&fleet).await;
    for (id, hex) in [("test", "000102030405"), ("new", "1f1e1d1c1b1a")] {
        assert!(everything.contains(id) && !everything.contains(hex), "the key {id} is in a row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_without_keys_of_its_own_shares_the_ring_that_one_has_made() {
    let (redis, postgres) = (RedisServer::start(), PostgresServer::launch().await);
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let vars = |folder: &tempfile::TempDir| {
        [
            ("DATABASE_URL", postgres.url("postgres")),
            ("REDIS_URL", redis.url()),
            ("POSTWORKS_AUTH", "off".to_owned()),
            ("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap().to_owned()),
        ]
    };
    assert_eq!(run(&["migrate"], &vars(&here)).await.code, 0);
    let args = ["api", "--listen", ANY];
    let mut api = Process::start("api", POSTWORKS, &args, &vars(&here), here.path());
    api.listening("api").await;
    let args = ["worker", "--metrics-listen", ANY];
    let mut worker = Process::start("worker", POSTWORKS, &args, &vars(&here), here.path());
    worker.listening("worker").await;
    // Another machine is told before it seals with keys that nobody else has.
    let refused = run(&["worker"], &vars(&elsewhere)).await;
    assert_refused(&refused, 78, &["POSTWORKS_KEYS is missing"]);
    assert!(here.path().join("keys").exists() && !elsewhere.path().join("keys").exists());
    worker.must_run();
}
