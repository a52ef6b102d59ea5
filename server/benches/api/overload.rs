//! Ten times as much work as can be done: what is refused, how soon, and what is done meanwhile.

use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::load::{self, Load, Pace};
use crate::report::Report;
use crate::target::{Target, request};
use crate::{MANY_CONNECTIONS, Plan, Totals};

/// Jobs a worker runs at once: few, so that ten times what it does is not too much to ask for.
const PLACES: &str = "4";
/// What it has to do before anything is measured, for as long as that takes: it is never idle.
const BACKLOG: usize = 9_000;
/// Jobs of one request.
const BULK: usize = 1_000;
/// Times the worker's own rate.
const TIMES: f64 = 10.0;

pub(crate) async fn measure(
    plan: &Plan,
    target: &Target,
    report: &mut Report,
    totals: &mut Totals,
) {
    let jobs = vec![json!({ "kind": "data_cleanup", "args": { "dry_run": true } }); BULK];
    for _ in 0..BACKLOG / BULK {
        let body = json!({ "jobs": jobs });
        target.fleet.client.http.post("/api/jobs/bulk", &body).await.expect(202);
    }
    let _worker = target.fleet.worker(&["--concurrency", PLACES, "--queues", "data_cleanup"]).await;
    let postgres = &target.fleet.postgres;
    let span = plan.span;
    rate(postgres, span / 5).await;
    let peak = rate(postgres, span).await;

    let host = target.address().to_string();
    let body = json!({ "kind": "data_cleanup", "args": { "dry_run": true } });
    let make =
        std::sync::Arc::new(move |_| request(&host, hyper::Method::POST, "/api/jobs", Some(&body)));
    let overload =
        Load { pace: Pace::Rate(peak * TIMES), span: span * 6, connections: MANY_CONNECTIONS };
    let (outcome, goodput) =
        tokio::join!(load::send(target.address(), overload, make), rate(postgres, overload.span));
    let share = 100.0 * goodput / peak;
    let refused = outcome.refused.value_at_percentile(99.0) as f64 / 1_000.0;
    report.figure("overload", "jobs done, one worker's most", peak, "/s");
    report.at_least("overload", "done while 10 times as much is asked", share, "%", 95.0);
    report.figure("overload", "requests refused", outcome.refusals() as f64, "");
    report.at_most("overload", "a refusal, p99", refused, "ms", 50.0);
    totals.add(&outcome);
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
