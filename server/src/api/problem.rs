//! How the API says no: `application/problem+json`, with every wrong field.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postworks::job::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app;
use crate::app::types::words;

/// A caller told to come back waits this long, in seconds.
const RETRY_AFTER_S: u32 = 30;
/// And up to so much longer if there are many of them, for them not to come back all at once.
const SPREAD_S: u32 = 15;

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Names the sort of problem.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The status in words.
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// The wrong fields, if the request has any.
    #[serde(default)]
    #[schemars(with = "Vec<words::FieldError>")]
    pub errors: Vec<FieldError>,
    /// What keeps the service from answering, where `detail` has fixed words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<str>>,
    /// What was asked may have been done all the same; left out where it surely was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
    /// For the header Retry-After, in seconds.
    #[serde(skip)]
    retry_after_s: Option<u32>,
    /// For the header WWW-Authenticate.
    #[serde(skip)]
    challenge: Option<Challenge>,
}

/// Why somebody who asks must prove who they are, or be somebody else.
#[derive(Debug, Clone, Copy)]
pub enum Challenge {
    /// They brought nothing.
    Missing,
    /// What they brought is no good.
    Invalid,
    /// They may not.
    Scope,
}

impl Challenge {
    /// As RFC 6750 writes it.
    const fn header(self) -> &'static str {
        match self {
            Self::Missing => "Bearer realm=\"postworks\"",
            Self::Invalid => "Bearer realm=\"postworks\", error=\"invalid_token\"",
            Self::Scope => "Bearer realm=\"postworks\", error=\"insufficient_scope\"",
        }
    }
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            kind: format!("urn:postworks:problem:{}", title.to_lowercase().replace(' ', "-"))
                .into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            cause: None,
            unsure: false,
            retry_after_s: None,
            challenge: None,
        }
    }

    /// Wrong fields.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.to_string(),
            many => format!("{} fields are wrong", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// The same request is being done.
    pub fn under_way() -> Self {
        let detail = "a request with this Idempotency-Key is under way; send it again in a moment";
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::CONFLICT, detail) }
    }

    /// A client asks too often.
    pub fn too_often(detail: impl Into<String>, retry_after_s: u32) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// Something is not there now, and may be in a moment.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        let detail = format!("Service busy, retry in {RETRY_AFTER_S}s");
        Self {
            cause: Some(cause.into().into_boxed_str()),
            retry_after_s: Some(RETRY_AFTER_S),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// No answer could be waited for, and what was asked may have been done.
    pub fn unsure(cause: impl Into<String>) -> Self {
        Self { unsure: true, ..Self::unavailable(cause) }
    }

    /// More is asked for than can be done now.
    pub fn busy(cause: impl Into<String>) -> Self {
        let retry_after_s = rand::random_range(RETRY_AFTER_S..=RETRY_AFTER_S + SPREAD_S);
        Self { retry_after_s: Some(retry_after_s), ..Self::unavailable(cause) }
    }

    /// What is wrong, for somebody who sees no fields.
    pub(super) fn in_words(&self) -> String {
        let word = |error: &FieldError| {
            format!("{} {}", error.field.trim_start_matches('/'), error.message)
        };
        match self.errors.as_slice() {
            [] => self.detail.clone(),
            errors => errors.iter().map(word).collect::<Vec<_>>().join("; "),
        }
    }

    /// Somebody is not let in.
    pub fn challenge(challenge: Challenge, detail: impl Into<String>) -> Self {
        let status = match challenge {
            Challenge::Missing | Challenge::Invalid => StatusCode::UNAUTHORIZED,
            Challenge::Scope => StatusCode::FORBIDDEN,
        };
        Self { challenge: Some(challenge), ..Self::new(status, detail) }
    }
}

impl From<app::Error> for Problem {
    fn from(error: app::Error) -> Self {
        match error {
            app::Error::Invalid(faults) => Self::fields(faults),
            app::Error::NotFound(detail) => Self::new(StatusCode::NOT_FOUND, detail),
            app::Error::Forbidden(detail) => Self::challenge(Challenge::Scope, detail),
            app::Error::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            app::Error::Platform(detail) => Self::new(StatusCode::BAD_GATEWAY, detail),
            app::Error::Unavailable { what, source } => {
                tracing::error!(error = chain(source.as_ref()), "{what} is unavailable");
                Self::unavailable(format!("{what} is unavailable"))
            }
            app::Error::Unsure(source) => {
                tracing::error!(error = chain(source.as_ref()), "an answer got lost");
                Self::unsure(
                    "the ledger's answer got lost: what was asked may have been done; \
                     repeated with the same unique key, it is not done twice",
                )
            }
            app::Error::NotSetUp(detail) => {
                tracing::error!("{detail}");
                Self::unavailable(detail)
            }
            app::Error::Broken(source) => {
                tracing::error!(error = chain(source.as_ref()), "a request failed");
                let detail = "something is broken in the server; its log says more";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        // Serialising this type cannot fail.
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, content_type, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge.header());
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
