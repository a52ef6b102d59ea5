//! What a handler is in every system: it counts, keeps how soon it started, and takes its time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::say;
use crate::protocol::{Args, Event, Setup, now_us};

/// What the jobs of one worker did.
#[derive(Debug, Default)]
pub(super) struct Seen {
    jobs: usize,
    sleep: Duration,
    journal: bool,
    /// How long jobs took to start, in the order of their starts; empty if nobody asked.
    latencies_us: Vec<AtomicU64>,
    first: OnceLock<Instant>,
    started: AtomicUsize,
    ended: AtomicUsize,
    all: Notify,
}

impl Seen {
    pub(super) fn new(setup: &Setup) -> Self {
        let kept = if setup.latencies { setup.jobs } else { 0 };
        Self {
            jobs: setup.jobs,
            sleep: Duration::from_millis(setup.sleep_ms),
            journal: setup.journal,
            latencies_us: (0..kept).map(|_| AtomicU64::new(0)).collect(),
            first: OnceLock::new(),
            started: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            all: Notify::new(),
        }
    }

    /// Runs a job.
    pub(super) async fn run(&self, job: &Args) {
        self.first.get_or_init(Instant::now);
        let at = self.started.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.latencies_us.get(at) {
            slot.store(now_us().saturating_sub(job.sent_us), Ordering::Relaxed);
        }
        if self.journal {
            say(&Event::Started { job: job.n });
        }
        if !self.sleep.is_zero() {
            tokio::time::sleep(self.sleep).await;
        }
        if self.journal {
            say(&Event::Finished { job: job.n });
        }
        if self.ended.fetch_add(1, Ordering::AcqRel) + 1 == self.jobs {
            self.all.notify_one();
        }
    }

    /// Returns when as many jobs have ended as the runner waits for.
    pub(super) async fn until_all(&self) {
        self.all.notified().await;
    }

    /// Tells the runner that all have run, now.
    pub(super) fn tell_all(&self) {
        let seconds = self.first.get().map_or(0.0, |first| first.elapsed().as_secs_f64());
        let kept = self.latencies_us.iter();
        let latencies_us = kept.map(|latency| latency.load(Ordering::Relaxed)).collect();
        say(&Event::All { seconds, latencies_us });
    }
}
