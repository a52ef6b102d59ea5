//! How long runs took lately, of each queue: what tells others how many workers are needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::run::Ended;
use crate::broker::Ran;
use crate::job::Queue;

/// Measures how long the runs of a process take.
#[derive(Debug, Default)]
pub struct Tempo {
    queues: Mutex<HashMap<Queue, Measured>>,
}

#[derive(Debug)]
struct Measured {
    ran: Ran,
    at: Instant,
}

impl Measured {
    fn fade(&mut self, now: Instant) {
        self.ran.fade(now.saturating_duration_since(self.at).as_secs_f64());
        self.at = now;
    }
}

impl Tempo {
    /// How long the runs of these queues took lately; nothing for those that had none.
    pub fn of(&self, queues: &[Queue]) -> BTreeMap<Queue, Ran> {
        self.at(Instant::now(), queues)
    }

    fn at(&self, now: Instant, queues: &[Queue]) -> BTreeMap<Queue, Ran> {
        let mut measured = self.lock();
        let mut of = |queue: &Queue| {
            let Some(measured) = measured.get_mut(queue) else { return Ran::default() };
            measured.fade(now);
            measured.ran
        };
        queues.iter().map(|queue| (queue.clone(), of(queue))).collect()
    }

    /// A run ended.
    pub(super) fn ended(&self, queue: &Queue, ended: &Ended) {
        if let Ended::Answered { started_at, ended_at, .. } = ended {
            self.add(Instant::now(), queue, ended_at.since(*started_at));
        }
    }

    fn add(&self, now: Instant, queue: &Queue, took: Duration) {
        let mut queues = self.lock();
        // Nearly always there: its name is not copied for each run.
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Measured { ran: Ran::default(), at: now });
        }
        if let Some(measured) = queues.get_mut(queue) {
            measured.fade(now);
            measured.ran.add(took.as_secs_f64());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Queue, Measured>> {
        // Nothing panics between two changes that belong together.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_a_mean_of_its_own_which_its_last_runs_outweigh() {
        let queue = |name| Queue::parse(name).unwrap();
        let (fast, slow, never) = (queue("a.b"), queue("a.c"), queue("a.d"));
        let tempo = Tempo::default();
        let start = Instant::now();
        for _ in 0..10 {
            tempo.add(start, &fast, Duration::from_secs(1));
        }
        tempo.add(start, &slow, Duration::from_secs(3));
        let later = start + Duration::from_secs(600);
        for _ in 0..10 {
            tempo.add(later, &fast, Duration::from_millis(10));
        }
        let measured = tempo.at(later, &[fast.clone(), slow.clone(), never.clone()]);
        let mean = |queue: &Queue| measured[queue].seconds / measured[queue].runs;
        assert!((0.010..0.011).contains(&mean(&fast)), "{measured:?}");
        assert!((mean(&slow) - 3.0).abs() < 1e-6, "{measured:?}");
        assert_eq!(measured[&never], Ran::default());
    }
}
