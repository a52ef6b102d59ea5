//! A kind of job of your own, with nothing installed: `cargo run --example own_kind`.
//!
//! Three steps: the arguments with their constants, the handler, one registry line.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::{Broker, memory::MemoryBroker};
use postworks::chore::Feed;
use postworks::client::Producer;
use postworks::clock::SystemClock;
use postworks::job::{ErrorClass, Job, JobError, Kind, Queue, RetryPolicy, WorkerId};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Step 1: the arguments. Ids rather than copies of rows; the constants are the policy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SendDigest {
    reader: u32,
}

impl Job for SendDigest {
    const KIND: &'static str = "send_digest";
    const TIMEOUT: Duration = Duration::from_secs(10);
    const RETRY: RetryPolicy =
        RetryPolicy { base: Duration::from_millis(50), ..RetryPolicy::DEFAULT };
}

/// Step 2: the handler. It says what went wrong by its class; the engine does the rest.
struct SendDigestHandler {
    sent: mpsc::UnboundedSender<u32>,
}

#[async_trait]
impl Handler<SendDigest> for SendDigestHandler {
    async fn handle(&self, job: SendDigest, cx: &JobContext) -> Result<(), JobError> {
        if job.reader == 3 && cx.attempt == 1 {
            return Err(JobError::new(ErrorClass::Transient, "the mail server says: later"));
        }
        println!("digest for reader {} sent in attempt {}", job.reader, cx.attempt);
        let _ = self.sent.send(job.reader);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let db = Db::open_sqlite(&folder.path().join("ledger.db")).await?;
    db.migrate().await?;
    let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
    let clock = SystemClock::shared();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));

    // Step 3: the registry line.
    let queue = Queue::of_kind(&Kind::parse(SendDigest::KIND)?);
    let (sent, mut done) = mpsc::unbounded_channel();
    let mut registry = Registry::default();
    registry.add::<SendDigest>(SendDigestHandler { sent }, [queue.clone()])?;

    let calls = Arc::<Calls>::default();
    let stop = Stop::default();
    let feed = Feed {
        ledger: Arc::clone(&ledger),
        broker: Arc::clone(&broker),
        clock: Arc::clone(&clock),
        queues: vec![queue.clone()],
        calls: Arc::clone(&calls),
    };
    feed.start(&stop.drain);
    let catalog = Arc::new(registry.catalog().clone());
    let producer =
        Producer::new(Arc::clone(&ledger), Arc::clone(&broker), catalog, Arc::clone(&clock));
    let options = Options {
        id: WorkerId::new("example", std::process::id(), uuid::Uuid::now_v7()),
        queues: vec![queue.clone()],
        concurrency: 10,
        lease: Duration::from_secs(10),
        renew: Duration::from_secs(2),
        grace: Duration::from_secs(5),
    };
    let worker = Worker::new(registry, broker, ledger, clock, options, calls);
    let working = tokio::spawn(worker.run(stop.clone()));

    for reader in 1..=5 {
        producer.enqueue_one(&SendDigest { reader }, queue.clone()).await?;
    }
    for _ in 1..=5 {
        done.recv().await;
    }
    stop.drain.cancel();
    let drained = working.await??;
    println!("drained; {} jobs handed back", drained.handed_back);
    Ok(())
}
