//! C1: clocks that are wrong.

use std::time::Duration;

use serde_json::json;

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, Process};
use crate::run::Run;
use crate::world::Plan;

const HOUR_MS: i64 = 3_600_000;
/// Jobs that wait for their time.
const DELAYED: usize = 20;

/// One worker is an hour ahead, one an hour behind, one right. Nobody's lease may run out by that,
/// nothing may run twice, and delayed jobs run at their time.
pub(crate) async fn skewed(run: Run) {
    let mut world = run.world(Plan::default()).await;
    let flags = ["--concurrency", "10"];
    let right = world.worker("right", &flags).await;
    let accounts = world.connect("sandbox", 10).await;
    world.journal.publish("first", &accounts).await;
    world.quiet(LONG).await;
    let skew = |ms: i64| [("POSTWORKS_CLOCK_SKEW_MS", ms.to_string())];
    let ahead = world.worker_with("ahead", &flags, &skew(HOUR_MS)).await;
    let behind = world.worker_with("behind", &flags, &skew(-HOUR_MS)).await;
    world.fleet.sandbox.slow_down(100).await;
    world.journal.publish_many("skewed", 20, &accounts).await;
    for n in 0..DELAYED {
        let body = json!({
            "kind": "data_cleanup",
            "args": { "dry_run": true, "scope": "dead_letters" },
            "delay_ms": 2_500,
        });
        world.journal.enqueue_as(&body, &format!("delayed {n}")).await;
    }
    let rested = world.quiet(Duration::from_secs(40)).await;
    run.must(rested, Invariant::I9, "jobs do not end while clocks differ");
    let lived: [&Process; 3] = [&right, &ahead, &behind];
    let allowed = Allowed { extra_calls: Some(20), ..Allowed::default() };
    let history = run.check(&world, &lived, true, &allowed).await;

    let late = |id: &str, due: i64| {
        let end = history.changes.iter().find(|change| change.job == id && change.settles())?;
        Some(end.at_ms - due)
    };
    let delayed = history.jobs.iter().filter(|job| job.kind == "data_cleanup");
    let lateness: Vec<i64> = delayed.filter_map(|job| late(&job.id, job.run_at)).collect();
    let (earliest, latest) = (lateness.iter().min().copied(), lateness.iter().max().copied());
    run.must(
        earliest >= Some(0),
        Invariant::I9,
        format!("a delayed job ran early: {earliest:?} ms"),
    );
    let latest = Duration::from_millis(latest.unwrap_or(0).max(0).unsigned_abs());
    run.time("delayed jobs are late under wrong clocks, at most", latest, 1.0);
    let again = history.taken_over().len();
    run.figure("jobs that ran again because of a clock", again as f64, 0.0, "jobs");
}
