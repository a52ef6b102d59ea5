//! What the collector reads of broker and ledger.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::collector::{Source, SourceError};
use super::depth::depths;
use super::missing::missing;
use crate::broker::Broker;
use crate::client::FRESH;
use crate::clock::SharedClock;
use crate::job::{Category, NewJob, Queue, Timestamp};
use crate::ledger::{self, DeadCount, Ledger};
use crate::telemetry::metrics::{
    BREAKER_STATE, DLQ_JOBS, DLQ_OLDEST_AGE, QUEUE_GENERATION, QUEUE_JOBS, QUEUE_OLDEST_READY_AGE,
    QUEUE_PAUSED, QUEUE_WINDOW, QUEUE_WORKERS, REDIS_CLIENTS, REDIS_EVICTED, REDIS_FRAGMENTATION,
    REDIS_MEMORY, RELAY_LAG, Reading,
};

/// The stores, and what to read of them.
pub struct Stores {
    /// What waits and runs.
    pub broker: Arc<dyn Broker>,
    /// What is dead, and what waits beyond the broker's windows.
    pub ledger: Arc<dyn Ledger>,
    /// Tells the time.
    pub clock: SharedClock,
    /// The queues to read.
    pub queues: Vec<Queue>,
}

impl Stores {
    /// Everything that is read of them, each for itself: one that fails takes no other along.
    pub fn sources(self) -> Vec<Box<dyn Source>> {
        let stores = Arc::new(self);
        let parts = [
            Part::Depths,
            Part::Gates,
            Part::Workers,
            Part::DeadLetters,
            Part::Generations,
            Part::Missing,
            Part::Server,
        ];
        let source = |part| Box::new(StoresPart { stores: Arc::clone(&stores), part }) as Box<_>;
        parts.into_iter().map(source).collect()
    }

    async fn depths(&self) -> Result<Vec<Reading>, SourceError> {
        let (broker, ledger) = (self.broker.as_ref(), self.ledger.as_ref());
        let now = self.clock.now();
        let mut readings = Vec::new();
        let depths = depths(broker, ledger, &self.queues, now).await?;
        for (queue, depth) in self.queues.iter().map(Queue::as_str).zip(depths) {
            // What cannot be told has no reading: a number would be a lie.
            let Some(depth) = depth else { continue };
            let states =
                [("ready", depth.ready), ("delayed", depth.delayed), ("running", depth.running)];
            for (state, jobs) in states {
                readings.push(Reading::count(QUEUE_JOBS, &[queue, state], jobs));
            }
            let age = depth.oldest_ready_age.as_secs_f64();
            readings.push(Reading::new(QUEUE_OLDEST_READY_AGE, &[queue], age));
        }
        Ok(readings)
    }

    async fn gates(&self) -> Result<Vec<Reading>, SourceError> {
        let (gates, now) = self.broker.gates(&self.queues).await?;
        let mut readings = Vec::new();
        for (queue, gate) in self.queues.iter().map(Queue::as_str).zip(gates) {
            let Some(gate) = gate else { continue };
            let position = u64::from(gate.position(now).level());
            let window = gate.shut_until.map_or(0.0, |until| until.since(now).as_secs_f64());
            readings.push(Reading::count(BREAKER_STATE, &[queue], position));
            readings.push(Reading::count(QUEUE_PAUSED, &[queue], u64::from(gate.hold.paused)));
            readings.push(Reading::new(QUEUE_WINDOW, &[queue], window));
        }
        Ok(readings)
    }

    async fn workers(&self) -> Result<Vec<Reading>, SourceError> {
        let workers = self.broker.served(&self.queues).await?;
        let of_queue = |(queue, workers): (&Queue, usize)| {
            Reading::count(QUEUE_WORKERS, &[queue.as_str()], workers as u64)
        };
        Ok(self.queues.iter().zip(workers).map(of_queue).collect())
    }

