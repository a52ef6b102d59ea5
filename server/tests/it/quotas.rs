//! An operator's quota is kept by all workers together, as the platform's own journal tells.

use jiff::Timestamp;
use postworks_server::sandbox::Op;
use serde_json::json;

use crate::fleet::{Fleet, LONG, until};

const CALLS: usize = 10;
const PER_MS: i64 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_keeps_its_quota_publishes_all_and_lets_an_urgent_job_pass() {
    let quota = format!("{CALLS}/{PER_MS}ms");
    let fleet =
        Fleet::start_with(&[("POSTWORKS__PLATFORMS__SANDBOX__QUOTAS__ACCOUNT", &quota)]).await;
    let _workers = [fleet.worker(&[]).await, fleet.worker(&[]).await];
    let accounts = fleet.connect("sandbox", 1).await;
    let publications = fleet.client.publish_many(3 * CALLS, &accounts).await;
    until("some are published", LONG, async || fleet.sandbox.journal().posts() > CALLS / 2).await;
    let before = fleet.sandbox.journal().posts();
    let refresh = json!({
        "kind": "token_refresh", "args": { "connector_id": accounts[0] }, "priority": 60,
    });
    let urgent = fleet.client.http.post("/api/jobs", &refresh).await.expect(202)["id"].clone();
    fleet.client.until_job(urgent.as_str().unwrap(), "completed", LONG).await;
    fleet.client.until_published(&publications, LONG * 2).await;
    let journal = fleet.sandbox.journal();
    journal.must_have_each_once(&publications);
    let times: Vec<i64> = journal.0.iter().map(|entry| millis(&entry.ts)).collect();
    for from in &times {
        let within = times.iter().filter(|at| (*from..from + PER_MS).contains(*at)).count();
        assert!(within <= CALLS, "{within} calls from {from} on: {times:?}");
    }
    let refreshed = journal.0.iter().rposition(|entry| entry.op == Op::Refresh).unwrap();
    let overtook = journal.0[refreshed..].iter().filter(|entry| entry.op == Op::Publish).count();
    assert!(overtook + 4 >= 3 * CALLS + 1 - before, "{overtook} of {before} came after it");
    for publication in &publications {
        let job = fleet.client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "to wait is no failure: {job}");
    }
}

fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}
