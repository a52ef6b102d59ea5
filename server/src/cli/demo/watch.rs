//! Enqueues the demo's jobs, runs a worker on them, and watches until every one has ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use postworks::job::{ConnectorSync, DataCleanup, JobId, NewJob, Request, State, TokenRefresh};
use postworks::ledger::JobRow;
use postworks::worker::{Drained, Stop};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::world::{World, broken};
use crate::cli::failure::Failure;
use crate::cli::output::Format;

/// The ledger is asked this often for jobs that have ended.
const LOOK: Duration = Duration::from_millis(100);
/// Jobs in one enqueue.
const BATCH: usize = 500;

/// What was seen.
pub(super) struct Watched {
    /// Every job, as the ledger has it at the end.
    pub(super) jobs: Vec<JobRow>,
    pub(super) took: Duration,
    pub(super) drained: Drained,
    pub(super) interrupted: bool,
}

/// How many jobs of each kind make up `total`.
struct Mix {
    syncs: usize,
    publications: usize,
    refreshes: usize,
    cleanups: usize,
}

impl Mix {
    fn of(total: u32) -> Self {
        let total = total as usize;
        let (syncs, refreshes, cleanups) = (total * 40 / 100, total * 20 / 100, total * 5 / 100);
        Self { syncs, publications: total - syncs - refreshes - cleanups, refreshes, cleanups }
    }
}

/// Runs `total` jobs; a cancelled `stop` drains.
pub(super) async fn run(
    world: &World,
    total: u32,
    seed: u64,
    format: Format,
    stop: CancellationToken,
) -> Result<Watched, Failure> {
    let started = Instant::now();
    let stop = Stop { drain: stop, ..Stop::default() };
    let bar = bar(u64::from(total), format);
    let working = world.node.work(1, stop.clone());
    let watching = async {
        let ids = enqueue(world, &Mix::of(total), seed, &stop.drain).await?;
        let jobs = watch(world, ids, &bar, &stop.drain).await?;
        let interrupted = stop.drain.is_cancelled();
        stop.drain.cancel();
        Ok::<_, Failure>((jobs, interrupted))
    };
    let (drained, watched) = tokio::join!(working, async {
        let watched = watching.await;
        stop.drain.cancel();
        watched
    });
    let (mut jobs, interrupted) = watched?;
    let drained = drained.map_err(broken)?;
    if interrupted {
        bar.abandon();
        jobs = look_again(world, jobs).await?;
    } else {
        bar.finish_and_clear();
    }
    Ok(Watched { jobs, took: started.elapsed(), drained, interrupted })
}

/// A bar on a terminal, nothing elsewhere.
fn bar(total: u64, format: Format) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if format == Format::Json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "  {bar:40} {pos}/{len} jobs ended, {elapsed} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Enqueues the mix in a shuffled order, until `stop`; answers the ids.
async fn enqueue(
    world: &World,
    mix: &Mix,
    seed: u64,
    stop: &CancellationToken,
) -> Result<Vec<JobId>, Failure> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut jobs = Vec::new();
    let mut account = || world.accounts[dice.random_range(0..world.accounts.len())];
    for _ in 0..mix.syncs {
        jobs.push(prepare(world, &ConnectorSync::of(account()))?);
    }
    for _ in 0..mix.refreshes {
        jobs.push(prepare(world, &TokenRefresh { connector_id: account() })?);
    }
    for _ in 0..mix.cleanups {
        jobs.push(prepare(world, &DataCleanup::default())?);
    }
    let unrouted = world.node.store.route_jobs(&mut jobs).await.map_err(broken)?;
    debug_assert!(unrouted.is_empty(), "{unrouted:?}");
    jobs.shuffle(&mut dice);
    let mut ids = world.publish(mix.publications, stop).await?;
    for batch in jobs.chunks(BATCH) {
        if stop.is_cancelled() {
            break;
        }
        let answers = world.node.producer.enqueue(batch.to_vec()).await.map_err(broken)?;
        ids.extend(answers.into_iter().map(|answer| answer.id));
    }
    Ok(ids)
}

fn prepare<J: postworks::job::Job>(world: &World, job: &J) -> Result<NewJob, Failure> {
    let request = Request::of(job).map_err(broken)?;
    world.node.producer.prepare(request).map_err(broken)
}

/// Looks until every job has ended or waits for a person, or until `stop`.
async fn watch(
    world: &World,
    ids: Vec<JobId>,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> Result<Vec<JobRow>, Failure> {
    let mut rows: HashMap<JobId, JobRow> = HashMap::with_capacity(ids.len());
    let mut open = ids;
    loop {
        let mut still_open = Vec::new();
        for id in open {
            let Some(row) = world.node.ledger.job(id).await.map_err(broken)? else { continue };
            if !(row.state.has_ended() || row.state == State::Parked) {
                still_open.push(id);
            }
            rows.insert(id, row);
        }
        open = still_open;
        bar.set_position((rows.len() - open.len()) as u64);
        bar.set_message(retried(&rows));
        if open.is_empty() || stop.is_cancelled() {
            return Ok(rows.into_values().collect());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn retried(rows: &HashMap<JobId, JobRow>) -> String {
    let failed = rows.values().filter(|row| row.job.failed_attempts > 0).count();
    format!("({failed} had to be retried)")
}

/// Rows as they are after the drain.
async fn look_again(world: &World, rows: Vec<JobRow>) -> Result<Vec<JobRow>, Failure> {
    let mut fresh = Vec::with_capacity(rows.len());
    for row in rows {
        fresh.extend(world.node.ledger.job(row.job.id).await.map_err(broken)?);
    }
    Ok(fresh)
}
