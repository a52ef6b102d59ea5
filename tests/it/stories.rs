//! Random stories, told to each of the databases there are.

use std::time::Duration;

use postworks::ledger::{Db, PostgresOptions, SqlLedger};
use postworks::testing::postgres_server::PostgresServer;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

/// How long a story waits for a connection: of thousands of transactions in a row, one may have to wait
/// for longer than a job would.
const PATIENCE: Duration = Duration::from_secs(30);

/// An embedded ledger of its own.
pub(crate) fn on_sqlite(tell: impl FnOnce(&SqlLedger, &Runtime)) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let db = runtime.block_on(async {
        let db = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
        db.migrate().await.unwrap();
        db
    });
    tell(&SqlLedger::new(db), &runtime);
}

/// A ledger on a server of its own.
pub(crate) fn on_postgresql(tell: impl FnOnce(&SqlLedger, &Runtime)) {
    let runtime = Runtime::new().unwrap();
    let (_server, db) = runtime.block_on(async {
        let server = PostgresServer::launch().await;
        let patient = PostgresOptions { acquire_timeout: PATIENCE, ..PostgresOptions::default() };
        let db = Db::connect_postgres(&server.database().await, &patient).unwrap();
        (server, db)
    });
    tell(&SqlLedger::new(db), &runtime);
}

/// Lives through so many stories. What fails is printed as the shortest story that fails.
pub(crate) fn live_through<S: Strategy>(cases: u32, stories: S, live: impl Fn(S::Value)) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let told = runner.run(&stories, |story| {
        live(story);
        Ok(())
    });
    told.unwrap();
}
