//! The API's OpenAPI document, made from the table of routes and the types that they take and give.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::describe::{Answer, Content, Query, Tag};
use super::input::IDEMPOTENCY_KEY_BYTES_MAX;
use super::page;
use super::problem::Problem;
use super::route::Route;
use super::table::table;
use crate::app::types::words;
use crate::auth::Role;

const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";

/// What a reader must know before the first request.
const INTRODUCTION: &str = "\
Postworks runs the background jobs of products that publish to social platforms. An accepted job \
is a committed row: no crash, restart or wiped Redis loses it.

**Who asks.** Send `Authorization: Bearer` with an API key (`postworks apikey create`) or an \
access token (`POST /api/auth/login`). Where authentication is switched off, nobody need.

**Errors** are `application/problem+json` (RFC 9457); `errors` names every wrong field by its JSON \
pointer. Fields and query parameters that are not described are refused (422), and so is a method \
that an address does not take (405, with `Allow`).

**Sent twice, done once.** Where the header `Idempotency-Key` is taken, a repeated request with \
the same key and body gets the first answer again for a day.

**Too much.** 429 and 503 come with `Retry-After`. 503 may say that what was asked has been done: \
repeat it with the same key.

**Lists** are pages of up to 100, newest first: send a page's `next` as `cursor` to get the one \
after it. **Times** are RFC 3339, in answers always UTC with milliseconds.";

/// The document. It is the same for everybody, and for as long as the process lives.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| assembled(&table()));
    &DOCUMENT
}

/// Serves it.
pub(super) async fn serve() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(header::CONTENT_TYPE, JSON)], TEXT.as_str()).into_response()
}

/// The schemas of what callers send and of what they get: an optional field may be missing in the
/// one, and is null in the other.
struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.meta_schema = None;
            settings.definitions_path = "/components/schemas".into();
        });
        Self {
            taken: settings.clone().for_deserialize().into_generator(),
            given: settings.for_serialize().into_generator(),
        }
    }

    /// All that are named. A type that is both taken and given must look the same.
    fn named(self) -> Map<String, Value> {
        let Self { mut taken, mut given } = self;
        let mut named = given.take_definitions(true);
        for (name, schema) in taken.take_definitions(true) {
            let other = named.insert(name.clone(), schema.clone());
            debug_assert!(other.is_none_or(|other| other == schema), "two schemas {name}");
        }
        named
    }
}

fn assembled(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, routes, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    let problem = schemas.given.subschema_for::<Problem>();
    let tags: Vec<Value> = Tag::ALL
        .iter()
        .map(|tag| json!({ "name": tag.name(), "description": tag.words() }))
        .collect();
    let usual = |status| (named(status), refusal(status, usual_words(status)));
    let responses: Map<String, Value> = USUAL.iter().map(|&(status, _)| usual(status)).collect();
    let mut named_schemas = schemas.named();
    debug_assert!(problem.get("$ref").is_some() && named_schemas.contains_key("Problem"));
    named_schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postworks",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Enqueues, runs and looks after the jobs of products that publish",
            "description": INTRODUCTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "servers": [{ "url": "/", "description": "This API" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or an access token from a login."
                }
            },
            "schemas": named_schemas,
            "responses": responses,
            "headers": headers()
        }
    })
}

fn operation(route: &Route, routes: &[Route], schemas: &mut Schemas) -> Value {
    let said = &route.said;
    let mut operation = json!({
        "operationId": said.id,
        "tags": [said.tag.name()],
        "summary": said.summary,
        "responses": responses(route, routes, schemas),
        "security": route.need.map_or_else(|| json!([]), |_| json!([{ "bearer": [] }])),
    });
    let needs = route.need.map(|need| match Role::ALL.into_iter().all(|role| role.may(need)) {
        true => "Takes any role.".to_owned(),
        false => format!("Takes the role {}.", need.roles()),
    });
    let words: Vec<String> = said.more.map(str::to_owned).into_iter().chain(needs).collect();
    if !words.is_empty() {
        operation["description"] = words.join("\n\n").into();
    }
    let parameters = parameters(route, schemas);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = &said.body {
        let mut content = json!({ "schema": (body.shape)(&mut schemas.taken) });
        if let Some(example) = &body.example {
            content["example"] = example.clone();
        }
        operation["requestBody"] =
            json!({ "required": body.is_required, "content": { JSON: content } });
    }
    if let Some(types) = said.raw_body {
        operation["requestBody"] = json!({ "required": true, "content": raw(types) });
    }
    operation
}

