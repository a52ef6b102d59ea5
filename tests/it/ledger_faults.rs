//! What a ledger does when its database goes away, is killed, or is not what it should be.

use std::path::Path;
use std::time::Duration;

use postworks::job::JobId;
use postworks::ledger::{Db, Error, Ledger, PostgresOptions, SqlLedger};
use postworks::testing::ledger::{at, job};
use postworks::testing::postgres_server::PostgresServer;

async fn embedded(folder: &Path) -> Db {
    let db = Db::open_sqlite(&folder.join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    db
}

async fn all_open(ledger: &SqlLedger) -> Vec<JobId> {
    let jobs = ledger.open_jobs(None, at(99), at(99), 1_000_000).await.unwrap();
    jobs.jobs.iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn the_embedded_ledger_refuses_a_second_process() {
    let folder = tempfile::tempdir().unwrap();
    let db = embedded(folder.path()).await;
    // The lock belongs to the open file, so a second opening stands for a second process.
    let second = Db::open_sqlite(&folder.path().join("postworks.db")).await;
    assert!(matches!(second, Err(Error::Locked(path)) if path.ends_with("postworks.db")));
    db.close().await;
    drop(db);
    embedded(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_committed_to_postgresql_survive_kill_9() {
    let server = PostgresServer::launch().await;
    let ledger = SqlLedger::new(server.db().await);
    let writer = tokio::spawn({
        let ledger = ledger.clone();
        async move {
            let mut accepted = Vec::new();
            loop {
                let job = job();
                match ledger.enqueue(std::slice::from_ref(&job)).await {
                    Ok(_) => accepted.push(job.id),
                    // The kill may fall between a commit and its answer: then nothing was accepted.
                    Err(Error::Unavailable(_) | Error::Unsure(_)) => return accepted,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    });
    while all_open(&ledger).await.len() < 100 {}
    server.kill9();
    let accepted = writer.await.unwrap();
    server.start();
    // The pool still holds connections to the killed server; each finds out once.
    let kept = loop {
        match ledger.open_jobs(None, at(99), at(99), 1_000_000).await {
            Ok(page) => break page.jobs,
            Err(Error::Unavailable(_) | Error::Unsure(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(accepted.len() >= 100);
    for id in accepted {
        assert!(kept.iter().any(|job| job.id == id), "{id} was accepted and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_can_be_prepared_before_its_database_runs() {
    let server = PostgresServer::launch().await;
    let url = server.database().await;
    server.stop();
    let options =
        PostgresOptions { acquire_timeout: Duration::from_millis(100), ..Default::default() };
    let ledger = SqlLedger::new(Db::connect_postgres(&url, &options).unwrap());
    assert!(matches!(ledger.check().await, Err(Error::Unavailable(_))));
    assert!(matches!(ledger.enqueue(&[job()]).await, Err(Error::Unavailable(_))));
    server.start();
    let options = PostgresOptions::default();
    let ledger = SqlLedger::new(Db::connect_postgres(&url, &options).unwrap());
    ledger.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_database_costs_errors_but_no_restart_of_ours() {
    let server = PostgresServer::launch().await;
    let ledger = SqlLedger::new(server.db().await);
    ledger.enqueue(&[job()]).await.unwrap();
    server.restart();
    while let Err(error) = ledger.enqueue(&[job()]).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
    let server = PostgresServer::launch().await;
    let options = PostgresOptions::default();
    let empty = Db::connect_postgres(&server.url("postgres"), &options).unwrap();
    for db in [file, empty] {
        let ledger = SqlLedger::new(db.clone());
        let Err(Error::Migrations(text)) = ledger.check().await else { panic!("{db:?}") };
        assert!(text.starts_with("0001 engine is missing"), "{text}");
        assert!(matches!(ledger.enqueue(&[job()]).await, Err(Error::Migrations(_))));
        // Two processes that start at the same moment.
        let other = tokio::spawn({
            let db = db.clone();
            async move { db.migrate().await }
        });
        db.migrate().await.unwrap();
        other.await.unwrap().unwrap();
        ledger.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_malformed_address_is_refused_at_once_and_never_shown() {
    for bad in ["", "redis://u:hunter2@h/1", "postgres://u:hunter2@h:port/d", "not an address"] {
        match Db::connect_postgres(bad, &PostgresOptions::default()) {
            Err(error @ Error::Url(_)) => assert!(!error.to_string().contains("hunter2")),
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_does_not_hold_its_successors_row() {
    let server = PostgresServer::launch().await;
    let db = server.db().await;
    let ledger = SqlLedger::new(db.clone());
    let held = job();
    ledger.enqueue(std::slice::from_ref(&held)).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let sql = "UPDATE jobs SET priority_s = 1 WHERE id = $1";
    postworks::on_tx!(&mut tx, conn => {
        sqlx::query(sql).bind(held.id.as_uuid()).execute(conn).await.map(|_| ())
    })
    .unwrap();
    // The transaction stays open, as if its process were paused. Its successor is told after
    // 2 s, and gets the row after 5 s at most.
    let mut tries = 0;
    while let Err(error) = ledger.cancel(held.id, at(1), None).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        tries += 1;
        assert!(tries <= 3);
    }
    assert!(tries >= 1, "the row was not held at all");
    assert!(tx.commit().await.is_err());
}
