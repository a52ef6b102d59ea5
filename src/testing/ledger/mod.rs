//! What every ledger promises, one function a promise; each panics if the promise is broken.
//!
//! Times are made up: no promise depends on the machine's clock, and nothing sleeps.

mod audit;
mod crash;
mod enqueue;
mod family;
mod fence;
mod generation;
mod holds;
mod life;
mod list;
mod moving;
mod redrive;
mod turns;
mod unique;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use audit::*;
pub use crash::*;
pub use enqueue::*;
pub use family::*;
pub use fence::*;
pub use generation::*;
pub use holds::*;
pub use life::*;
pub use list::*;
pub use moving::*;
pub use redrive::*;
pub use turns::*;
pub use unique::*;

use crate::job::{
    Category, Durability, JobId, Kind, NewJob, Queue, Reason, State, Tenant, Timestamp, Token,
    Uniqueness, WorkerId,
};
use crate::ledger::{
    DeadFilter, FailedAttempt, Ledger, Next, PutBack, Recorded, Settled, SqlLedger, Standing,
    Verdict,
};

/// When everything here happens, give or take.
pub const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

/// A time so many seconds after [`NOW`].
pub fn at(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// A job due at [`NOW`]; ids rise from call to call.
pub fn job() -> NewJob {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    // The top two bits of byte 2 are overwritten by the UUID's variant.
    random[3..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes()[1..]);
    let kind = Kind::parse("post_publication").expect("a correct name");
    NewJob {
        id: JobId::at(NOW, random),
        queue: Queue::of_platform(&kind, "bluesky").expect("a correct name"),
        kind,
        kind_version: 1,
        args: r#"{"publication_id":"0198f3a0-0000-7000-8000-000000000002"}"#.to_owned(),
        failed_attempts: 0,
        max_attempts: 10,
        priority_s: 0,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: None,
        run_at: NOW,
        created_at: NOW,
        expires_at: at(86_400),
        durability: Durability::Ledger,
        tenant: Tenant::DEFAULT,
        trace: None,
        waits: None,
    }
}

/// A job with a unique key.
pub fn unique(key: &str) -> NewJob {
    NewJob { unique_key: Some(key.to_owned()), ..job() }
}

/// A token of the first generation.
pub fn token(sequence: u64) -> Token {
    Token { generation: 1, sequence }
}

/// What the claimer of a job learns that failed so often and killed nobody.
fn is_yours(failed_attempts: u32) -> Standing {
    is_yours_until(failed_attempts, job().expires_at)
}

fn is_yours_until(failed_attempts: u32, expires_at: Timestamp) -> Standing {
    Standing::Yours { failed_attempts, crashes: 0, expires_at, edit: None }
}

fn reason(message: &str) -> Reason {
    let class = "transient".to_owned();
    Reason { category: Category::PlatformApi, class, message: message.to_owned() }
}

fn verdict(id: JobId, token: Token, then: Next) -> Verdict {
    Verdict { id, token, then, failed: None }
}

fn completed(id: JobId, token: Token) -> Verdict {
    verdict(id, token, Next::Completed { at: at(1) })
}

fn failed(n: u32, error: &str) -> FailedAttempt {
    FailedAttempt {
        n,
        started_at: at(0),
        ended_at: at(1),
        outcome: "retry".to_owned(),
        error: error.to_owned(),
        worker: WorkerId::from_text("host:1:000000000000"),
    }
}

/// The first failed attempt, after which the job waits.
fn waits(id: JobId, token: Token, until: Timestamp) -> Verdict {
    let then = Next::Waits { until, failed_attempts: 1 };
    Verdict { failed: Some(failed(1, "no answer")), ..verdict(id, token, then) }
}

fn dead(id: JobId, token: Token, message: &str) -> Verdict {
    let then = Next::Dead { at: at(2), reason: reason(message), failed_attempts: 3, job: None };
    let attempt = FailedAttempt { outcome: "dead".to_owned(), ..failed(3, message) };
    Verdict { failed: Some(attempt), ..verdict(id, token, then) }
}

/// All dead letters.
fn all() -> DeadFilter {
    DeadFilter { limit: 1_000, ..DeadFilter::default() }
}

fn put_back(now: Timestamp, renewed_for: Duration) -> PutBack<'static> {
    PutBack { now, renewed_for, note: None, redrive: None, edited: None }
}

async fn created(ledger: &SqlLedger, job: NewJob) -> JobId {
    let recorded = ledger.enqueue(std::slice::from_ref(&job)).await.expect("enqueue");
    assert_eq!(recorded, [Recorded::Created]);
    job.id
}

async fn settled(ledger: &SqlLedger, verdict: Verdict) -> Settled {
    let answers = ledger.settle(&[verdict]).await.expect("settle");
    assert_eq!(answers.len(), 1);
    answers[0]
}

async fn stamped(ledger: &SqlLedger, id: JobId, token: Token, now: Timestamp) -> Standing {
    let mut answers = ledger.stamp(&[(id, token)], now).await.expect("stamp");
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

async fn state(ledger: &SqlLedger, id: JobId) -> State {
    ledger.job(id).await.expect("read a job").expect("the job is there").state
}

/// Runs the same at the same time, so many times; answers what each answered.
async fn at_once<F, T>(times: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(times));
    let tasks: Vec<_> = (0..times)
        .map(|n| {
            let (start, call) = (Arc::clone(&start), call(n));
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(times);
    for task in tasks {
        answers.push(task.await.expect("no call panics"));
    }
    answers
}
