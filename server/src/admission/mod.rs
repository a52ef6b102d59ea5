//! Whether the API takes more work. Beyond what can be done in good time, a caller is better off
//! with a refusal within milliseconds than with a job that waits for hours.
//!
//! A sampler measures the load in the background and judges it by the bounds in `[admission]`; a
//! request only reads the verdict.

mod judge;
mod latch;
mod sample;

use std::sync::{Arc, PoisonError, RwLock};

use postworks::config;
use postworks::ledger::BATCH_MAX;
use postworks::telemetry::metrics::{ADMISSION_REFUSED, ADMISSION_STATE};
use postworks_workers::node::Node;
use tokio_util::sync::CancellationToken;

use judge::Verdict;
pub use judge::{Busy, Reason};

/// The work that a request would make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A job, or a publication.
    One {
        /// Whether it has a head start.
        urgent: bool,
    },
    /// Jobs, all or none.
    Many(usize),
}

/// Whether more work is taken.
#[derive(Debug)]
pub struct Admission {
    config: config::Admission,
    verdict: RwLock<Verdict>,
}

impl Admission {
    /// Takes everything until the load is known.
    pub fn new(config: &config::Admission) -> Self {
        Self { config: config.clone(), verdict: RwLock::default() }
    }

    /// Starts the metrics at zero, so that a first refusal is a rise and not a series' birth.
    pub fn start_metrics(&self) {
        for reason in Reason::ALL {
            ADMISSION_REFUSED.count(&[reason.as_str()]).absolute(0);
            ADMISSION_STATE.level(&[reason.as_str()]).set(0.0);
        }
    }

    /// Measures the load of a node until `stop`.
    pub async fn watch(self: Arc<Self>, node: Arc<Node>, stop: CancellationToken) {
        sample::Sampler::new(node, self.config.clone()).run(&self, &stop).await;
    }

    /// Whether any request whatever is taken: then nobody needs to know what it asks for.
    pub fn takes_all(&self) -> bool {
        let verdict = self.verdict();
        verdict.ordinary.is_none() && self.beyond_depth(&verdict, BATCH_MAX).is_none()
    }

    /// Why the work is not taken now; `None` if it is. A refusal is counted.
    pub fn refuses(&self, asked: Asked) -> Option<Busy> {
        let verdict = self.verdict();
        let busy = match asked {
            Asked::One { urgent: true } => verdict.urgent,
            Asked::One { urgent: false } => verdict.ordinary,
            Asked::Many(jobs) => verdict.ordinary.or_else(|| self.beyond_depth(&verdict, jobs)),
        };
        if let Some(busy) = busy {
            ADMISSION_REFUSED.count(&[busy.reason.as_str()]).increment(1);
        }
        busy
    }

    /// Many jobs at once must fit; but if nothing waits, they are taken however many they are.
    fn beyond_depth(&self, verdict: &Verdict, jobs: usize) -> Option<Busy> {
        let (bound, depth) = (u64::from(self.config.depth?), verdict.depth?);
        let fits = depth == 0 || depth.saturating_add(jobs as u64) <= bound;
        let until = bound.saturating_sub(jobs as u64);
        (!fits).then_some(Busy { reason: Reason::Depth, measured: depth, until })
    }

    fn verdict(&self) -> Verdict {
        *self.verdict.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, verdict: Verdict) {
        let mut held = self.verdict.write().unwrap_or_else(PoisonError::into_inner);
        match (held.ordinary, verdict.ordinary) {
            (None, Some(busy)) => tracing::warn!(%busy, "the API takes no more work for now"),
            (Some(_), None) => tracing::info!("the API takes work again"),
            _ => {}
        }
        *held = verdict;
    }
}
