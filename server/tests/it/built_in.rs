//! What comes by itself: the nightly cleanup and the synchronising of accounts, from outside.

use postworks::job::CleanupScope;
use serde_json::{Value, json};

use crate::fleet::{Fleet, LONG, run, until};

async fn schedules(fleet: &Fleet) -> Vec<Value> {
    let page = fleet.client.http.get("/api/schedules").await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_cleanup_is_there_once_and_can_be_paused_but_not_removed() {
    let fleet = Fleet::start_with(&[("POSTWORKS__RETENTION__CLEANUP", "10 3 * * *")]).await;
    let _workers = fleet.workers(2, &[]).await;
    until("the schedule is made", LONG, async || !schedules(&fleet).await.is_empty()).await;
    let made = schedules(&fleet).await;
    assert_eq!((made.len(), &made[0]["name"]), (1, &json!("data-cleanup")));
    assert_eq!((&made[0]["built_in"], &made[0]["cron"]), (&json!(true), &json!("10 3 * * *")));
    let refused = run(&["schedule", "remove", "data-cleanup"], fleet.vars()).await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("pause it instead"), "{}", refused.stderr);
    let paused = run(&["schedule", "pause", "data-cleanup", "-o", "json"], fleet.vars()).await;
    assert_eq!((paused.code, &paused.json()["next_at"]), (0, &Value::Null), "{}", paused.stderr);

    // What it does is told by its job, also of a dry run.
    let enqueue = ["enqueue", "data_cleanup", "--json", r#"{"dry_run":true}"#, "-o", "json"];
    let job = run(&enqueue, fleet.vars()).await.json()["id"].as_str().unwrap().to_owned();
    let done = fleet.client.until_job(&job, "completed", LONG).await;
    let progress = done["progress"].as_array().unwrap();
    assert_eq!(progress.len(), CleanupScope::ALL.len(), "{done}");
    let whole = json!({ "scope": "metrics", "rows": 0, "partitions": 0, "done": true });
    assert!(progress.contains(&whole), "{done}");
    let shown = run(&["job", "show", &job], fleet.vars()).await;
    assert!(shown.stdout.contains("PARTITIONS"), "{}", shown.stdout);
    // Others have none.
    let sync = json!({ "kind": "data_cleanup", "delay_ms": 3_600_000 });
    let waits = fleet.client.http.post("/api/jobs", &sync).await.expect(202);
    let path = format!("/api/jobs/{}", waits["id"].as_str().unwrap());
    assert_eq!(fleet.client.http.get(&path).await.expect(200).get("progress"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_synchronised_by_itself_with_all_that_the_sandbox_has() {
    let fleet = Fleet::start_with(&[("POSTWORKS__SYNC__EVERY", "1s")]).await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let account = accounts[0].parse().unwrap();
    let store = fleet.store();
    until("nobody has read the profile", LONG, async || {
        store.remote_profile(account).await.unwrap().is_some()
    })
    .await;
    let profile = store.remote_profile(account).await.unwrap().unwrap();
    assert!(profile.display_name.unwrap().ends_with(" of the sandbox"));
    until("nobody has read numbers", LONG, async || {
        let found = store.remote_texts(account).await.unwrap();
        let Some((id, _)) = found.first() else { return false };
        !store.readings(account, id).await.unwrap().is_empty()
    })
    .await;
    drop(worker);
}
