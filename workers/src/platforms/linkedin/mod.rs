//! The client of LinkedIn: a member's posts, or those of an organisation that the member may post
//! for, by the versioned REST API.
//!
//! No key and no reference of ours is taken. A second post with the same text is refused within
//! about ten minutes, with the first one's URN; later it must be found in the list of posts, which
//! apps may read of organisations, and of members only where LinkedIn approved it.
//!
//! Facts and their sources: `docs/platforms/linkedin.md`.

mod errors;
mod images;
mod kept;
mod little;
mod reading;
#[cfg(test)]
mod tests;
mod wire;

use std::slice;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use postworks::clock::SharedClock;
use postworks::config::ClientAuth;
use postworks::job::{ErrorClass, JobError, SyncStream};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::byte_serialize;

use self::errors::{TABLE, TOKENS};
use self::kept::{Kept, Uploaded};
use self::wire::{
    Article, Content, Distribution, Elements, Media, Metadata, NewPost, Organisation, Post,
};
use super::call::{Api, Step};
use super::http::{Http, HttpOptions, RequestBuilder, endpoint};
use super::oauth::{Consent, Granted, OAuthClient};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, Image, ImageKind, ImageLimits, Length,
    Limits, LinkAs, Numbers, OAuthDefaults, Outgoing, Platform, Preparation, Prepared, Profile,
    Published, Reconciled, Secret, Sought, SyncPage, Target, TokenSet,
};

/// The version of the API, by year and month: each is kept for at least a year.
const VERSION: &str = "202607";
/// Posts in a page; the API permits 100. A post may have 3,000 characters and much beside them.
const PAGE_POSTS: usize = 50;
/// How the URNs of who may post begin.
const ORGANISATION: &str = "urn:li:organization:";
const MEMBER: &str = "urn:li:person:";

/// What LinkedIn is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "linkedin",
    idempotency: Idempotency::None,
    reconciles: true,
    secret: Secret::AccessToken,
    target: Some(Target {
        what: "organisation",
        example: "urn:li:organization:2414183",
        required: false,
    }),
    oauth: Some(&OAuthDefaults {
        authorize_url: "https://www.linkedin.com/oauth/v2/authorization",
        token_url: "https://www.linkedin.com/oauth/v2/accessToken",
        revoke_url: None,
        userinfo_url: Some("https://api.linkedin.com/v2/userinfo"),
        api_url: "https://api.linkedin.com",
        // Organisations need `w_organization_social` and `r_organization_social`, which only some
        // apps may ask for.
        scopes: &["openid", "profile", "w_member_social"],
        client_auth: ClientAuth::Post,
        // With a verifier the token endpoint answers 401 `invalid_client`.
        pkce: false,
    }),
    limits: Limits {
        // "The maximum length of the text of a UGC Post is 3,000 characters."
        text: Length::chars(3_000),
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            // MultiImage API: 2 to 20.
            max: 20,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Gif],
            // LinkedIn names pixels (36,152,320) and no bytes; this is ours.
            bytes_max: 8 * 1024 * 1024,
            alt: Length::chars(4_086),
            rules: &[],
        }),
        link: LinkAs::CardUnlessImages,
        replies: false,
    },
    streams: &[SyncStream::Posts, SyncStream::Metrics, SyncStream::Profile],
    price: None,
    local: false,
};

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &TABLE };

/// Speaks to LinkedIn.
pub struct LinkedInClient {
    http: Http,
    oauth: Option<Arc<OAuthClient>>,
}

