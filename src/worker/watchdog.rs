//! Tells whether the runtime still runs its tasks.
//!
//! The renewer's thread, which no handler can block, asks the runtime to run a task of nothing, and
//! asks again when it did. Being asked from outside also wakes a runtime whose timers stand still
//! because the thread that served them is blocked by a handler.
//!
//! A runtime that has not answered for [`STUCK`] is stuck: all its threads are in handlers that do
//! not yield. Its leases are left to expire, and a program that wants it so is ended, so that its
//! supervisor starts it anew. Time in which the asking thread did not run either (a process that was
//! frozen, a machine that was suspended) says nothing, and does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::standstill::{LATE, Standstill};

/// How often the runtime is asked.
const TICK: Duration = Duration::from_millis(500);
/// A runtime that has not answered for so long is stuck.
const STUCK: Duration = Duration::from_secs(5);
/// The exit code of a process whose runtime is stuck: start it again.
const EXIT_CODE: i32 = 75;

/// What a runtime calls each time that it ran a task of nothing.
pub type Pulse = Arc<dyn Fn() + Send + Sync>;

/// Watches a runtime.
pub(super) struct Watchdog {
    runtime: Handle,
    /// Whether the runtime has run the last task it was asked to.
    answered: Arc<AtomicBool>,
    stuck: AtomicBool,
    exits: bool,
    pulse: Option<Pulse>,
    standstill: Arc<Standstill>,
}

impl Watchdog {
    /// A watchdog of the current runtime, which ends the process, if it `exits`, when it is stuck.
    pub(super) fn new(exits: bool, standstill: &Arc<Standstill>, pulse: Option<Pulse>) -> Self {
        Self {
            standstill: Arc::clone(standstill),
            runtime: Handle::current(),
            answered: Arc::new(AtomicBool::new(true)),
            stuck: AtomicBool::new(false),
            exits,
            pulse,
        }
    }

    /// Watches, for ever; to be run outside of the runtime that is watched.
    pub(super) async fn watch(&self) {
        let mut silence = Duration::ZERO;
        loop {
            let asked = Instant::now();
            self.standstill.tick();
            self.ask();
            tokio::time::sleep(TICK).await;
            let answered = self.answered.load(Ordering::SeqCst);
            silence = lengthened(silence, asked.elapsed(), answered);
            let stuck = silence >= STUCK;
            if stuck && !self.stuck.swap(stuck, Ordering::SeqCst) {
                self.report();
            }
            self.stuck.store(stuck, Ordering::SeqCst);
        }
    }

    /// Whether the runtime is stuck.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::SeqCst)
    }

    /// At most one task is under way: a stuck runtime does not pile them up.
    fn ask(&self) {
        if self.answered.swap(false, Ordering::SeqCst) {
            let answered = Arc::clone(&self.answered);
            let pulse = self.pulse.clone();
            self.runtime.spawn(async move {
                answered.store(true, Ordering::SeqCst);
                if let Some(pulse) = pulse {
                    pulse();
                }
            });
        }
    }

    fn report(&self) {
        let stuck_for = humantime::format_duration(STUCK);
        if !self.exits {
            tracing::error!(%stuck_for, "the runtime is stuck; its leases are left to expire");
            return;
        }
        end_process("handlers block every thread of the runtime");
    }
}

/// Ends a process that handlers have made useless. Nothing of it can be stopped in good order, and
/// what is recorded is recorded.
pub(super) fn end_process(why: &'static str) {
    let code = EXIT_CODE;
    tracing::error!(why, code, "this worker is stuck; its process ends, its jobs run elsewhere");
    std::process::exit(code);
}

/// How long the runtime has been silent after a tick that took `took`.
///
/// A tick that took longer than [`LATE`] was no tick: we did not run.
fn lengthened(silence: Duration, took: Duration, answered: bool) -> Duration {
    if answered || took > LATE { Duration::ZERO } else { silence + took }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ticks: impl IntoIterator<Item = (Duration, bool)>) -> Duration {
        ticks
            .into_iter()
            .fold(Duration::ZERO, |silence, (took, answered)| lengthened(silence, took, answered))
    }

    #[test]
    fn only_silence_without_a_gap_makes_a_runtime_stuck() {
        assert!(after([(TICK, false); 10]) >= STUCK);
        assert!(after([(TICK, false); 9]) < STUCK);
        let blinked = [[(TICK, false); 9], [(TICK, true); 9], [(TICK, false); 9]];
        assert!(after(blinked.into_iter().flatten()) < STUCK);
    }

    #[test]
    fn a_process_that_was_frozen_is_not_stuck() {
        let frozen = (Duration::from_secs(60), false);
        assert!(after([(TICK, false), frozen]) < STUCK);
        assert!(after([frozen, frozen, (TICK, false)]) < STUCK);
    }
}
