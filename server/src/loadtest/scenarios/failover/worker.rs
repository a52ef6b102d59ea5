//! A worker is killed while jobs wait.

use std::time::Duration;

use postworks::job::Hold;

use super::{PLACES, WORKERS};
use crate::loadtest::moment::Moment;
use crate::loadtest::profile::Failover;
use crate::loadtest::scenarios::Ground;
use crate::loadtest::scenarios::draft::{Draft, count, figure};
use crate::loadtest::scenarios::ledger::Left;
use crate::loadtest::scenarios::load::{Staff, until};
use crate::loadtest::system::{Kind, System, Work};
use crate::loadtest::tally::{Tally, Times};

/// How long the platform takes for each.
const RUN: Duration = Duration::from_millis(300);
/// So many should be running on the worker that is killed, unless that takes too long.
const RUNNING: usize = 50;
const FILLING: Duration = Duration::from_secs(2);
/// How often that is tried; whatever waits then is what the report says.
const FILLINGS: u64 = 10;
/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Enqueues publications, lets them start all at once, kills the worker that runs many of them, and
/// waits until all have run.
pub(super) async fn kill(
    ground: &Ground<'_>,
    part: &Failover,
    system: &System,
    (staff, tally): (&mut Staff, &Tally),
    draft: &mut Draft,
) -> anyhow::Result<()> {
    staff.platform.take(RUN).await?;
    let (from, published) = (Moment::now(), staff.platform.published()?);
    let due = Moment::now();
    let made = |id| {
        tally.asked(due);
        staff.runs.expect(id, Kind::Publication, due);
    };
    let doomed = 0;
    let (queue, broker) = (Work::queue_of(Kind::Publication)?, &system.node.broker);
    let (mut jobs, mut waiting) = (0, 0);
    // Where the machine lets some run before anybody looks, as many more are made.
    for round in 0..FILLINGS {
        // With every place busy, so many still wait. Paused meanwhile, so that none has run when the
        // last is there.
        let more = part.pending as usize - waiting + (WORKERS * PLACES) as usize;
        let paused = Hold { revision: 2 * round + 1, paused: true, forced_open: false };
        broker.hold(&queue, paused).await?;
        staff.work.publish_many(more, made).await?;
        broker.hold(&queue, Hold { revision: 2 * round + 2, ..Hold::default() }).await?;
        let enough = async || {
            staff.runs.running_on(doomed).len() >= RUNNING
                || staff.runs.waiting().len() <= part.pending as usize
        };
        until(FILLING, &ground.stop, enough).await;
        (jobs, waiting) = (jobs + more, staff.runs.waiting().len());
        if waiting >= part.pending as usize || ground.stop.is_cancelled() {
            break;
        }
    }
    let ids = staff.runs.open_ids();
    let orphans = staff.runs.running_on(doomed);
    staff.runs.watch(orphans.iter().copied());
    let killed = Moment::now();
    staff.workers[doomed].kill().await?;
    draft.phase(format!("{jobs} jobs arrive"), from);
    let ended = staff.ended(system, PATIENCE, &ground.stop).await;
    let all = Moment::now();
    draft.phase("a worker is gone", killed);
    let mut again = Times::default();
    for starts in staff.runs.watched().values() {
        let first = starts.iter().find(|at| **at > killed);
        // What was settled just before the end did not run again.
        let took = first.map(|at| at.since(killed).as_micros());
        took.into_iter().for_each(|micros| again.record(u64::try_from(micros).unwrap_or(u64::MAX)));
    }
    let left = Left::of(system.node.store.db(), &ids).await?;
    let now = staff.platform.published()?;
    let mut rows = vec![
        count("jobs waiting", waiting as u64, "jobs"),
        count("running on the killed worker", orphans.len() as u64, "jobs"),
        count("of them run again", again.len(), "jobs"),
        count("jobs lost", left.lost, "jobs").better_less(),
        count("jobs not ended", left.open, "jobs").better_less(),
        count("published twice", now.twice - published.twice, "posts").better_less(),
    ];
    if again.len() > 0 {
        let took = |name, quantile| figure(name, again.ms(quantile) / 1_000.0, "s").better_less();
        rows.push(took("orphans run again within", 1.0));
        rows.push(took("orphans run again, p50", 0.5));
    }
    if ended {
        let after = figure("all have run after", all.since(killed).as_secs_f64(), "s");
        rows.push(after.better_less());
    }
    draft.table("Worker killed", rows);
    // The parts that follow want as many as there were.
    staff.workers[doomed] = system.worker(doomed, PLACES, &staff.runs).await?;
    Ok(())
}
