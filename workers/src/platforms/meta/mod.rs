//! What the platforms of Meta have in common: the Graph API's requests, pages and refusals.

mod client;
mod containers;
mod errors;
mod kept;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod tokens;

use http::Method;
use postworks::clock::SharedClock;
use postworks::job::{JobError, Timestamp};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

pub(super) use self::client::{ContainerClient, Speech};
pub(super) use self::containers::{Dialect, Word};
pub(super) use self::errors::TABLE;
pub(super) use self::tokens::Grants;

use super::answer::Answer;
use super::call::{Api, Call, Step};
use super::http::{Http, HttpOptions, endpoint};
use super::oauth::OAuthClient;
use super::{Account, Bearer, Descriptor, NUMBERED_MAX, Numbers, RemotePost, SyncPage};

/// Posts in a page of a list. The Graph API permits 100; texts may be long, and the whole page must
/// stay below the longest answer we read.
const PAGE_POSTS: &str = "25";
/// Pages that are looked through for one post.
const PAGES_MAX: usize = 8;
/// Posts in a page of nothing but numbers.
const PAGE_NUMBERS: &str = "100";

/// Speaks to one Graph API.
pub(super) struct Graph {
    pub(super) api: Api,
    pub(super) http: Http,
    /// The version, which stands first in every path; a version is kept for about two years.
    version: &'static str,
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Paging {
    cursors: Option<Cursors>,
}

#[derive(Deserialize)]
struct Cursors {
    after: Option<String>,
}

/// The answer to what creates something.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) id: String,
}

impl<T> Page<T> {
    /// Where the next page starts. The last page carries a cursor too, and an empty one follows.
    fn next(&self) -> Option<String> {
        let after = self.paging.as_ref()?.cursors.as_ref()?.after.clone()?;
        (!self.data.is_empty() && !after.is_empty()).then_some(after)
    }
}

/// A post in a list.
pub(super) trait Listed: DeserializeOwned {
    /// The fields to ask for.
    const FIELDS: &'static str;

    fn into_post(self) -> RemotePost;
}

/// A post with its numbers.
pub(super) trait Counted: DeserializeOwned {
    /// The fields to ask for.
    const FIELDS: &'static str;

    fn id(&self) -> &str;
    fn numbers(&self) -> Numbers;
}

impl Graph {
    pub(super) fn new(
        descriptor: &'static Descriptor,
        version: &'static str,
        options: &HttpOptions,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let api = Api { descriptor, refusals: &TABLE };
        Ok(Self { api, http: Http::new(descriptor, options, clock)?, version })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.http.now()
    }

    /// Stands for the account that a person is about to connect.
    pub(super) fn nobody(&self, oauth: &OAuthClient) -> Account {
        Account {
            connector_id: Uuid::nil(),
            base_url: oauth.api().clone(),
            identifier: String::new(),
            remote_id: None,
            target: None,
            signed_in_at: None,
        }
    }

    /// The address of something, by its path below the version.
    pub(super) fn url(&self, account: &Account, path: &str) -> Url {
        endpoint(&account.base_url, &format!("{}/{path}", self.version))
    }

    /// Asks. The token is a parameter, as the vendor's pages have it for all of these platforms.
    pub(super) async fn get(
        &self,
        by: Bearer<'_>,
        step: Step,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, JobError> {
        let request = self
            .http
            .request(Method::GET, self.url(by.account, path))
            .query(query)
            .query(&[("access_token", by.access.expose_secret())]);
        self.http.send(by.call(self.api, step), request).await
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        by: Bearer<'_>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, JobError> {
        let answer = self.get(by, Step::Read, path, query).await?;
        answer.value(by.call(self.api, Step::Read))
    }

    /// Sends a form.
    pub(super) async fn post(
        &self,
        call: Call<'_>,
        by: Bearer<'_>,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer, JobError> {
        let mut fields = form.to_vec();
        fields.push(("access_token", by.access.expose_secret()));
        let request = self.http.request(Method::POST, self.url(by.account, path)).form(&fields);
        self.http.send(call, request).await
    }

    /// A page of a walk over the posts of a list.
    pub(super) async fn posts<T: Listed>(
        &self,
        by: Bearer<'_>,
        list: &str,
        cursor: Option<&str>,
    ) -> Result<SyncPage, JobError> {
        let mut query = vec![("fields", T::FIELDS), ("limit", PAGE_POSTS)];
        query.extend(cursor.map(|after| ("after", after)));
        let page: Page<T> = self.read(by, list, &query).await?;
        let next = page.next();
        Ok(SyncPage { posts: page.data.into_iter().map(T::into_post).collect(), next })
    }

    /// The posts of a list that are not older than `from`, and whether that is all of them.
    pub(super) async fn posts_since<T: Listed>(
        &self,
        by: Bearer<'_>,
        list: &str,
        from: Timestamp,
    ) -> Result<(Vec<RemotePost>, bool), JobError> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let SyncPage { mut posts, next } = self.posts::<T>(by, list, after.as_deref()).await?;
            let all = posts.len();
            posts.retain(|post| post.created_at.is_none_or(|at| at >= from));
            let older = posts.len() < all;
            found.extend(posts);
            if older || next.is_none() {
                return Ok((found, true));
            }
            after = next;
        }
        Ok((found, false))
    }

    /// The numbers of these posts: those of the list's first page are read at once, the others each
    /// by itself, so that one that is gone costs the others nothing.
    pub(super) async fn numbers<T: Counted>(
        &self,
        by: Bearer<'_>,
        list: &str,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let mut numbers = Vec::with_capacity(posts.len().min(NUMBERED_MAX));
        let query = [("fields", T::FIELDS), ("limit", PAGE_NUMBERS)];
        if posts.len() > 1 {
            let page: Page<T> = self.read(by, list, &query).await?;
            let of_these = page.data.iter().filter(|post| posts.iter().any(|id| id == post.id()));
            numbers.extend(of_these.map(|post| (post.id().to_owned(), post.numbers())));
        }
        for id in posts {
            if numbers.iter().any(|(known, _)| known == id) {
                continue;
            }
            let found: Option<T> = self.find(by, id, &query[..1]).await?;
            numbers.extend(found.map(|post| (id.clone(), post.numbers())));
        }
        Ok(numbers)
    }

    /// One thing by its id, or by an id and an edge; nothing if there is no such thing.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        by: Bearer<'_>,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, JobError> {
        let call = by.call(self.api, Step::Read);
        let answer = self.get(by, Step::Read, path, query).await?;
        let name = answer.words(call).name;
        if errors::NO_SUCH_THING.contains(&name.as_str()) || name == errors::NO_SUCH_MEDIA {
            return Ok(None);
        }
        answer.value(call).map(Some)
    }
}

/// A time as the Graph API writes it, such as `2026-03-01T09:30:00+0000`.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
