//! The client of Mastodon, and of servers that speak its API.
//!
//! A status is posted with a key that the server remembers for an hour, for the account: sending it
//! again within that time makes none beside it. Later the account's statuses are looked through.
//! `docs/platforms/mastodon.md` has the facts and where they are from.

mod errors;
mod numbers;
mod text;
mod uploads;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use http::header::LINK;
use http::{HeaderMap, Method};
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SyncStream, Timestamp};
use secrecy::SecretString;
use url::Url;

use self::uploads::Upload;
use self::wire::{NewStatus, Person, Status};
use super::call::{Api, Step};
use super::http::{Http, HttpOptions};
use super::look_back::{Listing, Shown};
use super::uploads::Uploads;
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule,
    KeyScope, Length, Limits, LinkAs, Numbers, Outgoing, Platform, Preparation, Prepared, Profile,
    Published, Reconciled, RemotePost, Secret, Sought, SyncPage, TokenSet,
};

/// What Mastodon is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "mastodon",
    idempotency: Idempotency::ClientKey {
        // "Idempotency keys are stored for up to 1 hour" (docs.joinmastodon.org/methods/statuses),
        // from when the status was made; clocks differ.
        lifetime: Some(Duration::from_secs(50 * 60)),
        scope: KeyScope::Account,
    },
    reconciles: true,
    secret: Secret::AccessToken,
    target: None,
    // Each server has its own.
    oauth: None,
    // What a server has that was not set up otherwise (docs.joinmastodon.org/entities/Instance,
    // `configuration`).
    limits: Limits {
        text: Length { max: 500, unit: "characters as Mastodon counts them", count: text::counted },
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            max: 4,
            required: false,
            kinds: &ImageKind::ALL,
            bytes_max: 16 * 1024 * 1024,
            alt: Length::chars(1_500),
            // A GIF that moves becomes a video, which stands alone; which one moves is not looked at.
            rules: &[ImageRule::GifAlone],
        }),
        link: LinkAs::Appended,
        replies: true,
    },
    streams: &SyncStream::ALL,
    price: None,
    local: false,
};

/// Statuses in a page: the most that a server gives.
const PAGE_STATUSES: &str = "40";
/// Pages that are looked through for a status, at most.
const PAGES_MAX: usize = 5;

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &errors::TABLE };

/// Speaks to Mastodon.
pub struct MastodonClient {
    http: Http,
}

impl MastodonClient {
    /// A client; each account names its own server.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)? })
    }

    /// Whose token it is.
    async fn owner(&self, by: Bearer<'_>, step: Step) -> Result<Person, JobError> {
        let path = "api/v1/accounts/verify_credentials";
        let request = self.http.request_by(by, Method::GET, path);
        self.http.value(by.call(API, step), request).await
    }

    /// A page of the account's own statuses, newest first, and where the next one starts.
    async fn list(
        &self,
        by: Bearer<'_>,
        cursor: Option<&str>,
    ) -> Result<(Vec<Status>, Option<String>), JobError> {
        let id = match &by.account.remote_id {
            Some(id) => id.clone(),
            None => self.owner(by, Step::Read).await?.id,
        };
        let call = by.call(API, Step::Read);
        let path = format!("api/v1/accounts/{id}/statuses");
        let mut request = self
            .http
            .request_by(by, Method::GET, &path)
            .query(&[("limit", PAGE_STATUSES), ("exclude_reblogs", "true")]);
        if let Some(cursor) = cursor {
            request = request.query(&[("max_id", cursor)]);
        }
        let answer = self.http.send(call, request).await?;
        let statuses = answer.value(call)?;
        Ok((statuses, next(&answer.headers)))
    }
}

/// Where the next page starts, if there is one: of the address that the server has for it, only that
/// is taken, since it might lead elsewhere.
fn next(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next =
        links.flat_map(|value| value.split(',')).find(|link| link.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let url: Url = url.parse().ok()?;
    url.query_pairs().find(|(name, _)| name == "max_id").map(|(_, id)| id.into_owned())
}

fn published(status: Status) -> Published {
    Published { remote_id: status.id, remote_url: status.url }
}

fn time(status: &Status) -> Option<Timestamp> {
    status.created_at.as_ref()?.parse().ok()
}

#[async_trait]
impl Platform for MastodonClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// The token that a person pasted is the one that is used, as long as it is good.
    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let owner = self.owner(account.with(secret), Step::SignIn).await?;
        // A token of another account must never be used to publish as this one.
        if account.remote_id.as_ref().is_some_and(|known| *known != owner.id) {
            let words = format!("the token is another account's, {}", owner.id);
            let call = account.call(API, Step::SignIn, &[]);
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        let (access, remote_id) = (secret.clone(), Some(owner.id));
        Ok(TokenSet { access, refresh: None, expires_at: None, remote_id })
    }

    /// Tokens have no end, and there is nothing to get new ones for.
    async fn refresh(&self, account: &Account, _: &SecretString) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::Refresh, &[]);
        Err(call.error(ErrorClass::AuthRevoked, "connect the account again with a new token"))
    }

    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        if post.images.is_empty() {
            return Ok(Preparation::Ready(so_far));
        }
        self.upload_next(by, post, &so_far).await
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let call = by.call(API, Step::Publish);
        let uploads = Uploads::<Upload>::all_of(post, prepared)?;
        let new = NewStatus {
            status: &post.text_with_link(),
            media_ids: uploads.media.iter().map(|media| media.id.as_str()).collect(),
            in_reply_to_id: post.reply_to.as_deref(),
        };
        let request = self
            .http
            .request_by(by, Method::POST, "api/v1/statuses")
            .header("idempotency-key", post.publication_id.to_string())
            .json(&new);
        Ok(Committed::Published(published(self.http.value(call, request).await?)))
    }

    /// Looks through the account's statuses since then.
    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let from = sought.from();
        let (mut listing, mut cursor) = (Listing::default(), None::<String>);
        for _ in 0..PAGES_MAX {
            let (statuses, next) = self.list(by, cursor.as_deref()).await?;
            let is_old = |status: &Status| time(status).is_some_and(|time| time < from);
            listing.is_whole = next.is_none() || statuses.iter().any(is_old);
            listing.shown.extend(statuses.into_iter().map(|status| Shown {
                at: time(&status),
                text: text::without_servers(&text::read(&status)),
                answers: status.in_reply_to_id.clone(),
                published: published(status),
            }));
            if listing.is_whole {
                break;
            }
            cursor = next;
        }
        let (text, answers) = (post.text_with_link(), post.reply_to.as_deref());
        Ok(listing.look_for(&text, answers, sought, text::without_servers))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let (statuses, next) = self.list(by, cursor).await?;
        let posts = statuses.into_iter().map(|status| RemotePost {
            created_at: time(&status),
            text: text::read(&status),
            remote_id: status.id,
        });
        Ok(SyncPage { posts: posts.collect(), next })
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        self.numbers_of(by, posts).await
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let owner = self.owner(by, Step::Read).await?;
        let description = owner.source.and_then(|source| source.note);
        let (display_name, followers) = (owner.display_name, owner.followers_count);
        Ok(Profile { display_name, description, followers })
    }
}

#[cfg(test)]
mod tests;
