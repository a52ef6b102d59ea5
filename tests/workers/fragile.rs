//! A worker whose jobs may take it down, for tests that start and kill real processes:
//! `fragile_worker REDIS_URL DATABASE_URL CONCURRENCY THREADS LEASE_MS`, which says its id on
//! stdout.

#![allow(clippy::print_stdout, reason = "its id is what it answers")]

mod deed;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::{Herald, Reaper, Relay, Scheduler};
use postworks::client::Producer;
use postworks::clock::SystemClock;
use postworks::job::{Catalog, Job, JobError, Kind, Queue, WorkerId};
use postworks::ledger::{Db, Families, Ledger, PostgresOptions, Schedules, SqlLedger};
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};

use self::deed::Deed;

struct Do;

#[async_trait]
impl Handler<Deed> for Do {
    async fn handle(&self, deed: Deed, _: &JobContext) -> Result<(), JobError> {
        match deed {
            Deed::Rest(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Deed::OverflowTheStack(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                println!("{}", deeper(0));
            }
            Deed::BlockTheThread => loop {
                std::thread::park();
            },
        }
        Ok(())
    }
}

/// Never returns: each call needs more of the stack.
fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if room[0] == u64::MAX { 0 } else { deeper(depth + 1) + room[511] }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("REDIS_URL DATABASE_URL CONCURRENCY THREADS LEASE_MS");
    let (redis, database) = (next()?, next()?);
    let (concurrency, threads) = (next()?.parse()?, next()?.parse()?);
    let lease = Duration::from_millis(next()?.parse()?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(work(redis, database, concurrency, lease))
}

async fn work(
    redis: String,
    database: String,
    concurrency: usize,
    lease: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let renew = lease / 5;
    let id = WorkerId::new("fragile", std::process::id(), uuid::Uuid::new_v4());
    let clock = SystemClock::shared();
    let db = Db::connect_postgres(&database, &PostgresOptions::default())?;
    let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db.clone()));
    let broker: Arc<dyn Broker> =
        Arc::new(RedisBroker::connect(RedisOptions::new(redis, id.clone()))?);
    let queue = Queue::of_kind(&Kind::parse(Deed::KIND)?);
    let mut registry = Registry::default();
    registry.add::<Deed>(Do, [queue.clone()])?;
    let (calls, stop) = (Arc::<Calls>::default(), Stop::default());
    let relay = Relay {
        ledger: Arc::clone(&ledger),
        broker: Arc::clone(&broker),
        clock: Arc::clone(&clock),
        calls: Arc::clone(&calls),
    };
    let mut catalog = Catalog::default();
    catalog.add::<Deed>()?;
    let producer = Producer::new(
        Arc::clone(&ledger),
        Arc::clone(&broker),
        Arc::new(catalog),
        Arc::clone(&clock),
    );
    let scheduler = Scheduler {
        schedules: Schedules::new(db.clone()),
        broker: Arc::clone(&broker),
        producer: producer.clone(),
        clock: Arc::clone(&clock),
    };
    let herald = Herald { families: Families::new(db), producer, clock: Arc::clone(&clock) };
    let reaper = Reaper {
        broker: Arc::clone(&broker),
        ledger: Arc::clone(&ledger),
        queues: vec![queue.clone()],
        lease,
        renew,
    };
    tokio::spawn(relay.run(stop.drain.clone()));
    tokio::spawn(scheduler.run(stop.drain.clone()));
    tokio::spawn(herald.run(stop.drain.clone()));
    tokio::spawn(reaper.run(stop.drain.clone()));
    println!("{id}");
    let options = Options {
        id,
        queues: vec![queue],
        concurrency,
        lease,
        renew,
        grace: Duration::from_secs(5),
    };
    let worker = Worker::new(registry, broker, ledger, clock, options, calls);
    worker.exiting_when_stuck().run(stop).await?;
    Ok(())
}
