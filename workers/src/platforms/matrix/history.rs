//! What an account wrote in a room, newest first.

use std::time::Duration;

use http::Method;
use postworks::job::{JobError, Timestamp};
use uuid::Uuid;

use super::super::call::Step;
use super::super::{Bearer, Reconciled, RemotePost, SyncPage};
use super::wire::{Event, Filter, MESSAGE, Page};
use super::{API, MatrixClient, published, user};

/// Messages in a page. Each may be as long as an event may be, 64 KiB, and all of them must fit into
/// the longest answer we read.
const PAGE_MESSAGES: u32 = 15;
/// Pages that are searched for a message at most.
const PAGES_MAX: u32 = 200;
/// How far the server's clock may be from ours.
const CLOCKS_APART: Duration = Duration::from_secs(60 * 60);

impl MatrixClient {
    async fn page(
        &self,
        by: Bearer<'_>,
        room: &str,
        from: Option<&str>,
    ) -> Result<(Vec<Event>, Option<String>), JobError> {
        let call = by.call(API, Step::Read);
        let me = user(by.account);
        let filter = Filter { types: [MESSAGE], senders: [me] };
        let filter = serde_json::to_string(&filter).unwrap_or_default();
        let mut request = self
            .request_by(by, Method::GET, &["rooms", room, "messages"])
            .query(&[("dir", "b"), ("filter", &filter)])
            .query(&[("limit", PAGE_MESSAGES)]);
        if let Some(from) = from {
            request = request.query(&[("from", from)]);
        }
        let Page { mut chunk, end } = self.exchange(call, request).await?;
        // A server may not know the filter.
        chunk.retain(|event| event.is_message_of(me));
        Ok((chunk, end))
    }

    /// A page of the account's messages that are still there, each as it was first sent.
    pub(super) async fn posts_in(
        &self,
        by: Bearer<'_>,
        room: &str,
        cursor: Option<&str>,
    ) -> Result<SyncPage, JobError> {
        let (events, next) = self.page(by, room, cursor).await?;
        let there = events.into_iter().filter(|event| !event.is_removed() && !event.is_edit());
        let posts = there.map(|event| RemotePost {
            created_at: Some(event.created_at()),
            text: event.text().to_owned(),
            remote_id: event.event_id,
        });
        Ok(SyncPage { posts: posts.collect(), next })
    }

    /// Looks for a publication back to when it was first sent.
    pub(super) async fn find(
        &self,
        by: Bearer<'_>,
        room: &str,
        id: Uuid,
        since: Timestamp,
    ) -> Result<Reconciled, JobError> {
        let (floor, mut removed) = (since.before(CLOCKS_APART), false);
        let mut from = None::<String>;
        for _page in 0..PAGES_MAX {
            let (events, end) = self.page(by, room, from.as_deref()).await?;
            for event in events {
                if event.is_publication(id) {
                    return Ok(Reconciled::There(published(by.account, room, event.event_id)));
                }
                if event.created_at() < floor {
                    return Ok(absent(removed));
                }
                removed |= event.is_removed();
            }
            from = match end {
                Some(end) => Some(end),
                None => return Ok(absent(removed)),
            };
        }
        let words = format!("not among the account's last {} messages", PAGES_MAX * PAGE_MESSAGES);
        Ok(Reconciled::Unsure(words))
    }
}

/// A message that was removed may have been the one: its content is gone, and our field with it.
fn absent(removed: bool) -> Reconciled {
    if removed {
        let words = "a message of the account was removed since, and may have been this one";
        return Reconciled::Unsure(words.to_owned());
    }
    Reconciled::Absent
}
