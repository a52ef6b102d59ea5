//! A server that is killed, or frozen: callers learn it at once, and nothing counts twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postworks::job::{Category, JobId, Reason, Token, WorkerId};
use postworks::ledger::{
    DeadFilter, Error, FailedAttempt, GroupCommit, Ledger, Next, Settled, SqlLedger, Verdict,
};
use postworks::testing::ledger::{at, job};
use postworks::testing::postgres_server::PostgresServer;
use tokio::task::block_in_place;

use super::{LONG, ledger, operator, until_ok};

/// What a caller may wait while the server is known to be away.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Callers that enqueue one job after another until they are told to stop; they answer what was
/// accepted, and what may have been.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Accepted>>,
}

#[derive(Default)]
struct Accepted {
    surely: Vec<JobId>,
    maybe: Vec<JobId>,
    errors: usize,
}

impl Load {
    fn start(ledger: &SqlLedger) -> Self {
        let group = Arc::new(GroupCommit::new(Arc::new(ledger.clone())));
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..8).map(|_| {
            let (group, stop) = (Arc::clone(&group), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut accepted = Accepted::default();
                while !stop.load(Ordering::Relaxed) {
                    let job = job();
                    match group.enqueue(std::slice::from_ref(&job)).await {
                        Ok(_) => accepted.surely.push(job.id),
                        Err(Error::Unsure(_)) => accepted.maybe.push(job.id),
                        Err(Error::Unavailable(_)) => {
                            accepted.errors += 1;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
                accepted
            })
        });
        let callers = callers.collect();
        Self { stop, callers }
    }

    async fn end(self) -> Accepted {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Accepted::default();
        for caller in self.callers {
            let one = caller.await.unwrap();
            all.surely.extend(one.surely);
            all.maybe.extend(one.maybe);
            all.errors += one.errors;
        }
        all
    }
}

async fn held(ledger: &SqlLedger) -> Vec<JobId> {
    let (jobs, _) = until_ok("it lists its jobs", async || {
        ledger.open_jobs(None, at(99), at(99), 1_000_000).await
    })
    .await;
    jobs.jobs.into_iter().map(|job| job.id).collect()
}

async fn until_holds(ledger: &SqlLedger, more_than: usize) {
    let start = Instant::now();
    while held(ledger).await.len() <= more_than {
        assert!(start.elapsed() < LONG, "nothing more is enqueued");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_killed_session_takes_all_with_it_and_loses_nothing() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 10).await;
    let load = Load::start(&ledger);
    until_holds(&ledger, 100).await;
    let mut operator = operator(&server, "postgres").await;
    let session: i32 = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'postworks' LIMIT 1",
    )
    .fetch_one(&mut operator)
    .await
    .unwrap();
    server.kill_session(session);
    let start = Instant::now();
    while sqlx::raw_sql("SELECT 1").execute(&mut operator).await.is_ok() {
        assert!(start.elapsed() < LONG, "nobody else's session ended");
    }
    let before = held(&ledger).await.len();
    until_holds(&ledger, before + 100).await;
    let accepted = load.end().await;
    let held = held(&ledger).await;
    let lost = accepted.surely.iter().filter(|id| !held.contains(id)).count();
    println!(
        "one session killed: {} accepted, {} unsure, {} refused, {lost} lost",
        accepted.surely.len(),
        accepted.maybe.len(),
        accepted.errors
    );
    assert_eq!(lost, 0);
    let known = accepted.surely.iter().chain(&accepted.maybe).count();
    assert!(held.len() <= known, "a job is held that was refused for sure");
}

