//! What there is to see at one moment, and what changed since the moment before.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::job::{Queue, Timestamp};
use serde::Serialize;

use crate::app::types::{
    AutoscaleQuery, AutoscaleView, DeadGroupView, DeadQuery, GateView, QueueView,
};
use crate::cli::failure::Failure;
use crate::cli::target::Target;

/// Causes of dead letters that are asked for: the most that one answer has.
const GROUPS_MAX: u32 = 100;

/// What was seen at one look.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Picture {
    /// When it was asked for, by this machine's clock.
    pub(super) at: Timestamp,
    pub(super) queues: Vec<QueueView>,
    pub(super) breakers: Vec<GateView>,
    /// The queue that the causes are of; of all of them if there is none.
    pub(super) dead_groups_of: Option<Queue>,
    /// Causes of dead letters, at most 100.
    pub(super) dead_groups: Vec<DeadGroupView>,
    /// Workers and their slots, if that is known.
    pub(super) workers: Option<AutoscaleView>,
    /// Runs that have ended, by queue, if somebody counts them.
    pub(super) runs_ended: Option<BTreeMap<String, u64>>,
}

impl Picture {
    /// Looks at everything, one request after the other; at the causes of one queue if `queue`
    /// says so.
    pub(super) async fn take(
        target: &dyn Target,
        queue: Option<Queue>,
        at: Timestamp,
    ) -> Result<Self, Failure> {
        let queues = target.queues().await?.items;
        let breakers = target.gates().await?.items;
        let query = DeadQuery {
            queue: queue.as_ref().map(ToString::to_string),
            limit: Some(GROUPS_MAX),
            ..DeadQuery::default()
        };
        let dead_groups = target.dead_groups(&query).await?.items;
        // An older API has no such route.
        let workers = target.autoscale(&AutoscaleQuery::default()).await.ok();
        let runs_ended = target.runs_ended().await;
        Ok(Self { at, queues, breakers, dead_groups_of: queue, dead_groups, workers, runs_ended })
    }

    /// The breaker of a queue, and whatever else holds its jobs back.
    pub(super) fn breaker(&self, queue: &Queue) -> Option<&GateView> {
        self.breakers.iter().find(|breaker| breaker.name == *queue)
    }

    fn ended(&self, queue: &QueueView) -> Option<u64> {
        self.runs_ended.as_ref()?.get(queue.queue.as_str()).copied()
    }
}

/// What is in a queue and has not ended, dead letters aside; `None` while that is not known.
fn alive(queue: &QueueView) -> Option<u64> {
    Some(queue.ready? + queue.delayed? + queue.running?)
}

/// How fast a queue moves, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tempo {
    /// What came less what ended: below zero, the queue gets shorter.
    pub(super) net: f64,
    /// Runs that ended.
    pub(super) runs: Option<f64>,
}

impl Tempo {
    /// Of each queue, between two looks; empty if no time lies between them.
    pub(super) fn between(before: &Picture, now: &Picture) -> BTreeMap<Queue, Self> {
        let seconds = now.at.since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return BTreeMap::new();
        }
        let pairs = now.queues.iter().filter_map(|queue| {
            Some((queue, before.queues.iter().find(|was| was.queue == queue.queue)?))
        });
        let tempo = pairs.filter_map(|(queue, was)| {
            let grown = real(alive(queue)?) - real(alive(was)?);
            // Fewer than before: who counts has been started anew.
            let ended = now.ended(queue).zip(before.ended(was));
            let ended = ended.and_then(|(now, before)| now.checked_sub(before));
            let runs = ended.map(|ended| real(ended) / seconds);
            Some((queue.queue.clone(), Self { net: grown / seconds, runs }))
        });
        tempo.collect()
    }

    /// All queues' together.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            net: sum.net + one.net,
            runs: match (sum.runs, one.runs) {
                (None, runs) | (runs, None) => runs,
                (Some(sum), Some(runs)) => Some(sum + runs),
            },
        })
    }
}

fn real(count: u64) -> f64 {
    count as f64
}

/// What is in all queues together, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) ready: u64,
    pub(super) delayed: u64,
    pub(super) running: u64,
    pub(super) dead: u64,
    pub(super) paused: usize,
    /// Breakers that let nothing, or only a few calls, through.
    pub(super) open: usize,
}

impl Totals {
    pub(super) fn of(picture: &Picture) -> Self {
        let open = picture.breakers.iter().filter(|breaker| {
            breaker.forced_by.is_some() || breaker.state.as_deref().is_some_and(|s| s != "closed")
        });
        let mut totals = Self { open: open.count(), ..Self::default() };
        for queue in &picture.queues {
            totals.ready += queue.ready.unwrap_or(0);
            totals.delayed += queue.delayed.unwrap_or(0);
            totals.running += queue.running.unwrap_or(0);
            totals.dead += queue.dead;
            totals.paused += usize::from(queue.paused.is_some());
        }
        totals
    }
}

/// How long a queue's oldest due job has waited; `None` if none waits, as far as is known.
pub(super) fn oldest(queue: &QueueView) -> Option<Duration> {
    queue.ready.filter(|ready| *ready > 0)?;
    Duration::try_from_secs_f64(queue.oldest_ready_age_seconds?).ok()
}
