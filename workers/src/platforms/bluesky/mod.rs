//! The client of Bluesky: XRPC against any personal data server (PDS).
//!
//! A post is written with `putRecord` under a record key that follows from the publication, with
//! `swapRecord: null` ("only if nothing is there") and a frozen `createdAt`: writing it again is
//! answered with the record that is there, so a repeat is harmless at any time. Images are uploaded
//! before that: the same bytes are the same blob, so that is harmless too.
//!
//! Facts that no lexicon states were tried on `@atproto/pds` 0.4.217; `tests/it/real_bluesky.rs`
//! repeats them.

mod errors;
mod facets;
mod record;
mod tid;
mod token;
mod wire;

use std::slice;

use async_trait::async_trait;
use http::Method;
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SyncStream};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};

use self::record::{Held, Upload};
use self::wire::{
    FoundRecord, NewSession, Page, Person, Post, Put, Reference, Reply, Session, Uploaded, Written,
};
use super::call::{Api, Call, Step};
use super::http::{Http, HttpOptions, RequestBuilder, endpoint};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, Image, ImageKind, ImageLimits, Length,
    Limits, LinkAs, Outgoing, Platform, Preparation, Prepared, Profile, Published, RemotePost,
    Secret, SyncPage, TokenSet,
};

/// What Bluesky is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "bluesky",
    idempotency: Idempotency::DeterministicId,
    reconciles: false,
    secret: Secret::Password,
    target: None,
    oauth: None,
    limits: Limits {
        // `maxGraphemes` in the lexicon app.bsky.feed.post.
        text: Length::graphemes(300),
        // `maxLength`, which counts UTF-8: 300 graphemes may have more.
        text_also: Some(Length::bytes(3_000)),
        text_required: false,
        images: Some(ImageLimits {
            // `maxLength`, `accept` and `maxSize` in app.bsky.embed.images.
            max: 4,
            required: false,
            kinds: &ImageKind::ALL,
            bytes_max: 1_000_000,
            // The app's; the lexicon has none.
            alt: Length::chars(2_000),
            rules: &[],
        }),
        link: LinkAs::CardUnlessImages,
        replies: true,
    },
    // Likes and the like are counted by an app view; a PDS knows of its own accounts' deeds alone.
    streams: &[SyncStream::Posts, SyncStream::Profile],
    price: None,
    local: false,
};

/// The collection that holds posts.
const POSTS: &str = "app.bsky.feed.post";
/// The collection that holds what an account says of itself, in one record of this key.
const PROFILE: &str = "app.bsky.actor.profile";
const PROFILE_KEY: &str = "self";
/// Posts in a page; the lexicon permits 100. A record may carry embeds, and the whole page must
/// stay far below the longest answer we read.
const PAGE_POSTS: u32 = 50;

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &errors::TABLE };

/// Speaks to Bluesky.
pub struct BlueskyClient {
    http: Http,
}

impl BlueskyClient {
    /// A client; each account names its own server.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)? })
    }

    fn request(&self, account: &Account, method: Method, name: &str) -> RequestBuilder {
        let url = endpoint(&account.base_url, &format!("xrpc/{name}"));
        self.http.request(method, url)
    }

    /// The same, with the account's token.
    fn request_by(&self, by: Bearer<'_>, method: Method, name: &str) -> RequestBuilder {
        self.request(by.account, method, name).bearer_auth(by.access.expose_secret())
    }

    fn tokens(account: &Account, call: Call<'_>, session: Session) -> Result<TokenSet, JobError> {
        // Tokens of another account must never be used to publish as this one.
        if account.remote_id.as_ref().is_some_and(|known| *known != session.did) {
            let words = format!("the server answered for another account, {}", session.did);
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        Ok(TokenSet {
            expires_at: token::expires_at(session.access_jwt.expose_secret()),
            access: session.access_jwt,
            refresh: Some(session.refresh_jwt),
            remote_id: Some(session.did),
        })
    }

    /// Something else is where the post was to be written: ours from before, if it says the same.
    async fn compare(
        &self,
        by: Bearer<'_>,
        call: Call<'_>,
        post: &Post,
        key: &str,
    ) -> Result<Published, JobError> {
        let request = self.record(by, repo(by.account), key);
        let answer = self.http.send(call, request).await?;
        if answer.words(call).name == errors::RECORD_NOT_FOUND {
            let words = "a record was there and is gone again; writing once more will tell";
            return Err(call.error(call.unanswered(), words));
        }
        let found: FoundRecord = answer.value(call)?;
        if post.is_like(&found.value) {
            return Ok(published(found.uri, key));
        }
        let words = format!("another record is there: {}", found.uri);
        Err(call.error(ErrorClass::Invalid, &words))
    }

    fn record(&self, by: Bearer<'_>, repo: &str, key: &str) -> RequestBuilder {
        let query = [("repo", repo), ("collection", POSTS), ("rkey", key)];
        self.request_by(by, Method::GET, "com.atproto.repo.getRecord").query(&query)
    }

    async fn upload(&self, by: Bearer<'_>, image: &Image) -> Result<Upload, JobError> {
        let call = by.call(API, Step::Upload);
        let request = self
            .request_by(by, Method::POST, "com.atproto.repo.uploadBlob")
            .header(CONTENT_TYPE, image.kind.mime())
            .body(image.bytes.read().await?);
        let uploaded: Uploaded = self.http.value(call, request).await?;
        Ok(Upload { blob: uploaded.blob, at: self.http.now() })
    }

    /// What a post refers to that answers this one. The account's own server reads records of others
    /// too, by way of its app view.
    async fn reply_to(&self, by: Bearer<'_>, parent: &str) -> Result<Reply, JobError> {
        let call = by.call(API, Step::Upload);
        let Some((owner, key)) = record::parts(parent) else {
            let words =
                "the post that it answers has an id like at://did:plc:…/app.bsky.feed.post/…";
            return Err(call.error(ErrorClass::Invalid, words));
        };
        let request = self.record(by, owner, key);
        let found: FoundRecord = self.http.value(call, request).await?;
        let Some(cid) = found.cid else {
            let words = "the server does not say which version the answered post is of";
            return Err(call.error(ErrorClass::Invalid, words));
        };
        Ok(record::reply_to(Reference { uri: found.uri, cid }, &found.value))
    }
}

