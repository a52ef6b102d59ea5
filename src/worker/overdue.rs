//! Ends attempts whose handlers do not let go.
//!
//! A handler that yields is dropped at its timeout. One that computes or blocks without a pause
//! cannot be stopped by anybody, and would keep its job for as long as it likes. So its attempt is
//! judged without it, a little after the timeout: the job goes on elsewhere, while the handler
//! still takes its place here. What it answers at last is not heard.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ends::Ends;
use super::inflight::InFlight;
use super::run::Ended;
use super::stack::timed_out;
use super::watchdog::end_process;
use crate::clock::SharedClock;
use crate::job::TraceParent;

/// How often attempts are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A handler that yields is gone this long after its timeout, also on a machine that is busy.
const LET_GO: Duration = Duration::from_millis(1_500);

/// Judges attempts that are overdue.
pub(super) struct Overdue {
    pub(super) inflight: Arc<InFlight>,
    pub(super) clock: SharedClock,
    pub(super) ends: Ends,
    pub(super) concurrency: usize,
    /// Whether the process ends when every place is taken by a handler that does not let go.
    pub(super) exits: bool,
}

impl Overdue {
    /// Looks until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look();
        }
    }

    fn look(&self) {
        for run in self.inflight.runs() {
            let Some(started) = run.started.get() else { continue };
            let took = started.elapsed();
            if took < run.spec.timeout + LET_GO {
                continue;
            }
            tracing::error!(
                job.id = %run.cx.id, job.kind = %run.cx.kind,
                job.queue = %run.cx.queue, job.platform = run.cx.queue.platform(),
                trace_id = run.cx.trace.map(TraceParent::trace_id),
                "the handler blocks its thread and does not let go; its job goes on without it"
            );
            let ended_at = self.clock.now();
            let result = Err(timed_out(&run));
            let ended = Ended::Answered { started_at: ended_at.before(took), ended_at, result };
            self.ends.overdue(&run, &ended);
        }
        if self.exits && self.inflight.overdue() >= self.concurrency {
            end_process("every place of this worker is taken by a handler that does not let go");
        }
    }
}