impl LinkedInClient {
    /// A client.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)?, oauth: None })
    }

    /// Gets new tokens from these servers, where the app may.
    #[must_use]
    pub fn with_oauth(self, oauth: Arc<OAuthClient>) -> Self {
        Self { oauth: Some(oauth), ..self }
    }

    fn request(&self, by: Bearer<'_>, method: Method, url: Url) -> RequestBuilder {
        self.http
            .request(method, url)
            .bearer_auth(by.access.expose_secret())
            .header("linkedin-version", VERSION)
            .header("x-restli-protocol-version", "2.0.0")
    }

    async fn read<T: DeserializeOwned>(&self, by: Bearer<'_>, url: Url) -> Result<T, JobError> {
        let call = by.call(API, Step::Read);
        self.http.value(call, self.request(by, Method::GET, url)).await
    }

    /// Who the posts are by: the organisation that is the target, else the member.
    fn author(account: &Account) -> Result<String, JobError> {
        let urn = match (&account.target, &account.remote_id) {
            (Some(target), _) => target.clone(),
            (None, Some(id)) => format!("{MEMBER}{id}"),
            (None, None) => String::new(),
        };
        if urn.starts_with(ORGANISATION) || urn.starts_with(MEMBER) {
            return Ok(urn);
        }
        let words = format!(
            "nobody knows who posts: set the account's target to an organisation such as \
             {ORGANISATION}2414183, or connect the account again"
        );
        Err(account.call(API, Step::Upload, &[]).error(ErrorClass::Invalid, &words))
    }
}

/// The text as it is sent: a post with images has no card, so that its link stands in the text.
fn text(post: &Outgoing) -> String {
    post.text_as(DESCRIPTOR.limits.link)
}

/// An address with one more segment. Rest.li wants the colons of a URN escaped, which an address
/// would leave as they are.
fn with_segment(mut url: Url, segment: &str) -> Url {
    let segment: String = byte_serialize(segment.as_bytes()).collect();
    let path = format!("{}/{segment}", url.path());
    url.set_path(&path);
    url
}

/// The first URN of a post in these words.
fn post_in(words: &str) -> Option<String> {
    let start = words.find("urn:li:")?;
    let urn = words[start..].split(|char: char| !(char.is_alphanumeric() || char == ':')).next()?;
    let of_post = ["share", "ugcPost", "activity"];
    let kind = urn.split(':').nth(2)?;
    of_post.contains(&kind).then(|| urn.trim_end_matches(':').to_owned())
}

fn published(urn: String) -> Published {
    let remote_url = Some(format!("https://www.linkedin.com/feed/update/{urn}"));
    Published { remote_id: urn, remote_url }
}

