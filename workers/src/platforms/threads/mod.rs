//! The client of Threads, by the Threads API.
//!
//! A post is a container that is made first and published by one request; the container itself says
//! whether it was published. Facts and their sources: `docs/platforms/threads.md`.

#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;
use postworks::clock::SharedClock;
use postworks::config::ClientAuth;
use postworks::job::{JobError, SyncStream};
use secrecy::SecretString;

use self::wire::{Insights, Person, Thread};
use super::call::Step;
use super::http::HttpOptions;
use super::meta::{Dialect, Grants, Graph, Word};
use super::oauth::{Consent, Granted, OAuthClient};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule, Length,
    Limits, LinkAs, Numbers, OAuthDefaults, Outgoing, Platform, Preparation, Prepared, Profile,
    Reconciled, Secret, Sought, SyncPage, TokenSet,
};

/// The API's version, the only one there is.
const VERSION: &str = "v1.0";

/// What Threads is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "threads",
    idempotency: Idempotency::None,
    reconciles: true,
    secret: Secret::RefreshToken,
    target: None,
    oauth: Some(&OAuthDefaults {
        authorize_url: "https://threads.net/oauth/authorize",
        token_url: "https://graph.threads.net/oauth/access_token",
        revoke_url: None,
        userinfo_url: None,
        api_url: "https://graph.threads.net",
        scopes: &[
            "threads_basic",
            "threads_content_publish",
            "threads_manage_replies",
            "threads_read_replies",
            "threads_manage_insights",
        ],
        client_auth: ClientAuth::Post,
        pkce: true,
    }),
    limits: Limits {
        text: Length { max: 500, unit: "characters (an emoji counts its bytes)", count: length },
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            max: 20,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png],
            bytes_max: 8_000_000,
            alt: Length::chars(1_000),
            rules: &[ImageRule::Fetched],
        }),
        link: LinkAs::Appended,
        replies: true,
    },
    streams: &[SyncStream::Posts, SyncStream::Metrics, SyncStream::Profile],
    price: None,
    local: false,
};

static DIALECT: Dialect = Dialect {
    make: "threads",
    publish: "threads_publish",
    status: ["status", "error_message"],
    text: "text",
    kinds: [Some("TEXT"), Some("IMAGE")],
    replies: Some("replies"),
};

static GRANTS: Grants =
    Grants { exchange: "th_exchange_token", refresh: "th_refresh_token", who: "id,username" };

/// Characters, but "emojis are counted as the number of UTF-8 bytes". Which characters those are is
/// not said: we take every one that Unicode has as an emoji, and whole blocks that are mostly of
/// such, so that we rather count too much.
fn length(text: &str) -> usize {
    let each = text.chars().map(|char| if is_of_emoji(char) { char.len_utf8() } else { 1 });
    each.sum()
}

/// Whether a character is an emoji, or can be one, or joins or varies some. Digits, `#` and `*` can
/// be ones too, and are of one byte.
const fn is_of_emoji(char: char) -> bool {
    matches!(char,
        '\u{1F000}'..='\u{1FAFF}' | '\u{2300}'..='\u{23FF}' | '\u{2600}'..='\u{27BF}'
        | '\u{2B00}'..='\u{2BFF}' | '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '↔'..='↙' | '↩' | '↪'
        | 'Ⓜ' | '▪' | '▫' | '▶' | '◀' | '◻'..='◾' | '⤴' | '⤵' | '〰' | '〽' | '㊗' | '㊙'
        | '\u{200D}' | '\u{FE0E}' | '\u{FE0F}' | '\u{20E3}' | '\u{E0020}'..='\u{E007F}')
}

/// Speaks to Threads.
pub struct ThreadsClient {
    graph: Graph,
}

impl ThreadsClient {
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
impl Platform for ThreadsClient {
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
        self.word(by).reconcile::<Thread>(post, &text, prepared, sought).await
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let list = self.word(by).path(DIALECT.make);
        self.graph.posts::<Thread>(by, &list, cursor).await
    }

    /// Each post by itself: Threads answers no numbers of several.
    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let mut numbers = Vec::with_capacity(posts.len());
        for id in posts {
            let query = [("metric", Insights::METRICS)];
            let path = format!("{id}/insights");
            let found: Option<Insights> = self.graph.find(by, &path, &query).await?;
            numbers.extend(found.map(|insights| (id.clone(), insights.numbers())));
        }
        Ok(numbers)
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let fields = [("fields", "name,username,threads_biography")];
        let person: Person = self.graph.read(by, "me", &fields).await?;
        Ok(Profile {
            display_name: person.name.filter(|name| !name.is_empty()).or(person.username),
            description: person.threads_biography,
            followers: None,
        })
    }
}
