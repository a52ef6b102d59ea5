//! What goes over the wire to and from a personal data server, after the lexicons
//! `com.atproto.server.*`, `com.atproto.repo.*`, `app.bsky.feed.post` and `app.bsky.actor.profile`.

use postworks::job::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

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
    pub(super) record: Post<'a>,
    /// Sent as null: "only if nothing is there". Left out it would mean "whatever is there".
    pub(super) swap_record: Option<&'a str>,
}

/// A post as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post<'a> {
    #[serde(rename = "$type")]
    pub(super) kind: &'static str,
    pub(super) text: &'a str,
    pub(super) created_at: Timestamp,
}

/// The answer to `putRecord`.
#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) uri: String,
}

/// A record as it is read: the answer to `getRecord`, and an item of `listRecords`.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) uri: String,
    pub(super) value: FoundPost,
}

/// A post as it is read. Other clients write what they like, so nothing is taken for granted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FoundPost {
    pub(super) text: Option<String>,
    pub(super) created_at: Option<String>,
}

/// The answer to `listRecords`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) records: Vec<Found>,
    pub(super) cursor: Option<String>,
}

/// The answer to `getRecord` of a profile.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) value: FoundPerson,
}

/// What an account says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FoundPerson {
    pub(super) display_name: Option<String>,
    pub(super) description: Option<String>,
}
