//! Postworks, through the engine's public interface: a worker with its relay, refiller, reaper and
//! renewals, as every role of the product has them.
//!
//! Time is counted until the broker holds nothing of the jobs any more, so the last settle is in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::{Feed, Reaper};
use postworks::client;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{Durability, Job, JobError, NewJob, Queue, Request, WorkerId};
use postworks::ledger::{Bump, Db, GroupCommit, Ledger, PostgresOptions, SqlLedger};
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::{Consumer, Producer, Role, serve};
use crate::protocol::{Args, KINDS, Setup};

/// As the product has it by default.
const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(2);
/// Between two looks whether the last jobs are settled.
const LOOK_EVERY: Duration = Duration::from_millis(2);

const NAMES: [&str; KINDS] = ["bench_post", "bench_sync", "bench_cleanup", "bench_refresh"];

/// A job of one of the kinds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Task<const KIND: usize, const RECORDED: bool>(Args);

impl<const KIND: usize, const RECORDED: bool> Job for Task<KIND, RECORDED> {
    const KIND: &'static str = NAMES[KIND];
    const DURABILITY: Durability = if RECORDED { Durability::Ledger } else { Durability::Broker };
}

struct Run(Arc<Seen>);

#[async_trait]
impl<const KIND: usize, const RECORDED: bool> Handler<Task<KIND, RECORDED>> for Run {
    async fn handle(&self, job: Task<KIND, RECORDED>, _: &JobContext) -> Result<(), JobError> {
        self.0.run(&job.0).await;
        Ok(())
    }
}

pub(super) async fn play(role: Role, setup: Setup, durability: Durability) -> Result<()> {
    let stores = Stores::open(&setup, durability).await?;
    if role != Role::Work {
        stores.open_queues().await?;
    }
    let consumer = (role != Role::Produce).then(|| stores.clone());
    let producer = match role {
        Role::Work => None,
        Role::Produce | Role::Both => Some(stores.producer()?),
    };
    serve(setup, producer, consumer).await
}

/// What one process needs.
#[derive(Clone)]
struct Stores {
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    clock: SharedClock,
    id: WorkerId,
    durability: Durability,
    concurrency: usize,
    mixed: bool,
}

impl Stores {
    async fn open(setup: &Setup, durability: Durability) -> Result<Self> {
        let clock = SystemClock::shared();
        let id = WorkerId::new("bench", std::process::id(), uuid::Uuid::now_v7());
        let db = match &setup.postgres {
            Some(url) => Db::connect_postgres(url, &PostgresOptions::default())?,
            None => embedded(&setup.folder).await?,
        };
        let ledger = Arc::new(GroupCommit::new(Arc::new(SqlLedger::new(db))));
        let broker: Arc<dyn Broker> = if setup.postgres.is_some() {
            let url = format!("unix://{}", setup.redis.display());
            Arc::new(RedisBroker::connect(RedisOptions::new(url, id.clone()))?)
        } else {
            Arc::new(MemoryBroker::new(Arc::clone(&clock)))
        };
        let (concurrency, mixed) = (setup.concurrency, setup.mixed);
        Ok(Self { ledger, broker, clock, id, durability, concurrency, mixed })
    }

    /// As any earlier start of a worker would have left them.
    async fn open_queues(&self) -> Result<()> {
        for queue in self.registry(&Arc::new(Seen::default()))?.queues() {
            let bump = Bump { held: None, at: self.clock.now(), reserved: Duration::ZERO };
            // None for a folder that a killed process has left: the worker opens it when it may.
            if let Some(generation) = self.ledger.next_generation(queue, bump).await? {
                self.broker.open(queue, generation).await?;
            }
        }
        Ok(())
    }

    fn registry(&self, seen: &Arc<Seen>) -> Result<Registry> {
        let mut registry = Registry::default();
        match self.durability {
            Durability::Broker => fill::<false>(&mut registry, seen, self.mixed)?,
            Durability::Ledger => fill::<true>(&mut registry, seen, self.mixed)?,
        }
        Ok(registry)
    }

