//! What is asked for wrongly, over HTTP and on the command line, and what is answered.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::from_now;
use crate::cli::postworks;
use crate::world::{NOBODY, World};

/// A post, an account, and a publication of it that is due in an hour.
async fn scheduled(world: &World) -> (String, String, String) {
    let connector = world.connector().await;
    let post = world.post("/api/posts", json!({"text": "hello"})).await.body["id"].clone();
    let publish = json!({"post_id": post, "connector_ids": [connector],
        "at": from_now(3_600_000)});
    let accepted = world.post("/api/publish", publish).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    let row = &accepted.body["publications"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&post), text(&row["id"]), text(&row["job_id"]))
}

#[tokio::test]
async fn a_window_that_makes_no_sense_is_refused_with_its_field() {
    let world = World::start().await;
    let connector = world.connector().await;
    let post = world.post("/api/posts", json!({"text": "hello"})).await.body["id"].clone();
    let (soon, later) = (from_now(60_000), from_now(120_000));
    for (change, field, words) in [
        (json!({"at": later, "not_after": soon}), "/not_after", "before it begins"),
        (json!({"at": soon, "not_after": soon}), "/not_after", "before it begins"),
        (json!({"not_after": from_now(-1_000)}), "/not_after", "over already"),
        (json!({"not_after": from_now(400 * 86_400_000)}), "/not_after", "366 days"),
        (json!({"late": "skip"}), "/late", "not_after"),
        (json!({"not_after": later, "late": "never"}), "/late", "skip"),
        (json!({"not_after": "tomorrow"}), "/not_after", "RFC 3339"),
        (json!({"not_befor": soon}), "/not_befor", "unknown field"),
    ] {
        let mut publish = json!({"post_id": post, "connector_ids": [connector]});
        publish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = world.post("/api/publish", publish).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
        let said = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(words), "{said}");
    }
    let publish = json!({"post_id": post, "connector_ids": [connector], "at": soon,
        "not_after": later});
    let accepted = world.post("/api/publish", publish).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.body);
    let row = &accepted.body["publications"][0];
    let path = format!("/api/publications/{}", row["id"].as_str().unwrap());
    let shown = world.ask("GET", &path).await.body;
    assert_eq!((&shown["at"], &shown["not_after"]), (&soon.into(), &later.clone().into()));
    assert_eq!((&shown["late"], &shown["missed"]), (&"skip".into(), &Value::Null));
    let job = format!("/api/jobs/{}", row["job_id"].as_str().unwrap());
    assert_eq!(world.ask("GET", &job).await.body["expires_at"], later, "snoozes end there");
}

