//! What the API's document says of a route, said where the route is.

use axum::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

// Statuses that rows of the table name.
pub(super) const OK: StatusCode = StatusCode::OK;
pub(super) const CREATED: StatusCode = StatusCode::CREATED;
pub(super) const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
pub(super) const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
pub(super) const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
pub(super) const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
pub(super) const UNPROCESSABLE_ENTITY: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
pub(super) const INTERNAL_SERVER_ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
pub(super) const URI_TOO_LONG: StatusCode = StatusCode::URI_TOO_LONG;
pub(super) const PERMANENT_REDIRECT: StatusCode = StatusCode::PERMANENT_REDIRECT;
pub(super) const UNSUPPORTED_MEDIA_TYPE: StatusCode = StatusCode::UNSUPPORTED_MEDIA_TYPE;
pub(super) const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
pub(super) const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
pub(super) const CONFLICT: StatusCode = StatusCode::CONFLICT;
pub(super) const SERVICE_UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Makes a type's schema.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

pub(super) fn shape<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// A chapter of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// Logging in and out.
    Logins,
    /// Jobs.
    Jobs,
    /// Accounts, posts and publications.
    Publishing,
    /// Dead letters and redrives.
    Letters,
    /// What operators look after beside dead letters.
    Operations,
    /// What machines and readers ask of the API itself.
    Service,
}

impl Tag {
    /// Every chapter, in the order in which they are shown.
    pub(super) const ALL: [Self; 6] = [
        Self::Jobs,
        Self::Publishing,
        Self::Letters,
        Self::Operations,
        Self::Logins,
        Self::Service,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Logins => "login",
            Self::Jobs => "jobs",
            Self::Publishing => "publishing",
            Self::Letters => "dead letters",
            Self::Operations => "operations",
            Self::Service => "service",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Logins => "People log in with a password; programs have API keys and need not.",
            Self::Jobs => "Enqueue jobs, once or by a schedule; look at them, cancel them.",
            Self::Publishing => "Accounts, posts, and posts on accounts.",
            Self::Letters => {
                "Jobs that need a person: look at them, put them back, or end them for good."
            }
            Self::Operations => {
                "Queues, breakers, publications of which nobody knows what became of them, and \
                 who did what."
            }
            Self::Service => "Health, metrics, and this document.",
        }
    }
}

/// What the document says of a route.
pub(super) struct Said {
    pub(super) tag: Tag,
    /// Names the operation in generated clients.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) more: Option<&'static str>,
    pub(super) query: Option<Query>,
    pub(super) body: Option<Body>,
    /// The media types of a body that is no document.
    pub(super) raw_body: Option<&'static [&'static str]>,
    /// Whether a repeated request is done once if it brings a key.
    pub(super) takes_key: bool,
    /// Whether what it makes belongs to the caller's trace.
    pub(super) is_traced: bool,
    /// What it answers when all is well, and what is no problem otherwise.
    pub(super) answers: Vec<Answer>,
    /// Refusals of its own: those that every such route has are known from the rest.
    pub(super) refusals: Vec<(StatusCode, &'static str)>,
}

/// What may stand in the query.
pub(super) struct Query {
    pub(super) shape: Shape,
    /// Fields of the type that this route refuses.
    pub(super) but: &'static [&'static str],
}

/// The JSON document that is sent along.
pub(super) struct Body {
    pub(super) shape: Shape,
    pub(super) is_required: bool,
    pub(super) example: Option<Value>,
}

/// One answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) words: &'static str,
    pub(super) content: Content,
    /// Where an id stands in it (a JSON pointer), and the operations that take it.
    pub(super) links: Vec<(&'static str, &'static [&'static str])>,
}

/// What an answer holds.
pub(super) enum Content {
    /// Nothing.
    Empty,
    /// A JSON document.
    Json(Shape),
    /// A JSON document a line.
    Lines,
    /// Text of one of these types.
    Text(&'static [&'static str]),
    /// Bytes of one of these types.
    Bytes(&'static [&'static str]),
    /// A page for a browser; or a problem, from what surrounds every route.
    Page,
}

impl Said {
    pub(super) fn new(tag: Tag, id: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            id,
            summary,
            more: None,
            query: None,
            body: None,
            raw_body: None,
            takes_key: false,
            is_traced: false,
            answers: Vec::new(),
            refusals: Vec::new(),
        }
    }
}