    fn producer(&self) -> Result<Enqueue> {
        let catalog = Arc::new(self.registry(&Arc::new(Seen::default()))?.catalog().clone());
        let producer = client::Producer::new(
            Arc::clone(&self.ledger),
            Arc::clone(&self.broker),
            catalog,
            Arc::clone(&self.clock),
        );
        Ok(Enqueue(producer))
    }

    /// Starts a worker and its chores, which go on as long as the process does.
    fn start(&self, registry: Registry) {
        let (stop, calls) = (Stop::default(), Arc::<Calls>::default());
        let queues: Vec<Queue> = registry.queues().cloned().collect();
        let feed = Feed {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&calls),
            queues: queues.clone(),
        };
        let reaper = Reaper {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            queues: queues.clone(),
            lease: LEASE,
            renew: RENEW,
        };
        feed.start(&stop.drain);
        tokio::spawn(reaper.run(stop.drain.clone()));
        let options = Options {
            id: self.id.clone(),
            queues,
            concurrency: self.concurrency,
            lease: LEASE,
            renew: RENEW,
            grace: Duration::from_secs(25),
        };
        let worker = Worker::new(
            registry,
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            calls,
        );
        tokio::spawn(async move {
            let ended = worker.run(stop).await;
            eprintln!("the worker ended: {ended:?}");
            std::process::exit(1);
        });
    }

    async fn until_settled(&self, queues: &[Queue]) -> Result<()> {
        loop {
            let depths = self.broker.depth(queues).await?;
            if depths.iter().flatten().all(|depth| depth.ready + depth.delayed + depth.running == 0)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Consumer for Stores {
    async fn run(self, seen: Arc<Seen>) -> Result<()> {
        let registry = self.registry(&seen)?;
        let queues: Vec<Queue> = registry.queues().cloned().collect();
        self.start(registry);
        seen.until_all().await;
        self.until_settled(&queues).await?;
        seen.tell_all();
        Ok(())
    }
}

/// The producers' library.
#[derive(Clone)]
struct Enqueue(client::Producer);

impl Enqueue {
    fn job(&self, args: &Args, kind: usize) -> Result<NewJob> {
        let mut request = Request::of(&Task::<0, true>(args.clone()))?;
        NAMES[kind].clone_into(&mut request.kind);
        Ok(self.0.prepare(request)?)
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<()> {
        let enqueued = self.0.enqueue(jobs).await?;
        ensure!(enqueued.iter().all(|job| job.created), "a job was there already");
        Ok(())
    }
}

impl Producer for Enqueue {
    async fn one(&mut self, job: Args, kind: usize) -> Result<()> {
        self.enqueue(vec![self.job(&job, kind)?]).await
    }

    async fn bulk(&mut self, jobs: Vec<Args>) -> Result<()> {
        let jobs = jobs.iter().map(|job| self.job(job, 0)).collect::<Result<_>>()?;
        self.enqueue(jobs).await
    }

    async fn flush(&self) {
        self.0.flush().await;
    }
}

/// Adds the kinds that there are jobs of, each with its queue.
fn fill<const RECORDED: bool>(
    registry: &mut Registry,
    seen: &Arc<Seen>,
    mixed: bool,
) -> Result<()> {
    add::<0, RECORDED>(registry, seen)?;
    if mixed {
        add::<1, RECORDED>(registry, seen)?;
        add::<2, RECORDED>(registry, seen)?;
        add::<3, RECORDED>(registry, seen)?;
    }
    Ok(())
}

fn add<const KIND: usize, const RECORDED: bool>(
    registry: &mut Registry,
    seen: &Arc<Seen>,
) -> Result<()> {
    let queue = Queue::of_kind(&postworks::job::Kind::parse(NAMES[KIND])?);
    Ok(registry.add::<Task<KIND, RECORDED>>(Run(Arc::clone(seen)), [queue])?)
}

async fn embedded(folder: &Path) -> Result<Db> {
    let db = Db::open_sqlite(&folder.join("postworks.db")).await?;
    db.migrate().await?;
    Ok(db)
}
