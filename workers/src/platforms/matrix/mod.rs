//! The client of Matrix: a message in a room, on any homeserver.
//!
//! A message is sent with the publication's id as its transaction id. The server remembers that for
//! the device that sent it, for a day on Synapse, so a repeat is harmless until then; a device that
//! was signed out is forgotten, and its keys with it, though not at once. Each message also carries
//! the id in a field of our own, by which it is found among the account's messages when no key helps.
//!
//! Facts are from the specification (Client-Server API 1.18); those that it leaves to servers were
//! tried on Synapse 1.163.2, and `tests/it/real_matrix.rs` repeats them.

mod errors;
mod history;
mod room;
mod wire;

use std::slice;
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SyncStream};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::byte_serialize;

use self::wire::{
    ImageInfo, InReplyTo, Kind, Login, MESSAGE, Message, Nothing, Person, Refresh, RelatesTo, Sent,
    Session, Uploaded, User,
};
use super::answer::Answer;
use super::call::{Api, Call, Step};
use super::http::{Http, HttpOptions, RequestBuilder, endpoint};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, Image, ImageKind, ImageLimits, KeyScope,
    Length, Limits, LinkAs, Outgoing, Platform, Preparation, Prepared, Profile, Published,
    Reconciled, Secret, Sought, SyncPage, Target, TokenSet,
};

/// What Matrix is like.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "matrix",
    idempotency: Idempotency::ClientKey {
        // Synapse forgets keys after 24 hours; an hour is for clocks, and for a slow request.
        lifetime: Some(Duration::from_secs(23 * 60 * 60)),
        scope: KeyScope::SignIn,
    },
    reconciles: true,
    secret: Secret::Password,
    target: Some(Target { what: "room", example: "#news:example.org", required: true }),
    oauth: None,
    limits: Limits {
        text: Length { max: TEXT_BYTES_MAX, unit: "bytes", count: json_bytes },
        text_also: None,
        text_required: false,
        images: Some(ImageLimits {
            // A message shows one file, and one message is one request that cannot be taken back.
            max: 1,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Gif, ImageKind::Webp],
            // What Synapse accepts unless told otherwise (`max_upload_size`).
            bytes_max: 50 * 1024 * 1024,
            alt: Length { max: ALT_BYTES_MAX, unit: "bytes", count: json_bytes },
            rules: &[],
        }),
        link: LinkAs::Appended,
        replies: true,
    },
    // Reactions are counted by nobody: each would have to be read.
    streams: &[SyncStream::Posts, SyncStream::Profile],
    price: None,
    local: false,
};

/// Longest text, in bytes of JSON. A whole event may have 65,536 bytes (Client-Server API, "Size
/// limits"), with what the server adds: Synapse takes a body of 64,500 and refuses one of 65,000.
const TEXT_BYTES_MAX: usize = 56_000;
/// Longest description of an image, in bytes of JSON: an event may hold it twice beside a text.
const ALT_BYTES_MAX: usize = 2_000;
/// What people see in their list of devices.
const DEVICE_NAME: &str = "Postworks";

const API: Api = Api { descriptor: &DESCRIPTOR, refusals: &errors::TABLE };

/// Speaks to Matrix.
pub struct MatrixClient {
    http: Http,
}

/// What a commit refers to.
#[derive(Serialize, Deserialize)]
struct Ready {
    /// The room's id: where the post goes, whatever becomes of the alias meanwhile.
    room: String,
    /// Where the server keeps the image.
    image: Option<String>,
}

/// What an earlier run prepared, which nothing is sent without.
fn ready(prepared: &Prepared) -> Result<Ready, JobError> {
    let bug = || JobError::new(ErrorClass::Bug, "nothing was prepared for matrix");
    prepared.read()?.ok_or_else(bug)
}

impl MatrixClient {
    /// A client; each account names its own homeserver.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(options: &HttpOptions, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self { http: Http::new(&DESCRIPTOR, options, clock)? })
    }

    /// A request to an address below `/_matrix/client/v3`, of parts that may hold anything.
    fn request(&self, account: &Account, method: Method, parts: &[&str]) -> RequestBuilder {
        self.http.request(method, place(&account.base_url, "_matrix/client/v3", parts))
    }

    /// The same, with the account's token.
    fn request_by(&self, by: Bearer<'_>, method: Method, parts: &[&str]) -> RequestBuilder {
        self.request(by.account, method, parts).bearer_auth(by.access.expose_secret())
    }

    async fn send(&self, call: Call<'_>, request: RequestBuilder) -> Result<Answer, JobError> {
        self.http.send(call, request).await.map(errors::with_wait)
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<T, JobError> {
        self.send(call, request).await?.value(call)
    }

    fn tokens(
        &self,
        account: &Account,
        call: Call<'_>,
        session: Session,
    ) -> Result<TokenSet, JobError> {
        // Tokens of another account must never be used to publish as this one.
        let other = session
            .user_id
            .as_ref()
            .filter(|user| account.remote_id.as_ref().is_some_and(|known| known != *user));
        if let Some(other) = other {
            let words = format!("the server answered for another account, {other}");
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        let lifetime = session.expires_in_ms.map(Duration::from_millis);
        Ok(TokenSet {
            access: session.access_token,
            refresh: session.refresh_token,
            expires_at: lifetime.map(|lifetime| self.http.now().after(lifetime)),
            remote_id: session.user_id,
        })
    }

    async fn upload(&self, by: Bearer<'_>, image: &Image) -> Result<String, JobError> {
        let call = by.call(API, Step::Upload);
        let request = self
            .http
            .request_by(by, Method::POST, "_matrix/media/v3/upload")
            .header(CONTENT_TYPE, image.kind.mime())
            .body(image.bytes.read().await?);
        let uploaded: Uploaded = self.exchange(call, request).await?;
        Ok(uploaded.content_uri)
    }
}

/// The account's id: known since it signed in.
fn user(account: &Account) -> &str {
    account.remote_id.as_deref().unwrap_or(&account.identifier)
}

/// The address of a resource; its parts are encoded, since a room's alias begins with `#`.
fn place(base: &Url, api: &str, parts: &[&str]) -> Url {
    let mut url = endpoint(base, api);
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(parts);
    }
    url
}

