//! The client of Instagram: professional accounts, by the Instagram API with Instagram Login.
//!
//! A post is a container that is made first and published by one request; the container itself says
//! whether it was published. Facts and their sources: `docs/platforms/instagram.md`.

#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;
use postworks::clock::SharedClock;
use postworks::config::ClientAuth;
use postworks::job::{JobError, SyncStream};
use secrecy::SecretString;

use self::wire::{Figures, Media, Person};
use super::call::Step;
use super::http::HttpOptions;
use super::meta::{Dialect, Grants, Graph, Word};
use super::oauth::{Consent, Granted, OAuthClient};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule, Length,
    Limits, LinkAs, Numbers, OAuthDefaults, Outgoing, Platform, Preparation, Prepared, Profile,
    Reconciled, Secret, Sought, SyncPage, TokenSet,
};

/// The API's version; each is kept for about two years.
const VERSION: &str = "v25.0";

/// What Instagram is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "instagram",
    idempotency: Idempotency::None,
    reconciles: true,
    secret: Secret::RefreshToken,
    target: None,
    oauth: Some(&OAuthDefaults {
        authorize_url: "https://www.instagram.com/oauth/authorize",
        token_url: "https://api.instagram.com/oauth/access_token",
        revoke_url: None,
        userinfo_url: None,
        api_url: "https://graph.instagram.com",
        scopes: &["instagram_business_basic", "instagram_business_content_publish"],
        client_auth: ClientAuth::Post,
        pkce: true,
    }),
    limits: Limits {
        text: Length::chars(2_200),
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            max: 10,
            required: true,
            kinds: &[ImageKind::Jpeg],
            bytes_max: 8_000_000,
            alt: Length::chars(1_000),
            rules: &[
                // "Aspect ratio: Must be within a 4:5 to 1.91:1 range".
                ImageRule::Shape {
                    tallest: (4, 5),
                    widest: (191, 100),
                    words: "from 4:5 to 1.91:1",
                },
                ImageRule::Fetched,
            ],
        }),
        link: LinkAs::Appended,
        replies: false,
    },
    streams: &[SyncStream::Posts, SyncStream::Metrics, SyncStream::Profile],
    price: None,
    local: false,
};

static DIALECT: Dialect = Dialect {
    make: "media",
    publish: "media_publish",
    status: ["status_code", "status"],
    text: "caption",
    // A container of one image must not say that it is one.
    kinds: [None, None],
    replies: None,
};

static GRANTS: Grants = Grants {
    exchange: "ig_exchange_token",
    refresh: "ig_refresh_token",
    who: "id,user_id,username",
};

/// Speaks to Instagram.
pub struct InstagramClient {
    graph: Graph,
}

impl InstagramClient {
    /// A client.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { graph: Graph::new(&DESCRIPTOR, VERSION, options, clock)? })
    }

    fn word<'a>(&'a self, by: Bearer<'a>) -> Word<'a> {
        Word { graph: &self.graph, dialect: &DIALECT, by }
    }
}

#[async_trait]
impl Platform for InstagramClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.graph.adopt(account, secret, &GRANTS).await
    }

    async fn exchange_code(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        self.graph.exchange(oauth, consent, &GRANTS).await
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.graph.renew(Step::Refresh, account, refresh_token, &GRANTS).await
    }

    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let text = post.text_with_link();
        self.word(by).prepare(post, &text, &so_far).await
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        _: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        self.word(by).commit(prepared).await
    }

    async fn address(&self, by: Bearer<'_>, remote_id: &str) -> Result<Option<String>, JobError> {
        self.word(by).address(remote_id).await
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let text = post.text_with_link();
        self.word(by).reconcile::<Media>(post, &text, prepared, sought).await
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let list = self.word(by).path(DIALECT.make);
        self.graph.posts::<Media>(by, &list, cursor).await
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let list = self.word(by).path(DIALECT.make);
        self.graph.numbers::<Figures>(by, &list, posts).await
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let fields = [("fields", "name,username,biography,followers_count")];
        let person: Person = self.graph.read(by, "me", &fields).await?;
        Ok(Profile {
            display_name: person.name.filter(|name| !name.is_empty()).or(person.username),
            description: person.biography,
            followers: person.followers_count,
        })
    }
}
