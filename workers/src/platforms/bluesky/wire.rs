//! What goes over the wire to and from a personal data server, after the lexicons
//! `com.atproto.server.*`, `com.atproto.repo.*`, `app.bsky.feed.post`, `app.bsky.embed.*`,
//! `app.bsky.richtext.facet` and `app.bsky.actor.profile`.

use postworks::job::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `createSession`.
#[derive(Serialize)]
pub(super) struct NewSession<'a> {
    pub(super) identifier: &'a str,
    pub(super) password: &'a str,
}

/// The answer to `createSession` and `refreshSession`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) access_jwt: SecretString,
    pub(super) refresh_jwt: SecretString,
    pub(super) did: String,
}

/// The body of `putRecord`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Put<'a> {
    pub(super) repo: &'a str,
    pub(super) collection: &'static str,
    pub(super) rkey: &'a str,
    pub(super) record: &'a Post,
    /// Sent as null: "only if nothing is there". Left out it would mean "whatever is there".
    pub(super) swap_record: Option<&'a str>,
}

/// A post as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post {
    #[serde(rename = "$type")]
    pub(super) kind: &'static str,
    pub(super) text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) facets: Vec<Facet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) embed: Option<Embed>,
    pub(super) created_at: Timestamp,
}

/// What a part of the text is.
#[derive(Debug, Serialize)]
pub(super) struct Facet {
    pub(super) index: Slice,
    pub(super) features: [Feature; 1],
}

/// A part of the text, in bytes of UTF-8.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Slice {
    pub(super) byte_start: usize,
    /// The first byte after it.
    pub(super) byte_end: usize,
}

/// What a part of the text is shown as.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
pub(super) enum Feature {
    #[serde(rename = "app.bsky.richtext.facet#link")]
    Link { uri: String },
    /// Without the `#` before it.
    #[serde(rename = "app.bsky.richtext.facet#tag")]
    Tag { tag: String },
}

/// What a post answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// The post that the thread began with.
    pub(super) root: Reference,
    pub(super) parent: Reference,
}

/// A record as it was when somebody referred to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) uri: String,
    pub(super) cid: String,
}

/// The one thing that a post shows besides its text.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
pub(super) enum Embed {
    #[serde(rename = "app.bsky.embed.images")]
    Images { images: Vec<Picture> },
    #[serde(rename = "app.bsky.embed.external")]
    External { external: Card },
}

/// An image of a post.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Picture {
    /// As the upload was answered.
    pub(super) image: Value,
    pub(super) alt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aspect_ratio: Option<Ratio>,
}

/// How an image is laid out before it is there. Both are 1 at least.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A page that a post points to.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    pub(super) uri: String,
    pub(super) title: String,
    pub(super) description: String,
}

/// The answer to `uploadBlob`.
#[derive(Deserialize)]
pub(super) struct Uploaded {
    /// What a record refers to the upload by; the server alone says what is in it.
    pub(super) blob: Value,
}

/// The answer to `getRecord` of a post, whatever it holds.
#[derive(Deserialize)]
pub(super) struct FoundRecord {
    pub(super) uri: String,
    pub(super) cid: Option<String>,
    pub(super) value: Value,
}

/// The answer to `putRecord`.
#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) uri: String,
}

/// A record as it is read: an item of `listRecords`.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) uri: String,
    /// Other clients write what they like, so nothing is taken for granted.
    pub(super) value: Value,
}

/// The answer to `listRecords`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) records: Vec<Found>,
    pub(super) cursor: Option<String>,
}

/// The answer to `getRecord` of a profile, whatever it holds.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) value: Value,
}

/// A text in a record, if it is there and is one.
pub(super) fn text(record: &Value, name: &str) -> Option<String> {
    record.get(name).and_then(Value::as_str).map(str::to_owned)
}
