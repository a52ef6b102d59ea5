//! Users: passwords, tokens, sessions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::future::join_all;
use postworks::clock::{SharedClock, ShiftedClock};
use postworks::ledger::Db;
use postworks::testing::postgres_server::PostgresServer;
use postworks_server::auth::Role;
use serde_json::{Value, json};

use crate::auth::{ask_as, assert_challenged, guarded};
use crate::fleet::{Fleet, run};
use crate::world::{Answer, World};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "correct horse battery";

async fn send(world: &World, path: &str, agent: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header(header::USER_AGENT, agent)
        .header(header::CONTENT_TYPE, "application/json");
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn login(world: &World, password: &str) -> Answer {
    let body = json!({"email": EMAIL, "password": password});
    send(world, "/api/auth/login", "browser", body).await
}

async fn refresh_from(world: &World, agent: &str, token: &str) -> Answer {
    send(world, "/api/auth/refresh", agent, json!({"refresh_token": token})).await
}

async fn refresh(world: &World, token: &str) -> Answer {
    refresh_from(world, "browser", token).await
}

fn text<'a>(answer: &'a Answer, field: &str) -> &'a str {
    answer.body[field].as_str().unwrap_or_else(|| panic!("{field} in {}", answer.body))
}

/// The status of a route that anybody who is known may ask.
async fn status(world: &World, access: &str) -> u16 {
    let bearer = format!("Bearer {access}");
    ask_as(world, "GET", "/api/jobs", Some(&bearer)).await.status.as_u16()
}

async fn with_ann() -> (World, Arc<ShiftedClock>) {
    let (world, clock) = guarded().await;
    world.app.create_user(EMAIL, PASSWORD.into(), Role::Operator).await.unwrap();
    (world, clock)
}

