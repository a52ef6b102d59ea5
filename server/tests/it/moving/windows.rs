//! Windows that are missed: by an open breaker, a platform's limits or outage, and without workers.

use super::*;

/// Fails the test unless it was skipped, in words that name its window.
async fn must_be_skipped(fleet: &Fleet, publication: &Publication) {
    let job = fleet.client.until_job(&publication.job, "dead", LONG).await;
    let shown = show(fleet, publication).await;
    assert_eq!(job["reason"]["category"], "expired", "{job}");
    assert_eq!(shown["state"], "failed", "{shown}");
    let why = shown["missed"]["why"].as_str().unwrap();
    assert!(why.contains(shown["not_after"].as_str().unwrap()), "{why}");
    assert_eq!(job["reason"]["message"], why);
    assert!(time(&shown["missed"]["at"]) > time(&shown["at"]));
}

async fn must_be_late(fleet: &Fleet, publication: &Publication) {
    fleet.client.until_published(std::slice::from_ref(publication), LONG).await;
    let shown = show(fleet, publication).await;
    let end = time(&shown["not_after"]);
    assert!(time(&shown["missed"]["at"]) > end, "{shown}");
    assert!(sent_at(fleet, publication) > end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_missed_skips_or_says_that_it_was_late() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let with = |late: &str| json!({"not_after": from_now(2_000), "late": late});
    let wait = async |publications: &[&Publication]| {
        for publication in publications {
            let end = time(&show(&fleet, publication).await["not_after"]).as_millis();
            until("its window does not end", LONG, async || now_ms() > end).await;
        }
    };

    // The breaker was open.
    let breaker = format!("/api/breakers/{QUEUE}");
    http.post(&format!("{breaker}/open"), &json!({})).await.expect(200);
    let skipped = publish(&fleet, &accounts, with("skip")).await;
    let late = publish(&fleet, &accounts, with("publish")).await;
    wait(&[&skipped[0], &late[0]]).await;
    http.post(&format!("{breaker}/close"), &json!({})).await.expect(200);
    must_be_skipped(&fleet, &skipped[0]).await;
    must_be_late(&fleet, &late[0]).await;

    // The platform had enough of us, and then it was down: there is no use in waiting.
    for fault in [
        json!({"op": "publish", "action": "rate_limit", "headers": {"retry-after": "30"}}),
        json!({"op": "publish", "action": "error", "status": 503}),
    ] {
        fleet.sandbox.faults(json!([fault])).await;
        let skipped = publish(&fleet, &accounts, with("skip")).await;
        must_be_skipped(&fleet, &skipped[0]).await;
        fleet.sandbox.faults(json!([])).await;
    }
    worker.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_without_workers_is_missed_unless_it_was_lengthened_in_time() {
    let fleet = Fleet::start().await;
    let http = &fleet.client.http;
    let mut worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    worker.kill9().await;
    let window = |late: &str| json!({"not_after": from_now(1_500), "late": late});
    let skipped = publish(&fleet, &accounts, window("skip")).await;
    let late = publish(&fleet, &accounts, window("publish")).await;
    let end = time(&show(&fleet, &late[0]).await["not_after"]).as_millis();
    until("its window does not end", LONG, async || now_ms() > end).await;
    // Who moves it in time saves it.
    let saved = publish(&fleet, &accounts, window("skip")).await;
    let to = json!({"not_after": from_now(600_000)});
    http.patch(&saved[0].id, &to).await.expect(200);
    let end = now_ms() + 1_500;
    until("its old window does not end", LONG, async || now_ms() > end).await;
    let _worker = fleet.worker(&[]).await;
    must_be_skipped(&fleet, &skipped[0]).await;
    must_be_late(&fleet, &late[0]).await;
    fleet.client.until_published(&saved, LONG).await;
    assert_eq!(show(&fleet, &saved[0]).await["missed"], Value::Null);
    let listed = run(&["publication", "show", &skipped[0].id], fleet.vars()).await;
    assert!(
        listed.stdout.contains("failed") && listed.stdout.contains("window"),
        "{}",
        listed.stdout
    );
    let all = [late, saved].concat();
    fleet.sandbox.journal().must_have_each_once(&all);
    assert!(!fleet.sandbox.journal().copies().contains_key(skipped[0].id.as_str()));
}