/// The device that an account publishes from. Signing in again keeps it, and with it the keys,
/// unless it was signed out; and people see one device of ours, not one for each time.
fn device(account: &Account) -> String {
    format!("POSTWORKS-{}", account.connector_id.simple())
}

/// Where people see a message (Appendices, "matrix.to navigation"). A room's id does not say which
/// server knows it; the account's own does.
fn published(account: &Account, room: &str, event_id: String) -> Published {
    let encoded = |part: &str| byte_serialize(part.as_bytes()).collect::<String>();
    let via = user(account).split_once(':').map(|(_, server)| encoded(server));
    let via = via.map(|server| format!("?via={server}")).unwrap_or_default();
    let url = format!("https://matrix.to/#/{}/{}{via}", encoded(room), encoded(&event_id));
    Published { remote_id: event_id, remote_url: Some(url) }
}

/// How long a text is in an event: quotes and the like take two bytes.
fn json_bytes(text: &str) -> usize {
    serde_json::to_string(text).map_or(usize::MAX, |json| json.len() - 2)
}

/// What an image's file is called. Matrix has no field for a description, and apps show this where
/// an image cannot be seen.
fn filename(image: &Image) -> String {
    let described = image.alt.split(char::is_whitespace).filter(|word| !word.is_empty());
    let name = described.collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { "image" } else { &name };
    format!("{name}.{}", image.kind.extension())
}

#[async_trait]
impl Platform for MatrixClient {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::SignIn, slice::from_ref(&secret));
        let login = Login {
            kind: "m.login.password",
            identifier: User { kind: "m.id.user", user: &account.identifier },
            password: secret.expose_secret(),
            device_id: device(account),
            initial_device_display_name: DEVICE_NAME,
            refresh_token: true,
        };
        let request = self.request(account, Method::POST, &["login"]).json(&login);
        self.tokens(account, call, self.exchange(call, request).await?)
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let call = account.call(API, Step::Refresh, slice::from_ref(&refresh_token));
        let refresh = Refresh { refresh_token: refresh_token.expose_secret() };
        let request = self.request(account, Method::POST, &["refresh"]).json(&refresh);
        self.tokens(account, call, self.exchange(call, request).await?)
    }

    /// Signs the device out. That takes an access token, which the refresh token is good for.
    async fn revoke(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<bool, JobError> {
        let access = self.refresh(account, refresh_token).await?.access;
        let by = account.with(&access);
        let call = by.call(API, Step::Revoke);
        let request = self.request_by(by, Method::POST, &["logout"]).json(&Nothing {});
        self.send(call, request).await?.success(call).map(|()| true)
    }

    /// Finds the room, enters it if need be, and uploads the image. Entering is seen in the room,
    /// once: that is what the account was connected for.
    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let kept: Option<Ready> = so_far.read()?;
        let (known, image) = kept.map_or((None, None), |kept| (Some(kept.room), kept.image));
        let room = match known {
            Some(room) => {
                // The account may have another target by now.
                self.enter(by, &room, &room).await?;
                room
            }
            None => {
                let room = self.room(by).await?;
                self.enter(by, &room, room::target(by.account)).await?;
                room
            }
        };
        let image = match (image, post.images.first()) {
            (None, Some(image)) => Some(self.upload(by, image).await?),
            (uploaded, _) => uploaded,
        };
        Ok(Preparation::Ready(Prepared::of(&Ready { room, image })?))
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let call = by.call(API, Step::Publish);
        let ready = ready(prepared)?;
        let text = post.text_with_link();
        let image = post.images.first().zip(ready.image.as_deref());
        let filename = image.map(|(image, _)| filename(image)).unwrap_or_default();
        let kind = match image {
            None => Kind::Text,
            Some((image, url)) => Kind::Image {
                filename: &filename,
                url,
                info: ImageInfo {
                    mimetype: image.kind.mime(),
                    size: image.bytes.length(),
                    w: image.width,
                    h: image.height,
                },
            },
        };
        let message = Message {
            kind,
            body: if text.trim().is_empty() { &filename } else { &text },
            mentions: Nothing {},
            relates_to: post
                .reply_to
                .as_deref()
                .map(|event_id| RelatesTo { in_reply_to: InReplyTo { event_id } }),
            publication_id: post.publication_id,
        };
        let key = post.publication_id.to_string();
        let request = self
            .request_by(by, Method::PUT, &["rooms", &ready.room, "send", MESSAGE, &key])
            .json(&message);
        let sent: Sent = self.exchange(call, request).await?;
        Ok(Committed::Published(published(by.account, &ready.room, sent.event_id)))
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let ready = ready(prepared)?;
        self.find(by, &ready.room, post.publication_id, sought.since).await
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let room = self.room(by).await?;
        self.posts_in(by, &room, cursor).await
    }

    /// The name that the account has everywhere. An account that has none says nothing of itself.
    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let call = by.call(API, Step::Read);
        let request = self.request_by(by, Method::GET, &["profile", user(by.account)]);
        let answer = self.send(call, request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Profile::default());
        }
        let person: Person = answer.value(call)?;
        Ok(Profile { display_name: person.displayname, ..Profile::default() })
    }
}

#[cfg(test)]
mod tests;