#[tokio::test]
async fn who_knows_the_password_gets_tokens_that_are_good_for_a_quarter_of_an_hour() {
    let (world, clock) = with_ann().await;
    let pair = login(&world, PASSWORD).await;
    assert_eq!(pair.status, StatusCode::OK, "{}", pair.body);
    assert_eq!(pair.body.as_object().unwrap().len(), 3);
    assert_eq!(
        (&pair.body["expires_in"], &pair.headers["cache-control"]),
        (&json!(900), &"no-store".parse().unwrap())
    );
    let access = text(&pair, "access_token");
    assert_eq!(status(&world, access).await, 200);
    let path = "/api/queues/data_cleanup/pause";
    let paused = ask_as(&world, "POST", path, Some(&format!("Bearer {access}"))).await;
    assert_eq!(paused.body["paused"]["by"], "user:ann@example.org", "{}", paused.body);
    let answer = ask_as(&world, "POST", "/api/publish", Some(&format!("Bearer {access}"))).await;
    answer.assert_problem(403);
    clock.advance(Duration::from_secs(15 * 60 + 31));
    let old = ask_as(&world, "GET", "/api/jobs", Some(&format!("Bearer {access}"))).await;
    assert_challenged(&old);
    let next = refresh(&world, text(&pair, "refresh_token")).await;
    assert_eq!(status(&world, text(&next, "access_token")).await, 200);
    // A refresh token opens no route, and an access token refreshes nothing.
    assert_eq!(status(&world, text(&next, "refresh_token")).await, 401);
    assert_challenged(&refresh(&world, text(&next, "access_token")).await);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_get_one_answer() {
    let (world, _clock) = with_ann().await;
    let wrong = login(&world, "incorrect horse").await;
    let body = json!({"email": "bob@example.org", "password": PASSWORD});
    let unknown = send(&world, "/api/auth/login", "browser", body).await;
    world.app.create_user("eve@example.org", PASSWORD.into(), Role::Admin).await.unwrap();
    world.app.disable_user("eve@example.org").await.unwrap();
    let body = json!({"email": "eve@example.org", "password": PASSWORD});
    let disabled = send(&world, "/api/auth/login", "browser", body).await;
    for answer in [&wrong, &unknown, &disabled] {
        assert_challenged(answer);
        assert_eq!(answer.body, wrong.body);
    }
    for body in [json!({"email": EMAIL}), json!({"email": "ann", "password": PASSWORD}), json!([])]
    {
        send(&world, "/api/auth/login", "browser", body).await.assert_problem(422);
    }
    let long = json!({"email": EMAIL, "password": "x".repeat(2_000)});
    send(&world, "/api/auth/login", "browser", long).await.assert_problem(422);
}

#[tokio::test]
async fn an_unknown_email_takes_as_long_as_a_wrong_password() {
    let (world, clock) = with_ann().await;
    let took = async |email: &str| {
        let begun = Instant::now();
        let body = json!({"email": email, "password": "incorrect horse"});
        assert_challenged(&send(&world, "/api/auth/login", "browser", body).await);
        begun.elapsed()
    };
    // The quickest of each: what else the machine does only makes them slower. Without a hash of
    // nobody's, an unknown email would be quicker by the whole work, always.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for round in 1.. {
        known = known.min(took(EMAIL).await);
        unknown = unknown.min(took("bob@example.org").await);
        let times = unknown.as_secs_f64() / known.as_secs_f64();
        if round >= 8 && (0.6..1.6).contains(&times) {
            break;
        }
        assert!(round < 60, "known {known:?}, unknown {unknown:?}");
        clock.advance(Duration::from_secs(6));
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_nobody_else() {
    let (world, clock) = with_ann().await;
    world.app.create_user("bob@example.org", PASSWORD.into(), Role::Admin).await.unwrap();
    for _ in 0..10 {
        assert_challenged(&login(&world, "incorrect horse").await);
    }
    let body = json!({"email": "ANN@example.org", "password": PASSWORD});
    let refused = send(&world, "/api/auth/login", "another", body).await;
    refused.assert_problem(429);
    let wait: u64 = refused.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
    let body = json!({"email": "bob@example.org", "password": PASSWORD});
    let bob = send(&world, "/api/auth/login", "browser", body).await;
    assert_eq!(bob.status, StatusCode::OK, "{}", bob.body);
    clock.advance(Duration::from_secs(wait));
    assert_eq!(login(&world, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_the_session() {
    let (world, clock) = with_ann().await;
    let first = login(&world, PASSWORD).await;
    let other = login(&world, PASSWORD).await;
    let second = refresh(&world, text(&first, "refresh_token")).await;
    let third = refresh(&world, text(&second, "refresh_token")).await;
    assert_eq!(third.status, StatusCode::OK, "{}", third.body);
    clock.advance(Duration::from_secs(11));
    assert_challenged(&refresh(&world, text(&first, "refresh_token")).await);
    assert_challenged(&refresh(&world, text(&third, "refresh_token")).await);
    for pair in [&first, &second, &third] {
        assert_eq!(status(&world, text(pair, "access_token")).await, 401);
    }
    assert_eq!(refresh(&world, text(&other, "refresh_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_windows_of_one_client_may_send_the_same_token_and_a_thief_may_not() {
    let (world, clock) = with_ann().await;
    let first = login(&world, PASSWORD).await;
    let token = text(&first, "refresh_token");
    let one = refresh(&world, token).await;
    clock.advance(Duration::from_secs(9));
    let two = refresh(&world, token).await;
    for pair in [&one, &two] {
        let next = refresh(&world, text(pair, "refresh_token")).await;
        assert_eq!(next.status, StatusCode::OK, "{}", next.body);
    }
    assert_challenged(&refresh_from(&world, "thief", token).await);
    assert_challenged(&refresh(&world, text(&two, "refresh_token")).await);
}

#[tokio::test]
async fn who_logs_out_or_is_disabled_has_nothing_left() {
    let (world, clock) = with_ann().await;
    let (mine, other) = (login(&world, PASSWORD).await, login(&world, PASSWORD).await);
    let bearer = format!("Bearer {}", text(&mine, "access_token"));
    let out = ask_as(&world, "POST", "/api/auth/logout", Some(&bearer)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_challenged(&ask_as(&world, "POST", "/api/auth/logout", Some(&bearer)).await);
    assert_challenged(&refresh(&world, text(&mine, "refresh_token")).await);
    assert_eq!(status(&world, text(&other, "access_token")).await, 200);

    world.app.disable_user(EMAIL).await.unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(status(&world, text(&other, "access_token")).await, 401);
    assert_challenged(&refresh(&world, text(&other, "refresh_token")).await);

    let key = world.app.create_api_key(Role::Admin, None).await.unwrap().key;
    let bearer = format!("Bearer {key}");
    ask_as(&world, "POST", "/api/auth/logout", Some(&bearer)).await.assert_problem(409);
}

#[tokio::test]
async fn what_is_no_refresh_token_gets_nothing() {
    let (world, clock) = with_ann().await;
    let pair = login(&world, PASSWORD).await;
    let token = text(&pair, "refresh_token");
    let last = if token.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{last}", &token[..token.len() - 1]);
    for wrong in ["", "x", &other, &token[..40], &token.to_uppercase()] {
        assert_challenged(&refresh(&world, wrong).await);
    }
    clock.advance(Duration::from_secs(30 * 24 * 3_600));
    assert_challenged(&refresh(&world, token).await);
}

/// Each at once: nothing fails, and nobody gets what another has.
async fn fifty_logins_and_fifty_refreshes(db: Db) {
    let world = World::guarded(db, Arc::new(ShiftedClock::default()) as SharedClock);
    world.app.create_user(EMAIL, PASSWORD.into(), Role::Readonly).await.unwrap();
    let logins = join_all((0..50).map(|_| login(&world, PASSWORD))).await;
    let token = text(&logins[0], "refresh_token");
    let refreshes = join_all((0..50).map(|_| refresh(&world, token))).await;
    let rotated =
        join_all(logins[1..].iter().map(|pair| refresh(&world, text(pair, "refresh_token"))));
    let rotated = rotated.await;
    let mut seen = HashSet::new();
    for answer in logins.iter().chain(&refreshes).chain(&rotated) {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert!(seen.insert(text(answer, "access_token")), "an access token twice");
        assert!(seen.insert(text(answer, "refresh_token")), "a refresh token twice");
    }
    assert_eq!(seen.len(), 2 * 149);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_logins_and_fifty_refreshes_at_once_all_get_tokens_of_their_own() {
    let server = PostgresServer::launch().await;
    fifty_logins_and_fifty_refreshes(server.db().await).await;
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
    db.migrate().await.unwrap();
    fifty_logins_and_fifty_refreshes(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_is_turned_away_at_once_and_slows_nobody_else_down() {
    let (world, _clock) = with_ann().await;
    let key = world.app.create_api_key(Role::Readonly, None).await.unwrap().key;
    let bearer = format!("Bearer {key}");
    let timed = async |n: usize| {
        let body = json!({"email": format!("user-{n}@example.org"), "password": PASSWORD});
        let begun = Instant::now();
        (send(&world, "/api/auth/login", "flood", body).await, begun.elapsed())
    };
    let flood = join_all((0..300).map(timed));
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            let answer = ask_as(&world, "GET", "/api/jobs", Some(&bearer)).await;
            assert_eq!(answer.status, StatusCode::OK);
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    };
    let (flood, slowest) = tokio::join!(flood, others);
    assert!(slowest < Duration::from_secs(1), "a page took {slowest:?}");
    let mut waits = HashSet::new();
    for (answer, took) in &flood {
        match answer.status.as_u16() {
            401 => {}
            503 => {
                answer.assert_problem(503);
                assert!(*took < Duration::from_secs(1), "turned away after {took:?}");
                let wait = answer.headers[header::RETRY_AFTER].to_str().unwrap();
                waits.insert(wait.parse::<u32>().unwrap());
            }
            _ => panic!("{}", answer.body),
        }
    }
    assert!(waits.len() > 3 && waits.iter().all(|wait| (30..=45).contains(wait)), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_entered_from_a_file_and_no_password_or_token_is_logged_or_kept() {
    let mut fleet = Fleet::start().await;
    fleet.set("POSTWORKS_AUTH", "on");
    fleet.set("POSTWORKS_LOG", "debug");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let file = file.to_str().unwrap();
    let create = async |email: &str, password: &str| {
        std::fs::write(file, password).unwrap();
        let args = ["user", "create", "--email", email, "--password-file", file, "--role", "admin"];
        run(&args, fleet.vars()).await
    };
    for (email, password, code, words) in [
        (EMAIL, "hunter2hunt\n", 2, "at least 12"),
        ("ann", PASSWORD, 2, "ann@example.org"),
        (EMAIL, "correct horse battery\n", 0, ""),
        ("Ann@example.org", PASSWORD, 4, "there is a user ann@example.org already"),
    ] {
        let ran = create(email, password).await;
        assert_eq!(ran.code, code, "{email}: {}", ran.stderr);
        assert!(ran.stderr.contains(words) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    let mut api = fleet.command("guarded", &["api", "--listen", "127.0.0.1:0"]);
    let http = crate::fleet::Client::new(&api.listening("api").await).http;
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let pair = http.post("/api/auth/login", &body).await.expect(200);
    let token = pair["refresh_token"].as_str().unwrap();
    let next = http.post("/api/auth/refresh", &json!({"refresh_token": token})).await.expect(200);
    let users = run(&["user", "list", "-o", "json"], fleet.vars()).await;
    assert_eq!(users.json()["items"][0]["email"], EMAIL);
    assert_eq!(run(&["user", "disable", EMAIL], fleet.vars()).await.code, 0);
    assert_eq!(run(&["user", "disable", "bob@example.org"], fleet.vars()).await.code, 3);
    http.post("/api/auth/login", &body).await.expect(401);
    let audit = run(&["audit", "list", "-o", "json"], fleet.vars()).await.stdout;
    assert!(audit.contains("user.create") && audit.contains("user.disable"), "{audit}");

    let told = [api.log(), users.stdout, audit, crate::redaction::rows(&fleet).await];
    let secrets = [&pair, &next].into_iter().flat_map(|pair| {
        ["access_token", "refresh_token"].map(|name| pair[name].as_str().unwrap())
    });
    for secret in secrets.chain([PASSWORD, "hunter2hunt"]) {
        let secret = secret.rsplit('_').next().unwrap();
        assert!(told.iter().all(|text| !text.contains(secret)), "{secret} was told");
    }
}
