//! apalis with its own storage in Redis, with batches as large as there are places.
//!
//! Its wake-ups do not work (every push is first "scheduled"), so it polls, at the shortest interval
//! at which no poll is lost. One storage carries one type, so mixed jobs are of one kind here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use apalis::prelude::{BackendExt as _, Data, TaskSink as _, WorkerBuilder, WorkerBuilderExt as _};
use apalis_redis::{Config, RedisStorage};

use super::seen::Seen;
use super::{Consumer, Producer, Role, serve};
use crate::protocol::{Args, Setup};

const POLL_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn play(role: Role, setup: Setup) -> Result<()> {
    let url = format!("unix://{}", setup.redis.display());
    let connection = apalis_redis::connect(url).await?;
    let config = Config::default().queue("bench").batch_size(setup.concurrency.max(10));
    let storage = RedisStorage::<Args>::new(connection).with_config(config);
    let producer = (role == Role::Produce).then(|| Enqueue(storage.clone()));
    let consumer = (role == Role::Work).then_some(Work { storage, concurrency: setup.concurrency });
    serve(setup, producer, consumer).await
}

#[derive(Clone)]
struct Enqueue(RedisStorage<Args>);

impl Producer for Enqueue {
    async fn one(&mut self, job: Args, _: usize) -> Result<()> {
        self.0.push(job).await.context("a push")
    }

    async fn bulk(&mut self, jobs: Vec<Args>) -> Result<()> {
        self.0.push_bulk(jobs).await.context("a push of many")
    }
}

struct Work {
    storage: RedisStorage<Args>,
    concurrency: usize,
}

async fn run(job: Args, seen: Data<Arc<Seen>>) {
    seen.run(&job).await;
}

impl Consumer for Work {
    async fn run(self, seen: Arc<Seen>) -> Result<()> {
        let worker = WorkerBuilder::new(format!("bench-{}", std::process::id()))
            .backend(self.storage.poll_with_interval(POLL_EVERY))
            .concurrency(self.concurrency)
            .data(Arc::clone(&seen))
            .build(run);
        let working = tokio::spawn(worker.run());
        tokio::select! {
            ended = working => {
                ended?.context("apalis' worker")?;
                anyhow::bail!("apalis' worker ended by itself")
            }
            () = seen.until_all() => {}
        }
        seen.tell_all();
        Ok(())
    }
}