    async fn dead_letters(&self) -> Result<Vec<Reading>, SourceError> {
        let counts = self.ledger.dead_counts().await?;
        let counts: HashMap<(&Queue, Category), &DeadCount> =
            counts.iter().map(|dead| ((&dead.queue, dead.category), dead)).collect();
        let now = self.clock.now();
        let mut readings = Vec::new();
        for queue in &self.queues {
            for category in Category::ALL {
                let labels = [queue.as_str(), category.as_str()];
                let dead = counts.get(&(queue, category));
                let age = dead.map_or(0.0, |dead| now.since(dead.oldest_died_at).as_secs_f64());
                let count = dead.map_or(0, |dead| dead.count);
                readings.push(Reading::count(DLQ_JOBS, &labels, count));
                readings.push(Reading::new(DLQ_OLDEST_AGE, &labels, age));
            }
        }
        Ok(readings)
    }

    async fn generations(&self) -> Result<Vec<Reading>, SourceError> {
        let known: HashMap<Queue, u32> = self.ledger.generations().await?.into_iter().collect();
        let of_queue = |queue: &Queue| {
            let generation = known.get(queue).copied().unwrap_or(0);
            Reading::count(QUEUE_GENERATION, &[queue.as_str()], u64::from(generation))
        };
        Ok(self.queues.iter().map(of_queue).collect())
    }

    /// Looks among the oldest due jobs: those that were forgotten are soon among them.
    async fn missing(&self) -> Result<Vec<Reading>, SourceError> {
        let now = self.clock.now();
        let jobs = self.oldest_due(now).await?;
        let mut absent = missing(self.broker.as_ref(), &jobs, now).await?;
        if !absent.is_empty() {
            // What ended between the two looks was open in the first and is absent in the second.
            let open = self.oldest_due(now).await?;
            absent.retain(|job| open.iter().any(|one| one.id == job.id));
        }
        let lag = absent.iter().map(|job| now.since(job.run_at.max(job.created_at))).max();
        Ok(vec![Reading::new(RELAY_LAG, &[], lag.unwrap_or_default().as_secs_f64())])
    }

    async fn oldest_due(&self, now: Timestamp) -> Result<Vec<NewJob>, ledger::Error> {
        let limit = u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX);
        // What is younger may still be pushed by its enqueuer.
        Ok(self.ledger.open_jobs(None, now.before(2 * FRESH), now, limit).await?.jobs)
    }

    async fn server(&self) -> Result<Vec<Reading>, SourceError> {
        let Some(used) = self.broker.server_use().await? else { return Ok(Vec::new()) };
        let mut readings = vec![
            Reading::count(REDIS_MEMORY, &["used"], used.memory_used),
            Reading::count(REDIS_MEMORY, &["rss"], used.memory_rss),
            Reading::new(REDIS_FRAGMENTATION, &[], used.fragmentation),
            Reading::count(REDIS_CLIENTS, &[], used.clients),
            Reading::count(REDIS_EVICTED, &[], used.evicted_keys),
        ];
        readings.extend(used.memory_max.map(|max| Reading::count(REDIS_MEMORY, &["max"], max)));
        Ok(readings)
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Depths,
    Gates,
    Workers,
    DeadLetters,
    Generations,
    Missing,
    Server,
}

struct StoresPart {
    stores: Arc<Stores>,
    part: Part,
}

#[async_trait]
impl Source for StoresPart {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Depths => "depths",
            Part::Gates => "gates",
            Part::Workers => "workers",
            Part::DeadLetters => "dead letters",
            Part::Generations => "generations",
            Part::Missing => "missing jobs",
            Part::Server => "broker's server",
        }
    }

    async fn read(&self) -> Result<Vec<Reading>, SourceError> {
        match self.part {
            Part::Depths => self.stores.depths().await,
            Part::Gates => self.stores.gates().await,
            Part::Workers => self.stores.workers().await,
            Part::DeadLetters => self.stores.dead_letters().await,
            Part::Generations => self.stores.generations().await,
            Part::Missing => self.stores.missing().await,
            Part::Server => self.stores.server().await,
        }
    }
}
