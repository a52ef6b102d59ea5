//! Every route, asked for what it is for: each answers well, and as the document says (which
//! every answer in these tests is held to).

use postworks_server::api::{self, Declared};
use secrecy::SecretString;

use super::*;
use crate::openapi::operation;

/// What the document gives as an example of the body.
fn example(route: &Declared) -> Value {
    let operation = operation(route.method.as_str(), route.path).unwrap();
    let body = operation.get("requestBody").unwrap_or(&Value::Null);
    body["content"]["application/json"]["example"].clone()
}

/// An address and a body with which a route does what it is for.
fn request(route: &Declared, rows: &Rows) -> (String, Value) {
    let of = |id: Uuid| route.path.replace("{id}", &id.to_string());
    let (connector, post) = (rows.connector, rows.post);
    match route.path {
        "/api/jobs/{id}" | "/api/jobs/{id}/why" => (of(rows.job), Value::Null),
        "/api/connectors/{id}" => (of(rows.spare), Value::Null),
        "/api/connectors/{id}/sync" => (of(connector), Value::Null),
        "/api/connectors" if route.method == "POST" => {
            let mut account = example(route);
            account["platform"] = "sandbox".into();
            account["base_url"] = "http://127.0.0.1:1".into();
            (route.path.to_owned(), account)
        }
        "/api/publish" => {
            (route.path.to_owned(), json!({ "post_id": post, "connector_ids": [connector] }))
        }
        "/api/publications/{id}" if route.method == "PATCH" => {
            (of(rows.publication), example(route))
        }
        "/api/publications/{id}" => (of(rows.publication), Value::Null),
        "/api/posts/{id}" => (of(post), example(route)),
        "/api/posts/{id}/move" => (of(post), in_an_hour()),
        "/api/media/{id}" => (of(rows.media), Value::Null),
        "/api/dlq/{id}" => (of(rows.dead), Value::Null),
        "/api/dlq/{id}/retry" => (of(rows.dead), json!({ "args": { "connector_id": connector } })),
        "/api/dlq/redrives/{id}" | "/api/dlq/redrives/{id}/stop" => (of(rows.redrive), Value::Null),
        "/api/effects/{id}/resolve" => (of(rows.effect), json!({ "as": "absent" })),
        path if path.starts_with("/api/sets/{id}") => (of(rows.set), Value::Null),
        path if path.starts_with("/api/schedules/{id}") => (of(rows.schedule), Value::Null),
        "/api/retention/{scope}" if route.method == "POST" => {
            ("/api/retention/metrics".to_owned(), example(route))
        }
        "/api/retention/{scope}" => ("/api/retention/metrics".to_owned(), Value::Null),
        "/api/docs/{file}" => ("/api/docs/start.js".to_owned(), Value::Null),
        "/api/oauth/{platform}/start" => (route.path.replace("{platform}", "sandbox"), Value::Null),
        path => (path.replace("{name}", "data_cleanup"), example(route)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_does_what_it_is_for_and_answers_as_the_document_says() {
    let house = House::open().await;
    let mut by = house.admin_of("default").await;
    let rows = house.furnish(&by).await;
    let password = SecretString::from("correct horse battery");
    house.world.app.create_user("ann@example.org", password, Role::Admin).await.unwrap();
    let mut refresh_token = Value::Null;
    let routes = api::declared();
    assert!(routes.len() > 40, "{}", routes.len());
    // Who comes back has what only a provider gives: `real_connect` has one.
    for route in routes.iter().filter(|route| !route.path.ends_with("/callback")) {
        // Its body is no document.
        if route.path == "/api/media" {
            house.media(&by).await;
            continue;
        }
        let (path, mut body) = request(route, &rows);
        if route.path == "/media/{id}/{signature}" {
            let signature = house.world.node.store.keys().media_signature(rows.media).unwrap();
            let path = format!("/media/{}/{signature}", rows.media);
            let answer = house.ask(&by, "GET", &path, body).await;
            assert_eq!(answer.status, StatusCode::OK);
            continue;
        }
        if route.path == "/api/auth/refresh" {
            body["refresh_token"] = refresh_token.clone();
        }
        let answer = house.ask(&by, route.method.as_str(), &path, body).await;
        let well = answer.status.is_success() || answer.status.is_redirection();
        assert!(well, "{route:?}: {} {}", answer.status, answer.body);
        if let Some(token) = answer.body["access_token"].as_str() {
            by.key = format!("Bearer {token}");
            refresh_token = answer.body["refresh_token"].clone();
        }
    }
    let ended = house.ask(&by, "GET", "/api/jobs", Value::Null).await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "logging out was the last thing it did");
}