#[tokio::test]
async fn a_move_that_makes_no_sense_is_refused_with_its_field() {
    let world = World::start().await;
    let (post, publication, job) = scheduled(&world).await;
    let one = format!("/api/publications/{publication}");
    let all = format!("/api/posts/{post}/move");
    let (soon, later) = (from_now(60_000), from_now(120_000));
    let patch = async |body: Value| world.ask_with("PATCH", &one, &[], body).await;
    for (body, field) in [
        (json!({}), "/at"),
        (json!({"reason": "why not"}), "/at"),
        (json!({"at": "soon"}), "/at"),
        (json!({"at": from_now(-2 * 86_400_000)}), "/at"),
        (json!({"at": from_now(400 * 86_400_000)}), "/at"),
        (json!({"at": later, "not_after": soon}), "/not_after"),
        (json!({"not_after": soon}), "/not_after"),
        (json!({"late": "publish"}), "/late"),
        (json!({"not_after": null, "late": "publish"}), "/late"),
        (json!({"at": soon, "late": 7}), "/late"),
        (json!({"when": soon}), "/when"),
        (json!({"at": soon, "reason": " "}), "/reason"),
    ] {
        let refused = patch(body.clone()).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{body}: {}", refused.body);
    }
    for (body, field) in [
        (json!({}), "/at"),
        (json!({"at": later, "not_after": soon}), "/not_after"),
        (json!({"at": soon, "late": "sometimes"}), "/late"),
    ] {
        let refused = world.post(&all, body.clone()).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{body}: {}", refused.body);
    }
    let (at, nobody) = (json!({"at": soon}), NOBODY);
    let missing = format!("/api/publications/{nobody}");
    world.ask_with("PATCH", &missing, &[], at.clone()).await.assert_problem(404);
    world.post(&format!("/api/posts/{nobody}/move"), at.clone()).await.assert_problem(404);
    let audit = world.ask("GET", "/api/audit").await.body;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "the account alone: {audit}");

    let moved = patch(json!({"at": soon, "not_after": later, "reason": "sooner"})).await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.body);
    let expected = (&soon.clone().into(), &later.clone().into(), &"skip".into());
    assert_eq!((&moved.body["at"], &moved.body["not_after"], &moved.body["late"]), expected);
    let row = world.ask("GET", &format!("/api/jobs/{job}")).await.body;
    assert_eq!((&row["run_at"], &row["expires_at"]), (&soon.into(), &later.clone().into()));
    // Its window is left as it is, and would end before it begins.
    let refused = world.post(&all, json!({"at": from_now(3_600_000)})).await.body;
    assert!(refused["moved"].as_array().unwrap().is_empty());
    let why = refused["not_moved"][0]["why"].as_str().unwrap();
    assert!(why.contains(&later) && why.contains("not_after"), "{why}");
    world.ask("DELETE", &format!("/api/jobs/{job}")).await;
    let refused = patch(at).await;
    refused.assert_problem(409);
    assert!(refused.body["detail"].as_str().unwrap().contains("cancelled"), "{}", refused.body);
    let audit = world.ask("GET", "/api/audit?action=publication.move").await.body;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
    assert_eq!(
        (&audit["items"][0]["why"], &audit["items"][0]["count"]),
        (&"sooner".into(), &1.into())
    );
    assert_eq!(audit["items"][0]["detail"]["not_after"], later);
}

#[tokio::test]
async fn publications_are_moved_from_the_command_line() {
    let world = World::start().await;
    let (post, publication, _) = scheduled(&world).await;
    let (url, _stop) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let (soon, later) = (from_now(60_000), from_now(120_000));
    let go = async |args: &[&str]| postworks(&[&["-o", "json"][..], args].concat(), &vars).await;
    let one = ["publication", "move", &publication];
    let nobody = NOBODY.to_string();
    for (args, code, words) in [
        (&one[..], 2, "say where to"),
        (&[&one[..], &["--at", "soon"]].concat(), 2, "RFC 3339"),
        (&[&one[..], &["--late", "never"]].concat(), 2, "skip"),
        (&[&one[..], &["--late", "skip"]].concat(), 2, "not_after"),
        (&[&one[..], &["--no-window", "--late", "skip"]].concat(), 2, "cannot be used with"),
        (&["publication", "move", "x", "--at", &soon], 2, "invalid value"),
        (&["publication", "move", &nobody, "--at", &soon], 3, "no publication"),
        (&["post", "move", &post], 2, "--at"),
        (&["post", "move", &nobody, "--at", &soon], 3, "no post"),
        (&["post", "move", &post, "--at", &later, "--not-after", &soon], 2, "before it begins"),
        (&["publication", "show", &nobody], 3, "no publication"),
    ] {
        let ran = go(args).await;
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    let to = ["--at", &soon, "--not-after", &later, "--late", "publish", "--reason", "sooner"];
    let moved = go(&[&one[..], &to].concat()).await;
    assert_eq!(moved.code, 0, "{}", moved.stderr);
    let shown = go(&["publication", "show", &publication]).await.json();
    assert_eq!(shown, moved.json());
    assert_eq!((&shown["at"], &shown["late"]), (&soon.into(), &"publish".into()));
    assert_eq!(go(&[&one[..], &["--no-window"]].concat()).await.json()["not_after"], Value::Null);
    let all = postworks(&["post", "move", &post, "--at", &later], &vars).await;
    assert!(all.stdout.contains(&publication) && all.stdout.contains(&later), "{}", all.stdout);
    let audit = world.ask("GET", "/api/audit").await.body;
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().rev().collect();
    let actions: Vec<_> = actions.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions[1..], ["publication.move", "publication.move", "post.move"]);
}
