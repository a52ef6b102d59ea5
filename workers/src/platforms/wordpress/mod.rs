//! The client of WordPress: its REST API, with a password for applications.
//!
//! A post is prepared as a draft under a slug that follows from the publication, so that a repeat finds
//! what an earlier attempt left, and published by its number: a repeat changes nothing, at any time.
//!
//! `docs/platforms/wordpress.md` has the facts and their sources. What a blog really does is tested in
//! `tests/it/real_wordpress.rs`.

mod errors;
mod html;
mod place;
mod wire;

use async_trait::async_trait;
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SyncStream};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::place::Place;
use self::wire::{Described, Draft, Listed, Media, Post, Publish, User};
use super::call::{Api, Call, Step};
use super::html::text_of;
use super::http::{Http, HttpOptions, RequestBuilder, endpoint};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, Image, ImageKind, ImageLimits, Length,
    Limits, LinkAs, Outgoing, Platform, Preparation, Prepared, Profile, Published, RemotePost,
    Secret, SyncPage, TokenSet,
};

/// What WordPress is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "wordpress",
    // The number of a draft that is kept before anything is published.
    idempotency: Idempotency::DeterministicId,
    reconciles: false,
    secret: Secret::Password,
    target: None,
    oauth: None,
    limits: Limits {
        // WordPress has none; this is ours, far above what people read.
        text: Length::chars(100_000),
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            max: 20,
            required: false,
            kinds: &ImageKind::ALL,
            // Ours as well. Front servers have theirs, and say 413.
            bytes_max: 8 * 1024 * 1024,
            alt: Length::chars(2_000),
            rules: &[],
        }),
        link: LinkAs::Card,
        replies: false,
    },
    streams: &[SyncStream::Posts, SyncStream::Profile],
    price: None,
    local: false,
};

/// Posts in a page. WordPress gives up to 100, but posts of a blog are long, and the whole page must
/// stay below the longest answer we read.
const PAGE_POSTS: &str = "10";
/// Says on how many pages a list would be.
const TOTAL_PAGES: &str = "x-wp-totalpages";
/// What a user must be permitted.
const PUBLISH_POSTS: &str = "publish_posts";

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &errors::TABLE };

/// Speaks to WordPress.
pub struct WordPressClient {
    http: Http,
}

/// A request's parameters, by their names.
type Query<'a> = &'a [(&'static str, &'a str)];

/// An account, and what proves that we may use it.
struct Session<'a> {
    client: &'a WordPressClient,
    by: &'a Bearer<'a>,
    call: Call<'a>,
}

impl WordPressClient {
    /// A client; each account names its own blog.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)? })
    }

    fn session<'a>(&'a self, by: &'a Bearer<'a>, step: Step) -> Session<'a> {
        Session { client: self, by, call: by.call(API, step) }
    }
}

impl Session<'_> {
    /// A request of the API. By this address it is reached on every blog, whatever the addresses of
    /// its posts look like; `/wp-json/` is there only if they are made of words.
    /// <https://developer.wordpress.org/rest-api/key-concepts/>
    fn request(&self, method: Method, route: &str, query: Query<'_>) -> RequestBuilder {
        let mut url = endpoint(&self.by.account.base_url, "");
        url.set_query(Some(&format!("rest_route=/wp/v2/{route}")));
        url.query_pairs_mut().extend_pairs(query);
        let request = self.client.http.request(method, url);
        request.basic_auth(&self.by.account.identifier, Some(self.by.access.expose_secret()))
    }

    async fn exchange<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, JobError> {
        self.client.http.value(self.call, request).await
    }

    async fn me(&self) -> Result<User, JobError> {
        let query = [("context", "edit"), ("_fields", wire::USER)];
        self.exchange(self.request(Method::GET, "users/me", &query)).await
    }

    /// The draft that an earlier attempt left. The oldest, should there be two.
    async fn left(&self, slug: &str) -> Result<Option<Post>, JobError> {
        let query = [
            ("slug", slug),
            ("status", "any"),
            ("orderby", "id"),
            ("order", "asc"),
            ("_fields", wire::POST),
        ];
        let found: Vec<Post> = self.exchange(self.request(Method::GET, "posts", &query)).await?;
        Ok(found.into_iter().next())
    }

    /// Has the blog keep an image, unless it does.
    async fn upload(&self, slug: &str, image: &Image) -> Result<Media, JobError> {
        let query = [("slug", slug), ("orderby", "id"), ("order", "asc"), ("_fields", wire::MEDIA)];
        let found: Vec<Media> = self.exchange(self.request(Method::GET, "media", &query)).await?;
        let media = match found.into_iter().next() {
            Some(media) => media,
            None => self.send_file(slug, image).await?,
        };
        // An upload that broke off may lack it as well.
        if image.alt.is_empty() || !media.alt_text.is_empty() {
            return Ok(media);
        }
        let route = format!("media/{}", media.id);
        let request = self.request(Method::POST, &route, &[("_fields", wire::MEDIA)]);
        self.exchange(request.json(&Described { alt_text: &image.alt })).await
    }

    /// As a body and not in a form: of a form's files, PHP takes up to 2 MB unless its owner says
    /// otherwise. <https://www.php.net/manual/en/ini.core.php#ini.upload-max-filesize>
    async fn send_file(&self, slug: &str, image: &Image) -> Result<Media, JobError> {
        let file = format!("attachment; filename=\"{slug}.{}\"", image.kind.extension());
        let request = self
            .request(Method::POST, "media", &[("slug", slug), ("_fields", wire::MEDIA)])
            .header(CONTENT_TYPE, image.kind.mime())
            .header(CONTENT_DISPOSITION, file)
            .body(image.bytes.read().await?);
        self.exchange(request).await
    }

    /// Writes the draft, all of it: an earlier attempt that broke off may have left a part.
    async fn write(
        &self,
        slug: &str,
        post: &Outgoing,
        left: Option<Post>,
    ) -> Result<Post, JobError> {
        let mut images = Vec::new();
        for (image, number) in post.images.iter().zip(1..) {
            images.push((image, self.upload(&format!("{slug}-{number}"), image).await?));
        }
        let draft = Draft {
            status: "draft",
            slug,
            title: html::escaped(post.title.as_deref().unwrap_or_default()),
            content: html::content(&post.text, post.link.as_ref(), &images),
            featured_media: images.first().map_or(0, |(_, media)| media.id),
        };
        let route = left.map_or_else(|| "posts".to_owned(), |left| format!("posts/{}", left.id));
        let request = self.request(Method::POST, &route, &[("_fields", wire::POST)]);
        self.exchange(request.json(&draft)).await
    }
}

