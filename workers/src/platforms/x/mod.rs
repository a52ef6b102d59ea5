//! The client of X: the API's second version, with OAuth 2.0.
//!
//! X takes no key that would keep a post from being made twice. It refuses a text that the account
//! posted a short while ago, which after a lost answer means that the post is there; else the account's
//! posts are listed once, since X charges for each that it shows. `docs/platforms/x.md` has the facts
//! and where they are from.

mod errors;
mod length;
mod text;
mod uploads;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use postworks::clock::SharedClock;
use postworks::config::ClientAuth;
use postworks::job::{ErrorClass, JobError, SyncStream, Timestamp};
use secrecy::SecretString;

use self::uploads::Upload;
use self::wire::{Created, Envelope, Media, NewPost, Page, Person, Post, Reply, count};
use super::call::{Api, Step};
use super::http::{Http, HttpOptions};
use super::look_back::{Listing, Shown};
use super::oauth::{Consent, Granted, OAuthClient, asked_again};
use super::uploads::Uploads;
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule, Length,
    Limits, LinkAs, Numbers, OAuthDefaults, Outgoing, Platform, Preparation, Prepared, Price,
    Profile, Published, Reconciled, RemotePost, Secret, Sought, SyncPage, TokenSet,
};

/// What X is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "x",
    idempotency: Idempotency::None,
    reconciles: true,
    secret: Secret::RefreshToken,
    target: None,
    oauth: Some(&OAUTH),
    limits: Limits {
        // docs.x.com/fundamentals/counting-characters. Subscribers may write more; who is one is not
        // asked.
        text: Length { max: 280, unit: "characters as X counts them", count: length::weighted },
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            // docs.x.com/x-api/media/quickstart/best-practices: four photos, or one animated GIF.
            max: 4,
            required: false,
            kinds: &ImageKind::ALL,
            bytes_max: 5 * 1024 * 1024,
            // `CreateMediaMetadataMetadataAltText` in the OpenAPI document.
            alt: Length::chars(1_000),
            rules: &[ImageRule::GifAlone],
        }),
        link: LinkAs::Appended,
        replies: true,
    },
    streams: &SyncStream::ALL,
    // docs.x.com/x-api/getting-started/pricing, since 20 April 2026: $0.015, and $0.200 with a URL.
    price: Some(Price { plain_micros: 15_000, with_link_micros: 200_000, alt_text_micros: 5_000 }),
    local: false,
};

/// docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token.
static OAUTH: OAuthDefaults = OAuthDefaults {
    authorize_url: "https://x.com/i/oauth2/authorize",
    token_url: "https://api.x.com/2/oauth2/token",
    revoke_url: Some("https://api.x.com/2/oauth2/revoke"),
    userinfo_url: Some("https://api.x.com/2/users/me"),
    api_url: "https://api.x.com",
    // Without the last there is no refresh token.
    scopes: &["tweet.read", "tweet.write", "users.read", "media.write", "offline.access"],
    client_auth: ClientAuth::Basic,
    pkce: true,
};

/// Posts in a page of a walk; X permits 100, and a page must stay far below the longest answer we read.
const PAGE_POSTS: &str = "50";
/// Posts in the one listing after a lost answer: all that X shows in one answer.
const LISTED_POSTS: &str = "100";
/// What is asked of each: the addresses that the short ones stand for, and when it was posted. X's
/// guides call the parameter so; its OpenAPI document has `post.fields` since August 2026.
const FIELDS: (&str, &str) = ("tweet.fields", "created_at,conversation_id,entities");
/// How long a new token's owner is asked for: the lease that the token was renewed under has so much
/// left, and whoever takes it then uses the old token up a second time.
const OWNER_WITHIN: Duration = Duration::from_secs(5);

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &errors::TABLE };

/// Speaks to X.
pub struct XClient {
    http: Http,
    /// Our client at X's OAuth 2.0 servers, without which there are no tokens.
    oauth: Option<Arc<OAuthClient>>,
}

impl XClient {
    /// A client that can use tokens, and get none.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)?, oauth: None })
    }

    /// Gets tokens with this client of ours.
    #[must_use]
    pub fn with_oauth(self, oauth: Arc<OAuthClient>) -> Self {
        Self { oauth: Some(oauth), ..self }
    }

    /// Whoever has no client of ours there gets no tokens: that is for the operator to repair, and
    /// says nothing against the account.
    fn oauth(&self, account: &Account, step: Step) -> Result<&OAuthClient, JobError> {
        let words = "there is no client_id in [platforms.x.oauth]";
        let none = || account.call(API, step, &[]).error(ErrorClass::Invalid, words);
        self.oauth.as_deref().ok_or_else(none)
    }

    async fn me(&self, by: Bearer<'_>) -> Result<Person, JobError> {
        let call = by.call(API, Step::Read);
        let request = self
            .http
            .request_by(by, Method::GET, "2/users/me")
            .query(&[("user.fields", "description,public_metrics")]);
        self.http.value::<Envelope<Person>>(call, request).await.map(|answer| answer.data)
    }

    /// The tokens, and whose they are. Renewed tokens are not thrown away because X does not say: the
    /// old ones are used up.
    async fn owned(&self, account: &Account, tokens: TokenSet) -> Result<TokenSet, JobError> {
        let asked = asked_again(|| self.me(account.with(&tokens.access)));
        let id = match tokio::time::timeout(OWNER_WITHIN, asked).await {
            Ok(Ok(me)) => me.id,
            Ok(Err(error)) => {
                let (connector_id, error) = (account.connector_id, error.chain());
                tracing::warn!(%connector_id, error, "X does not say whose a new token is");
                return Ok(tokens);
            }
            Err(_) => {
                let (connector_id, within) = (account.connector_id, OWNER_WITHIN);
                tracing::warn!(%connector_id, ?within, "X did not say whose a new token is");
                return Ok(tokens);
            }
        };
        match &account.remote_id {
            Some(known) if *known != id => {
                let words = format!(
                    "the refresh token is another account's, {id}: this one is {known}. It is used \
                     up now; enter one of this account"
                );
                Err(account.call(API, Step::SignIn, &[]).error(ErrorClass::AuthRevoked, &words))
            }
            _ => Ok(TokenSet { remote_id: Some(id), ..tokens }),
        }
    }

    /// A page of the account's own posts, newest first.
    async fn list(&self, by: Bearer<'_>, query: &[(&str, &str)]) -> Result<Page, JobError> {
        let id = match &by.account.remote_id {
            Some(id) => id.clone(),
            None => self.me(by).await?.id,
        };
        let call = by.call(API, Step::Read);
        let request = self
            .http
            .request_by(by, Method::GET, &format!("2/users/{id}/tweets"))
            .query(&[("exclude", "retweets"), FIELDS])
            .query(query);
        self.http.value(call, request).await
    }
}

