//! The lean binary: a worker, its health pages, and nothing else.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::fleet::{Client, Fleet, LONG, POSTWORKS};

/// Cargo names only the binaries of this package; the lean one is built beside them.
fn program() -> PathBuf {
    let program = Path::new(POSTWORKS).with_file_name("postworks-worker");
    assert!(
        program.is_file(),
        "{} is missing: build it first with `cargo build --package postworks-workers`, or run \
         `make test`, which does",
        program.display()
    );
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn postworks_worker_serves_its_health_pages_and_runs_jobs() {
    let fleet = Fleet::start().await;
    let program = program();
    let mut worker = fleet.worker_of(program.to_str().unwrap(), &["--grace", "5s"]).await;
    let pages = Client::new(worker.url()).http;
    assert_eq!(pages.get("/livez").await.expect(200), json!({ "status": "ok" }));
    let ready = json!({ "status": "ok", "missing": [] });
    assert_eq!(pages.get("/readyz").await.expect(200), ready);
    assert_eq!(pages.metric("postworks_job_run_seconds_count").await, 0.0);
    assert_eq!(pages.metric("postworks_worker_slots").await, 100.0, "busy and free together");

    let accounts = fleet.connect("sandbox", 2).await;
    let publications = fleet.client.publish_many(3, &accounts).await;
    fleet.client.until_published(&publications, LONG).await;
    fleet.sandbox.journal().must_have_each_once(&publications);
    assert_eq!(pages.metric("postworks_job_run_seconds_count").await, 8.0);

    worker.signal(Signal::SIGTERM);
    let (status, said) = worker.ended(LONG).await;
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}
