//! More callers than connections.

use std::time::{Duration, Instant};

use postworks::ledger::{Db, Error, Ledger, PostgresOptions, SqlLedger};
use postworks::on_db;
use postworks::testing::ledger::job;
use postworks::testing::postgres_server::PostgresServer;

use super::ledger;

/// What all pools together may have of a server's 100 connections; it keeps some for itself, and
/// people want some too.
const CONNECTIONS: u32 = 90;
/// Nobody is refused for the noise of the machine; how long the waits are is printed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn query(db: &Db) -> Result<(), sqlx::Error> {
    on_db!(db, pool => sqlx::query("SELECT pg_sleep(0.02)").execute(pool).await.map(drop))
}

/// Callers at the same moment, with a query of 20 ms each; answers the longest wait for a
/// connection, and how long the next caller needs after the last of them.
async fn burst(db: &Db, callers: usize) -> (Duration, Duration) {
    let start = Instant::now();
    let calls = (0..callers).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            query(&db).await.unwrap();
            start.elapsed()
        })
    });
    let mut longest = Duration::ZERO;
    for call in calls.collect::<Vec<_>>() {
        longest = longest.max(call.await.unwrap());
    }
    let after = Instant::now();
    query(db).await.unwrap();
    let query_itself = Duration::from_millis(20);
    (longest.saturating_sub(query_itself), after.elapsed().saturating_sub(query_itself))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_callers_waits_for_connections_and_is_no_outage() {
    let server = PostgresServer::launch().await;
    let options = PostgresOptions {
        connections_max: CONNECTIONS,
        acquire_timeout: PATIENCE,
        ..Default::default()
    };
    let db = Db::connect_postgres(&server.database().await, &options).unwrap();
    let ledger = SqlLedger::new(db.clone());
    for (what, callers) in [("cold", 150), ("warm", 150), ("warm", 1_000)] {
        let (longest, recovery) = burst(&db, callers).await;
        println!(
            "{callers} callers on {CONNECTIONS} {what} connections: longest wait {longest:?}, \
             recovered after {recovery:?}"
        );
    }
    ledger.enqueue(&[job()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_connections_are_free_when_all_others_are_taken() {
    let server = PostgresServer::launch().await;
    let patience = Duration::from_secs(1);
    let options = PostgresOptions { connections_max: 3, reserved: 1, acquire_timeout: patience };
    let db = Db::connect_postgres(&server.database().await, &options).unwrap();
    let ledger = SqlLedger::new(db.reserved());
    let taken = [db.begin().await.unwrap(), db.begin().await.unwrap()];
    assert!(matches!(db.begin().await, Err(Error::Unavailable(_))), "three are for all");
    ledger.enqueue(&[job()]).await.unwrap();
    drop(taken);
    db.begin().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_take_no_connection_with_them() {
    const POOL: usize = 5;
    let server = PostgresServer::launch().await;
    let (ledger, db) = ledger(&server, 5).await;
    // They leave while they wait, while they connect, and in the middle of a query.
    let calls = (0..600_u64).map(|n| {
        let (db, ledger) = (db.clone(), ledger.clone());
        tokio::spawn(async move {
            let patience = Duration::from_micros(150 * (n % 200));
            let _ = match n % 3 {
                0 => tokio::time::timeout(patience, query(&db)).await.map(drop),
                1 => tokio::time::timeout(patience, db.begin()).await.map(drop),
                _ => tokio::time::timeout(patience, ledger.enqueue(&[job()])).await.map(drop),
            };
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    // All of them can be had at once, and nothing of the others is on them.
    let mut all = Vec::new();
    for _ in 0..POOL {
        all.push(db.begin().await.unwrap());
    }
    drop(all);
    ledger.enqueue(&[job()]).await.unwrap();
}
