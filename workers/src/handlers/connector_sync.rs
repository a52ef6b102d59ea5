//! Fetches what is new on an account: its posts, their numbers, its profile.
//!
//! Each is a stream with a place and errors of its own. One that fails does not keep the others from
//! running; the job then fails with the worst of the errors, and its next attempt leaves alone what
//! has come to its end.

mod under_way;
mod walk;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postworks::job::{ConnectorSync, ErrorClass, JobError, RateScope, SyncStream, Timestamp};
use postworks::worker::{Handler, JobContext};
use secrecy::SecretString;

use self::under_way::UnderWay;
use self::walk::{Step, anew, may_end_here, step};
use super::Services;
use crate::platforms::{Account, NUMBERED_MAX, Platform, SyncPage};
use crate::store::{Connector, Cursor, DueNumbers, NumbersRead};

/// Pages in one attempt. An account with more goes on at its next job, so that a huge one does
/// not hold a worker for ever.
const PAGES_MAX: usize = 200;
/// Requests for numbers in one attempt; what is left is due again at the next job.
const NUMBERINGS_MAX: usize = 20;
/// Between two readings of a profile.
const PROFILE_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// A job that meets another for the same account waits so long for it, in milliseconds: most take
/// less. A span, since of many that wait equally long all but one meet again.
const OTHER_JOB_MS: RangeInclusive<u64> = 1_000..=3_000;

/// Handles [`ConnectorSync`].
pub struct SyncConnector {
    services: Services,
    under_way: UnderWay,
}

impl SyncConnector {
    /// One for a process: its jobs keep out of each other's way.
    pub fn new(services: Services) -> Self {
        Self { services, under_way: UnderWay::default() }
    }
}

#[async_trait]
impl Handler<ConnectorSync> for SyncConnector {
    async fn handle(&self, job: ConnectorSync, cx: &JobContext) -> Result<(), JobError> {
        let Self { services, under_way } = self;
        let connector = services.connector(job.connector_id).await?;
        let platform = services.platform(&connector)?;
        let offered = platform.descriptor().streams;
        if let Some(missing) = job.streams.iter().find(|stream| !offered.contains(stream)) {
            let words = format!("{} has no stream {}", connector.platform, missing.as_str());
            return Err(JobError::new(ErrorClass::Invalid, words));
        }
        let Some(_turn) = under_way.take(connector.id) else {
            return Err(other_job(services.now()));
        };
        let run = Run { services, cx, connector: &connector, platform: &platform };
        let named = !job.streams.is_empty();
        run.streams(if named { &job.streams } else { offered }, named).await
    }
}

/// How a run over a stream ended that did not fail.
enum End {
    /// It has come as far as it wanted.
    Reached,
    /// A job of another process has moved the stream on, and goes on with it.
    Overtaken,
}

/// The account's other job is waited for. That is no failure of a stream.
fn other_job(now: Timestamp) -> JobError {
    let until = now.after(Duration::from_millis(rand::random_range(OTHER_JOB_MS)));
    let words = "another job for this account is under way";
    JobError::new(ErrorClass::Unavailable { until }, words)
}

/// Whether the account's other streams would hear the same: then they are not tried.
fn concerns_account(class: ErrorClass) -> bool {
    match class {
        ErrorClass::AuthExpired | ErrorClass::AuthRevoked => true,
        ErrorClass::RateLimited { scope, .. } => scope != RateScope::Endpoint,
        _ => false,
    }
}

/// Which of two errors speaks for the job: what needs a person before what time heals, and what says
/// until when to wait before what does not.
const fn severity(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Unavailable { .. } => 0,
        ErrorClass::NotSent => 1,
        ErrorClass::Transient => 2,
        ErrorClass::Unknown { .. } => 3,
        ErrorClass::RateLimited { .. } => 4,
        ErrorClass::AuthExpired => 5,
        ErrorClass::Invalid | ErrorClass::Expired => 6,
        ErrorClass::Bug => 7,
        ErrorClass::AuthRevoked => 8,
    }
}

/// A job's run over one account.
struct Run<'a> {
    services: &'a Services,
    cx: &'a JobContext,
    connector: &'a Connector,
    platform: &'a Arc<dyn Platform>,
}