fn verdict(id: JobId, n: usize) -> Verdict {
    let token = Token { generation: 1, sequence: 1 };
    let failed = |outcome: &str| {
        Some(FailedAttempt {
            n: 1,
            started_at: at(1),
            ended_at: at(2),
            outcome: outcome.to_owned(),
            error: "no answer".to_owned(),
            worker: WorkerId::from_text("w"),
        })
    };
    let (then, failed) = match n % 3 {
        0 => (Next::Completed { at: at(2) }, None),
        1 => (Next::Waits { until: at(60), failed_attempts: 1 }, failed("retry")),
        _ => {
            let category = Category::Invalid;
            let reason = Reason { category, class: "invalid".into(), message: "no".into() };
            let dead = Next::Dead { at: at(2), reason, failed_attempts: 1, job: None };
            (dead, failed("dead"))
        }
    };
    Verdict { id, token, then, failed }
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_that_are_repeated_through_crashes_count_once() {
    const BATCH: usize = 30;
    const BATCHES: u64 = 20;
    let server = Arc::new(PostgresServer::launch().await);
    let (ledger, _) = ledger(&server, 4).await;
    // A crash for each batch, at another moment of the next one's life each time.
    let (begun, mut batches) = tokio::sync::mpsc::unbounded_channel();
    let crashing = {
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            let mut crashes = 0;
            while batches.blocking_recv().is_some() {
                std::thread::sleep(Duration::from_millis(crashes));
                server.kill9();
                server.start();
                crashes += 1;
            }
            crashes
        })
    };
    let mut settled = Vec::new();
    for _ in 0..BATCHES {
        begun.send(()).unwrap();
        let jobs: Vec<_> = (0..BATCH).map(|_| job()).collect();
        until_ok("it enqueues", async || ledger.enqueue(&jobs).await).await;
        let verdicts: Vec<_> = jobs.iter().enumerate().map(|(n, job)| verdict(job.id, n)).collect();
        let (answers, _) = until_ok("it settles", async || ledger.settle(&verdicts).await).await;
        assert_eq!(answers, [Settled::Done; BATCH]);
        settled.extend(jobs.iter().map(|job| job.id));
    }
    drop(begun);
    let crashes = crashing.await.unwrap();
    println!("{} verdicts through {crashes} crashes", settled.len());
    assert_eq!(crashes, BATCHES);
    for (n, id) in settled.iter().enumerate() {
        let (attempts, _) = until_ok("read", async || ledger.attempts(*id).await).await;
        let failed = !(n % BATCH).is_multiple_of(3);
        assert_eq!(attempts.len(), usize::from(failed), "{id}");
        let row = ledger.job(*id).await.unwrap().unwrap();
        assert_eq!(row.job.failed_attempts, u32::from(failed));
    }
    let filter = DeadFilter { limit: 10_000, ..Default::default() };
    assert_eq!(ledger.dead_letters(&filter).await.unwrap().len(), settled.len() / 3);
}

/// Asks 200 times; answers the 99th percentile of the time to the refusal.
async fn refusals(ledger: &SqlLedger) -> Duration {
    let mut waits = Vec::new();
    for n in 0..200 {
        let start = Instant::now();
        let refused = match n % 2 {
            0 => ledger.enqueue(&[job()]).await.map(drop),
            _ => ledger.job(job().id).await.map(drop),
        };
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    waits[197]
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_refused_at_once_while_the_server_is_down_and_served_soon_after() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 10).await;
    ledger.enqueue(&[job()]).await.unwrap();
    block_in_place(|| server.kill9());
    let start = Instant::now();
    assert!(ledger.enqueue(&[job()]).await.is_err());
    let first = start.elapsed();
    let p99 = refusals(&ledger).await;
    block_in_place(|| server.start());
    let (_, back) = until_ok("it enqueues", async || ledger.enqueue(&[job()]).await).await;
    println!(
        "server down: the first caller was refused after {first:?}, 99 % of the others within \
         {p99:?}; served {back:?} after its return"
    );
    assert!(p99 < AT_ONCE);
    assert_eq!(held(&ledger).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_as_good_as_none_and_forgotten_soon_after() {
    let server = PostgresServer::launch().await;
    let (ledger, _) = ledger(&server, 4).await;
    ledger.enqueue(&[job()]).await.unwrap();
    block_in_place(|| server.freeze());
    // On a connection that is open, and whose server will say nothing.
    let start = Instant::now();
    let refused = ledger.enqueue(&[job()]).await;
    let first = start.elapsed();
    assert!(matches!(refused, Err(Error::Unavailable(_) | Error::Unsure(_))), "{refused:?}");
    let p99 = refusals(&ledger).await;
    block_in_place(|| server.thaw());
    let (_, back) = until_ok("it enqueues", async || ledger.enqueue(&[job()]).await).await;
    println!(
        "server frozen: the first caller was refused after {first:?}, 99 % of the others within \
         {p99:?}; served {back:?} after its return"
    );
    assert!(p99 < AT_ONCE);
    assert!(first < Duration::from_secs(20), "it was waited for");
}
