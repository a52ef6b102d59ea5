//! The journal: what was really accepted.

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{World, answer, assert_refused};

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_accepted_publish_and_refresh_is_one_line_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let world = World::with_journal(Some(&path)).await;
    let ann = world.account("ann").await;
    let post = json!({"text": "two\nlines", "client_ref": "r"});
    let post = world.publishing(&ann, &post).header("Idempotency-Key", "k");
    let (_, made) = answer(post).await;
    assert_eq!(lines(&path).len(), 1, "the line is there before the answer");
    world.refresh(&ann.refresh).await;

    let written = lines(&path);
    let ts = "2023-11-14T22:13:20.000Z";
    assert_eq!(
        written[0],
        json!({"seq": 1, "ts": ts, "op": "publish", "account": ann.id, "id": made["id"],
            "key": "k", "client_ref": "r", "text": "two\nlines", "fault": null})
    );
    let id = &written[1]["id"];
    assert_eq!(
        written[1],
        json!({"seq": 2, "ts": ts, "op": "refresh", "account": ann.id, "id": id,
            "key": null, "client_ref": null, "text": null, "fault": null})
    );
    assert_eq!(json!(world.running.journal()), json!(written));
    assert_eq!(world.get("/_control/journal").await, (StatusCode::OK, json!({"entries": written})));
}

#[tokio::test]
async fn a_line_has_its_fields_in_the_contracts_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let world = World::with_journal(Some(&path)).await;
    let ann = world.account("ann").await;
    world.publish(&ann, "hello").await;
    let line = fs::read_to_string(&path).unwrap();
    let fields = ["seq", "ts", "op", "account", "id", "key", "client_ref", "text", "fault"];
    let places: Vec<_> = fields.iter().map(|name| line.find(&format!("\"{name}\":"))).collect();
    assert!(places.is_sorted() && !places.contains(&None), "{line}");
}

#[tokio::test]
async fn a_restart_goes_on_counting_where_the_file_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for run in 0..3 {
        let world = World::with_journal(Some(&path)).await;
        let ann = world.account("ann").await;
        world.publish(&ann, &format!("run {run}")).await;
        world.running.shutdown().await;
    }
    let seqs: Vec<_> = lines(&path).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[tokio::test]
async fn what_is_refused_leaves_no_line() {
    let world = World::start().await;
    let ann = world.account("ann").await;
    world.publish(&ann, "").await;
    world.refresh("made-up").await;
    world.get("/posts?account=ann").await;
    assert!(world.running.journal().is_empty());
}

#[tokio::test]
async fn concurrent_posts_get_numbers_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let world = World::with_journal(Some(&path)).await;
    let ann = world.account("ann").await;
    let posts = (0..64).map(|n| {
        let (world, ann) = (&world, &ann);
        async move { world.publish(ann, &n.to_string()).await }
    });
    futures_util::future::join_all(posts).await;
    let seqs: Vec<_> = lines(&path).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_cannot_be_journalled_is_not_accepted() {
    let world = World::with_journal(Some(Path::new("/dev/full"))).await;
    let ann = world.account("ann").await;
    for _ in 0..2 {
        assert_refused(&world.publish(&ann, "lost").await, 500, "journal_failed");
        assert_refused(&world.refresh(&ann.refresh).await, 500, "journal_failed");
    }
    assert!(world.running.journal().is_empty());
    assert_eq!(world.get("/posts?account=ann").await.1["items"], json!([]));
}
