//! How many jobs to claim ahead of the handlers.
//!
//! Handlers that take a second need nothing in advance: a job that waits in this worker could run
//! in another. Handlers that take a microsecond would idle during every claim. So the worker
//! claims ahead what it is going to finish in the next [`AHEAD`], judged by what it finishes now,
//! of each queue for itself.

use std::time::{Duration, Instant};

use super::inflight::InFlight;
use crate::job::Queue;

/// Work for this long is claimed in advance: a few round trips to the broker.
const AHEAD: Duration = Duration::from_millis(20);
/// The most that is claimed of a queue in advance, whatever the speed.
const AHEAD_MAX: usize = 2_000;
/// The speed is measured over windows of at least this length.
const WINDOW: Duration = Duration::from_millis(5);

/// Measures how fast a queue's jobs end.
pub(super) struct Pace {
    queue: Queue,
    since: Instant,
    /// Jobs a second, smoothed.
    speed: f64,
}

impl Pace {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, since: Instant::now(), speed: 0.0 }
    }

    /// How many jobs to claim now; zero while enough wait for a handler.
    pub(super) fn wanted(&mut self, inflight: &InFlight) -> usize {
        self.measure(inflight);
        let ahead = self.ahead();
        // Before the look, or the change that matters could be missed in between.
        inflight.is_enough(&self.queue, ahead / 2);
        if inflight.buffered_of(&self.queue) > ahead / 2 {
            return 0;
        }
        inflight.room(&self.queue, ahead)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the product is positive and clamped"
    )]
    fn ahead(&self) -> usize {
        (self.speed * AHEAD.as_secs_f64()).clamp(0.0, AHEAD_MAX as f64) as usize
    }

    fn measure(&mut self, inflight: &InFlight) {
        let elapsed = self.since.elapsed();
        if elapsed < WINDOW {
            return;
        }
        let now = inflight.take_ended(&self.queue) as f64 / elapsed.as_secs_f64();
        // Rises at once, falls slowly: a pause between batches is not a slow handler.
        self.speed = if now > self.speed { now } else { self.speed.mul_add(0.8, now * 0.2) };
        self.since = Instant::now();
    }
}