#[async_trait]
impl Platform for LinkedInClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// Takes a token that a person pasted; whose it is, it says itself.
    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::SignIn, slice::from_ref(&secret));
        let member = self.member(account.with(secret), Step::SignIn).await?;
        if account.remote_id.as_ref().is_some_and(|known| *known != member.sub) {
            let words = format!("the token is another member's, {}", member.sub);
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        Ok(TokenSet {
            access: secret.clone(),
            refresh: None,
            expires_at: None,
            remote_id: Some(member.sub),
        })
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        if let Some(oauth) = &self.oauth {
            return oauth.renew_by(&TOKENS, Step::Refresh, account, refresh_token).await;
        }
        let call = account.call(API, Step::Refresh, &[]);
        let words = "tokens are renewed by [platforms.linkedin.oauth], which is not set";
        Err(call.error(ErrorClass::Invalid, words))
    }

    /// To where the configuration says, as LinkedIn's pages name no address.
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
        oauth.exchange_by(&TOKENS, consent).await
    }

    /// Decides who the post is by, and uploads its images.
    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let kept = match so_far.read()? {
            Some(kept) => kept,
            None => Kept { author: Self::author(by.account)?, images: Vec::new() },
        };
        self.upload_next(by, post, kept).await
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let call = by.call(API, Step::Publish);
        let Kept { author, images } = Kept::whole(prepared, post, call)?;
        let body = NewPost {
            author: &author,
            commentary: little::escape(&text(post)),
            visibility: "PUBLIC",
            distribution: Distribution::MAIN_FEED,
            content: content(post, &images),
            lifecycle_state: "PUBLISHED",
            is_reshare_disabled_by_author: false,
        };
        let url = endpoint(&by.account.base_url, "rest/posts");
        let request = self.request(by, Method::POST, url).json(&body);
        let answer = self.http.send(call, request).await?;
        if answer.is_taken(call) {
            let remote_id = post_in(&answer.words(call).message);
            return Ok(Committed::AlreadyThere { remote_id });
        }
        answer.success(call)?;
        let id = answer.headers.get("x-restli-id").and_then(|value| value.to_str().ok());
        let Some(urn) = id.filter(|id| !id.is_empty()) else {
            return Err(answer.without("x-restli-id", call));
        };
        Ok(Committed::Published(published(urn.to_owned())))
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let author = match prepared.read::<Kept>()? {
            Some(kept) => kept.author,
            None => Self::author(by.account)?,
        };
        let text = text(post);
        if let Some(urn) = sought.named
            && let Some(told) = self.named(by, urn, &text, sought).await?
        {
            return Ok(told);
        }
        self.look_for(by, &author, &text, sought).await
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let call = by.call(API, Step::Read);
        let start = match cursor.map(str::parse) {
            None => 0,
            Some(Ok(start)) => start,
            Some(Err(_)) => return Err(call.error(ErrorClass::Invalid, "this is no cursor")),
        };
        let answer = self.page(by, &Self::author(by.account)?, start).await?;
        if cursor.is_none() && Self::is_hidden(by, &answer)? {
            return Ok(SyncPage::default());
        }
        let page: Elements<Post> = answer.value(call)?;
        // "The end of the dataset is fewer elements than were asked for."
        let next = (page.elements.len() == PAGE_POSTS).then(|| (start + PAGE_POSTS).to_string());
        Ok(SyncPage { posts: page.elements.into_iter().map(Self::found).collect(), next })
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let ids: Vec<String> =
            posts.iter().map(|urn| byte_serialize(urn.as_bytes()).collect()).collect();
        let mut url = endpoint(&by.account.base_url, "rest/socialMetadata");
        // Rest.li's own list: its signs stand as they are, those of the items do not.
        url.set_query(Some(&format!("ids=List({})", ids.join(","))));
        let call = by.call(API, Step::Read);
        let answer = self.http.send(call, self.request(by, Method::GET, url)).await?;
        if Self::is_hidden(by, &answer)? {
            // Of those that are left out it would be said that they are gone.
            return Ok(posts.iter().map(|urn| (urn.clone(), Numbers::default())).collect());
        }
        let metadata: Metadata = answer.value(call)?;
        let numbers = metadata.results.into_iter().map(|(urn, social)| {
            let reactions = social.reaction_summaries.values().map(|kind| kind.count).sum();
            let replies = social.comment_summary.map(|comments| comments.count);
            (urn, Numbers { likes: Some(reactions), replies, ..Numbers::default() })
        });
        Ok(numbers.collect())
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let author = Self::author(by.account)?;
        let Some(id) = author.strip_prefix(ORGANISATION) else {
            let member = self.member(by, Step::Read).await?;
            return Ok(Profile { display_name: member.name, ..Profile::default() });
        };
        let url = with_segment(endpoint(&by.account.base_url, "rest/organizations"), id);
        let organisation: Organisation = self.read(by, url).await?;
        let followers = self.followers(by, &author).await?;
        Ok(Profile {
            display_name: organisation.localized_name,
            description: organisation.localized_description,
            followers,
        })
    }
}

/// What the post has beside its text.
fn content<'a>(post: &'a Outgoing, images: &'a [Uploaded]) -> Option<Content<'a>> {
    let media =
        |(there, image): (&'a Uploaded, &'a Image)| Media { id: &there.urn, alt_text: &image.alt };
    let mut images = images.iter().zip(&post.images).map(media);
    match (images.next(), images.next()) {
        (Some(only), None) => Some(Content::Media(only)),
        (Some(first), Some(second)) => {
            let images = [first, second].into_iter().chain(images).collect();
            Some(Content::MultiImage { images })
        }
        (None, _) => post.link.as_ref().map(|link| {
            Content::Article(Article {
                source: link.url.as_str(),
                // A card must have one.
                title: link.title.as_deref().unwrap_or(link.url.as_str()),
                description: link.description.as_deref(),
            })
        }),
    }
}
