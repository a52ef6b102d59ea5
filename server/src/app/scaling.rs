//! How many workers there should be, and where the metrics of those are that live.

use std::collections::BTreeMap;

use postworks::job::{Queue, QueuePattern, did_you_mean};

use super::types::{AutoscaleQuery, AutoscaleView, ScrapeTargets};
use super::{App, Error};

impl App {
    /// How things are with these queues, and how many workers they call for.
    pub async fn autoscale(&self, query: &AutoscaleQuery) -> Result<AutoscaleView, Error> {
        self.house_only()?;
        let pattern = match &query.queue {
            Some(text) => Some(self.pattern(text)?),
            None => None,
        };
        let chosen = |queue: &Queue| pattern.as_ref().is_none_or(|pattern| pattern.matches(queue));
        let standing = self.scaling.standing(&self.node, chosen).await?;
        Ok(AutoscaleView {
            ready: standing.ready,
            oldest_age_seconds: (standing.ready > 0).then_some(standing.oldest.as_secs_f64()),
            mean_run_seconds: standing.mean_run,
            busy_slots: standing.busy,
            slots: standing.slots,
            workers: standing.workers,
            desired_workers: standing.desired,
        })
    }

    /// The metrics pages of the processes that live, by what these are.
    pub async fn scrape_targets(&self) -> Result<Vec<ScrapeTargets>, Error> {
        self.house_only()?;
        let mut pages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for present in self.node.broker.roster().await? {
            if let Some(page) = present.metrics {
                pages.entry(present.role).or_default().push(page);
            }
        }
        let group = |(role, mut targets): (String, Vec<String>)| {
            targets.sort();
            ScrapeTargets { targets, labels: [("role".to_owned(), role)].into() }
        };
        Ok(pages.into_iter().map(group).collect())
    }

    /// How many workers the queues call for that this node's workers serve.
    pub(crate) async fn workers_wanted(&self) -> Result<u32, Error> {
        let served = self.node.queues();
        let standing = self.scaling.standing(&self.node, |queue| served.contains(queue)).await?;
        Ok(standing.desired)
    }

    /// A pattern that chooses a queue.
    fn pattern(&self, text: &str) -> Result<QueuePattern, Error> {
        let pattern =
            QueuePattern::parse(text).map_err(|error| Error::field("/queue", error.to_string()))?;
        if self.node.registry.queues().any(|queue| pattern.matches(queue)) {
            return Ok(pattern);
        }
        let hint = did_you_mean(text, self.node.registry.queues().map(Queue::as_str));
        Err(Error::NotFound(format!("{text:?} chooses no queue{hint}")))
    }
}
