//! Which queues are to be claimed from, and when.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fetch::FALLBACK;
use crate::broker::Beyond;
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
    /// When whoever refills windows was last told that there is a gap.
    told: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(queues: &[Queue]) -> Self {
        Self {
            turn: queues.iter().cloned().collect(),
            due: HashMap::new(),
            fallback: Instant::now() + FALLBACK,
            generations: HashMap::new(),
            told: None,
        }
    }

    pub(super) fn heed(&mut self, woken: Woken, queues: &[Queue]) {
        match woken {
            Woken::Queue(queue) => self.wake(queue),
            Woken::All => self.wake_all(queues),
        }
    }

    pub(super) fn wake_all(&mut self, queues: &[Queue]) {
        for queue in queues {
            self.wake(queue.clone());
        }
    }

    /// A window that is low is filled at once; behind any other gap a job may fall due that
    /// overtakes, which need not be known sooner than in a second.
    pub(super) fn tell_of_gap(&mut self, beyond: Beyond, refill: &Notify) {
        let now = Instant::now();
        let lately = self.told.is_some_and(|told| now - told < GAP_TOLD);
        if beyond == Beyond::Low || (beyond == Beyond::More && !lately) {
            self.told = Some(now);
            refill.notify_one();
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

    pub(super) fn wake(&mut self, queue: Queue) {
        if !self.turn.contains(&queue) {
            self.turn.push_back(queue);
        }
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
