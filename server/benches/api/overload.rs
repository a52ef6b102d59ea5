//! Ten times as much work as can be done: what is refused, how soon, and what is done meanwhile.

use std::sync::Arc;
use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::load::{self, Load, Pace};
use crate::report::Report;
use crate::target::{Target, request};
use crate::{MANY_CONNECTIONS, Plan, Totals};

/// What there is to do before anything is measured, for as long as that takes: the worker is never
/// idle.
const BACKLOG: usize = 9_000;
/// Jobs of one request.
const BULK: usize = 1_000;
/// Times the worker's own rate.
const TIMES: f64 = 10.0;

/// What the worker does.
struct Work {
    /// As the table names it.
    name: &'static str,
    queue: &'static str,
    /// Jobs it runs at once: few, so that ten times what it does is not too much to ask for.
    places: &'static str,
    job: Value,
}

pub(crate) async fn measure(
    plan: &Plan,
    target: &Target,
    report: &mut Report,
    totals: &mut Totals,
) {
    // As most jobs of a product that publishes: they wait for a platform.
    target
        .fleet
        .sandbox
        .faults(json!([{ "op": "list", "action": "latency",
        "latency_ms": { "p50": 100, "p99": 100 } }]))
        .await;
    let waits = Work {
        name: "jobs that wait for a platform",
        queue: "connector_sync.sandbox",
        places: "50",
        job: json!({ "kind": "connector_sync", "args": { "connector_id": target.account() } }),
    };
    // Each counts rows in the database that the API needs as well.
    let computes = Work {
        name: "jobs that keep a processor busy",
        queue: "data_cleanup",
        places: "4",
        job: json!({ "kind": "data_cleanup", "args": { "dry_run": true } }),
    };
    overload(&waits, plan, target, report, totals).await;
    // What it left would keep the next work out.
    target.fleet.sandbox.faults(json!([])).await;
    let fast = target.fleet.worker(&["--concurrency", "200", "--queues", waits.queue]).await;
    drained(&target.fleet.postgres, waits.queue).await;
    drop(fast);
    overload(&computes, plan, target, report, totals).await;
}

async fn overload(
    work: &Work,
    plan: &Plan,
    target: &Target,
    report: &mut Report,
    totals: &mut Totals,
) {
    for _ in 0..BACKLOG / BULK {
        let body = json!({ "jobs": vec![&work.job; BULK] });
        target.fleet.client.http.post("/api/jobs/bulk", &body).await.expect(202);
    }
    let _worker =
        target.fleet.worker(&["--concurrency", work.places, "--queues", work.queue]).await;
    let postgres = &target.fleet.postgres;
    let span = plan.span;
    rate(postgres, span / 5).await;
    let peak = rate(postgres, span).await;

    let (host, job) = (target.address().to_string(), work.job.clone());
    let make = Arc::new(move |_| request(&host, hyper::Method::POST, "/api/jobs", Some(&job)));
    let overload =
        Load { pace: Pace::Rate(peak * TIMES), span: span * 6, connections: MANY_CONNECTIONS };
    let (outcome, goodput) =
        tokio::join!(load::send(target.address(), overload, make), rate(postgres, overload.span));
    let share = 100.0 * goodput / peak;
    let refused = outcome.refused.value_at_percentile(99.0) as f64 / 1_000.0;
    let of = |what: &str| format!("{}: {what}", work.name);
    report.figure("overload", &of("one worker's most"), peak, "/s");
    report.at_least("overload", &of("done while 10 times as much is asked"), share, "%", 95.0);
    report.figure("overload", &of("requests refused"), outcome.refusals() as f64, "");
    report.at_most("overload", &of("a refusal, p99"), refused, "ms", 50.0);
    totals.add(&outcome);
}

/// Returns when a queue is empty, and the API has had the time to see that.
async fn drained(postgres: &PostgresServer, queue: &str) {
    const OPEN: &str = "SELECT count(*) FROM jobs WHERE state = 'open' AND queue = $1";
    let mut database = PgConnection::connect(&postgres.url("postgres")).await.expect("a database");
    loop {
        let open: i64 =
            sqlx::query_scalar(OPEN).bind(queue).fetch_one(&mut database).await.expect("a count");
        tokio::time::sleep(Duration::from_secs(1)).await;
        if open == 0 {
            return;
        }
    }
}

/// Jobs that are completed a second, over a time.
async fn rate(postgres: &PostgresServer, span: Duration) -> f64 {
    const DONE: &str = "SELECT count(*) FROM jobs WHERE state = 'completed'";
    let mut database = PgConnection::connect(&postgres.url("postgres")).await.expect("a database");
    let mut done = async || {
        let count: i64 = sqlx::query_scalar(DONE).fetch_one(&mut database).await.expect("a count");
        count as f64
    };
    let (before, begun) = (done().await, tokio::time::Instant::now());
    tokio::time::sleep(span).await;
    let after = done().await;
    (after - before) / begun.elapsed().as_secs_f64()
}
