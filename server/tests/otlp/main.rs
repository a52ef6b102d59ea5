//! Spans of jobs: as a real collector gets them, and what becomes of jobs if it does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod away;
mod collector;
#[path = "../it/fleet/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod fleet;

use serde_json::{Value, json};

use collector::{Collector, Span};
use fleet::{Fleet, LONG, until};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A fleet whose processes send their spans there at once.
async fn sending_to(collector: &Collector, settings: &[(&'static str, &str)]) -> Fleet {
    let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    Fleet::start_with(&[&own[..], settings].concat()).await
}

/// Posts for the caller, if there is one.
async fn post(fleet: &Fleet, path: &str, body: &Value, traceparent: Option<&str>) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(format!("{}{path}", fleet.api.url())).json(body);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

/// A job that needs nobody.
fn cleanup() -> Value {
    json!({ "kind": "data_cleanup", "args": { "dry_run": true } })
}

fn text(value: &str) -> String {
    format!("Str({value})")
}

#[track_caller]
fn must_have(span: &Span, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(span.attributes.get(*name), Some(&text(value)), "{name}: {span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_sees_the_enqueue_in_its_callers_trace_and_each_attempt_linked_to_it() {
    let collector = Collector::start().await;
    let named = [("OTEL_SERVICE_NAME", "under-test"), ("POSTWORKS_LOG", "info,postworks=debug")];
    let fleet = sending_to(&collector, &named).await;
    let worker = fleet.worker(&[]).await;
    let job = post(&fleet, "/api/jobs", &cleanup(), Some(TRACEPARENT)).await;
    let id = job["id"].as_str().unwrap();
    fleet.client.until_job(id, "completed", LONG).await;

    let sent = collector.span("send data_cleanup", id).await;
    assert_eq!(sent.parts["Kind"], "SPAN_KIND_PRODUCER");
    assert_eq!(
        (sent.parts["Trace ID"].as_str(), sent.parts["Parent ID"].as_str()),
        (TRACE, CALLER)
    );
    must_have(&sent, &[("messaging.operation.type", "send"), ("messaging.system", "postworks")]);

    let run = collector.span("process data_cleanup", id).await;
    assert_eq!(run.parts["Kind"], "SPAN_KIND_CONSUMER");
    assert_ne!(run.parts["Trace ID"], TRACE, "an attempt is a trace of its own");
    assert_eq!(run.parts["Parent ID"], "");
    assert_eq!(run.links, [(TRACE.to_owned(), CALLER.to_owned())]);
    assert_ne!(run.parts["Status code"], "STATUS_CODE_ERROR");
    must_have(
        &run,
        &[
            ("messaging.system", "postworks"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "data_cleanup"),
            ("job.kind", "data_cleanup"),
        ],
    );
    assert_eq!(run.attributes["job.attempt"], "Int(1)");
    for span in [&sent, &run] {
        assert_eq!(span.resource["service.name"], text("under-test"));
        assert_eq!(span.resource["service.version"], text(env!("CARGO_PKG_VERSION")));
    }

    // What a caller's system did not sample is not sent, and still told of by whoever works.
    let unsampled = TRACEPARENT.replace("-01", "-00");
    let quiet = post(&fleet, "/api/jobs", &cleanup(), Some(&unsampled)).await;
    let quiet = quiet["id"].as_str().unwrap();
    let run = collector.span("process data_cleanup", quiet).await;
    assert_eq!(run.links, [(TRACE.to_owned(), CALLER.to_owned())]);
    let many = json!({ "jobs": [cleanup(), cleanup(), cleanup()] });
    let many = post(&fleet, "/api/jobs/bulk", &many, None).await;
    let one = many["jobs"][2]["id"].as_str().unwrap();
    let run = collector.span("process data_cleanup", one).await;
    assert_eq!(run.links, [], "nobody named a trace");
    // One process sends in order: what was not sent before this one never will be.
    let mut spans = Vec::new();
    until("the span of the bulk", LONG, async || {
        spans = collector.spans();
        spans.iter().any(|span| span.attributes.contains_key("messaging.batch.message_count"))
    })
    .await;
    let sent: Vec<&Span> =
        spans.iter().filter(|span| span.parts["Name"] == "send data_cleanup").collect();
    assert_eq!(sent.len(), 2, "one for each request that is sampled: {sent:?}");
    assert_eq!(sent[1].attributes["messaging.batch.message_count"], "Int(3)");
    must_log_as_ever(&worker.log(), id);
}

/// What is said in an attempt names its job, in the form and the words of a build that sends no spans.
fn must_log_as_ever(log: &str, job: &str) {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of_job: Vec<Value> =
        lines.filter(|line| line["job.id"] == job || line["span"]["job.id"] == job).collect();
    let fields = ["job.attempt", "job.id", "job.kind", "job.queue", "name", "trace_id"];
    let in_attempt: Vec<&Value> = of_job.iter().filter(|line| !line["span"].is_null()).collect();
    assert!(!in_attempt.is_empty(), "{of_job:?}");
    for line in in_attempt {
        let span = line["span"].as_object().unwrap();
        assert_eq!(span.keys().collect::<Vec<_>>(), fields, "{line}");
        assert_eq!((&span["name"], &span["trace_id"]), (&json!("attempt"), &json!(TRACE)));
    }
    let ends = of_job.iter().filter(|line| line["target"] == "postworks::attempts");
    assert_eq!(ends.count(), 1, "{of_job:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_is_told_why_an_attempt_failed() {
    let collector = Collector::start().await;
    let fleet = sending_to(&collector, &[]).await;
    let _worker = fleet.worker(&[]).await;
    let accounts = fleet.connect("sandbox", 1).await;
    let refusal = json!({ "op": "publish", "action": "error", "status": 422,
        "message": "not with Bearer sk-live-4f9a8b7c6d5e" });
    fleet.sandbox.faults(json!([refusal])).await;
    let refused = fleet.client.publish("refused", &accounts).await;
    let job = fleet.client.until_job(&refused[0].job, "dead", LONG).await;
    let run = collector.span("process post_publication.sandbox", &refused[0].job).await;
    assert_eq!(run.parts["Status code"], "STATUS_CODE_ERROR");
    let why = job["attempts"][0]["error"].as_str().unwrap();
    assert_eq!(run.parts["Status message"], why);
    let class = job["reason"]["class"].as_str().unwrap();
    must_have(&run, &[("error.type", class), ("job.platform", "sandbox")]);
    assert_eq!(run.resource["service.name"], text("postworks"));
    let all = format!("{:?}", collector.spans());
    assert!(!all.contains("sk-live-4f9a8b7c6d5e"), "a secret in {all}");
}