impl Run<'_> {
    /// Runs these streams, each as if it were alone. `named`: the job names them, so they are due.
    async fn streams(&self, wanted: &[SyncStream], named: bool) -> Result<(), JobError> {
        let Services { store, .. } = self.services;
        let mut worst: Option<JobError> = None;
        for stream in SyncStream::ALL.into_iter().filter(|stream| wanted.contains(stream)) {
            let error = match self.stream(stream, named).await {
                Ok(End::Reached) => continue,
                Ok(End::Overtaken) => return Err(other_job(self.services.now())),
                Err(error) => error,
            };
            self.kept(store.note_failure(self.connector.id, stream, &error).await)?;
            let is_over = concerns_account(error.class());
            worst = Some(match worst {
                Some(worst) if severity(worst.class()) >= severity(error.class()) => worst,
                _ => error,
            });
            if is_over {
                break;
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Runs a stream, unless it is not due, or this job has come to its end before.
    async fn stream(&self, stream: SyncStream, named: bool) -> Result<End, JobError> {
        let cursor = self.services.store.cursor(self.connector.id, stream).await;
        let cursor = cursor.map_err(|error| self.services.fault(error))?;
        let done = cursor.done_by == Some(self.cx.id.as_uuid());
        let waits = !named && cursor.due_at.is_some_and(|due| due > self.services.now());
        if done || waits {
            return Ok(End::Reached);
        }
        match stream {
            SyncStream::Posts => self.posts(cursor).await,
            SyncStream::Metrics => self.numbers(cursor, named).await,
            SyncStream::Profile => self.profile(cursor).await,
        }
    }

    /// Calls the platform.
    async fn call<T, F, Fut>(&self, call: F) -> Result<T, JobError>
    where
        T: Send,
        F: Fn(Arc<dyn Platform>, Account, SecretString) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, JobError>> + Send,
    {
        let call = |account: Account, access: SecretString| {
            self.cx.breaker.calling(call(Arc::clone(self.platform), account, access))
        };
        self.services.accounts.with_access(self.connector.id, call).await
    }

    async fn posts(&self, mut cursor: Cursor) -> Result<End, JobError> {
        let Services { store, sync, .. } = self.services;
        let follow = self.platform.descriptor().streams.contains(&SyncStream::Metrics);
        let mut anew_before = false;
        for n in 1..=PAGES_MAX {
            let page = match self.page(&cursor).await {
                // The platform no longer knows the place, such as where an earlier attempt stopped.
                // If it does not know the one either that it named just now, that is another matter.
                Err(error)
                    if cursor.page_token.is_some()
                        && !anew_before
                        && matches!(error.class(), ErrorClass::Invalid) =>
                {
                    anew_before = true;
                    cursor = anew(cursor);
                    self.page(&cursor).await?
                }
                page => page?,
            };
            let known = may_end_here(&page, &cursor, sync.look_back)
                && self.kept(store.are_known(self.connector.id, &page.posts).await)?;
            let now = self.services.now();
            let Step { posts, mut next, ended } = step(page, cursor, sync.look_back, known, now)?;
            let is_over = ended || n == PAGES_MAX;
            next.done_by = is_over.then_some(self.cx.id.as_uuid());
            let kept = store.keep_page(self.connector.id, &posts, follow, &next).await;
            if !self.kept(kept)? {
                return Ok(End::Overtaken);
            }
            if is_over {
                break;
            }
            cursor = Cursor { version: next.version + 1, ..next };
        }
        Ok(End::Reached)
    }

    async fn page(&self, cursor: &Cursor) -> Result<SyncPage, JobError> {
        self.call(|platform, account, access| {
            let token = cursor.page_token.clone();
            async move { platform.posts(account.with(&access), token.as_deref()).await }
        })
        .await
    }

    async fn numbers(&self, mut cursor: Cursor, named: bool) -> Result<End, JobError> {
        const FAR: Timestamp = Timestamp::from_millis(i64::MAX);
        let store = &self.services.store;
        // Who asks for it has all posts read that are read at all, each once.
        let (due, unread) =
            if named { (FAR, self.cx.created_at) } else { (self.services.now(), FAR) };
        for n in 1..=NUMBERINGS_MAX {
            let posts = store.due_numbers(self.connector.id, due, unread, NUMBERED_MAX).await;
            let posts = self.kept(posts)?;
            let is_over = posts.len() < NUMBERED_MAX || n == NUMBERINGS_MAX;
            let read = if posts.is_empty() { Vec::new() } else { self.read_numbers(posts).await? };
            cursor.done_by = is_over.then_some(self.cx.id.as_uuid());
            let kept = store.keep_numbers(self.connector.id, &read, &cursor).await;
            if !self.kept(kept)? {
                return Ok(End::Overtaken);
            }
            if is_over {
                break;
            }
            cursor.version += 1;
        }
        Ok(End::Reached)
    }

    async fn read_numbers(&self, posts: Vec<DueNumbers>) -> Result<Vec<NumbersRead>, JobError> {
        let ids: Arc<[String]> = posts.iter().map(|post| post.remote_id.clone()).collect();
        let numbers = self.call(|platform, account, access| {
            let ids = Arc::clone(&ids);
            async move { platform.numbers(account.with(&access), &ids).await }
        });
        let numbers: std::collections::HashMap<_, _> = numbers.await?.into_iter().collect();
        let read = posts.into_iter().map(|post| {
            let numbers = numbers.get(&post.remote_id).copied();
            NumbersRead { post, numbers }
        });
        Ok(read.collect())
    }

    async fn profile(&self, cursor: Cursor) -> Result<End, JobError> {
        let profile = self.call(|platform, account, access| async move {
            platform.profile(account.with(&access)).await
        });
        let profile = profile.await?;
        let due_at = Some(self.services.now().after(PROFILE_EVERY));
        let next = Cursor { due_at, done_by: Some(self.cx.id.as_uuid()), ..cursor };
        let kept = self.services.store.keep_profile(self.connector.id, &profile, &next).await;
        Ok(if self.kept(kept)? { End::Reached } else { End::Overtaken })
    }

    fn kept<T>(&self, result: Result<T, crate::store::Error>) -> Result<T, JobError> {
        result.map_err(|error| self.services.fault(error))
    }
}
