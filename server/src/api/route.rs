//! A route: where it is, what it needs of its caller, who serves it, and what is said of it.

use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use serde_json::Value;

use super::Api;
use super::describe::{Answer, Body, Content, Query, Said, Tag, shape};
use crate::auth::Need;

/// A method at an address.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// `None`: anybody may, unknown as they are.
    pub(super) need: Option<Need>,
    /// `None`: health serves it, to anybody at any time.
    pub(super) serve: Option<MethodRouter<Api>>,
    pub(super) said: Said,
}

/// A route of which nothing is said yet.
pub(super) struct Unsaid {
    method: Method,
    path: &'static str,
    need: Option<Need>,
    serve: Option<MethodRouter<Api>>,
}

fn route<H: Handler<T, Api>, T: 'static>(
    (method, filter): (Method, MethodFilter),
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Unsaid {
    Unsaid { method, path, need: need.into(), serve: Some(on(filter, handler)) }
}

/// A route that shows something.
pub(super) fn get<H: Handler<T, Api>, T: 'static>(
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Unsaid {
    route((Method::GET, MethodFilter::GET), need, path, handler)
}

/// A route that does something.
pub(super) fn post<H: Handler<T, Api>, T: 'static>(
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Unsaid {
    route((Method::POST, MethodFilter::POST), need, path, handler)
}

/// A route that changes something.
pub(super) fn patch<H: Handler<T, Api>, T: 'static>(
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Unsaid {
    route((Method::PATCH, MethodFilter::PATCH), need, path, handler)
}

/// A route that ends something.
pub(super) fn delete<H: Handler<T, Api>, T: 'static>(
    need: impl Into<Option<Need>>,
    path: &'static str,
    handler: H,
) -> Unsaid {
    route((Method::DELETE, MethodFilter::DELETE), need, path, handler)
}

/// A page that health serves.
pub(super) fn health_page(path: &'static str) -> Unsaid {
    Unsaid { method: Method::GET, path, need: None, serve: None }
}

impl Unsaid {
    /// Names the operation, for generated clients, and says in a few words what it does.
    pub(super) fn says(self, tag: Tag, id: &'static str, summary: &'static str) -> Route {
        let Self { method, path, need, serve } = self;
        Route { method, path, need, serve, said: Said::new(tag, id, summary) }
    }
}

impl Route {
    /// What else there is to know, in sentences.
    pub(super) fn more(mut self, words: &'static str) -> Self {
        self.said.more = Some(words);
        self
    }

    /// It takes a query of this type.
    pub(super) fn query<T: JsonSchema>(self) -> Self {
        self.query_but::<T>(&[])
    }

    /// It takes a query of this type, but refuses some of its fields.
    pub(super) fn query_but<T: JsonSchema>(mut self, but: &'static [&'static str]) -> Self {
        self.said.query = Some(Query { shape: shape::<T>, but });
        self
    }

    /// It takes a document of this type, such as this one.
    pub(super) fn body<T: JsonSchema>(mut self, example: Value) -> Self {
        let example = Some(example);
        self.said.body = Some(Body { shape: shape::<T>, is_required: true, example });
        self
    }

    /// It takes a document of this type, which may be left out.
    pub(super) fn optional_body<T: JsonSchema>(mut self) -> Self {
        self.said.body = Some(Body { shape: shape::<T>, is_required: false, example: None });
        self
    }

    /// It takes bytes of one of these types.
    pub(super) fn raw_body(mut self, types: &'static [&'static str]) -> Self {
        self.said.raw_body = Some(types);
        self
    }

    /// A request that comes twice with one key is done once.
    pub(super) fn once(mut self) -> Self {
        self.said.takes_key = true;
        self
    }

    /// What it makes belongs to the trace of whoever asks.
    pub(super) fn traced(mut self) -> Self {
        self.said.is_traced = true;
        self
    }

    /// It answers 200 with a document of this type.
    pub(super) fn ok<T: JsonSchema>(self) -> Self {
        self.answers::<T>(StatusCode::OK, "What was asked for.")
    }

    /// It answers a document of this type.
    pub(super) fn answers<T: JsonSchema>(self, status: StatusCode, words: &'static str) -> Self {
        self.answers_with(status, words, Content::Json(shape::<T>))
    }

    /// It answers something else.
    pub(super) fn answers_with(
        mut self,
        status: StatusCode,
        words: &'static str,
        content: Content,
    ) -> Self {
        self.said.answers.push(Answer { status, words, content, links: Vec::new() });
        self
    }

    /// What stands there in the last answer goes into the address of these operations.
    pub(super) fn links(mut self, pointer: &'static str, to: &'static [&'static str]) -> Self {
        if let Some(answer) = self.said.answers.last_mut() {
            answer.links.push((pointer, to));
        }
        self
    }

    /// It refuses for a reason of its own.
    pub(super) fn refuses(mut self, status: StatusCode, words: &'static str) -> Self {
        self.said.refusals.push((status, words));
        self
    }

    /// Every status that it may answer with and does not say itself, in order.
    pub(super) fn usual_refusals(&self) -> Vec<StatusCode> {
        // Health pages stand outside: they need no place, and nobody is refused one.
        if self.serve.is_none() {
            return vec![StatusCode::FORBIDDEN];
        }
        let said = &self.said;
        let (query, body) = (said.query.is_some(), said.body.is_some() || said.raw_body.is_some());
        let says = |status| said.refusals.iter().any(|(own, _)| *own == status);
        [
            (StatusCode::BAD_REQUEST, body),
            (StatusCode::UNAUTHORIZED, self.need.is_some()),
            (StatusCode::FORBIDDEN, true),
            (StatusCode::NOT_FOUND, self.path.contains('{')),
            (StatusCode::REQUEST_TIMEOUT, body),
            (StatusCode::CONFLICT, said.takes_key),
            (StatusCode::PAYLOAD_TOO_LARGE, body),
            (StatusCode::URI_TOO_LONG, query),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, body),
            (StatusCode::UNPROCESSABLE_ENTITY, query || body),
            (StatusCode::TOO_MANY_REQUESTS, true),
            (StatusCode::INTERNAL_SERVER_ERROR, true),
            (StatusCode::SERVICE_UNAVAILABLE, true),
        ]
        .into_iter()
        .filter_map(|(status, may)| (may && !says(status)).then_some(status))
        .collect()
    }
}
