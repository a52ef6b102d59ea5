//! Fetches what is new on an account.
//!
//! Platforms list newest first. A walk notes the newest post, goes back page by page until it
//! meets the newest post of the walk before, and only then makes its own the next one's goal: a
//! walk that breaks off in the middle goes on where it was, and leaves no gap.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postworks::job::{ConnectorSync, ErrorClass, JobError};
use postworks::worker::{Handler, JobContext};
use secrecy::SecretString;
use uuid::Uuid;

use super::Services;
use crate::platforms::{Account, Platform, SyncPage};
use crate::store::Cursor;

/// The one stream there is so far.
const STREAM: &str = "posts";
/// Pages in one attempt. An account with more goes on at its next job, so that a huge one does
/// not hold a worker for ever.
const PAGES_MAX: usize = 200;
/// A walk that meets another over the same account waits so long for it, in milliseconds: most
/// walks take less. A span, since of many that wait equally long all but one meet again.
const OTHER_WALK_MS: RangeInclusive<u64> = 1_000..=3_000;

/// Handles [`ConnectorSync`].
pub struct SyncConnector(pub Services);

#[async_trait]
impl Handler<ConnectorSync> for SyncConnector {
    async fn handle(&self, job: ConnectorSync, cx: &JobContext) -> Result<(), JobError> {
        let connector = self.0.connector(job.connector_id).await?;
        let platform = self.0.platform(&connector)?;
        let cursor = self.0.store.cursor(connector.id, STREAM).await;
        let mut cursor = cursor.map_err(|error| self.0.fault(error))?;
        for n in 0..PAGES_MAX {
            let resumed = n == 0 && cursor.page_token.is_some();
            let page = match self.page(cx, connector.id, &platform, &cursor).await {
                // The platform no longer knows the place where an earlier attempt stopped.
                Err(error) if resumed && matches!(error.class(), ErrorClass::Invalid) => {
                    cursor.page_token = None;
                    self.page(cx, connector.id, &platform, &cursor).await?
                }
                page => page?,
            };
            let (page, next, ended) = step(page, cursor)?;
            let kept = self.0.store.keep_page(connector.id, STREAM, &page.posts, &next).await;
            if !kept.map_err(|error| self.0.fault(error))? {
                let wait = Duration::from_millis(rand::random_range(OTHER_WALK_MS));
                let until = self.0.now().after(wait);
                let words = "another walk over this account is under way";
                return Err(JobError::new(ErrorClass::Unavailable { until }, words));
            }
            if ended {
                break;
            }
            cursor = Cursor { version: next.version + 1, ..next };
        }
        Ok(())
    }
}

impl SyncConnector {
    async fn page(
        &self,
        cx: &JobContext,
        connector_id: Uuid,
        platform: &Arc<dyn Platform>,
        cursor: &Cursor,
    ) -> Result<SyncPage, JobError> {
        let call = |account: Account, access: SecretString| {
            let (platform, token) = (Arc::clone(platform), cursor.page_token.clone());
            let posts = async move { platform.posts(&account, &access, token.as_deref()).await };
            cx.breaker.calling(posts)
        };
        self.0.accounts.with_access(connector_id, call).await
    }
}

/// What a page means for the walk: the posts that are new, where it goes on, whether it ended.
fn step(mut page: SyncPage, cursor: Cursor) -> Result<(SyncPage, Cursor, bool), JobError> {
    if page.next.is_some() && page.next == cursor.page_token {
        let words = "the platform names the same page as the next one";
        return Err(JobError::new(ErrorClass::Transient, words));
    }
    let newest = page.posts.first().map(|post| post.remote_id.clone());
    let pending = cursor.pending_high_water.or(newest);
    let known = cursor.high_water.as_ref();
    let reached = page.posts.iter().position(|post| Some(&post.remote_id) == known);
    if let Some(reached) = reached {
        page.posts.truncate(reached);
    }
    let ended = reached.is_some() || page.next.is_none();
    let version = cursor.version;
    let next = if ended {
        let high_water = pending.or(cursor.high_water);
        Cursor { high_water, version, ..Cursor::default() }
    } else {
        Cursor {
            page_token: page.next.take(),
            high_water: cursor.high_water,
            pending_high_water: pending,
            version,
        }
    };
    Ok((page, next, ended))
}
