//! rusty-sidekiq: a client and a worker of Sidekiq's format in Rust.

use std::sync::Arc;

use anyhow::{Result, bail};
use async_trait::async_trait;
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker, WorkerOpts};

use super::seen::Seen;
use super::{Consumer, Producer, Role, serve};
use crate::protocol::{Args, KINDS, Setup};

const QUEUE: &str = "default";
const NAMES: [&str; KINDS] = ["BenchPost", "BenchSync", "BenchCleanup", "BenchRefresh"];
/// Connections besides those that wait for jobs.
const SPARE: u32 = 10;

struct Run<const KIND: usize>(Arc<Seen>);

#[async_trait]
impl<const KIND: usize> Worker<Args> for Run<KIND> {
    fn opts() -> WorkerOpts<Args, Self> {
        WorkerOpts::new().queue(QUEUE)
    }

    fn class_name() -> String {
        NAMES[KIND].to_owned()
    }

    async fn perform(&self, job: Args) -> sidekiq::Result<()> {
        self.0.run(&job).await;
        Ok(())
    }
}

pub(super) async fn play(role: Role, setup: Setup) -> Result<()> {
    let url = format!("unix://{}", setup.redis.display());
    let manager = RedisConnectionManager::new(url)?;
    let connections = u32::try_from(setup.concurrency)? + SPARE;
    let pool = bb8::Pool::builder().max_size(connections).build(manager).await?;
    let producer = (role == Role::Produce).then(|| Enqueue(pool.clone()));
    let consumer = (role == Role::Work).then_some(Work { pool, concurrency: setup.concurrency });
    serve(setup, producer, consumer).await
}

#[derive(Clone)]
struct Enqueue(RedisPool);

impl Producer for Enqueue {
    async fn one(&mut self, job: Args, kind: usize) -> Result<()> {
        let class = NAMES[kind].to_owned();
        Ok(sidekiq::perform_async(&self.0, class, QUEUE.to_owned(), job).await?)
    }

    async fn bulk(&mut self, _: Vec<Args>) -> Result<()> {
        bail!("rusty-sidekiq enqueues one by one only")
    }
}

struct Work {
    pool: RedisPool,
    concurrency: usize,
}

impl Consumer for Work {
    async fn run(self, seen: Arc<Seen>) -> Result<()> {
        let config = ProcessorConfig::default().num_workers(self.concurrency);
        let mut processor = Processor::new(self.pool, vec![QUEUE.to_owned()]).with_config(config);
        processor.register(Run::<0>(Arc::clone(&seen)));
        processor.register(Run::<1>(Arc::clone(&seen)));
        processor.register(Run::<2>(Arc::clone(&seen)));
        processor.register(Run::<3>(Arc::clone(&seen)));
        tokio::spawn(processor.run());
        seen.until_all().await;
        seen.tell_all();
        Ok(())
    }
}
