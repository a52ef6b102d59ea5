//! Knows when this process did not run: it was frozen, its machine was suspended or had no time for
//! it. What a run met meanwhile (a silent connection, a time that ran out, sheer slowness) says
//! nothing about the platform.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Whoever ticks is as late as this only if the process did not run.
pub(super) const LATE: Duration = Duration::from_millis(1_500);

/// When a thread that ticks several times in [`LATE`] was last seen to be late.
#[derive(Debug)]
pub(super) struct Standstill {
    origin: Instant,
    /// In milliseconds since the origin.
    ticked: AtomicU64,
    /// When the last standstill ended, in milliseconds since the origin; 0 if there was none.
    ended: AtomicU64,
}

impl Standstill {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), ticked: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// The process runs.
    pub(super) fn tick(&self) {
        self.tick_at(Instant::now());
    }

    /// Whether the process stood still at some time since then, or has just woken up.
    pub(super) fn since(&self, start: Instant) -> bool {
        self.was_between(start, Instant::now())
    }

    fn tick_at(&self, now: Instant) {
        let now = self.millis(now);
        if now.saturating_sub(self.ticked.load(Ordering::SeqCst)) > millis(LATE) {
            self.ended.store(now, Ordering::SeqCst);
        }
        self.ticked.store(now, Ordering::SeqCst);
    }

    fn was_between(&self, start: Instant, now: Instant) -> bool {
        // The next tick has yet to notice that it is late.
        let silent = self.millis(now).saturating_sub(self.ticked.load(Ordering::SeqCst));
        silent > millis(LATE) || self.ended.load(Ordering::SeqCst) > self.millis(start)
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.origin))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_saw_the_process_stand_still_is_told_from_one_that_did_not() {
        let still = Standstill::new();
        let at = |ms: u64| still.origin + Duration::from_millis(ms);
        for ms in (500..=5_000).step_by(500) {
            still.tick_at(at(ms));
        }
        assert!(!still.was_between(at(0), at(5_400)), "it ran all the time");
        // Frozen from 5.4 s to 60 s.
        assert!(still.was_between(at(5_000), at(60_000)), "before the thread noticed");
        still.tick_at(at(60_100));
        assert!(still.was_between(at(5_000), at(60_200)), "after the thread noticed");
        assert!(!still.was_between(at(60_150), at(60_200)), "a run of after that");
    }
}
