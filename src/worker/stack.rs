//! What surrounds a handler, outermost first. This is the one place that names the order.
//!
//! 1. *settle* (in `backend.rs`, apalis' outermost layer): whatever comes out is judged and
//!    recorded. Above everything that can fail.
//! 2. *breaker*: a job that was claimed before the breaker opened, and has not begun, goes back.
//!    Outside the attempt, which it must not cost. All other gates are at the claim.
//! 3. *interrupt*: the worker may take the job away at any moment (drain, lost lease). Outside the
//!    timeout, since a job taken away has not failed.
//! 4. *catch panic*: a panic is a failed attempt of this job only. Outside the timeout, so that
//!    a panic while the handler is dropped is caught too.
//! 5. *timeout*: innermost, so that only the handler's own time is counted.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use apalis_core::task::Task;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::Service;
use tracing::Instrument;

use super::blocks::Blocks;
use super::inflight::InFlight;
use super::run::{Ended, Run};
use super::span::{processed, processing};
use crate::clock::SharedClock;
use crate::job::{ErrorClass, JobError, TraceParent};

/// Attempts as a service, which is what apalis runs.
pub(super) struct Attempts {
    pub(super) inflight: Arc<InFlight>,
    pub(super) clock: SharedClock,
    pub(super) blocks: Arc<Blocks>,
}

impl Service<Task<Arc<Run>>> for Attempts {
    type Response = Ended;
    type Error = Infallible;
    /// Boxed, so that apalis' own future stays small.
    type Future = BoxFuture<'static, Result<Ended, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Arc<Run>>) -> Self::Future {
        // Here and not in the future. Who is woken by a task runs next on its thread, and on no
        // other: a handler that blocks its thread would take the fetcher with it.
        self.inflight.started(&task.args.cx.queue);
        let clock = Arc::clone(&self.clock);
        let blocks = Arc::clone(&self.blocks);
        async move {
            let run = task.args;
            if run.cx.breaker.has_opened() {
                return Ok(Ended::TakenAway);
            }
            // Its account may have been blocked while it waited for its place.
            let over = run.envelope.expires_at <= clock.now();
            let heeded = run.envelope.account.filter(|_| run.spec.heeds_windows && !over);
            match blocks.put_off(heeded) {
                Some(until) => Ok(Ended::PutOff(until)),
                None => Ok(attempt(run, clock).await),
            }
        }
        .boxed()
    }
}

/// Runs one attempt.
async fn attempt(run: Arc<Run>, clock: SharedClock) -> Ended {
    let run = run.as_ref();
    let logged = tracing::info_span!(
        "attempt",
        job.id = %run.cx.id,
        job.kind = %run.cx.kind,
        job.queue = %run.cx.queue,
        job.platform = run.cx.queue.platform(),
        job.attempt = run.cx.attempt,
        trace_id = run.cx.trace.map(TraceParent::trace_id),
    );
    let started_at = clock.now();
    let _ = run.started.set(Instant::now());
    let traced = processing(&run.cx);
    let answer = catch_panic(timeout(run)).instrument(logged).instrument(traced.clone());
    let ended = tokio::select! {
        biased;
        () = run.cx.cancelled.cancelled() => Ended::TakenAway,
        result = answer => Ended::Answered { started_at, ended_at: clock.now(), result },
    };
    processed(&traced, &ended);
    ended
}

async fn timeout(run: &Run) -> Result<(), JobError> {
    let handler = run.handler.dispatch(run.envelope.args.get(), &run.cx);
    match tokio::time::timeout(run.spec.timeout, handler).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(run)),
    }
}

/// What an attempt failed with that took too long.
pub(super) fn timed_out(run: &Run) -> JobError {
    let limit = humantime::format_duration(run.spec.timeout);
    let class = match run.cx.effect.get() {
        Some(effect) => effect.interrupted(),
        None => run.handler.interrupted(&run.cx.queue),
    };
    JobError::timed_out(class, format!("the attempt took longer than {limit}"))
}

async fn catch_panic(attempt: impl Future<Output = Result<(), JobError>>) -> Result<(), JobError> {
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(JobError::new(ErrorClass::Bug, format!("the handler panicked: {words}")))
    })
}
