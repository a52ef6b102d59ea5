//! Which queues are to be claimed from, and when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::FALLBACK;
use crate::broker::{BATCH_MAX, Beyond};
use crate::job::{Queue, Timestamp};

/// That there is a gap behind a window is told no more often than this.
const GAP_TOLD: Duration = Duration::from_secs(1);

/// What a wake-up is about.
pub(super) enum Woken {
    /// A job became claimable here.
    Queue(Queue),
    /// Anything may have happened.
    All,
}

/// Which queues may have due work.
pub(super) struct Schedule {
    /// To be claimed from now, in turn.
    pub(super) turn: VecDeque<Queue>,
    /// When the next delayed job of a queue falls due.
    due: HashMap<Queue, Instant>,
    fallback: Instant,
    /// The generation of each queue at its last claim.
    generations: HashMap<Queue, u32>,
    /// When somebody was last told that there is a gap.
    told: Option<Instant>,
    /// Whether the last wake-up was no news: of a queue that was on the schedule, and so is claimed
    /// from anyway. Whoever listens for them looks here.
    pub(super) stale: Arc<AtomicBool>,
}

impl Schedule {
    pub(super) fn new(queues: &[Queue]) -> Self {
        Self {
            turn: queues.iter().cloned().collect(),
            due: HashMap::new(),
            fallback: Instant::now() + FALLBACK,
            generations: HashMap::new(),
            told: None,
            stale: Arc::default(),
        }
    }

    /// Whether to call for a refill. A window that is low is filled at once; behind any other gap
    /// a job may fall due that overtakes, which need not be known sooner than in a second.
    pub(super) fn calls_for_refill(&mut self, beyond: Beyond) -> bool {
        let now = Instant::now();
        let lately = self.told.is_some_and(|told| now - told < GAP_TOLD);
        let calls = beyond == Beyond::Low || (beyond == Beyond::More && !lately);
        if calls {
            self.told = Some(now);
        }
        calls
    }

    pub(super) fn heed(&mut self, woken: Woken, queues: &[Queue]) {
        let is_news = match woken {
            Woken::Queue(queue) => self.wake(queue),
            Woken::All => {
                self.wake_all(queues);
                true
            }
        };
        self.stale.store(!is_news, Ordering::Relaxed);
    }

    pub(super) fn wake_all(&mut self, queues: &[Queue]) {
        for queue in queues {
            self.wake(queue.clone());
        }
    }

    /// Whether a queue is in another generation than at the claim before.
    pub(super) fn is_new(&mut self, queue: &Queue, generation: u32) -> bool {
        if self.generations.get(queue) == Some(&generation) {
            return false;
        }
        self.generations.insert(queue.clone(), generation).is_some()
    }

    /// Whether it is time to look at everything; once each time.
    pub(super) fn falls_back(&mut self) -> bool {
        let now = Instant::now();
        let due = self.fallback <= now;
        if due {
            self.fallback = now + FALLBACK;
        }
        due
    }

    /// Puts a queue on the schedule; answers whether it was not there.
    pub(super) fn wake(&mut self, queue: Queue) -> bool {
        let is_new = !self.turn.contains(&queue);
        if is_new {
            self.turn.push_back(queue);
        }
        is_new
    }

    /// The next queue that wants any jobs, and how many to claim from it: its share of what it
    /// wants if all on the schedule were like it. It goes to the end of the schedule, and stays on
    /// it: an error must not lose its turn.
    pub(super) fn next(
        &mut self,
        mut wanted: impl FnMut(&Queue) -> usize,
    ) -> Option<(Queue, usize)> {
        let turns = self.turn.len();
        for _ in 0..turns {
            let queue = self.turn.pop_front()?;
            let wanted = wanted(&queue);
            self.turn.push_back(queue.clone());
            if wanted > 0 {
                return Some((queue, wanted.div_ceil(turns).min(BATCH_MAX)));
            }
        }
        None
    }