fn published(id: String) -> Published {
    let remote_url = Some(format!("https://x.com/i/web/status/{id}"));
    Published { remote_id: id, remote_url }
}

/// A time in whole seconds, which is what X takes.
fn seconds(time: Timestamp) -> String {
    let time = Timestamp::from_millis(time.as_millis().div_euclid(1_000) * 1_000);
    time.to_string().replace(".000Z", "Z")
}

fn time(post: &Post) -> Option<Timestamp> {
    post.created_at.as_deref()?.parse().ok()
}

#[async_trait]
impl Platform for XClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let oauth = self.oauth(account, Step::SignIn)?;
        let tokens = oauth.renew_by(&errors::TOKENS, Step::SignIn, account, secret).await?;
        self.owned(account, tokens).await
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let oauth = self.oauth(account, Step::Refresh)?;
        oauth.renew_by(&errors::TOKENS, Step::Refresh, account, refresh_token).await
    }

    async fn revoke(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<bool, JobError> {
        let Some(oauth) = &self.oauth else { return Ok(false) };
        oauth.revoke(account.connector_id, refresh_token).await
    }

    async fn exchange_code(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        oauth.exchange_by(&errors::TOKENS, consent).await
    }

    /// Uploads and describes images, one step at a time.
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
        let media_ids: Vec<&str> = uploads.media.iter().map(|media| media.id.as_str()).collect();
        let new = NewPost {
            text: &post.text_with_link(),
            media: (!media_ids.is_empty()).then_some(Media { media_ids }),
            reply: post.reply_to.as_deref().map(|id| Reply { in_reply_to_tweet_id: id }),
        };
        let request = self.http.request_by(by, Method::POST, "2/tweets").json(&new);
        let answer = self.http.send(call, request).await?;
        if answer.is_taken(call) {
            return Ok(Committed::AlreadyThere { remote_id: None });
        }
        let created: Envelope<Created> = answer.value(call)?;
        Ok(Committed::Published(published(created.data.id)))
    }

    /// Lists the account's posts since then, once: X charges for each that it shows.
    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let from = seconds(sought.from());
        let query = [("max_results", LISTED_POSTS), ("start_time", from.as_str())];
        let page = self.list(by, &query).await?;
        let shown = page.data.into_iter().map(|post| Shown {
            text: text::shown(&post),
            at: time(&post),
            answers: post.answers().map(str::to_owned),
            published: published(post.id),
        });
        let listing = Listing { shown: shown.collect(), is_whole: page.meta.next_token.is_none() };
        let (text, answers) = (post.text_with_link(), post.reply_to.as_deref());
        let as_shown = |text: &str| match answers {
            Some(_) => text::without_names(text),
            None => text.to_owned(),
        };
        Ok(listing.look_for(&text, answers, sought, as_shown))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let mut query = vec![("max_results", PAGE_POSTS)];
        query.extend(cursor.map(|cursor| ("pagination_token", cursor)));
        let page = self.list(by, &query).await?;
        let posts = page.data.into_iter().map(|post| RemotePost {
            text: text::sent(&post),
            created_at: time(&post),
            remote_id: post.id,
        });
        Ok(SyncPage { posts: posts.collect(), next: page.meta.next_token })
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let call = by.call(API, Step::Read);
        let request = self
            .http
            .request_by(by, Method::GET, "2/tweets")
            .query(&[("ids", posts.join(",").as_str()), (FIELDS.0, "public_metrics")]);
        let page: Page = self.http.value(call, request).await?;
        let numbers = page.data.into_iter().map(|post| {
            let numbers = post.public_metrics.map(|of| Numbers {
                likes: count(of.like_count),
                reposts: count(of.retweet_count),
                replies: count(of.reply_count),
                views: count(of.impression_count),
            });
            (post.id, numbers.unwrap_or_default())
        });
        Ok(numbers.collect())
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let Person { name, description, public_metrics, .. } = self.me(by).await?;
        let followers = public_metrics.and_then(|of| count(of.followers_count));
        Ok(Profile { display_name: name, description, followers })
    }
}

#[cfg(test)]
mod tests;
