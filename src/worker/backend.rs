//! The worker as apalis sees it: a backend that yields claimed jobs, and the outermost layer that
//! judges what comes out.
//!
//! apalis ends a worker on any error of its backend and does not poll a draining one, so nothing
//! here can fail or wait for a store: claiming, settling and draining are tasks of our own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::WorkerBuilder;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::error::{BoxDynError, WorkerError};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use tokio::task::JoinHandle;
use tower::{Layer, Service};

use super::places::Places;
use super::run::{Ended, Run};
use super::stack::Attempts;
use crate::job::WorkerId;

/// Called with every run that ended.
pub(super) type OnEnded = Arc<dyn Fn(&Run, Ended) + Send + Sync>;

/// Yields claimed jobs to apalis.
pub(super) struct ClaimedJobs {
    pub(super) places: Arc<Places>,
    pub(super) on_ended: OnEnded,
}

/// Never returned: any error of a backend ends the worker.
#[derive(Debug, thiserror::Error)]
pub(super) enum Never {}

impl Backend for ClaimedJobs {
    type Task = Task<Arc<Run>>;
    type Error = Never;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        self.places.poll_next(cx).map(|run| Some(Ok(Task::new(run))))
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for ClaimedJobs {
    type Args = Arc<Run>;
    type Id = ();
    /// We decode ourselves: a decode error must not end the worker.
    type Kind = Ephemeral;
    type Config = ();
    type Layer = SettleLayer;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> SettleLayer {
        SettleLayer { on_ended: Arc::clone(&self.on_ended) }
    }
}

/// Hands every run's end to the settler.
#[derive(Clone)]
pub(super) struct SettleLayer {
    on_ended: OnEnded,
}

impl<S> Layer<S> for SettleLayer {
    type Service = Settle<S>;

    fn layer(&self, inner: S) -> Settle<S> {
        Settle { inner, on_ended: Arc::clone(&self.on_ended) }
    }
}

#[derive(Clone)]
pub(super) struct Settle<S> {
    inner: S,
    on_ended: OnEnded,
}

impl<S> Service<Task<Arc<Run>>> for Settle<S>
where
    S: Service<Task<Arc<Run>>, Response = Ended>,
    S::Error: Into<BoxDynError>,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = SettleFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, task: Task<Arc<Run>>) -> Self::Future {
        let guard =
            Guard { run: Some(Arc::clone(&task.args)), on_ended: Arc::clone(&self.on_ended) };
        SettleFuture { attempt: self.inner.call(task), guard }
    }
}

pin_project_lite::pin_project! {
    /// An attempt whose end is reported, whatever happens to it.
    pub(super) struct SettleFuture<F> {
        #[pin]
        attempt: F,
        guard: Guard,
    }
}

/// Reports a run that was dropped before it ended as taken away.
struct Guard {
    run: Option<Arc<Run>>,
    on_ended: OnEnded,
}

impl Guard {
    fn report(&mut self, ended: Ended) {
        if let Some(run) = self.run.take() {
            (self.on_ended)(&run, ended);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.report(Ended::TakenAway);
    }
}

impl<F, E> Future for SettleFuture<F>
where
    F: Future<Output = Result<Ended, E>>,
{
    type Output = Result<(), BoxDynError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // An error here is apalis' own (its executor is gone): the job goes back unburnt.
        let ended = ready!(this.attempt.poll(cx)).unwrap_or(Ended::TakenAway);
        this.guard.report(ended);
        Poll::Ready(Ok(())) // apalis only sees that the task ended
    }
}

/// Runs claimed jobs on apalis until the task is aborted.
pub(super) fn execute(
    id: &WorkerId,
    concurrency: usize,
    jobs: ClaimedJobs,
    attempts: Attempts,
) -> JoinHandle<Result<(), WorkerError>> {
    let worker = WorkerBuilder::new(id.as_str())
        .backend(jobs)
        .concurrency(concurrency)
        .parallelize(tokio::spawn)
        .build(attempts);
    tokio::spawn(worker.run())
}
