//! What is read of an account: who it is, and its posts.

use std::slice;
use std::time::Duration;

use http::{Method, StatusCode};
use postworks::job::{ErrorClass, JobError, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use super::errors::TABLE;
use super::wire::{Elements, Member, NetworkSize, Post};
use super::{LinkedInClient, MEMBER, PAGE_POSTS, little, published, with_segment};
use crate::platforms::answer::Answer;
use crate::platforms::call::Step;
use crate::platforms::http::endpoint;
use crate::platforms::likeness::alike;
use crate::platforms::{Account, Reconciled, RemotePost};

/// How much their clocks and ours may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

impl LinkedInClient {
    /// Who the member is, by OpenID Connect, which has no versions.
    pub(super) async fn member(
        &self,
        account: &Account,
        step: Step,
        access: &SecretString,
    ) -> Result<Member, JobError> {
        let call = Self::call(account, step, slice::from_ref(&access));
        let url = endpoint(&account.base_url, "v2/userinfo");
        let request = self.http.request(Method::GET, url).bearer_auth(access.expose_secret());
        let answer = self.http.send(call, request).await?;
        self.value(call, &answer)
    }

    /// Whether an answer says that a member's posts are not to be read: apps may read them only where
    /// LinkedIn approved it, and post without.
    pub(super) fn is_hidden(account: &Account, answer: &Answer) -> Result<bool, JobError> {
        let hidden =
            answer.status == StatusCode::FORBIDDEN && Self::author(account)?.starts_with(MEMBER);
        if hidden {
            let connector_id = account.connector_id;
            tracing::debug!(%connector_id, "this app may not read a member's posts on LinkedIn");
        }
        Ok(hidden)
    }

    /// How many follow an organisation; only its administrators may ask.
    pub(super) async fn followers(
        &self,
        account: &Account,
        access: &SecretString,
        urn: &str,
    ) -> Result<Option<u64>, JobError> {
        let mut url = with_segment(endpoint(&account.base_url, "rest/networkSizes"), urn);
        url.set_query(Some("edgeType=COMPANY_FOLLOWED_BY_MEMBER"));
        match self.read(account, access, url).await {
            Ok(NetworkSize { first_degree_size }) => Ok(first_degree_size),
            Err(error) if error.class() == ErrorClass::Invalid => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The post that a refusal named, unless it is not there: of some such URNs nothing is found.
    pub(super) async fn named(
        &self,
        account: &Account,
        access: &SecretString,
        urn: &str,
    ) -> Result<Option<Reconciled>, JobError> {
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let url = with_segment(endpoint(&account.base_url, "rest/posts"), urn);
        let answer = self.http.send(call, self.request(Method::GET, url, access)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            // It may not be looked at; that it is there was said.
            StatusCode::FORBIDDEN => {}
            _ => answer.success(call, &TABLE, self.clock.as_ref())?,
        }
        Ok(Some(Reconciled::There(published(urn.to_owned()))))
    }

    /// A page of the author's posts, newest first.
    pub(super) async fn page(
        &self,
        account: &Account,
        access: &SecretString,
        start: usize,
    ) -> Result<Answer, JobError> {
        let author = Self::author(account)?;
        let mut url = endpoint(&account.base_url, "rest/posts");
        url.query_pairs_mut()
            .append_pair("q", "author")
            .append_pair("author", &author)
            .append_pair("sortBy", "CREATED")
            .append_pair("start", &start.to_string())
            .append_pair("count", &PAGE_POSTS.to_string());
        let request = self.request(Method::GET, url, access).header("x-restli-method", "FINDER");
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        self.http.send(call, request).await
    }

    pub(super) fn found(post: Post) -> RemotePost {
        RemotePost {
            remote_id: post.id,
            created_at: post.published_at.or(post.created_at).map(Timestamp::from_millis),
            text: little::plain(post.commentary.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the author's posts since then have one like this.
    pub(super) async fn look_for(
        &self,
        account: &Account,
        access: &SecretString,
        text: &str,
        since: Timestamp,
    ) -> Result<Reconciled, JobError> {
        let answer = self.page(account, access, 0).await?;
        if answer.status == StatusCode::FORBIDDEN {
            let words = "this token may not read the posts of the account (r_member_social or \
                         r_organization_social)";
            return Ok(Reconciled::Unsure(words.into()));
        }
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let page: Elements<Post> = self.value(call, &answer)?;
        let full = page.elements.len() == PAGE_POSTS;
        let since = since.before(CLOCKS_DIFFER);
        let mut posts: Vec<RemotePost> = page.elements.into_iter().map(Self::found).collect();
        let all = posts.len();
        posts.retain(|post| post.created_at.is_none_or(|at| at >= since));
        let complete = posts.len() < all || !full;
        // Newest first: of several that are alike, the last is the one from then.
        let found = posts.into_iter().rfind(|found| alike(&found.text, text));
        Ok(match found {
            Some(_) if text.trim().is_empty() => {
                Reconciled::Unsure("a post without a text is there, and may be another one".into())
            }
            Some(found) => Reconciled::There(published(found.remote_id)),
            None if complete => Reconciled::Absent,
            None => Reconciled::Unsure("more posts were made since than are looked through".into()),
        })
    }
}
