//! A server that is there and cannot: locked, read-only, full, out of connections.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use postworks::job::{Category, NewJob, State, Token};
use postworks::ledger::{
    Db, Error, FailedAttempt, Ledger, Next, PostgresOptions, Settled, SqlLedger, Standing, Verdict,
};
use postworks::testing::ledger::{at, job};
use postworks::testing::postgres_server::PostgresServer;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::block_in_place;

use super::{ledger, operator, until_ok};

async fn run(operator: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(operator).await.unwrap();
}

/// The only database of its own that a server has after the first.
const DATABASE: &str = "test_0";

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_costs_a_bounded_wait_and_nothing_else() {
    let server = PostgresServer::launch().await;
    let (ledger, db) = ledger(&server, 4).await;
    ledger.enqueue(&[job()]).await.unwrap();
    let mut operator = operator(&server, DATABASE).await;
    run(&mut operator, "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await;
    let start = Instant::now();
    let (enqueued, listed, settled) = tokio::join!(
        async { ledger.enqueue(&[job()]).await.map(drop) },
        async { ledger.open_jobs(None, at(99), at(99), 9).await.map(drop) },
        async { ledger.settle(&[completed(&job(), 1)]).await.map(drop) },
    );
    for answer in [enqueued, listed, settled] {
        refused(answer);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // The server itself is there for everybody else.
    db.check().await.unwrap();
    run(&mut operator, "ROLLBACK").await;
    ledger.enqueue(&[job()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_read_and_takes_writes_again_by_itself() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 4).await;
    let first = job();
    ledger.enqueue(std::slice::from_ref(&first)).await.unwrap();
    let mut operator = operator(&server, DATABASE).await;
    let turn = |how: &str| {
        format!("ALTER SYSTEM SET default_transaction_read_only = {how}; SELECT pg_reload_conf()")
    };
    // One statement at a time: this one must not be in a transaction.
    for sql in turn("on").split(';') {
        run(&mut operator, sql).await;
    }
    let start = Instant::now();
    while ledger.enqueue(&[job()]).await.is_ok() {
        assert!(start.elapsed() < super::LONG, "the setting does not arrive");
    }
    refused(ledger.enqueue(&[job()]).await);
    refused(ledger.settle(&[completed(&first, 1)]).await);
    assert_eq!(ledger.job(first.id).await.unwrap().unwrap().state, State::Ready);
    run(&mut operator, "SET default_transaction_read_only = off").await;
    for sql in turn("off").split(';') {
        run(&mut operator, sql).await;
    }
    until_ok("it takes writes again", async || ledger.enqueue(&[job()]).await).await;
    assert_eq!(ledger.settle(&[completed(&first, 1)]).await.unwrap(), [Settled::Done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_free_connection_serves_those_who_have_one() {
    let server = PostgresServer::launch().await;
    let (ledger, db) = ledger(&server, 2).await;
    // Both connections are open, and idle.
    drop((db.begin().await.unwrap(), db.begin().await.unwrap()));
    let mut others = Vec::new();
    while let Ok(other) = PgConnection::connect(&server.url("postgres")).await {
        others.push(other);
    }
    println!("{} connections taken by others", others.len());
    until_ok("who has a connection is served", async || ledger.enqueue(&[job()]).await).await;
    let options = PostgresOptions::default();
    let late = Db::connect_postgres(&server.url(DATABASE), &options).unwrap();
    let late = SqlLedger::new(late);
    let start = Instant::now();
    refused(late.enqueue(&[job()]).await);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    for other in others {
        other.close().await.unwrap();
    }
    let (_, back) = until_ok("it is served", async || late.enqueue(&[job()]).await).await;
    println!("served {back:?} after connections were free");
}

/// A file system of its own that is full soon. Needs root, as those who run containers have it.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(server: &PostgresServer) -> Option<Self> {
        let folder = server.folder().join("small");
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "postworks-test"])
            .arg(&folder)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("not tested: mounting a file system needs root");
            return None;
        }
        server.give(&folder);
        Some(Self { folder })
    }

    fn fill(&self) {
        let zeros = vec![0; 1024];
        let mut file = std::fs::File::create(self.folder.join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_jobs_and_takes_them_again_by_itself() {
    let server = PostgresServer::launch().await;
    let Some(disk) = SmallDisk::mount(&server) else { return };
    let mut admin = operator(&server, "postgres").await;
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.folder.display());
    run(&mut admin, &space).await;
    run(&mut admin, "CREATE DATABASE small TEMPLATE postworks_template TABLESPACE small").await;
    let options = PostgresOptions::default();
    let db = Db::connect_postgres(&server.url("small"), &options).unwrap();
    let ledger = SqlLedger::new(db);
    let first = job();
    ledger.enqueue(std::slice::from_ref(&first)).await.unwrap();
    block_in_place(|| disk.fill());
    // Pages that have room take some more.
    let big = || NewJob { args: format!("\"{}\"", "x".repeat(60_000)), ..job() };
    let start = Instant::now();
    let mut accepted = vec![first.id];
    loop {
        let jobs: Vec<NewJob> = (0..50).map(|_| big()).collect();
        match ledger.enqueue(&jobs).await {
            Ok(_) => accepted.extend(jobs.iter().map(|job| job.id)),
            refusal => break refused(refusal),
        }
        assert!(start.elapsed() < super::LONG, "the disk is never full");
    }
    // What is there can be read, and the server lives.
    assert!(ledger.job(first.id).await.unwrap().is_some());
    block_in_place(|| disk.empty());
    let late = big();
    until_ok("it takes jobs again", async || ledger.enqueue(std::slice::from_ref(&late)).await)
        .await;
    accepted.push(late.id);
    for id in accepted {
        assert!(ledger.job(id).await.unwrap().is_some(), "{id} was accepted and is lost");
    }
    drop(admin);
    block_in_place(|| server.stop());
}

fn completed(job: &NewJob, sequence: u64) -> Verdict {
    let token = Token { generation: 1, sequence };
    Verdict { id: job.id, token, then: Next::Completed { at: at(2) }, failed: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_the_database_refuses_ends_the_job_and_spoils_no_other() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 4).await;
    let jobs = [job(), job()];
    ledger.enqueue(&jobs).await.unwrap();
    let mut operator = operator(&server, DATABASE).await;
    run(&mut operator, "ALTER TABLE attempts ADD CHECK (error <> 'absurd')").await;
    let absurd = Verdict {
        then: Next::Waits { until: at(9), failed_attempts: 1 },
        failed: Some(FailedAttempt {
            n: 1,
            started_at: at(1),
            ended_at: at(2),
            outcome: "retry".into(),
            error: "absurd".into(),
            worker: postworks::job::WorkerId::from_text("w"),
        }),
        ..completed(&jobs[0], 1)
    };
    let answers = ledger.settle(&[absurd, completed(&jobs[1], 1)]).await.unwrap();
    assert_eq!(answers, [Settled::Stale, Settled::Done]);
    // Left open it would run again and again, and no attempt would count.
    let row = ledger.job(jobs[0].id).await.unwrap().unwrap();
    let reason = row.reason.unwrap();
    assert_eq!((row.state, reason.category), (State::Dead, Category::Bug));
    assert!(reason.message.contains("refused"), "{}", reason.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_makes_no_sense_is_an_error_of_its_own_claim_only() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 4).await;
    let jobs = [job(), job()];
    ledger.enqueue(&jobs).await.unwrap();
    let mut operator = operator(&server, DATABASE).await;
    run(&mut operator, "ALTER TABLE jobs DROP CONSTRAINT jobs_state_check").await;
    let id = jobs[0].id;
    run(&mut operator, &format!("UPDATE jobs SET state = 'novel' WHERE id = '{id}'")).await;
    let claim = |n: usize| (jobs[n].id, Token { generation: 1, sequence: 1 });
    let both = ledger.stamp(&[claim(0), claim(1)], at(1)).await;
    assert!(matches!(both, Err(Error::Protocol(_))), "{both:?}");
    assert!(matches!(ledger.stamp(&[claim(0)], at(1)).await, Err(Error::Protocol(_))));
    let expires_at = jobs[1].expires_at;
    let yours = Standing::Yours { failed_attempts: 0, crashes: 0, expires_at, edit: None };
    assert_eq!(ledger.stamp(&[claim(1)], at(1)).await.unwrap(), [yours]);
}
