//! What goes over the wire, as far as the client needs it.

use postworks::job::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The type of the events that are messages.
pub(super) const MESSAGE: &str = "m.room.message";
/// Our own field in a message: what it is found by, whatever became of the session that sent it.
const PUBLICATION_ID: &str = "org.postworks.publication_id";

/// `POST /login`.
#[derive(Serialize)]
pub(super) struct Login<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) identifier: User<'a>,
    pub(super) password: &'a str,
    pub(super) device_id: String,
    pub(super) initial_device_display_name: &'static str,
    pub(super) refresh_token: bool,
}

/// Whom `POST /login` is about: a whole id, or the local part of one.
#[derive(Serialize)]
pub(super) struct User<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) user: &'a str,
}

/// `POST /refresh`.
#[derive(Serialize)]
pub(super) struct Refresh<'a> {
    pub(super) refresh_token: &'a str,
}

/// What both answer. A server that does not renew tokens leaves the last two out; a refresh says
/// nothing of the user.
#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) user_id: Option<String>,
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) expires_in_ms: Option<u64>,
}

/// A body or an answer with nothing in it, or nothing of interest.
#[derive(Serialize, Deserialize)]
pub(super) struct Nothing {}

/// `GET /directory/room/{alias}` and `POST /join/{room}`.
#[derive(Deserialize)]
pub(super) struct Room {
    pub(super) room_id: String,
}

/// An account's own entry in a room's list of members.
#[derive(Deserialize)]
pub(super) struct Member {
    pub(super) membership: String,
}

/// `POST /_matrix/media/v3/upload`.
#[derive(Deserialize)]
pub(super) struct Uploaded {
    pub(super) content_uri: String,
}

/// The content of a message.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    #[serde(flatten)]
    pub(super) kind: Kind<'a>,
    /// The text, or an image's caption; the file's name if it has none.
    pub(super) body: &'a str,
    #[serde(rename = "m.mentions")]
    pub(super) mentions: Nothing,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    pub(super) relates_to: Option<RelatesTo<'a>>,
    #[serde(rename = "org.postworks.publication_id")]
    pub(super) publication_id: Uuid,
}

/// What a message is.
#[derive(Serialize)]
#[serde(tag = "msgtype")]
pub(super) enum Kind<'a> {
    #[serde(rename = "m.text")]
    Text,
    #[serde(rename = "m.image")]
    Image { filename: &'a str, url: &'a str, info: ImageInfo },
}

/// What an app knows of an image before it loads it.
#[derive(Serialize)]
pub(super) struct ImageInfo {
    pub(super) mimetype: &'static str,
    pub(super) size: usize,
    pub(super) w: u32,
    pub(super) h: u32,
}

/// What a message answers.
#[derive(Serialize)]
pub(super) struct RelatesTo<'a> {
    #[serde(rename = "m.in_reply_to")]
    pub(super) in_reply_to: InReplyTo<'a>,
}

/// The event that is answered.
#[derive(Serialize)]
pub(super) struct InReplyTo<'a> {
    pub(super) event_id: &'a str,
}

/// `PUT /rooms/{room}/send/m.room.message/{txn}`.
#[derive(Deserialize)]
pub(super) struct Sent {
    pub(super) event_id: String,
}

/// What of a room's events is asked for.
#[derive(Serialize)]
pub(super) struct Filter<'a> {
    pub(super) types: [&'static str; 1],
    pub(super) senders: [&'a str; 1],
}

/// `GET /rooms/{room}/messages`. A page may be empty and not the last one: only no `end` ends.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) chunk: Vec<Event>,
    pub(super) end: Option<String>,
}

/// An event of a room.
#[derive(Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) event_id: String,
    pub(super) sender: String,
    /// The time that the sender's server says, in milliseconds.
    pub(super) origin_server_ts: i64,
    /// Whatever a client of the account wrote; nothing if the event was removed.
    pub(super) content: Value,
    #[serde(default)]
    pub(super) unsigned: Value,
}

impl Event {
    pub(super) fn created_at(&self) -> Timestamp {
        Timestamp::from_millis(self.origin_server_ts)
    }

    /// Whether this user wrote it, and it is a message.
    pub(super) fn is_message_of(&self, user: &str) -> bool {
        self.sender == user && self.kind == MESSAGE
    }

    /// Whether it is a publication's, as its content says, or the server to the device that sent it.
    pub(super) fn is_publication(&self, id: Uuid) -> bool {
        let id = id.to_string();
        self.said(PUBLICATION_ID) == Some(&id)
            || self.unsigned.get("transaction_id").and_then(Value::as_str) == Some(&id)
    }

    /// Whether nothing but the fact of it is left.
    pub(super) fn is_removed(&self) -> bool {
        self.said("msgtype").is_none()
    }

    /// Whether it is the new version of another one.
    pub(super) fn is_edit(&self) -> bool {
        self.content.pointer("/m.relates_to/rel_type").and_then(Value::as_str) == Some("m.replace")
    }

    /// The text; of an image the caption, which it has if it is not the file's name.
    pub(super) fn text(&self) -> &str {
        let body = self.said("body").unwrap_or_default();
        let is_file =
            matches!(self.said("msgtype"), Some("m.image" | "m.file" | "m.audio" | "m.video"));
        if is_file && self.said("filename").is_none_or(|name| name == body) { "" } else { body }
    }

    fn said(&self, name: &str) -> Option<&str> {
        self.content.get(name).and_then(Value::as_str)
    }
}

/// `GET /profile/{user}`.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) displayname: Option<String>,
}