/// Bytes of any of these types.
fn raw(types: &[&str]) -> Value {
    let bytes = |of: &&str| {
        ((*of).to_owned(), json!({ "schema": { "type": "string", "format": "binary" } }))
    };
    Value::Object(types.iter().map(bytes).collect())
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Vec<Value> {
    let said = &route.said;
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let (schema, words) = match name {
            "id" => (json!({ "type": "string", "format": "uuid" }), "Its id."),
            "name" => (
                schemas.taken.subschema_for::<words::Queue>().to_value(),
                "The queue, which is also its breaker's name.",
            ),
            "signature" => {
                (json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$" }), "What proves it.")
            }
            "platform" => {
                let form = "^[a-z][a-z0-9_]{0,59}$";
                (json!({ "type": "string", "pattern": form }), "The platform's name.")
            }
            "scope" => {
                (schemas.taken.subschema_for::<words::TenantScope>().to_value(), "What is kept.")
            }
            _ => (json!({ "type": "string", "enum": page::FILES }), "The file's name."),
        };
        Some(json!({ "name": name, "in": "path", "required": true, "description": words,
            "schema": schema }))
    });
    let mut parameters: Vec<Value> = in_path.collect();
    if let Some(query) = &said.query {
        parameters.extend(in_query(query, &mut schemas.taken));
    }
    if said.takes_key {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Any text, new for each request: a repeated request is done once, and \
                 its answer is given again for a day.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": IDEMPOTENCY_KEY_BYTES_MAX,
                "pattern": "^[!-~]([ -~]*[!-~])?$"
            }
        }));
    }
    if said.is_traced {
        parameters.push(json!({
            "name": "traceparent",
            "in": "header",
            "description": "The caller's W3C trace context, as in \
                 `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`: the job belongs to it. \
                 What is none is ignored.",
            "schema": { "type": "string" }
        }));
    }
    parameters
}

/// The fields of a type as parameters. A field that may be null is one that may be left out.
fn in_query(query: &Query, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let before: Vec<String> = schemas.definitions().keys().cloned().collect();
    let schema = (query.shape)(schemas);
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next());
    let name = name.unwrap_or_default();
    let definition = schemas.definitions().get(name).cloned().unwrap_or_default();
    // Unless somebody sends it as a document, it is of no use by itself.
    if !before.iter().any(|known| known == name) {
        schemas.definitions_mut().remove(name);
    }
    let fields = definition.get("properties").and_then(Value::as_object).cloned();
    fields
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| !query.but.contains(&name.as_str()))
        .map(|(name, mut schema)| {
            let words = schema.as_object_mut().and_then(|schema| {
                schema.remove("default");
                schema.remove("description")
            });
            json!({ "name": name, "in": "query", "required": false, "description": words,
                "schema": not_null(schema) })
        })
        .collect()
}

/// The schema without null.
fn not_null(mut schema: Value) -> Value {
    let is_null = |part: &Value| part == "null" || part.get("type").is_some_and(|it| it == "null");
    for list in ["type", "anyOf"] {
        let Some(Value::Array(parts)) = schema.get_mut(list) else { continue };
        parts.retain(|part| !is_null(part));
        match (parts.pop(), parts.is_empty()) {
            (Some(only), true) if list == "type" => schema[list] = only,
            (Some(only), true) => return only,
            (last, _) => parts.extend(last),
        }
    }
    schema
}

fn responses(route: &Route, routes: &[Route], schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for answer in &route.said.answers {
        let mut response = response(route, answer, schemas);
        if !answer.links.is_empty() {
            response["links"] = links(answer, routes);
        }
        responses.insert(answer.status.as_str().to_owned(), response);
    }
    for status in route.usual_refusals() {
        let at = format!("#/components/responses/{}", named(status));
        // A status that is an answer is described as one.
        responses.entry(status.as_str()).or_insert_with(|| json!({ "$ref": at }));
    }
    for &(status, words) in &route.said.refusals {
        responses.insert(status.as_str().to_owned(), refusal(status, words));
    }
    responses.sort_keys();
    responses.into()
}

