//! PostgreSQL at its limits: gone, frozen, full, locked, and an answer that got lost.

mod away;
mod cut_off;
mod follow_ups;
mod limits;
mod lost_answer;
mod node;
mod own_transaction;
mod pool;
mod tenants;
mod tenants_cost;
mod worker;

use std::time::{Duration, Instant};

use postworks::ledger::{Db, Error, PostgresOptions, SqlLedger};
use postworks::testing::postgres_server::PostgresServer;
use sqlx::{Connection, PgConnection};

/// For what should take a second, on a machine that does much else.
const LONG: Duration = Duration::from_secs(60);

/// A session beside those of the ledger, as an operator has one.
async fn operator(server: &PostgresServer, database: &str) -> PgConnection {
    PgConnection::connect(&server.url(database)).await.unwrap()
}

/// A ledger of few connections, in a database of its own.
async fn ledger(server: &PostgresServer, connections_max: u32) -> (SqlLedger, Db) {
    let options = PostgresOptions { connections_max, ..Default::default() };
    let db = Db::connect_postgres(&server.database().await, &options).unwrap();
    (SqlLedger::new(db.clone()), db)
}

/// Calls until it succeeds; anything but an outage fails the test. Answers how long it took.
async fn until_ok<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, Error>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return (answer, start.elapsed()),
            Err(Error::Unavailable(_) | Error::Unsure(_)) => {
                assert!(start.elapsed() < LONG, "not in time: {what}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}
