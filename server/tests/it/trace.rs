//! A job belongs to its caller's trace, from the request to the worker's log and the dead letter.

use serde_json::{Value, json};

use crate::fleet::{Fleet, LONG, run};

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// A kind that needs nobody.
const CLEANUP: &str = r#"{"kind": "data_cleanup", "args": {"dry_run": true}}"#;

/// Posts with these headers; answers the body of a success.
async fn post(fleet: &Fleet, path: &str, body: &str, traceparents: &[&str]) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(format!("{}{path}", fleet.api.url())).body(body.to_owned());
    request = request.header("content-type", "application/json");
    for traceparent in traceparents {
        request = request.header("traceparent", *traceparent);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_found_by_its_callers_trace_and_no_bad_trace_costs_a_job() {
    let fleet = Fleet::start_with(&[("POSTWORKS_LOG", "info,postworks=debug")]).await;
    let worker = fleet.worker(&[]).await;
    let traced = post(&fleet, "/api/jobs", CLEANUP, &[GOOD]).await;
    let id = traced["id"].as_str().unwrap();
    let job = fleet.client.until_job(id, "completed", LONG).await;
    assert_eq!(job["trace_id"], TRACE);
    let bulk = format!(r#"{{"jobs": [{CLEANUP}]}}"#);
    let bulk = post(&fleet, "/api/jobs/bulk", &bulk, &[GOOD]).await;
    let of_bulk = fleet.client.job(bulk["jobs"][0]["id"].as_str().unwrap()).await;
    assert_eq!(of_bulk["trace_id"], TRACE);
    let upper = GOOD.to_uppercase();
    for bad in [&[][..], &["junk"], &[&upper], &[GOOD, GOOD], &["00-0-0-01"], &[""]] {
        let job = post(&fleet, "/api/jobs", CLEANUP, bad).await;
        let job = fleet.client.job(job["id"].as_str().unwrap()).await;
        assert_eq!(job["trace_id"], Value::Null, "{bad:?}");
    }
    let log = worker.log();
    let lines = log.lines().filter(|line| line.contains(TRACE)).filter(|line| line.contains(id));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["trace_id"] == TRACE), "its end: {lines:?}");
    assert!(lines.iter().any(|line| line["span"]["trace_id"] == TRACE), "its run: {lines:?}");

    let over_http = vec![("POSTWORKS_SERVER", fleet.api.url().to_owned())];
    for vars in [over_http, fleet.vars().to_vec()] {
        for (traceparent, expected) in [(GOOD, json!(TRACE)), ("junk", Value::Null)] {
            let vars = [&vars[..], &[("TRACEPARENT", traceparent.to_owned())]].concat();
            let args = ["enqueue", "data_cleanup", "--arg", "dry_run=true", "-o", "json"];
            let ran = run(&args, &vars).await;
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert_eq!(ran.stderr.contains("is no traceparent"), expected.is_null());
            let job = fleet.client.job(ran.json()["id"].as_str().unwrap()).await;
            assert_eq!(job["trace_id"], expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_names_the_trace_of_whoever_published() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let refusal = json!([{"op": "publish", "action": "error", "status": 422}]);
    fleet.sandbox.faults(refusal).await;
    let text = json!({ "text": "refused" });
    let text = fleet.client.http.post("/api/posts", &text).await.expect(201);
    let publish = json!({ "post_id": text["id"], "connector_ids": accounts }).to_string();
    let publications = post(&fleet, "/api/publish", &publish, &[GOOD]).await;
    let id = publications["publications"][0]["job_id"].as_str().unwrap();
    fleet.client.until_job(id, "dead", LONG).await;
    let letter = fleet.client.http.get(&format!("/api/dlq/{id}")).await.expect(200);
    assert_eq!(letter["details"]["trace_id"], TRACE);
    for args in [&["dlq", "show", id][..], &["dlq", "export"], &["job", "show", id]] {
        let said = run(args, fleet.vars()).await;
        assert!(said.stdout.contains(TRACE), "{args:?}: {}{}", said.stdout, said.stderr);
    }
    assert!(worker.log().lines().any(|line| line.contains("job is dead") && line.contains(TRACE)));
}
