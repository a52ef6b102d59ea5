//! Gathers what a run left behind, and writes it down for whoever wants to look.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use sqlx::PgConnection;

use crate::fleet::{Client, Process, secrets_told};
use crate::history::{Change, Effect, History, Job, Publication, Usage};
use crate::world::World;

/// Gathers everything. `lived` are the processes that are still there, for their memory; metrics
/// are summed over them only if `all_lived`, since a killed process takes its counters with it.
pub(crate) async fn gather(world: &World, lived: &[&Process], all_lived: bool) -> History {
    let mut database = world.database().await;
    let mut history = History {
        asked: world.journal.asked(),
        effects: effects(world),
        jobs: jobs(&mut database).await,
        publications: publications(world, &mut database).await,
        changes: changes(&mut database).await,
        publish_calls: world.publish_calls.count() as u64,
        ..History::default()
    };
    for (key, entries) in world.broker_entries() {
        let part = key.rsplit(':').next().unwrap_or_default().to_owned();
        *history.broker.entry(part).or_default() += entries;
    }
    for process in [&world.fleet.api].into_iter().chain(lived.iter().copied()) {
        history.usage.extend(usage(process));
    }
    if all_lived {
        history.metrics = metrics(world, lived).await;
    }
    fs::write(world.folder().join("api.log"), world.fleet.api.log()).expect("a log");
    history.leaks = leaks(world, &mut database).await;
    let text = serde_json::to_string_pretty(&history).expect("plain data");
    fs::write(world.folder().join("history.json"), text).expect("a history");
    history
}

fn effects(world: &World) -> Vec<Effect> {
    use postworks_server::sandbox::Op;
    let journal = world.fleet.sandbox.journal();
    let entries = journal.0.into_iter().map(|entry| Effect {
        publish: entry.op == Op::Publish,
        account: entry.account,
        text: entry.text,
    });
    entries.collect()
}

async fn jobs(database: &mut PgConnection) -> Vec<Job> {
    const SQL: &str = "SELECT id::text, kind, state, failed_attempts, max_attempts, run_at, \
             unique_key, (SELECT count(*) FROM attempts WHERE job_id = jobs.id) AS attempt_rows, \
             (SELECT count(*) FROM dead_letters WHERE job_id = jobs.id) AS letters, \
             (SELECT category FROM dead_letters WHERE job_id = jobs.id) AS category \
         FROM jobs ORDER BY id";
    sqlx::query_as(SQL).fetch_all(database).await.expect("the jobs")
}

async fn publications(world: &World, database: &mut PgConnection) -> Vec<Publication> {
    const SQL: &str = "SELECT publications.id::text, job_id::text, state, posts.text, \
             connector_id::text AS account \
         FROM publications JOIN posts ON posts.id = post_id ORDER BY publications.id";
    let rows: Vec<Publication> =
        sqlx::query_as(SQL).fetch_all(database).await.expect("the publications");
    let remote = |row: Publication| match world.remote.get(&row.account) {
        Some(account) => Publication { account: account.clone(), ..row },
        None => row,
    };
    rows.into_iter().map(remote).collect()
}

async fn changes(database: &mut PgConnection) -> Vec<Change> {
    const SQL: &str = "SELECT at_ms, app, job::text, old_state, state, old_token, token, \
         old_settled, settled, old_failed, failed FROM witness ORDER BY seq";
    sqlx::query_as(SQL).fetch_all(database).await.expect("the witness")
}

fn usage(process: &Process) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Usage { process: process.pid().to_string(), peak_mib: peak_kib / 1024 })
}

async fn metrics(world: &World, workers: &[&Process]) -> BTreeMap<String, f64> {
    let api = &world.fleet.client.http;
    let mut sums = BTreeMap::new();
    sums.insert("enqueued".to_owned(), api.metric("postworks_jobs_enqueued_total").await);
    let (mut completed, mut dead) = (0.0, 0.0);
    for worker in workers {
        let page = Client::new(worker.url()).http.get("/metrics").await.expect(200);
        completed += series(&page, "postworks_job_attempts_total", "outcome=\"completed\"");
        dead += series(&page, "postworks_dead_lettered_total", "");
    }
    sums.insert("completed".to_owned(), completed);
    sums.insert("dead".to_owned(), dead);
    sums
}

/// The sum of a metric's series that have this label.
fn series(page: &Value, name: &str, label: &str) -> f64 {
    let lines = page.as_str().unwrap_or_default().lines();
    let values = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name) && series.contains(label))
            .then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

/// Where a secret can be read: logs, the broker's file, the tables.
async fn leaks(world: &World, database: &mut PgConnection) -> Vec<String> {
    let appended = world.fleet.redis.folder().join("appendonlydir");
    for entry in fs::read_dir(appended).into_iter().flatten().flatten() {
        let name = format!("redis-{}", entry.file_name().to_string_lossy());
        fs::copy(entry.path(), world.folder().join(name)).expect("a copy of what Redis wrote");
    }
    for table in ["connectors", "connector_tokens", "jobs", "attempts", "dead_letters"] {
        let sql = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {table} AS t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *database)
            .await
            .expect("a table");
        fs::write(world.folder().join(format!("{table}.table")), rows).expect("a copy of a table");
    }
    secrets_told(&world.fleet.redis, &world.fleet.postgres, world.folder())
}
