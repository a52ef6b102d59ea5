//! Q3: during a rollout there are jobs that the workers of yesterday do not know.

use crate::checker::{Allowed, Invariant};
use crate::fleet::{LONG, until};
use crate::run::Run;
use crate::world::Plan;

/// Jobs of a version that is not out yet park, and harm nobody. That a newer worker comes, minutes
/// later, is played by calling them by the version of today, and their time past.
pub(crate) async fn newer_kinds(run: Run) {
    const NEWER: &str = "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, \
             max_attempts, priority_s, run_at, created_at, expires_at) \
         SELECT ('0198f3a0-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'data_cleanup', \
             999, 'data_cleanup', '{\"dry_run\":true}', 0, 8, 0, now - 60000, now - 60000, \
             now + 86400000 \
         FROM generate_series(1, 10) AS n, \
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock";
    const PARKED: &str = "SELECT count(*) FROM jobs WHERE kind_version = 999 AND state = 'parked'";
    const DONE: &str =
        "SELECT count(*) FROM jobs WHERE kind = 'data_cleanup' AND state = 'completed'";
    let mut world = run.world(Plan::default()).await;
    let worker = world.worker("today", &["--concurrency", "10"]).await;
    let accounts = world.connect("sandbox", 5).await;
    let mut database = world.database().await;
    sqlx::raw_sql(NEWER).execute(&mut database).await.expect("jobs of tomorrow");
    world.journal.publish_many("today", 10, &accounts).await;
    until("jobs of tomorrow do not park", LONG, async || world.count(PARKED).await == 10).await;
    world.quiet_but_later(LONG).await;
    let burnt = world.count("SELECT count(*) FROM jobs WHERE failed_attempts > 0").await;
    run.figure("attempts burnt by jobs of a newer kind", burnt as f64, 0.0, "attempts");

    let today = "UPDATE jobs SET kind_version = 1, run_at = run_at - 600000 \
         WHERE kind_version = 999";
    sqlx::raw_sql(today).execute(&mut database).await.expect("jobs of today");
    until("parked jobs do not run", LONG, async || world.count(DONE).await == 10).await;
    let allowed = Allowed { extra_calls: Some(0), ..Allowed::default() };
    let history = run.check(&world, &[&worker], false, &allowed).await;
    let dead = history.jobs.iter().filter(|job| job.state == "dead").count();
    run.must(dead == 0, Invariant::I1, format!("{dead} jobs died of being new"));
}