    /// Puts the queues whose time has come on the schedule.
    pub(super) fn wake_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Queue> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(queue, _)| queue.clone()).collect();
        for queue in due {
            self.due.remove(&queue);
            self.wake(queue);
        }
    }

    /// Takes a queue without due work off the schedule until its next job falls due.
    pub(super) fn rest(&mut self, queue: &Queue, next_due: Option<Timestamp>, now: Timestamp) {
        self.turn.retain(|other| other != queue);
        match next_due {
            Some(at) => self.due.insert(queue.clone(), Instant::now() + at.since(now)),
            None => self.due.remove(queue),
        };
    }

    /// Claims from a queue again at this time, if nothing makes us do it earlier.
    pub(super) fn look_at(&mut self, queue: &Queue, at: Instant) {
        let due = self.due.entry(queue.clone()).or_insert(at);
        *due = at.min(*due);
    }

    pub(super) fn until_next(&self) -> Duration {
        let next = self.due.values().copied().fold(self.fallback, Instant::min);
        // A millisecond more, since the broker's clock counts in whole ones.
        next.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wake_up_of_a_queue_that_is_claimed_from_anyway_is_no_news() {
        let queues = ["a", "b"].map(|name| Queue::parse(name).unwrap());
        let [a, b] = queues.clone();
        let mut schedule = Schedule::new(&queues);
        let is_news = |woken, schedule: &mut Schedule| {
            schedule.heed(woken, &queues);
            !schedule.stale.load(Ordering::Relaxed)
        };
        assert!(!is_news(Woken::Queue(a.clone()), &mut schedule));
        schedule.rest(&a, None, Timestamp::from_millis(0));
        assert!(is_news(Woken::Queue(a.clone()), &mut schedule));
        assert!(!is_news(Woken::Queue(a), &mut schedule), "it is there since the one before");
        assert!(!is_news(Woken::Queue(b), &mut schedule), "the other one was there throughout");
        assert!(is_news(Woken::All, &mut schedule), "anything may have happened");
    }

    proptest! {
        /// Queues come on and off the schedule, and want some jobs or none, as it happens.
        #[test]
        fn a_queue_that_wants_jobs_is_passed_over_by_each_other_once_at_most(
            steps in prop::collection::vec((0..6_usize, prop::array::uniform6(0..50_usize)), 1..80),
        ) {
            let queues: Vec<Queue> =
                (0..6).map(|n| Queue::parse(&format!("kind_{n}")).unwrap()).collect();
            let at = |queue: &Queue| queues.iter().position(|other| other == queue).unwrap();
            let mut schedule = Schedule::new(&queues);
            // How often each other was chosen since a queue began to want jobs or was chosen.
            let mut passed = vec![HashMap::<Queue, u32>::new(); 6];
            for (event, wants) in steps {
                if schedule.turn.contains(&queues[event]) && wants[event] % 3 == 0 {
                    schedule.rest(&queues[event], None, Timestamp::from_millis(0));
                } else {
                    schedule.wake(queues[event].clone());
                }
                let on: Vec<usize> = schedule.turn.iter().map(at).collect();
                let chosen = schedule.next(|queue| wants[at(queue)]);
                prop_assert_eq!(chosen.is_none(), on.iter().all(|at| wants[*at] == 0));
                for other in 0..6 {
                    if !on.contains(&other) || wants[other] == 0 {
                        passed[other].clear();
                    }
                }
                let Some((queue, share)) = chosen else { continue };
                let wanted = wants[at(&queue)];
                prop_assert!(share <= wanted && share * on.len() >= wanted);
                passed[at(&queue)].clear();
                for other in on.into_iter().filter(|other| *other != at(&queue) && wants[*other] > 0) {
                    let times = passed[other].entry(queue.clone()).or_default();
                    *times += 1;
                    prop_assert!(*times <= 1, "{queue} was twice before {}", queues[other]);
                }
            }
        }
    }
}
