//! Who did what, and why: whatever a person changes by hand leaves a row.

use postworks::job::Category;
use serde_json::{Value, json};

use crate::cli::postworks;
use crate::world::{NOBODY, World};

async fn noted(world: &World, query: &str) -> Vec<Value> {
    let listed = world.ask("GET", &format!("/api/audit?{query}")).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    listed.body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_action_over_http_is_noted_with_its_reason() {
    let world = World::start().await;
    let account = world.connector().await.to_string();
    let cancelled = world.enqueue().await;
    let path = format!("/api/jobs/{cancelled}?reason=not%20wanted");
    assert_eq!(world.ask("DELETE", &path).await.status, 200);
    // Neither what changed nothing nor what was only asked for is an action.
    assert_eq!(world.ask("DELETE", &path).await.status, 200);
    assert_eq!(world.ask("DELETE", &format!("/api/jobs/{NOBODY}")).await.status, 404);
    for _ in 0..3 {
        let dead = world.enqueue().await;
        world.kill(dead, Category::Invalid).await;
    }
    for dry_run in [true, false] {
        let retry = json!({"filter": {"category": "invalid"}, "dry_run": dry_run,
            "reason": "fixed"});
        assert_eq!(world.post("/api/dlq/retry", retry).await.status, 202);
    }
    let all = noted(&world, "").await;
    let seen: Vec<_> = all
        .iter()
        .map(|row| (&row["action"], &row["subject"], &row["why"], &row["count"], &row["actor"]))
        .collect();
    let api = &json!("api");
    assert_eq!(
        seen,
        [
            (&json!("dlq.retry"), &json!("category=invalid"), &json!("fixed"), &json!(3), api),
            (&json!("job.cancel"), &json!(cancelled), &json!("not wanted"), &json!(1), api),
            (&json!("connector.add"), &json!(account), &Value::Null, &json!(1), api),
        ]
    );
    assert!(!json!(all).to_string().contains("hush"), "a secret: {all:?}");
    assert_eq!(noted(&world, "action=job.cancel&since=1h").await.len(), 1);
    assert_eq!(noted(&world, "until=1h").await.len(), 0);
    assert_eq!(noted(&world, "limit=1").await.len(), 1);

    for (query, field) in
        [("since=soon", "/since"), ("limit=0", "/limit"), ("acton=x", "/acton"), ("cursor=x", "/c")]
    {
        let wrong = world.ask("GET", &format!("/api/audit?{query}")).await;
        wrong.assert_problem(422);
        assert!(wrong.fields()[0].starts_with(field), "{}", wrong.body);
    }
    let long = json!({"filter": {"ids": [NOBODY]}, "reason": "x".repeat(1_001)});
    let refused = world.post("/api/dlq/retry", long).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/reason"]);
}

#[tokio::test]
async fn the_command_line_gives_reasons_and_lists_them() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let vars = [("POSTWORKS_SERVER", url.as_str())];
    let id = world.enqueue().await.to_string();
    let args = ["job", "cancel", &id, "--reason", "asked by support"];
    assert_eq!(postworks(&args, &vars).await.code, 0);
    let listed = postworks(&["audit", "list", "--action", "job.cancel"], &vars).await;
    for words in [id.as_str(), "asked by support", "job.cancel", "api"] {
        assert!(listed.stdout.contains(words), "{words}: {}{}", listed.stdout, listed.stderr);
    }
    let none = postworks(&["audit", "list", "--until", "1h"], &vars).await;
    assert_eq!(none.stdout.trim(), "nobody did anything");
}
