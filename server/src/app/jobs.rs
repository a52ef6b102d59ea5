//! Showing, listing and cancelling jobs.
//!
//! The ledger knows whether a job is live; which of the live ones run now, only the broker knows.
//! Without it, due jobs are shown as ready.

use std::collections::{BTreeMap, HashMap};

use postworks::broker::{Place, Removed};
use postworks::job::{
    DataCleanup, Job as _, JobId, Kind, Queue, State, Tenant, Timestamp, TraceParent,
};
use postworks::ledger::{Cancel, FailedAttempt, JobFilter, JobRow};
use postworks_workers::store::Progress;
use serde_json::value::RawValue;

use super::family::parent_view;
use super::paging::{Wanted, cursor};
use super::types::{
    AttemptView, CancelState, CancelledJob, JobView, JobsQuery, Page, ProgressView, TenantRows, Why,
};
use super::{App, Error};

/// Rows looked through for one page of a list that the broker filters.
const SCAN_MAX: usize = 2_000;
/// Rows read at a time for it.
const SCAN_BATCH: u32 = 200;

impl App {
    /// A job with its attempts.
    pub async fn job(&self, id: JobId) -> Result<JobView, Error> {
        let row = self.row(id).await?;
        let (attempts, parents) =
            tokio::try_join!(self.ledger.attempts(id), self.ledger.parents(id))?;
        let state = self.states(std::slice::from_ref(&row)).await.into_iter().next();
        let mut view = view(&row, state.unwrap_or(row.state))?;
        view.attempts = Some(attempt_views(&row, attempts));
        view.parents = Some(parents.into_iter().map(parent_view).collect());
        if row.job.kind.as_str() == DataCleanup::KIND {
            view.progress = self.progress(id).await?;
        }
        Ok(view)
    }

    /// What a cleanup has deleted so far, or would delete, if it has come to any of it.
    async fn progress(&self, id: JobId) -> Result<Option<Vec<ProgressView>>, Error> {
        let found = self.store.cleanup_progress(id).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let names = self.tenant_names().await?;
        let name = |tenant: Tenant| names.get(&tenant).cloned().unwrap_or(tenant.to_string());
        let progress = |found: Progress| ProgressView {
            scope: found.scope.as_str().to_owned(),
            rows: found.rows,
            partitions: found.partitions,
            done: found.done,
            tenants: found
                .tenants
                .into_iter()
                .map(|(tenant, rows)| TenantRows { tenant: name(tenant), rows })
                .collect(),
        };
        Ok(Some(found.into_iter().map(progress).collect()))
    }

    /// Lists jobs.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let state = parse("/state", query.state.as_deref(), str::parse::<State>)?;
        let kind = query.kind.as_deref().map(|kind| self.kind(kind)).transpose()?;
        let queue = parse("/queue", query.queue.as_deref(), Queue::parse)?;
        let filter = JobFilter {
            state,
            kind,
            queue,
            before: wanted.before.map(JobId::from_uuid),
            limit: wanted.probe(),
        };
        if matches!(state, Some(State::Ready | State::Running)) {
            return self.jobs_by_broker(filter, wanted).await;
        }
        let rows = self.ledger.jobs(&filter, self.node.clock.now()).await?;
        let states = self.states(&rows).await;
        let views: Result<Vec<JobView>, Error> =
            rows.iter().zip(states).map(|(row, state)| view(row, state)).collect();
        Ok(wanted.page(views?, |job| job.id.as_uuid()))
    }

    /// Lists due jobs that run, or that do not. A page may come up short with a `next`: then
    /// enough rows were looked through for one request.
    async fn jobs_by_broker(
        &self,
        mut filter: JobFilter,
        wanted: Wanted,
    ) -> Result<Page<JobView>, Error> {
        let state = filter.state.replace(State::Ready);
        let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        filter.limit = SCAN_BATCH;
        let mut items = Vec::new();
        let mut scanned = 0;
        while scanned < SCAN_MAX {
            let rows = self.ledger.jobs(&filter, self.node.clock.now()).await?;
            let states = self.states(&rows).await;
            for (row, found) in rows.iter().zip(states) {
                filter.before = Some(row.job.id);
                if Some(found) == state {
                    items.push(view(row, found)?);
                }
                if items.len() == limit {
                    return Ok(Page { items, next: Some(cursor(row.job.id.as_uuid())) });
                }
            }
            scanned += rows.len();
            if rows.len() < usize::try_from(SCAN_BATCH).unwrap_or(usize::MAX) {
                return Ok(Page { items, next: None });
            }
        }
        Ok(Page { items, next: filter.before.map(|last| cursor(last.as_uuid())) })
    }

    /// Ends a job that has not ended. Ending a cancelled job again changes nothing.
    pub async fn cancel(&self, id: JobId, why: &Why) -> Result<CancelledJob, Error> {
        let note = self.note("job.cancel", id.to_string(), why.reason.as_deref())?;
        let queue = match self.ledger.cancel(id, note.at, Some(&note)).await? {
            Cancel::Unknown => return Err(unknown(id)),
            Cancel::Ended(State::Cancelled) => self.row(id).await?.job.queue,
            Cancel::Ended(state) => {
                return Err(Error::Conflict(format!("job {id} has ended already: it is {state}")));
            }
            Cancel::Marked { queue } => queue,
        };
        // Only what surely left the broker is surely not running.
        let state = match self.node.broker.remove(&queue, id).await {
            Ok(Removed::Removed | Removed::Absent) => CancelState::Cancelled,
            Ok(Removed::Running) => CancelState::Cancelling,
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "a cancelled job may still be in the broker");
                CancelState::Cancelling
            }
        };
        Ok(CancelledJob { state })
    }

    /// A job's state.
    pub(super) async fn state(&self, id: JobId) -> Result<State, Error> {
        let row = self.row(id).await?;
        let state = self.states(std::slice::from_ref(&row)).await.into_iter().next();
        Ok(state.unwrap_or(row.state))
    }

    /// The kind of that name.
    pub(super) fn kind(&self, name: &str) -> Result<Kind, Error> {
        match self.node.registry.catalog().get(name) {
            Some(spec) => Ok(spec.kind.clone()),
            None => Err(Error::field("/kind", self.node.registry.catalog().unknown(name))),
        }
    }

    pub(super) async fn row(&self, id: JobId) -> Result<JobRow, Error> {
        self.ledger.job(id).await?.ok_or_else(|| unknown(id))
    }

    /// The rows' states, in order.
    async fn states(&self, rows: &[JobRow]) -> Vec<State> {
        let mut by_queue: BTreeMap<&Queue, Vec<JobId>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_open(row.state)) {
            by_queue.entry(&row.job.queue).or_default().push(row.job.id);
        }
        let mut places: HashMap<JobId, Place> = HashMap::new();
        for (queue, ids) in by_queue {
            match self.node.broker.find(queue, &ids).await {
                Ok(found) => places.extend(
                    ids.into_iter().zip(found).filter_map(|(id, place)| Some((id, place?))),
                ),
                Err(error) => {
                    tracing::debug!(%queue, %error, "states are shown by time alone");
                    break;
                }
            }
        }
        let now = self.node.clock.now();
        rows.iter().map(|row| state_of(row, places.get(&row.job.id), now)).collect()
    }
}

