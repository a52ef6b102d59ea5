//! What surrounds a handler, outermost first. This is the one place that names the order.
//!
//! 1. *settle* (in `backend.rs`, apalis' outermost layer): whatever comes out is judged and
//!    recorded. Above everything that can fail.
//! 2. *interrupt*: the worker may take the job away at any moment (drain, lost lease). Outside the
//!    timeout, since a job taken away has not failed.
//! 3. *catch panic*: a panic is a failed attempt of this job only. Outside the timeout, so that
//!    a panic while the handler is dropped is caught too.
//! 4. *timeout*: innermost, so that only the handler's own time is counted.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tracing::Instrument;

use super::run::{Ended, Run};
use crate::clock::Clock;
use crate::job::JobError;

/// Runs one attempt.
pub(super) async fn attempt(run: &Run, clock: &dyn Clock) -> Ended {
    let span = tracing::info_span!(
        "attempt",
        job.id = %run.cx.id,
        job.kind = %run.cx.kind,
        job.queue = %run.cx.queue,
        job.attempt = run.cx.attempt,
    );
    let started_at = clock.now();
    let answer = catch_panic(run, timeout(run)).instrument(span);
    tokio::select! {
        biased;
        () = run.cx.cancelled.cancelled() => Ended::TakenAway,
        result = answer => Ended::Answered { started_at, ended_at: clock.now(), result },
    }
}

async fn timeout(run: &Run) -> Result<(), JobError> {
    let handler = run.handler.dispatch(run.envelope.args.get(), &run.cx);
    match tokio::time::timeout(run.spec.timeout, handler).await {
        Ok(result) => result,
        Err(_) => {
            let limit = humantime::format_duration(run.spec.timeout);
            let class = run.handler.interrupted(&run.cx.queue);
            Err(JobError::timed_out(class, format!("the attempt took longer than {limit}")))
        }
    }
}

async fn catch_panic(
    run: &Run,
    attempt: impl Future<Output = Result<(), JobError>>,
) -> Result<(), JobError> {
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let class = run.handler.interrupted(&run.cx.queue);
        Err(JobError::new(class, format!("the handler panicked: {words}")))
    })
}
