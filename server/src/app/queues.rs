//! What is in the queues.

use std::collections::BTreeMap;

use postworks::chore::depths;
use postworks::job::{Kind, Queue};

use super::types::{HolderView, Page, QueueView};
use super::{App, Error};

impl App {
    /// Every queue and what is in it, of all tenants.
    pub async fn queues(&self) -> Result<Page<QueueView>, Error> {
        self.house_only()?;
        let queues: Vec<Queue> = self.node.registry.queues().cloned().collect();
        let mut dead: BTreeMap<Queue, u64> = BTreeMap::new();
        for count in self.node.ledger.dead_counts().await? {
            *dead.entry(count.queue).or_default() += count.count;
        }
        let holds = self.node.ledger.queue_holds().await?;
        let paused = |queue: &Queue| {
            let hold = holds.iter().find(|hold| hold.queue == *queue)?;
            hold.paused.clone().map(HolderView::from)
        };
        let (broker, ledger) = (self.node.broker.as_ref(), self.node.ledger.as_ref());
        let depths = depths(broker, ledger, &queues, self.node.clock.now()).await?;
        let views = queues.into_iter().zip(depths).map(|(queue, depth)| QueueView {
            dead: dead.get(&queue).copied().unwrap_or(0),
            ready: depth.map(|depth| depth.ready),
            delayed: depth.map(|depth| depth.delayed),
            running: depth.map(|depth| depth.running),
            oldest_ready_age_seconds: depth.map(|depth| depth.oldest_ready_age.as_secs_f64()),
            paused: paused(&queue),
            queue,
        });
        Ok(Page { items: views.collect(), next: None })
    }

    /// Every queue that jobs can be routed to, and the kind of its jobs.
    pub fn queue_kinds(&self) -> Vec<(Queue, Kind)> {
        self.node.registry.queues().map(|queue| (queue.clone(), queue.kind())).collect()
    }
}
