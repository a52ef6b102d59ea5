//! What `/metrics` shows of real processes: what the table of metrics says, what is true, and each
//! thing once.

mod page;

use std::time::Duration;

use serde_json::json;

use crate::fleet::{ANY, Fleet, LONG, POSTWORKS, Process, until};
use page::Page;

const CLEANUP: &str = "data_cleanup";

/// A job that waits for an hour.
async fn enqueue_later(fleet: &Fleet) {
    let job = json!({ "kind": CLEANUP, "args": { "dry_run": true }, "delay_ms": 3_500_000 });
    fleet.client.http.post("/api/jobs", &job).await.expect(202);
}

async fn second_api(fleet: &Fleet) -> Process {
    let mut api = fleet.command("api", &["api", "--listen", ANY]);
    api.listening("api").await;
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_show_the_table_of_metrics_and_promtool_finds_no_fault() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    fleet.connect("sandbox", 2).await;
    let folder = tempfile::tempdir().unwrap();
    let data = [("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap().to_owned())];
    let args = ["up", "--listen", ANY, "--workers", "2"];
    let mut up = Process::start("up", POSTWORKS, &args, &data, folder.path());
    up.listening("api").await;

    let mut shown = Page::default();
    for process in [&fleet.api, &worker, &up] {
        // The collector's readings come a moment later.
        until("the page of an API", LONG, async || {
            let page = Page::of(process).await;
            process.pid() == worker.pid() || page.has("postworks_queue_jobs")
        })
        .await;
        let page = Page::of(process).await;
        page.must_follow_the_table();
        page.must_please_promtool().await;
        shown.add(page);
    }
    shown.must_be_the_whole_table();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_apis_shows_the_fleets_gauges_and_the_other_follows_when_it_dies() {
    let mut fleet = Fleet::start().await;
    let other = second_api(&fleet).await;
    for _ in 0..5 {
        enqueue_later(&fleet).await;
    }
    let look = async |process: &Process| {
        Page::of(process).await.value("postworks_queue_jobs", &["data_cleanup", "delayed"])
    };
    // Whoever was started first has the office, and both look for it all the time.
    until("the first API shows the jobs", LONG, async || look(&fleet.api).await == Some(5.0)).await;
    assert_eq!(look(&other).await, None, "the sum over both is the truth");
    assert!(!Page::of(&other).await.has("postworks_collector_last_success_timestamp_seconds"));

    fleet.api.kill9().await;
    let took =
        until("the other API shows the jobs", LONG, async || look(&other).await == Some(5.0)).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_cannot_reach_the_broker_shows_nothing() {
    let fleet = Fleet::start().await;
    let shows = async || Page::of(&fleet.api).await.has("postworks_queue_jobs");
    until("the queues are shown", LONG, &shows).await;
    fleet.redis.freeze();
    until("nothing is shown that may be another's", LONG, async || !shows().await).await;
    fleet.redis.thaw();
    until("the queues are shown again", LONG, &shows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_gauges_tell_what_is_so() {
    let fleet = Fleet::start().await;
    let _workers = [fleet.worker(&[]).await, fleet.worker(&["--queues", CLEANUP]).await];
    fleet.connect("sandbox", 2).await;
    fleet.sandbox.faults(json!([{ "op": "publish", "action": "error", "status": 422 }])).await;
    let accounts = fleet.client.connect(&fleet.sandbox, "sandbox_lookup", 1).await;
    let refused = fleet.client.publish("refused", &accounts).await;
    fleet.client.until_job(&refused[0].job, "dead", LONG).await;
    let pause = json!({ "reason": "a test" });
    fleet.client.http.post(&format!("/api/queues/{CLEANUP}/pause"), &pause).await.expect(200);
    let lookup = "post_publication.sandbox_lookup";
    let expected = [
        ("postworks_accounts", &["sandbox", "active"][..], 2.0),
        ("postworks_accounts", &["sandbox", "needs_reauth"], 0.0),
        ("postworks_accounts", &["sandbox_lookup", "active"], 1.0),
        ("postworks_queue_workers", &[CLEANUP], 2.0),
        ("postworks_queue_workers", &[lookup], 1.0),
        ("postworks_queue_paused", &[CLEANUP], 1.0),
        ("postworks_queue_paused", &[lookup], 0.0),
        ("postworks_dlq_jobs", &[lookup, "invalid"], 1.0),
        ("postworks_dlq_jobs", &[lookup, "auth"], 0.0),
        ("postworks_effects", &["under_way"], 0.0),
        ("postworks_relay_lag_seconds", &[], 0.0),
        ("postworks_schedule_lag_seconds", &[], 0.0),
        ("postworks_redis_evicted_keys_total", &[], 0.0),
    ];
    let mut page = Page::default();
    until("what the collector shows", LONG, async || {
        page = Page::of(&fleet.api).await;
        expected.iter().all(|(name, labels, value)| page.value(name, labels) == Some(*value))
    })
    .await;
    let above_zero = [
        ("postworks_dlq_oldest_age_seconds", &[lookup, "invalid"][..]),
        ("postworks_queue_generation", &[lookup]),
        ("postworks_redis_memory_bytes", &["used"]),
        ("postworks_redis_memory_bytes", &["rss"]),
        ("postworks_redis_fragmentation_ratio", &[]),
        ("postworks_redis_connected_clients", &[]),
        ("postworks_db_pool_max", &[]),
    ];
    for (name, labels) in above_zero {
        assert!(page.value(name, labels) > Some(0.0), "{name} {labels:?}");
    }
    assert!(page.value("postworks_redis_memory_bytes", &["max"]).is_none(), "it has no limit");

    let all = json!({ "filter": {}, "all": true });
    fleet.client.http.post("/api/dlq/discard", &all).await.expect(202);
    let page = Page::of(&fleet.api).await;
    assert_eq!(page.value("postworks_dlq_actions_total", &["discard"]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_broker_forgot_is_missed_until_the_relay_pushed_it() {
    // Only workers run the relay.
    let fleet = Fleet::start().await;
    let job = json!({ "kind": CLEANUP, "args": { "dry_run": true } });
    let job = fleet.client.http.post("/api/jobs", &job).await.expect(202);
    let lag = async || Page::of(&fleet.api).await.value("postworks_relay_lag_seconds", &[]);
    until("the lag is known", LONG, async || lag().await.is_some()).await;
    fleet.redis.command("FLUSHALL");
    until("the job is missed", LONG, async || lag().await > Some(2.0)).await;
    let worker = fleet.worker(&[]).await;
    fleet.client.until_job(job["id"].as_str().unwrap(), "completed", LONG).await;
    until("nothing is missed", LONG, async || lag().await == Some(0.0)).await;
    assert!(Page::of(&worker).await.has("postworks_relay_pushed_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_platform_are_counted_once_for_many_requests() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&["--concurrency", "1"]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let publications = fleet.client.publish_many(10, &accounts).await;
    fleet.client.until_published(&publications, LONG).await;
    let page = Page::of(&worker).await;
    let requests = page
        .value("postworks_platform_request_seconds_count", &["sandbox", "publish", "ok"])
        .expect("requests");
    let opened =
        page.value("postworks_platform_connections_total", &["sandbox"]).expect("connections");
    assert_eq!(requests, 11.0, "each publish was one request");
    assert!((1.0..6.0).contains(&opened), "{opened} connections for {requests} requests");
    let first = ["sandbox", "on_demand", "refreshed"];
    let refreshed = page.value("postworks_token_refreshes_total", &first);
    assert_eq!(refreshed, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_succeeds_is_counted_as_such_and_so_are_calls_that_fail() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let once = json!([{ "op": "publish", "action": "error", "status": 503, "times": 1 }]);
    fleet.sandbox.faults(once).await;
    let publications = fleet.client.publish("at the second try", &accounts).await;
    fleet.client.until_published(&publications, LONG).await;
    let queue = "post_publication.sandbox";
    let of_job = [queue, "post_publication", "completed"];
    let mut page = Page::default();
    until("the retry is counted", LONG, async || {
        page = Page::of(&worker).await;
        page.value("postworks_job_retries_total", &of_job) == Some(1.0)
    })
    .await;
    let before = page.value("postworks_broker_errors_total", &["claim"]).expect("a counter");
    fleet.redis.freeze();
    until("failed calls are counted", LONG, async || {
        let errors = ["claim", "look", "renew"];
        let page = Page::of(&worker).await;
        let now = errors.map(|of| page.value("postworks_broker_errors_total", &[of]));
        now.into_iter().flatten().sum::<f64>() > before
    })
    .await;
    fleet.redis.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_token_endpoint_is_counted_and_costs_no_attempt_of_a_job() {
    let fleet = Fleet::start().await;
    let accounts = fleet.client.connect(&fleet.sandbox, "sandbox", 1).await;
    let fails =
        |status| json!({ "op": "refresh", "action": "error", "status": status, "times": 1 });
    // The second is what a wrong configuration of ours is answered with.
    fleet.sandbox.faults(json!([fails(503), fails(400), fails(500)])).await;
    let publications = fleet.client.publish_many(10, &accounts).await;
    let worker = fleet.worker(&[]).await;
    fleet.client.until_published(&publications, LONG).await;
    for publication in &publications {
        fleet.client.until_job(&publication.job, "completed", LONG).await;
        let job = fleet.client.http.get(&format!("/api/jobs/{}", publication.job)).await;
        let attempts = job.expect(200)["attempts"].clone();
        assert_eq!(
            attempts.as_array().map(Vec::len),
            Some(1),
            "the first was the last: {attempts}"
        );
        assert_eq!(attempts[0]["outcome"], "completed", "{attempts}");
    }
    let page = Page::of(&worker).await;
    let refreshes =
        |outcome| page.value("postworks_token_refreshes_total", &["sandbox", "on_demand", outcome]);
    assert_eq!((refreshes("failed"), refreshes("refreshed")), (Some(3.0), Some(1.0)));
    let put_off = ["post_publication.sandbox", "token_refresh"];
    assert!(page.value("postworks_jobs_snoozed_total", &put_off) >= Some(3.0));
    assert_eq!(refreshes("refused"), Some(0.0), "nobody was disconnected");
}