/// What the blog holds ready.
#[derive(Serialize, Deserialize)]
struct Held {
    /// The draft's number.
    post: u64,
}

#[async_trait]
impl Platform for WordPressClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// Looks whether the password is one, and what its owner may do. It is what proves us from then on.
    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let by = account.with(secret);
        let session = self.session(&by, Step::SignIn);
        let user = session.me().await?;
        let refused = |words: &str| Err(session.call.error(ErrorClass::AuthRevoked, words));
        let id = user.id.to_string();
        if account.remote_id.as_ref().is_some_and(|known| *known != id) {
            return refused(&format!("the blog answered for another user, number {id}"));
        }
        if user.capabilities.get(PUBLISH_POSTS) != Some(&Value::Bool(true)) {
            return refused("the user may not publish there: make it an author of the blog");
        }
        let (access, remote_id) = (secret.clone(), Some(id));
        Ok(TokenSet { access, refresh: None, expires_at: None, remote_id })
    }

    /// There is nothing but the password.
    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.sign_in(account, refresh_token).await
    }

    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        if so_far.read::<Held>()?.is_some() {
            return Ok(Preparation::Ready(so_far));
        }
        let session = self.session(&by, Step::Upload);
        let slug = format!("p-{}", post.publication_id);
        let draft = match session.left(&slug).await? {
            // Somebody has published it by hand: then it is as it should be.
            Some(left) if left.status != "draft" => left,
            left => session.write(&slug, post, left).await?,
        };
        Ok(Preparation::Ready(Prepared::of(&Held { post: draft.id })?))
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        _post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let session = self.session(&by, Step::Publish);
        let Some(Held { post: id }) = prepared.read()? else {
            return Err(session.call.error(ErrorClass::Bug, "there is no draft to publish"));
        };
        let route = format!("posts/{id}");
        let request = session.request(Method::POST, &route, &[("_fields", wire::POST)]);
        let request = request.json(&Publish { status: "publish", slug: "" });
        let post: Post = session.exchange(request).await?;
        if post.status != "publish" {
            // A plugin may want somebody to look at it first.
            let words = format!(
                "the blog keeps the post back, as {:?}: publish or delete it in the blog",
                post.status
            );
            return Err(session.call.error(ErrorClass::Invalid, &words));
        }
        let remote_url = Some(post.link).filter(|link| !link.is_empty());
        Ok(Committed::Published(Published { remote_id: post.id.to_string(), remote_url }))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let session = self.session(&by, Step::Read);
        let place = cursor.map(str::parse).transpose().map_err(|place::Unreadable| {
            session.call.error(ErrorClass::Invalid, "the place in the list cannot be read")
        })?;
        let place: Place = place.unwrap_or_default();
        let (before, seen) = (place.before(), place.seen());
        let Some(author) = by.account.remote_id.as_deref() else {
            return Err(session.call.error(ErrorClass::Bug, "the user's number is not known"));
        };
        let mut query = vec![
            ("author", author),
            ("per_page", PAGE_POSTS),
            ("context", "edit"),
            ("_fields", wire::LISTED),
        ];
        if let Some(before) = &before {
            query.extend([("before", before.as_str()), ("exclude", seen.as_str())]);
        }
        let request = session.request(Method::GET, "posts", &query);
        let answer = self.http.send(session.call, request).await?;
        let listed: Vec<Listed> = answer.value(session.call)?;
        let pages =
            answer.headers.get(TOTAL_PAGES).and_then(|pages| pages.to_str().ok()?.parse().ok());
        let pages: u64 = pages.ok_or_else(|| answer.without(TOTAL_PAGES, session.call))?;
        let next = (pages > 1).then(|| place.after(&listed).to_string());
        Ok(SyncPage { posts: listed.into_iter().map(remote).collect(), next })
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let user = self.session(&by, Step::Read).me().await?;
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let (display_name, description) = (said(user.name), said(user.description));
        Ok(Profile { display_name, description, followers: None })
    }
}

fn remote(listed: Listed) -> RemotePost {
    let (title, body) = (text_of(&listed.title.raw), text_of(&listed.content.raw));
    let parts: Vec<String> = [title, body].into_iter().filter(|part| !part.is_empty()).collect();
    RemotePost {
        remote_id: listed.id.to_string(),
        created_at: format!("{}Z", listed.date_gmt).parse().ok(),
        text: parts.join("\n\n"),
    }
}

#[cfg(test)]
mod tests;
