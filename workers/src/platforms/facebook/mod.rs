//! The client of Facebook: the posts of a Page, by the Graph API.
//!
//! No key and no reference of ours is taken. Images are uploaded unpublished first, so that the post
//! itself is one request; after an unknown outcome the Page's posts of that time are compared.
//! Facts and their sources: `docs/platforms/facebook.md`.

mod pages;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use postworks::clock::SharedClock;
use postworks::config::ClientAuth;
use postworks::job::{ErrorClass, JobError, SyncStream, Timestamp};
use reqwest::multipart::Form;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use self::wire::{About, Attached, Figures, PageItself, Post};
use super::call::Step;
use super::http::HttpOptions;
use super::look_back::{Listing, Shown};
use super::meta::{Created, Graph};
use super::oauth::{Consent, Granted, OAuthClient};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, Image, ImageKind, ImageLimits, Length,
    Limits, LinkAs, Numbers, OAuthDefaults, Outgoing, Platform, Preparation, Prepared, Profile,
    Published, Reconciled, Secret, Sought, SyncPage, Target, TokenSet,
};

/// The Graph API's version; each is kept for about two years.
pub(super) const VERSION: &str = "v25.0";
/// For how long after the last of them the photos of a post are used. Meta is said to keep them for a
/// day; nobody tells when one is gone, and a person who has a post sent again waits no day for new
/// ones.
const UPLOADS_KEPT: Duration = Duration::from_secs(60 * 60);

/// What Facebook is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "facebook",
    idempotency: Idempotency::None,
    reconciles: true,
    secret: Secret::AccessToken,
    target: Some(Target { what: "Page", example: "546349135390552", required: false }),
    oauth: Some(&OAuthDefaults {
        authorize_url: "https://www.facebook.com/v25.0/dialog/oauth",
        token_url: "https://graph.facebook.com/v25.0/oauth/access_token",
        revoke_url: None,
        userinfo_url: None,
        api_url: "https://graph.facebook.com",
        scopes: &[
            "pages_show_list",
            "pages_manage_posts",
            "pages_read_engagement",
            "pages_read_user_content",
        ],
        client_auth: ClientAuth::Post,
        pkce: true,
    }),
    limits: Limits {
        // On no page of Meta's, but known everywhere.
        text: Length::chars(63_206),
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            // Meta names none; this is ours.
            max: 10,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Gif],
            bytes_max: 4_000_000,
            // Meta names none for Pages; this is Instagram's.
            alt: Length::chars(1_000),
            rules: &[],
        }),
        link: LinkAs::CardUnlessImages,
        replies: false,
    },
    streams: &[SyncStream::Posts, SyncStream::Metrics, SyncStream::Profile],
    price: None,
    local: false,
};

/// What is said to whoever asks a person's token for a Page's category.
const NO_PAGE: &str = "nonexisting field (category)";
/// Where a Page's posts are listed.
const POSTS: &str = "published_posts";

/// Speaks to Facebook.
pub struct FacebookClient {
    graph: Graph,
}

/// The photos of a post, uploaded and seen by nobody.
#[derive(Serialize, Deserialize)]
struct Kept {
    photos: Vec<String>,
    /// When the last of them was.
    uploaded_at: Timestamp,
}

impl FacebookClient {
    /// A client.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { graph: Graph::new(&DESCRIPTOR, VERSION, options, clock)? })
    }

    /// Uploads an image that nobody sees yet.
    async fn upload(&self, by: Bearer<'_>, image: &Image) -> Result<String, JobError> {
        let call = by.call(self.graph.api, Step::Upload);
        let file = image.part(call).await?;
        let mut form = Form::new().text("published", "false");
        if !image.alt.is_empty() {
            form = form.text("alt_text_custom", image.alt.clone());
        }
        let form = form.text("access_token", by.access.expose_secret().to_owned());
        let url = self.graph.url(by.account, &edge(by.account, "photos"));
        let request =
            self.graph.http.request(Method::POST, url).multipart(form.part("source", file));
        self.graph.http.value(call, request).await.map(|photo: Created| photo.id)
    }
}

/// The path of one of the Page's edges; a Page's own token is the Page.
fn edge(account: &Account, edge: &str) -> String {
    format!("{}/{edge}", account.remote_id.as_deref().unwrap_or("me"))
}

fn published(id: String) -> Published {
    let remote_url = Some(format!("https://www.facebook.com/{id}"));
    Published { remote_id: id, remote_url }
}

