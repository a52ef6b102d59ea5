//! What a worker logs of its jobs: one line an attempt, and every line of a job by the same names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fleet::{Fleet, LONG, Process, Publication, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The lines about a job, in order.
fn about(worker: &Process, job: &str) -> Vec<Value> {
    let log = worker.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["job.id"] == job).collect()
}

/// The outcomes of a job's attempts, as the log tells them.
fn outcomes(lines: &[Value]) -> Vec<&str> {
    let attempts = lines.iter().filter(|line| line["target"] == "postworks::attempts");
    attempts.map(|line| line["outcome"].as_str().expect("an outcome")).collect()
}

/// Publishes on a new account of which the platform treats the first request so.
async fn publish(fleet: &Fleet, account: usize, fault: Option<Value>) -> Publication {
    let secret = fleet.sandbox.account(&format!("logs-{account}")).await;
    let connector = json!({ "platform": "sandbox", "base_url": fleet.sandbox.url(),
        "identifier": format!("logs-{account}"), "secret": secret });
    let connector = fleet.client.http.post("/api/connectors", &connector).await.expect(201);
    fleet.sandbox.faults(json!(fault.into_iter().collect::<Vec<_>>())).await;
    let account = connector["id"].as_str().expect("an id").to_owned();
    let mut publications = fleet.client.publish("words", &[account]).await;
    publications.pop().expect("a publication")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_is_one_line_that_names_its_job_as_every_other_line_does() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let cleanup = client
        .post(format!("{}/api/jobs", fleet.api.url()))
        .header("traceparent", TRACEPARENT)
        .json(&json!({ "kind": "data_cleanup", "args": { "dry_run": true } }));
    let cleanup: Value = cleanup.send().await.unwrap().json().await.unwrap();
    let cleanup = cleanup["id"].as_str().unwrap().to_owned();
    fleet.client.until_job(&cleanup, "completed", LONG).await;

    let error =
        |status: u16| json!({ "op": "publish", "action": "error", "status": status, "times": 1 });
    let limit = json!({ "op": "publish", "action": "rate_limit", "times": 1,
        "headers": { "retry-after": "1" } });
    let mut expected = BTreeMap::from([(cleanup.clone(), vec!["completed"])]);
    for (at, (fault, outcomes, ends)) in [
        (None, vec!["completed"], "completed"),
        (Some(error(503)), vec!["retry", "completed"], "completed"),
        (Some(error(422)), vec!["dead"], "dead"),
        (Some(limit), vec!["snooze", "completed"], "completed"),
    ]
    .into_iter()
    .enumerate()
    {
        let job = publish(&fleet, at, fault).await.job;
        fleet.client.until_job(&job, ends, LONG).await;
        expected.insert(job, outcomes);
    }
    for (job, expected) in &expected {
        // The line follows the verdict.
        until("the lines of its attempts", LONG, async || {
            outcomes(&about(&worker, job)).len() >= expected.len()
        })
        .await;
        let lines = about(&worker, job);
        assert_eq!(outcomes(&lines), *expected, "{lines:?}");
        let kind = if *job == cleanup { "data_cleanup" } else { "post_publication" };
        for line in &lines {
            assert_eq!(line["job.kind"], kind, "{line}");
            match *job == cleanup {
                true => {
                    assert_eq!(line["trace_id"], TRACE, "{line}");
                    assert_eq!(line["job.queue"], "data_cleanup", "{line}");
                    assert_eq!(line["job.platform"], Value::Null, "{line}");
                }
                false => {
                    assert_eq!(line["job.queue"], "post_publication.sandbox", "{line}");
                    assert_eq!(line["job.platform"], "sandbox", "{line}");
                }
            }
            assert!(line["duration_ms"].is_u64() && line["job.attempt"].is_u64(), "{line}");
            let failed = ["retry", "dead"].contains(&line["outcome"].as_str().unwrap());
            assert_eq!(line["error"].is_string(), failed, "{line}");
        }
        // A failure is told by its attempt's line, and by no other.
        let told = lines.iter().filter(|line| line["error"].is_string()).count();
        let failures = expected.iter().filter(|outcome| ["retry", "dead"].contains(*outcome));
        assert_eq!(told, failures.count(), "{lines:?}");
    }
}
