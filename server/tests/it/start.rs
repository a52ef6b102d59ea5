//! Roles that start before the stores they need.

use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use serde_json::json;

use crate::fleet::{ANY, Client, KEYS, LONG, POSTWORKS, Process, run, until};

/// The API, a worker, and both in one process, started with these stores; answers clients of their
/// pages.
async fn roles(vars: &[(&str, String)], folder: &std::path::Path) -> Vec<(Process, Client)> {
    let mut started = Vec::new();
    for (role, args) in [
        ("api", &["api", "--listen", ANY][..]),
        ("worker", &["worker", "--metrics-listen", ANY]),
        ("api", &["up", "--listen", ANY, "--workers", "1"]),
    ] {
        let mut process = Process::start(args[0], POSTWORKS, args, vars, folder);
        let url = process.listening(role).await;
        started.push((process, Client::new(&url)));
    }
    started
}

/// Waits until every role says that it misses exactly these stores, and lives.
async fn until_missing(roles: &[(Process, Client)], missing: &[&str]) {
    for (_, client) in roles {
        until(&format!("nobody misses {missing:?}"), LONG, async || {
            let ready = client.http.get("/readyz").await;
            assert_eq!(client.http.get("/livez").await.status, 200);
            let expected = if missing.is_empty() { 200 } else { 503 };
            ready.status == expected && ready.body["missing"] == json!(missing)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_start_in_any_order_and_wait_for_stores_and_tables() {
    let (mut redis, postgres) = (RedisServer::start(), PostgresServer::launch().await);
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("DATABASE_URL", postgres.url("postgres")),
        ("REDIS_URL", redis.url()),
        ("POSTWORKS_KEYS", KEYS.to_owned()),
        ("POSTWORKS_AUTH", "off".to_owned()),
    ];
    redis.stop();
    postgres.stop();
    let mut all = roles(&vars, folder.path()).await;
    until_missing(&all, &["ledger", "broker"]).await;
    let refused = all[0].1.http.post("/api/jobs", &json!({"kind": "data_cleanup"})).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    postgres.start();
    redis.resume();
    // The tables are not there yet.
    until_missing(&all, &["ledger"]).await;
    let migrated = run(&["migrate"], &vars).await;
    assert_eq!(migrated.code, 0, "{}", migrated.stderr);
    until_missing(&all, &[]).await;
    for client in [&all[0].1, &all[2].1] {
        let job = client.http.post("/api/jobs", &json!({"kind": "data_cleanup"})).await.expect(202);
        let id = job["id"].as_str().unwrap();
        client.until_job(id, "completed", Duration::from_secs(30)).await;
    }
    all.iter_mut().for_each(|(process, _)| process.must_run());
}
