//! Who is let in: keys, roles and routes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use postworks::clock::{SharedClock, ShiftedClock};
use postworks::ledger::Db;
use postworks_server::api::{self, Declared};
use postworks_server::app::App;
use postworks_server::auth::Role;
use serde_json::{Value, json};

use crate::cli::postworks;
use crate::fleet::{ANY, Client, Fleet, LONG, POSTWORKS, Process, run};
use crate::world::{Answer, NOBODY, World};

/// A guarded world, and the clock it lives by.
pub(crate) async fn guarded() -> (World, Arc<ShiftedClock>) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.keep().join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    let clock = Arc::new(ShiftedClock::default());
    (World::guarded(db, Arc::clone(&clock) as SharedClock), clock)
}

/// Asks with this header Authorization, if there is one.
pub(crate) async fn ask_as(world: &World, method: &str, path: &str, with: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = with {
        request = request.header(header::AUTHORIZATION, value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

async fn key(app: &App, role: Role) -> String {
    format!("Bearer {}", app.create_api_key(role, None).await.unwrap().key)
}

/// An address that a route answers at.
fn concrete(route: &Declared) -> String {
    route.path.replace("{id}", &NOBODY.to_string()).replace("{name}", "data_cleanup")
}

#[track_caller]
pub(crate) fn assert_challenged(answer: &Answer) {
    answer.assert_problem(401);
    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm="), "{challenge}");
}

#[tokio::test]
async fn every_route_takes_its_role_and_nobody_else_comes_in() {
    let (world, _clock) = guarded().await;
    let mut keys = Vec::new();
    for role in Role::ALL {
        keys.push((role, key(&world.app, role).await));
    }
    let routes = api::declared();
    assert!(routes.len() > 30, "the table has lost its routes: {}", routes.len());
    for route in &routes {
        let (method, path) = (route.method.as_str(), concrete(route));
        let anonymous = ask_as(&world, method, &path, None).await;
        let Some(need) = route.need else {
            assert_ne!(anonymous.status, StatusCode::UNAUTHORIZED, "{path}");
            continue;
        };
        assert_challenged(&anonymous);
        if method == "GET" {
            let head = ask_as(&world, "HEAD", &path, None).await;
            assert_eq!(head.status, StatusCode::UNAUTHORIZED, "HEAD {path}");
        }
        assert_challenged(&ask_as(&world, method, &path, Some("Bearer pw_nonsense")).await);
        for (role, key) in &keys {
            let answer = ask_as(&world, method, &path, Some(key)).await;
            if role.may(need) {
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                assert!(!refused.contains(&answer.status), "{method} {path} as {role}");
            } else {
                answer.assert_problem(403);
                assert!(answer.body["detail"].as_str().unwrap().contains(&need.roles()));
                assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
            }
        }
    }
}

#[tokio::test]
async fn open_are_the_pages_for_machines_and_the_login_and_nothing_else() {
    let open: BTreeSet<_> =
        api::declared().into_iter().filter(|route| route.need.is_none()).map(|r| r.path).collect();
    let machines = ["/livez", "/readyz", "/health", "/api/health", "/metrics"];
    let logins = ["/api/auth/login", "/api/auth/refresh"];
    let document = ["/openapi.json", "/api/openapi.json"];
    // Who comes back from a platform shows it in ways of its own.
    let callback = ["/api/oauth/{platform}/callback"];
    let page = ["/api/docs", "/api/docs/", "/api/docs/{file}"];
    // A signature is all that a platform which fetches an image has.
    let media = ["/media/{id}/{signature}"];
    let expected = machines.into_iter().chain(logins).chain(document).chain(page);
    assert_eq!(open, expected.chain(callback).chain(media).collect());
    let (world, _clock) = guarded().await;
    for path in machines {
        assert_eq!(ask_as(&world, "GET", path, None).await.status, StatusCode::OK, "{path}");
    }
    // What only looks needs no more than to look, and what changes something does.
    for route in api::declared() {
        let Some(need) = route.need else { continue };
        let reads = Role::Readonly.may(need);
        assert_eq!(reads, route.method == "GET" || route.path == "/api/auth/logout", "{route:?}");
    }
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api");
    let adds = |file: &std::path::Path| std::fs::read_to_string(file).unwrap().contains(".route(");
    let files = std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let adding: Vec<_> = files.filter(|file| adds(file)).collect();
    assert!(adding.len() == 1 && adding[0].ends_with("table.rs"), "{adding:?}");
}

#[tokio::test]
async fn another_hosts_name_is_answered_to_who_proves_who_they_are() {
    let (world, _clock) = guarded().await;
    let key = key(&world.app, Role::Readonly).await;
    let named = |key: Option<&str>| {
        let request = Request::builder().uri("/api/jobs").header(header::HOST, "jobs.example.org");
        let request = match key {
            Some(key) => request.header(header::AUTHORIZATION, key),
            None => request,
        };
        world.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(named(Some(&key)).await.status, StatusCode::OK);
    assert_challenged(&named(None).await);
}

#[tokio::test]
async fn a_key_is_kept_as_its_hash_and_stops_within_five_seconds_of_being_revoked() {
    let (world, clock) = guarded().await;
    let made = world.app.create_api_key(Role::Producer, Some("the shop")).await.unwrap();
    let bearer = format!("Bearer {}", made.key);
    let status = async || ask_as(&world, "GET", "/api/jobs", Some(&bearer)).await.status.as_u16();
    assert_eq!(status().await, 200);
    for wrong in [made.key.replace(&made.key[40..42], "zz"), format!("{}0", made.key)] {
        let answer = ask_as(&world, "GET", "/api/jobs", Some(&format!("Bearer {wrong}"))).await;
        assert_challenged(&answer);
    }
    // One digit of its secret is another: the right id, and remembered.
    let last = if made.key.ends_with('0') { "1" } else { "0" };
    let other = format!("Bearer {}{last}", &made.key[..made.key.len() - 1]);
    assert_challenged(&ask_as(&world, "GET", "/api/jobs", Some(&other)).await);

    world.app.revoke_api_key(made.id).await.unwrap();
    world.app.revoke_api_key(made.id).await.unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(status().await, 401);
    let page = world.app.api_keys(&Default::default()).await.unwrap();
    let shown = serde_json::to_string(&page).unwrap();
    assert!(page.items[0].revoked_at.is_some() && shown.contains("the shop"));
    let secret = made.key.rsplit('_').next().unwrap();
    for text in [shown, format!("{made:?}{page:?}")] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn the_audit_names_who_asked_and_no_two_share_their_idempotency_keys() {
    let (world, _clock) = guarded().await;
    let (one, two) = (key(&world.app, Role::Admin).await, key(&world.app, Role::Admin).await);
    let path = "/api/queues/data_cleanup/pause";
    assert_eq!(ask_as(&world, "POST", path, Some(&one)).await.status, StatusCode::OK);
    let audit = ask_as(&world, "GET", "/api/audit?action=queue.pause", Some(&two)).await;
    let id = audit.body["items"][0]["actor"].as_str().unwrap().strip_prefix("apikey:").unwrap();
    assert!(one.contains(&id.replace('-', "")), "{}", audit.body);
    let made = ask_as(&world, "GET", "/api/audit?action=apikey.create", Some(&two)).await;
    assert_eq!(made.body["items"].as_array().unwrap().len(), 2, "{}", made.body);
    let mut ids = BTreeSet::new();
    for key in [&one, &two, &one] {
        let request = Request::builder().method("POST").uri("/api/jobs");
        let request = request.header(header::AUTHORIZATION, key);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = json!({"kind": "data_cleanup"}).to_string();
        let request = request.header("idempotency-key", "k").body(Body::from(body)).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        ids.insert(answer.body["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_servers_callers_need_a_key_and_the_command_line_says_so() {
    let mut fleet = Fleet::start().await;
    fleet.set("POSTWORKS_AUTH", "");
    let folder = tempfile::tempdir().unwrap();
    let args = ["api", "--listen", "0.0.0.0:0"];
    let mut api = Process::start("guarded", POSTWORKS, &args, fleet.vars(), folder.path());
    let url = api.listening("api").await.replace("0.0.0.0", "127.0.0.1");
    let told = async || api.log().contains("postworks apikey create --role admin");
    crate::fleet::until("nobody is told to make a key", LONG, told).await;
    let made = run(&["apikey", "create", "--role", "readonly"], fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim().to_owned();
    assert!(made.stderr.contains("this once") && !made.stderr.contains(&key), "{}", made.stderr);

    let ask = async |args: &[&str], key: &str| {
        postworks(args, &[("POSTWORKS_SERVER", &url), ("POSTWORKS_API_KEY", key)]).await
    };
    let told = ask(&["job", "list"], "").await;
    assert_eq!(told.code, 1, "{}", told.stderr);
    let words = ["POSTWORKS_API_KEY is not set", "postworks apikey create"];
    assert!(words.iter().all(|words| told.stderr.contains(words)), "{}", told.stderr);
    let told = ask(&["job", "list"], "pw_1").await;
    assert!(told.stderr.contains("wrong or revoked") && told.stderr.contains(words[1]));
    assert_eq!(ask(&["job", "list"], &key).await.code, 0);
    let told = ask(&["enqueue", "data_cleanup"], &key).await;
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("producer or admin") && told.stderr.contains("of such a role"));

    let id = run(&["apikey", "list", "-o", "json"], fleet.vars()).await.json();
    let id = id["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(run(&["apikey", "revoke", &id], fleet.vars()).await.code, 0);
    let revoked = async || ask(&["job", "list"], &key).await.code == 1;
    crate::fleet::until("a revoked key is still good", Duration::from_secs(10), revoked).await;
    let nobody = run(&["apikey", "revoke", &NOBODY.to_string()], fleet.vars()).await;
    assert_eq!(nobody.code, 3, "{}", nobody.stderr);
    let log = api.log();
    assert!(!log.contains(&key) && !log.contains(key.rsplit('_').next().unwrap()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_a_key_is_made_before_the_api_starts_and_asked_for_if_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap().to_owned();
    let vars = [("POSTWORKS_DATA_DIR", data), ("POSTWORKS_AUTH", "on".to_owned())];
    let made = run(&["apikey", "create", "--role", "admin", "-o", "json"], &vars).await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert!(made.stderr.contains("DATABASE_URL is not set: the embedded database"));
    let args = ["up", "--listen", ANY, "--workers", "1"];
    let mut up = Process::start("up", POSTWORKS, &args, &vars, folder.path());
    let url = up.listening("api").await;
    let anonymous = Client::new(&url);
    let refused: Value = anonymous.http.get("/api/jobs").await.expect(401);
    assert_eq!(refused["status"], 401);
    let vars_of_client = [("POSTWORKS_SERVER", url.as_str()), ("POSTWORKS_API_KEY", &key)];
    assert_eq!(postworks(&["enqueue", "data_cleanup"], &vars_of_client).await.code, 0);
    let locked = run(&["apikey", "list"], &vars).await;
    assert_eq!(locked.code, 4);
    assert!(locked.stderr.contains("stop what uses the folder"), "{}", locked.stderr);
}