/// The text as it is sent: a post with images has no card, so that its link stands in the text.
fn message(post: &Outgoing) -> String {
    post.text_as(DESCRIPTOR.limits.link)
}

#[async_trait]
impl Platform for FacebookClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// Takes a Page's own token as it is.
    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let by = account.with(secret);
        let call = by.call(self.graph.api, Step::SignIn);
        let fields = [("fields", "id,name,category")];
        let answer = self.graph.get(by, Step::SignIn, "me", &fields).await?;
        let page: PageItself = answer.value(call).map_err(|error| {
            if !answer.words(call).message.contains(NO_PAGE) {
                return error;
            }
            let words = "the token is a person's: paste the Page's own token";
            call.error(ErrorClass::Invalid, words).because(error)
        })?;
        let known = account.remote_id.as_ref().filter(|known| **known != page.id);
        let wanted = account.target.as_ref().filter(|target| !page.is(target));
        if let Some(other) = known.or(wanted) {
            let PageItself { id, name } = page;
            let words = format!("the token is of the Page {name} ({id}), not of {other}");
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        Ok(TokenSet {
            access: secret.clone(),
            refresh: None,
            expires_at: None,
            remote_id: Some(page.id),
        })
    }

    async fn exchange_code(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        pages::exchange(&self.graph, oauth, consent).await
    }

    /// A Page's token has no end and no successor.
    async fn refresh(&self, account: &Account, _: &SecretString) -> Result<TokenSet, JobError> {
        let call = account.call(self.graph.api, Step::Refresh, &[]);
        let words = "a Page's token cannot be renewed: connect the account again";
        Err(call.error(ErrorClass::AuthRevoked, words))
    }

    /// One photo a run, each kept before the next: a worker that ends loses one.
    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        if post.images.is_empty() {
            return Ok(Preparation::Ready(Prepared::NOTHING));
        }
        let now = self.graph.now();
        let good = |kept: &Kept| now.since(kept.uploaded_at) < UPLOADS_KEPT;
        let kept = so_far.read()?.filter(good);
        let mut kept = kept.unwrap_or(Kept { photos: Vec::new(), uploaded_at: now });
        let Some(next) = post.images.get(kept.photos.len()) else {
            return Ok(Preparation::Ready(so_far));
        };
        kept.photos.push(self.upload(by, next).await?);
        kept.uploaded_at = self.graph.now();
        Ok(Preparation::Waits { so_far: Prepared::of(&kept)?, until: now })
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let call = by.call(self.graph.api, Step::Publish);
        let photos = prepared.read()?.map_or_else(Vec::new, |kept: Kept| kept.photos);
        post.needs_all(photos.len())?;
        let attached: Vec<(String, String)> = photos
            .iter()
            .enumerate()
            .map(|(at, id)| {
                let attached = serde_json::to_string(&Attached { media_fbid: id });
                (format!("attached_media[{at}]"), attached.unwrap_or_default())
            })
            .collect();
        let message = message(post);
        let mut form = Vec::new();
        if !message.is_empty() {
            form.push(("message", message.as_str()));
        }
        if attached.is_empty() {
            form.extend(post.link.as_ref().map(|link| ("link", link.url.as_str())));
        }
        form.extend(attached.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let edge = edge(by.account, "feed");
        let answer = self.graph.post(call, by, &edge, &form).await?;
        if answer.is_taken(call) {
            return Ok(Committed::AlreadyThere { remote_id: None });
        }
        let created: Created = answer.value(call)?;
        Ok(Committed::Published(published(created.id)))
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let (list, from) = (edge(by.account, POSTS), sought.from());
        let (posts, is_whole) = self.graph.posts_since::<Post>(by, &list, from).await?;
        let shown = posts.into_iter().map(|post| Shown::of(post, published)).collect();
        let listing = Listing { shown, is_whole };
        Ok(listing.look_for(&message(post), None, sought, str::to_owned))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        self.graph.posts::<Post>(by, &edge(by.account, POSTS), cursor).await
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        self.graph.numbers::<Figures>(by, &edge(by.account, POSTS), posts).await
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let path = by.account.remote_id.as_deref().unwrap_or("me");
        let fields = [("fields", "name,about,followers_count")];
        let page: About = self.graph.read(by, path, &fields).await?;
        let About { name, about, followers_count } = page;
        Ok(Profile { display_name: name, description: about, followers: followers_count })
    }
}
