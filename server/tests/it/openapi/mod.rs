//! The API's document: that it is whole, and that the API does as it says.

mod real;

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};
use postworks_server::api;
use serde_json::{Map, Value};

use crate::auth::{ask_as, guarded};
use crate::world::{Answer, World};

/// What the document says of a method at an address, if there is such a route.
pub(crate) fn operation(method: &str, path: &str) -> Option<&'static Map<String, Value>> {
    let fits = |template: &str| {
        let (wanted, asked) = (template.split('/'), path.split('/'));
        template.split('/').count() == path.split('/').count()
            && wanted.zip(asked).all(|(wanted, asked)| {
                wanted == asked || wanted.starts_with('{') && !asked.is_empty()
            })
    };
    let paths = api::document()["paths"].as_object().unwrap();
    // A name goes before what varies.
    let found = paths.iter().filter(|(template, _)| fits(template));
    let (_, found) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    found.get(method.to_lowercase())?.as_object()
}

/// What the document says of an operation's answer of this status.
fn response(operation: &Map<String, Value>, status: StatusCode) -> Option<&'static Value> {
    let response = &operation["responses"][status.as_str()];
    let id = operation["operationId"].as_str().unwrap();
    let document = api::document();
    match response["$ref"].as_str() {
        Some(at) => document.pointer(at.strip_prefix('#').unwrap()),
        None if response.is_null() => None,
        None => document["paths"].as_object().unwrap().values().find_map(|path| {
            let found = path.as_object()?.values().find(|it| it["operationId"] == id)?;
            found["responses"].get(status.as_str())
        }),
    }
}

/// Fails the test if a route answered with what the document does not say of it.
#[track_caller]
pub(crate) fn must_be_described(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let response = response(operation, answer.status);
    let response =
        response.unwrap_or_else(|| panic!("{method} {path}: {} is not described", answer.status));
    let sent = answer.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap());
    let sent = sent.map(|of| of.split(';').next().unwrap().trim());
    let described: Vec<&String> =
        response["content"].as_object().into_iter().flat_map(Map::keys).collect();
    let fits = sent.map_or(described.is_empty(), |of| described.iter().any(|it| *it == of));
    assert!(fits, "{method} {path}: {sent:?} is none of {described:?}");
}

/// Every object in a document.
fn objects(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Object(object) => {
            let below = object.values().flat_map(objects);
            std::iter::once(object).chain(below).collect()
        }
        Value::Array(list) => list.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_document_holds_every_declared_route_and_no_other() {
    let document = api::document();
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()));
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "two operations are called {id}");
            assert!(operation["summary"].as_str().is_some_and(|words| !words.is_empty()), "{id}");
            let statuses = operation["responses"].as_object().unwrap().keys();
            let well = statuses.filter(|status| status.starts_with('2') || *status == "308");
            assert!(well.count() > 0, "{id} never answers well");
        }
    }
    for object in objects(document) {
        let Some(links) = object.get("links").and_then(Value::as_object) else { continue };
        assert!(links.keys().all(|id| ids.contains(id.as_str())), "{links:?}");
    }
    let routes = api::declared();
    let declared: BTreeSet<String> =
        routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, declared);
    for route in &routes {
        let operation = operation(route.method.as_str(), route.path).unwrap();
        let guarded = operation["security"].as_array().is_some_and(|list| !list.is_empty());
        assert_eq!(guarded, route.need.is_some(), "{route:?}");
        assert_eq!(operation["responses"].get("401").is_some(), guarded || proves_otherwise(route));
    }
}

/// Routes that nobody stands before, and that ask themselves who comes.
fn proves_otherwise(route: &api::Declared) -> bool {
    let logins = ["/api/auth/login", "/api/auth/refresh"].contains(&route.path);
    logins || route.method == "POST" && route.path == "/api/oauth/{platform}/callback"
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = api::document();
    let mut named = BTreeSet::new();
    for object in objects(document) {
        let Some(at) = object.get("$ref").and_then(Value::as_str) else { continue };
        let pointer = at.strip_prefix('#').unwrap_or_else(|| panic!("{at} leads out of here"));
        assert!(document.pointer(pointer).is_some(), "{at} leads nowhere");
        named.insert(at.to_owned());
    }
    for (kind, entries) in document["components"].as_object().unwrap() {
        for name in entries.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let at = format!("#/components/{kind}/{name}");
            assert!(named.contains(&at), "{at} is of no use");
        }
    }
}

#[test]
fn the_document_knows_the_limits_and_the_words_that_the_code_does() {
    let schemas = &api::document()["components"]["schemas"];
    let job = &schemas["EnqueueJob"];
    assert_eq!(job["additionalProperties"], false);
    assert_eq!(job["properties"]["priority"]["maximum"], postworks::job::PRIORITY_S_MAX);
    assert_eq!(schemas["EnqueueBulk"]["properties"]["jobs"]["maxItems"], 1_000);
    let states: Vec<&str> = postworks::job::State::ALL.map(|state| state.as_str()).to_vec();
    assert_eq!(schemas["State"]["enum"], serde_json::json!(states));
    // What is always there is required in answers, be it null; in requests it may be left out.
    let required = |name: &str| schemas[name]["required"].as_array().unwrap();
    assert!(required("Job").contains(&"finished_at".into()));
    assert!(!required("Job").contains(&"attempts".into()));
    assert_eq!(required("EnqueueJob"), &["kind"]);
    let list = operation("GET", "/api/jobs").unwrap();
    let limit = list["parameters"].as_array().unwrap().iter().find(|it| it["name"] == "limit");
    let limit = &limit.unwrap()["schema"];
    assert_eq!(
        (&limit["minimum"], &limit["maximum"], &limit["type"]),
        (&1.into(), &100.into(), &"integer".into())
    );
}

#[tokio::test]
async fn the_document_and_its_page_are_shown_to_anybody() {
    let (world, _clock) = guarded().await;
    for path in ["/api/openapi.json", "/openapi.json"] {
        let answer = ask_as(&world, "GET", path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(&answer.body, api::document(), "{path}");
    }
    let page = ask_as(&world, "GET", "/api/docs/", None).await;
    assert_eq!(page.status, StatusCode::OK);
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"] {
        let answer = ask_as(&world, "GET", &format!("/api/docs/{file}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
    }
    ask_as(&world, "GET", "/api/docs/..%2ftable.rs", None).await.assert_problem(404);
    let led = ask_as(&world, "GET", "/api/docs", None).await;
    assert_eq!(led.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(led.headers[header::LOCATION], "docs/");
    // Without authentication they are for this machine's names only, as everything is.
    let open = World::start().await;
    let request = axum::http::Request::builder().uri("/api/docs/");
    let request = request.header(header::HOST, "evil.example");
    open.send(request.body(axum::body::Body::empty()).unwrap()).await.assert_problem(403);
}