fn unknown(id: JobId) -> Error {
    Error::NotFound(format!("there is no job {id}"))
}

/// Reads an optional word of a query.
pub(super) fn parse<T, E: ToString>(
    field: &str,
    text: Option<&str>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Error> {
    text.map(|text| read(text).map_err(|error| Error::field(field, error.to_string()))).transpose()
}

/// Whether only time and the broker tell the state.
const fn is_open(state: State) -> bool {
    matches!(state, State::Delayed | State::Ready | State::Running)
}

fn state_of(row: &JobRow, place: Option<&Place>, now: Timestamp) -> State {
    match place {
        _ if !is_open(row.state) => row.state,
        Some(Place::Running(_)) => State::Running,
        Some(Place::Ready) => State::Ready,
        Some(Place::Delayed(_)) | None if row.job.run_at > now => State::Delayed,
        Some(Place::Delayed(_)) | None => State::Ready,
    }
}

fn view(row: &JobRow, state: State) -> Result<JobView, Error> {
    let job = &row.job;
    let args =
        RawValue::from_string(job.args.clone()).map_err(|error| Error::Broken(Box::new(error)))?;
    let underway = matches!(state, State::Running | State::Completed);
    Ok(JobView {
        id: job.id,
        kind: job.kind.clone(),
        queue: job.queue.clone(),
        state,
        args,
        attempt: job.failed_attempts.saturating_add(u32::from(underway)),
        max_attempts: job.max_attempts,
        run_at: job.run_at,
        created_at: job.created_at,
        finished_at: row.finished_at,
        expires_at: job.expires_at,
        unique_key: job.unique_key.clone(),
        reason: row.reason.clone(),
        parked_for: row.parked_for.clone(),
        trace_id: job.trace.map(TraceParent::trace_id),
        parents: None,
        attempts: None,
        progress: None,
    })
}

/// The failed attempts, and the one that did it, of which only the end is on record.
fn attempt_views(row: &JobRow, failed: Vec<FailedAttempt>) -> Vec<AttemptView> {
    let done = (row.state == State::Completed).then(|| AttemptView {
        n: row.job.failed_attempts.saturating_add(1),
        started_at: None,
        ended_at: row.finished_at,
        outcome: "completed".to_owned(),
        error: None,
        worker: None,
    });
    failed.into_iter().map(attempt_view).chain(done).collect()
}

pub(super) fn attempt_view(attempt: FailedAttempt) -> AttemptView {
    AttemptView {
        n: attempt.n,
        started_at: Some(attempt.started_at),
        ended_at: Some(attempt.ended_at),
        outcome: attempt.outcome,
        error: Some(attempt.error),
        worker: Some(attempt.worker.to_string()),
    }
}