/// The repository: the DID once it is known, since handles change hands.
fn repo(account: &Account) -> &str {
    account.remote_id.as_deref().unwrap_or(&account.identifier)
}

/// `uri` is `at://<did>/<collection>/<rkey>`.
fn published(uri: String, key: &str) -> Published {
    let did = uri.strip_prefix("at://").and_then(|rest| rest.split('/').next());
    let remote_url = did.map(|did| format!("https://bsky.app/profile/{did}/post/{key}"));
    Published { remote_id: uri, remote_url }
}

#[async_trait]
impl Platform for BlueskyClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::SignIn, slice::from_ref(&secret));
        let session =
            NewSession { identifier: &account.identifier, password: secret.expose_secret() };
        let request =
            self.request(account, Method::POST, "com.atproto.server.createSession").json(&session);
        Self::tokens(account, call, self.http.value(call, request).await?)
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::Refresh, slice::from_ref(&refresh_token));
        let request = self
            .request(account, Method::POST, "com.atproto.server.refreshSession")
            .bearer_auth(refresh_token.expose_secret());
        Self::tokens(account, call, self.http.value(call, request).await?)
    }

    /// Ends the session. The password for apps stays good: only its owner can end that.
    async fn revoke(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<bool, JobError> {
        let call = account.call(API, Step::Revoke, slice::from_ref(&refresh_token));
        let request = self
            .request(account, Method::POST, "com.atproto.server.deleteSession")
            .bearer_auth(refresh_token.expose_secret());
        self.http.done(call, request).await.map(|()| true)
    }

    /// One request at a time, so that what it answered is kept before the next.
    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let mut held: Held = so_far.read()?.unwrap_or_default();
        if let (Some(parent), None) = (&post.reply_to, &held.reply) {
            held.reply = Some(self.reply_to(by, parent).await?);
        } else if let Some(n) = held.lacks(post, self.http.now()) {
            held.add(n, self.upload(by, &post.images[n]).await?);
        }
        let (so_far, now) = (Prepared::of(&held)?, self.http.now());
        Ok(match held.lacks(post, now) {
            Some(_) => Preparation::Waits { so_far, until: now },
            None => Preparation::Ready(so_far),
        })
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let call = by.call(API, Step::Publish);
        let key = tid::record_key(post.publication_id, post.created_at);
        let record = Post::of(post, prepared.read()?.unwrap_or_default())?;
        let put = Put {
            repo: repo(by.account),
            collection: POSTS,
            rkey: &key,
            record: &record,
            swap_record: None,
        };
        let request = self.request_by(by, Method::POST, "com.atproto.repo.putRecord").json(&put);
        let answer = self.http.send(call, request).await?;
        if answer.words(call).name == errors::INVALID_SWAP {
            let found = self.compare(by, call, &record, &key).await?;
            return Ok(Committed::Published(found));
        }
        let written: Written = answer.value(call)?;
        Ok(Committed::Published(published(written.uri, &key)))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let call = by.call(API, Step::Read);
        let mut request = self
            .request_by(by, Method::GET, "com.atproto.repo.listRecords")
            .query(&[("repo", repo(by.account)), ("collection", POSTS)])
            .query(&[("limit", PAGE_POSTS)]);
        if let Some(cursor) = cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let page: Page = self.http.value(call, request).await?;
        let posts = page.records.into_iter().map(|record| RemotePost {
            remote_id: record.uri,
            created_at: wire::text(&record.value, "createdAt").and_then(|text| text.parse().ok()),
            text: wire::text(&record.value, "text").unwrap_or_default(),
        });
        // A full last page still carries a cursor; the empty page after it does not.
        Ok(SyncPage { posts: posts.collect(), next: page.cursor })
    }

    /// The record that apps show. An account that has none says nothing of itself.
    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let call = by.call(API, Step::Read);
        let request = self.request_by(by, Method::GET, "com.atproto.repo.getRecord").query(&[
            ("repo", repo(by.account)),
            ("collection", PROFILE),
            ("rkey", PROFILE_KEY),
        ]);
        let answer = self.http.send(call, request).await?;
        if answer.words(call).name == errors::RECORD_NOT_FOUND {
            return Ok(Profile::default());
        }
        let person: Person = answer.value(call)?;
        let said = |name| wire::text(&person.value, name);
        let (display_name, description) = (said("displayName"), said("description"));
        Ok(Profile { display_name, description, followers: None })
    }
}

#[cfg(test)]
mod tests;