fn response(route: &Route, answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut response = json!({ "description": answer.words });
    let text = json!({ "schema": { "type": "string" } });
    let content: Map<String, Value> = match &answer.content {
        Content::Empty => Map::new(),
        Content::Json(shape) => {
            let schema = shape(&mut schemas.given);
            Map::from_iter([(JSON.to_owned(), json!({ "schema": schema }))])
        }
        Content::Lines => Map::from_iter([("application/jsonl".to_owned(), text)]),
        Content::Page => {
            let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            Map::from_iter([("text/html".to_owned(), text), (PROBLEM.to_owned(), problem)])
        }
        Content::Bytes(types) => raw(types).as_object().cloned().unwrap_or_default(),
        Content::Text(types) => types.iter().map(|&of| (of.to_owned(), text.clone())).collect(),
    };
    if !content.is_empty() {
        response["content"] = content.into();
    }
    let mut told = Map::new();
    if route.serve.is_some() {
        for name in ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
            told.insert(name.to_owned(), header_at(name));
        }
    }
    if route.said.takes_key {
        told.insert("Idempotent-Replayed".to_owned(), header_at("Idempotent-Replayed"));
    }
    if !told.is_empty() {
        response["headers"] = told.into();
    }
    response
}

/// How what an answer holds gets into the addresses of other operations.
fn links(answer: &Answer, routes: &[Route]) -> Value {
    let mut links = Map::new();
    for (pointer, to) in &answer.links {
        for route in routes.iter().filter(|route| to.contains(&route.said.id)) {
            let name = if route.path.contains("{name}") { "name" } else { "id" };
            let parameters = json!({ name: format!("$response.body#{pointer}") });
            let link = json!({ "operationId": route.said.id, "parameters": parameters });
            links.insert(route.said.id.to_owned(), link);
        }
    }
    links.into()
}

/// Refusals that are described once, for all routes.
const USUAL: [(StatusCode, &str); 13] = [
    (StatusCode::BAD_REQUEST, "The body is no JSON, or broke off."),
    (StatusCode::UNAUTHORIZED, "Who asks has not proved who they are."),
    (
        StatusCode::FORBIDDEN,
        "The caller's role or tenant may not, or, without authentication, the request is for \
         another host's name.",
    ),
    (StatusCode::NOT_FOUND, "There is none of that id or name, or it is another tenant's."),
    (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time. Nothing was done."),
    (StatusCode::CONFLICT, "A request with this Idempotency-Key is under way."),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than the API takes."),
    (StatusCode::URI_TOO_LONG, "The query is longer than the API takes."),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not said to be JSON."),
    (StatusCode::UNPROCESSABLE_ENTITY, "Fields are wrong: `errors` says which, and why."),
    (StatusCode::TOO_MANY_REQUESTS, "This client asks too often."),
    (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken in the server."),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "There is too much to do, or something is not there now. `cause` says what; it may say \
         that what was asked has been done.",
    ),
];

fn usual_words(status: StatusCode) -> &'static str {
    USUAL.iter().find(|(usual, _)| *usual == status).map_or("Refused.", |(_, words)| words)
}

/// The name of a usual refusal.
fn named(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn refusal(status: StatusCode, words: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let mut refusal = json!({ "description": words, "content": { PROBLEM: { "schema": schema } } });
    let told = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "WWW-Authenticate",
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "Retry-After"
        }
        _ => return refusal,
    };
    refusal["headers"] = json!({ told: header_at(told) });
    refusal
}

fn header_at(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn headers() -> Value {
    let number = |words: &str| {
        let schema = json!({ "type": "integer", "minimum": 0 });
        json!({ "description": words, "schema": schema })
    };
    json!({
        "RateLimit-Limit": number("So many requests this client may make at one stroke."),
        "RateLimit-Remaining": number("So many of them are left."),
        "RateLimit-Reset": number("In so many seconds all of them will be back."),
        "Retry-After": number("In so many seconds it is worth asking again."),
        "Idempotent-Replayed": {
            "description": "Only there if the answer was given before.",
            "schema": { "type": "string", "enum": ["true"] }
        },
        "WWW-Authenticate": {
            "description": "What proof is asked for (RFC 6750).",
            "schema": { "type": "string" }
        }
    })
}
