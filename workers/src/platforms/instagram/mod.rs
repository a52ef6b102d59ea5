//! The client of Instagram: professional accounts, by the Instagram API with Instagram Login.
//!
//! A post is a container that is made first and published by one request; the container itself says
//! whether it was published. Facts and their sources: `docs/platforms/instagram.md`.

#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;
use postworks::config::ClientAuth;
use postworks::job::{JobError, SyncStream};

use self::wire::{Figures, Media, Person};
use super::meta::{ContainerClient, Dialect, Grants, Speech, Word};
use super::{
    Descriptor, Idempotency, ImageKind, ImageLimits, ImageRule, Length, Limits, LinkAs, Numbers,
    OAuthDefaults, Profile, Secret,
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
pub(super) type InstagramClient = ContainerClient<Instagram>;

/// What Instagram has of its own.
pub(super) struct Instagram;

#[async_trait]
impl Speech for Instagram {
    const DESCRIPTOR: &'static Descriptor = &DESCRIPTOR;
    const VERSION: &'static str = VERSION;
    const DIALECT: &'static Dialect = &DIALECT;
    const GRANTS: &'static Grants = &GRANTS;
    type Post = Media;

    async fn numbers(word: Word<'_>, posts: &[String]) -> Result<Vec<(String, Numbers)>, JobError> {
        let list = word.path(DIALECT.make);
        word.graph.numbers::<Figures>(word.by, &list, posts).await
    }

    async fn profile(word: Word<'_>) -> Result<Profile, JobError> {
        let fields = [("fields", "name,username,biography,followers_count")];
        let person: Person = word.graph.read(word.by, "me", &fields).await?;
        Ok(Profile {
            display_name: person.name.filter(|name| !name.is_empty()).or(person.username),
            description: person.biography,
            followers: person.followers_count,
        })
    }
}
