//! How often statuses were liked, shared and answered.

use http::{Method, StatusCode};
use postworks::job::JobError;
use serde::de::DeserializeOwned;

use super::wire::Status;
use super::{API, MastodonClient};
use crate::platforms::call::Step;
use crate::platforms::{Bearer, Numbers};

/// Statuses whose numbers a server gives in one answer, at most (`DEFAULT_STATUSES_LIMIT` in
/// `app/controllers/api/v1/statuses_controller.rb`).
const AT_ONCE: usize = 20;

impl MastodonClient {
    /// The numbers of these statuses; those that are gone are left out.
    pub(super) async fn numbers_of(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let mut statuses: Vec<Status> = Vec::with_capacity(posts.len());
        for ids in posts.chunks(AT_ONCE) {
            let query: Vec<(&str, &str)> = ids.iter().map(|id| ("id[]", id.as_str())).collect();
            let found: Option<Vec<Status>> = self.look(by, "api/v1/statuses", &query).await?;
            if let Some(found) = found {
                statuses.extend(found);
                continue;
            }
            // Servers before 4.3 have no such request: each has to be asked for.
            for id in ids {
                let path = format!("api/v1/statuses/{id}");
                statuses.extend(self.look::<Status>(by, &path, &[]).await?);
            }
        }
        Ok(statuses.into_iter().map(numbered).collect())
    }

    /// What is there; `None` if nothing is, by the server's word.
    async fn look<T: DeserializeOwned>(
        &self,
        by: Bearer<'_>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, JobError> {
        let call = by.call(API, Step::Read);
        let request = self.http.request_by(by, Method::GET, path).query(query);
        let answer = self.http.send(call, request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.value(call).map(Some)
    }
}

fn numbered(status: Status) -> (String, Numbers) {
    let numbers = Numbers {
        likes: status.favourites_count,
        reposts: status.reblogs_count,
        replies: status.replies_count,
        views: None,
    };
    (status.id, numbers)
}
