//! The client of Threads, by the Threads API.
//!
//! A post is a container that is made first and published by one request; the container itself says
//! whether it was published. Facts and their sources: `docs/platforms/threads.md`.

#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;
use postworks::config::ClientAuth;
use postworks::job::{JobError, SyncStream};

use self::wire::{Insights, Person, Thread};
use super::meta::{ContainerClient, Dialect, Grants, Speech, Word};
use super::{
    Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule, Length, Limits, LinkAs, Numbers,
    OAuthDefaults, Profile, Secret,
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
pub(super) type ThreadsClient = ContainerClient<Threads>;

/// What Threads has of its own.
pub(super) struct Threads;

#[async_trait]
impl Speech for Threads {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const VERSION: &'static str = VERSION;
    const DIALECT: &'static Dialect = &DIALECT;
    const GRANTS: &'static Grants = &GRANTS;
    type Post = Thread;

    /// Each post by itself: Threads answers no numbers of several.
    async fn numbers(word: Word<'_>, posts: &[String]) -> Result<Vec<(String, Numbers)>, JobError> {
        let mut numbers = Vec::with_capacity(posts.len());
        for id in posts {
            let query = [("metric", Insights::METRICS)];
            let path = format!("{id}/insights");
            let found: Option<Insights> = word.graph.find(word.by, &path, &query).await?;
            numbers.extend(found.map(|insights| (id.clone(), insights.numbers())));
        }
        Ok(numbers)
    }

    async fn profile(word: Word<'_>) -> Result<Profile, JobError> {
        let fields = [("fields", "name,username,threads_biography")];
        let person: Person = word.graph.read(word.by, "me", &fields).await?;
        Ok(Profile {
            display_name: person.name.filter(|name| !name.is_empty()).or(person.username),
            description: person.threads_biography,
            followers: None,
        })
    }
}
