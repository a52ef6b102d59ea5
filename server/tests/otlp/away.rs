//! Collectors that take nothing: whoever works does not notice.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fleet::{ANY, Fleet, LONG, run, seconds, until};
use crate::{cleanup, post};

const JOBS: usize = 100;
const GRACE: &str = "2s";
/// A process that has nothing more to do is gone within this, beside its grace.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Does jobs and stops everything; answers what was logged, by whom.
async fn work_and_stop(endpoint: &str) -> Vec<(&'static str, String)> {
    let mut fleet = Fleet::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        // Neither waits for room, nor for an answer.
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ])
    .await;
    let mut worker = fleet.worker(&["--grace", GRACE]).await;
    let jobs = json!({ "jobs": vec![cleanup(); JOBS] });
    let jobs = post(&fleet, "/api/jobs/bulk", &jobs, None).await;
    for job in jobs["jobs"].as_array().unwrap() {
        let job = fleet.client.until_job(job["id"].as_str().unwrap(), "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "{job}");
    }
    // One job that outlasts the grace: whatever the drain takes, it is not lengthened much.
    let accounts = fleet.connect("sandbox", 1).await;
    let posts = fleet.sandbox.journal().posts();
    fleet.sandbox.faults(json!([{ "op": "publish", "action": "hang" }])).await;
    let hanging = fleet.client.publish("hangs", &accounts).await;
    until("the request does not arrive", LONG, async || fleet.sandbox.journal().posts() > posts)
        .await;
    worker.signal(Signal::SIGTERM);
    let told = Instant::now();
    let (status, _) = worker.ended(humantime::parse_duration(GRACE).unwrap() + AT_ONCE).await;
    println!("{endpoint}: the worker is gone after {}", seconds(told.elapsed()));
    assert_eq!(status.code(), Some(0), "{}", worker.log());
    let job = fleet.client.job(&hanging[0].job).await;
    assert_eq!(job["state"], "ready", "not handed back: {job}");
    fleet.api.signal(Signal::SIGTERM);
    let told = Instant::now();
    let (status, _) = fleet.api.ended(AT_ONCE).await;
    println!("{endpoint}: the API is gone after {}", seconds(told.elapsed()));
    assert_eq!(status.code(), Some(0), "{}", fleet.api.log());
    vec![("worker", worker.log()), ("api", fleet.api.log())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_no_job_and_no_drain_and_is_told_of_once() {
    // Taken, so that nobody else takes it, but not listening: every connection is refused.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(ANY.parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    assert!(TcpStream::connect(address).is_err());
    for (who, log) in work_and_stop(&format!("http://{address}")).await {
        let told = log.lines().filter(|line| line.contains("the collector takes no spans"));
        assert_eq!(told.count(), 1, "{who}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_no_job_and_no_drain() {
    // The system takes connections for it; nobody reads them.
    let silent = TcpListener::bind(ANY).unwrap();
    work_and_stop(&format!("http://{}", silent.local_addr().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_told_of_and_stop_nothing() {
    let cases = [
        (("OTEL_EXPORTER_OTLP_ENDPOINT", "no address"), Some("OTEL_EXPORTER_OTLP_ENDPOINT")),
        (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), Some("set it to \\\"http/protobuf\\\"")),
        (("OTEL_TRACES_EXPORTER", "none"), None),
        (("OTEL_SDK_DISABLED", "true"), None),
        (("OTEL_EXPORTER_OTLP_ENDPOINT", ""), None),
    ];
    let fleet = Fleet::start().await;
    for ((name, value), expected) in cases {
        let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), (name, value)];
        let own = own.map(|(name, value)| (name, value.to_owned()));
        // A role that ends by itself.
        let ran = run(&["migrate"], &[fleet.vars(), &own].concat()).await;
        assert_eq!(ran.code, 0, "{name}={value}: {}", ran.stderr);
        let told: Vec<&str> =
            ran.stderr.lines().filter(|line| line.contains("no spans are sent")).collect();
        match expected {
            Some(words) => assert!(told.len() == 1 && told[0].contains(words), "{}", ran.stderr),
            None => assert!(told.is_empty(), "{}", ran.stderr),
        }
    }
}
