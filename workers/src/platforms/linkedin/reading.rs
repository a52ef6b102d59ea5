//! What is read of an account: who it is, and its posts.

use http::{Method, StatusCode};
use postworks::job::{ErrorClass, JobError, Timestamp};

use super::wire::{Elements, Member, NetworkSize, Post};
use super::{API, LinkedInClient, MEMBER, PAGE_POSTS, little, published, with_segment};
use crate::platforms::answer::Answer;
use crate::platforms::call::Step;
use crate::platforms::http::endpoint;
use crate::platforms::look_back::{Listing, Shown};
use crate::platforms::{Bearer, Reconciled, RemotePost, Sought};

/// "Not enough permissions to access: FINDER-author /posts": of "API Error Details".
const NO_PERMISSION: &str = "Not enough permissions";

impl LinkedInClient {
    /// Who the member is, by OpenID Connect, which has no versions.
    pub(super) async fn member(&self, by: Bearer<'_>, step: Step) -> Result<Member, JobError> {
        let call = by.call(API, step);
        let request = self.http.request_by(by, Method::GET, "v2/userinfo");
        self.http.value(call, request).await
    }

    /// Whether an answer says that a member's posts are not to be read: apps may read them only where
    /// LinkedIn approved it, and post without. Any other refusal is an error.
    pub(super) fn is_hidden(by: Bearer<'_>, answer: &Answer) -> Result<bool, JobError> {
        let hidden = answer.status == StatusCode::FORBIDDEN
            && answer.words(by.call(API, Step::Read)).message.starts_with(NO_PERMISSION)
            && Self::author(by.account)?.starts_with(MEMBER);
        if hidden {
            let connector_id = by.account.connector_id;
            tracing::debug!(%connector_id, "this app may not read a member's posts on LinkedIn");
        }
        Ok(hidden)
    }

    /// How many follow an organisation; only its administrators may ask.
    pub(super) async fn followers(
        &self,
        by: Bearer<'_>,
        urn: &str,
    ) -> Result<Option<u64>, JobError> {
        let mut url = with_segment(endpoint(&by.account.base_url, "rest/networkSizes"), urn);
        url.set_query(Some("edgeType=COMPANY_FOLLOWED_BY_MEMBER"));
        match self.read(by, url).await {
            Ok(NetworkSize { first_degree_size }) => Ok(first_degree_size),
            Err(error) if error.class() == ErrorClass::Invalid => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the post that a refusal named is the one of this text; `None` if it is not there: of
    /// some such URNs nothing is found.
    pub(super) async fn named(
        &self,
        by: Bearer<'_>,
        urn: &str,
        text: &str,
        sought: Sought<'_>,
    ) -> Result<Option<Reconciled>, JobError> {
        let call = by.call(API, Step::Read);
        let url = with_segment(endpoint(&by.account.base_url, "rest/posts"), urn);
        let answer = self.http.send(call, self.request(by, Method::GET, url)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::FORBIDDEN => {
                let words = format!("{urn} is like it, and this token may not read it");
                return Ok(Some(Reconciled::Unsure(words)));
            }
            _ => {}
        }
        let post: Post = answer.value(call)?;
        let shown = vec![Shown::of(Self::found(post), published)];
        let listing = Listing { shown, is_whole: true };
        Ok(Some(match listing.look_for(text, None, sought, str::to_owned) {
            Reconciled::Absent => {
                Reconciled::Unsure(format!("{urn}, which it is like, is of another time"))
            }
            found => found,
        }))
    }

    /// A page of the author's posts, newest first.
    pub(super) async fn page(
        &self,
        by: Bearer<'_>,
        author: &str,
        start: usize,
    ) -> Result<Answer, JobError> {
        let mut url = endpoint(&by.account.base_url, "rest/posts");
        url.query_pairs_mut()
            .append_pair("q", "author")
            .append_pair("author", author)
            .append_pair("sortBy", "CREATED")
            .append_pair("start", &start.to_string())
            .append_pair("count", &PAGE_POSTS.to_string());
        let request = self.request(by, Method::GET, url).header("x-restli-method", "FINDER");
        let call = by.call(API, Step::Read);
        self.http.send(call, request).await
    }

    pub(super) fn found(post: Post) -> RemotePost {
        RemotePost {
            remote_id: post.id,
            created_at: post.published_at.or(post.created_at).map(Timestamp::from_millis),
            text: little::plain(post.commentary.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the author's posts from then on have the one of this text.
    pub(super) async fn look_for(
        &self,
        by: Bearer<'_>,
        author: &str,
        text: &str,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let answer = self.page(by, author, 0).await?;
        if answer.status == StatusCode::FORBIDDEN {
            let words = "this token may not read the posts of the account (r_member_social or \
                         r_organization_social)";
            return Ok(Reconciled::Unsure(words.into()));
        }
        let call = by.call(API, Step::Read);
        let page: Elements<Post> = answer.value(call)?;
        let is_full = page.elements.len() == PAGE_POSTS;
        let posts: Vec<RemotePost> = page.elements.into_iter().map(Self::found).collect();
        let is_old = |post: &RemotePost| post.created_at.is_some_and(|at| at < sought.from());
        let is_whole = !is_full || posts.iter().any(is_old);
        let shown = posts.into_iter().map(|post| Shown::of(post, published)).collect();
        Ok(Listing { shown, is_whole }.look_for(text, None, sought, str::to_owned))
    }
}
