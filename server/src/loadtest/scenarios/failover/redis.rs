//! Redis gives way while jobs arrive: it is restarted, or comes back with nothing.

use std::time::Duration;

use crate::loadtest::moment::Moment;
use crate::loadtest::profile::Failover;
use crate::loadtest::scenarios::Ground;
use crate::loadtest::scenarios::draft::{Draft, count, figure};
use crate::loadtest::scenarios::ledger::Left;
use crate::loadtest::scenarios::load::{Staff, until};
use crate::loadtest::schedule::Shape;
use crate::loadtest::stores::Private;
use crate::loadtest::system::System;
use crate::loadtest::tally::Tally;

/// How long the platform takes for each call.
const RUN: Duration = Duration::from_millis(50);
/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

/// How it gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It stops in good order, and comes back with what it has on disk.
    Restarted,
    /// It is killed, and comes back with nothing.
    Wiped,
}

impl How {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Restarted => "Redis restarted",
            Self::Wiped => "Redis wiped",
        }
    }

    pub(super) const fn doing(self) -> &'static str {
        match self {
            Self::Restarted => "restarting Redis",
            Self::Wiped => "wiping Redis",
        }
    }
}

/// Lets jobs arrive, lets Redis give way in the middle, and waits until all have run.
pub(super) async fn give_way(
    ground: &Ground<'_>,
    part: &Failover,
    (system, private): (&System, &Private),
    staff: &Staff,
    (how, tally): (How, &Tally),
    draft: &mut Draft,
) -> anyhow::Result<()> {
    staff.platform.take(RUN).await?;
    let published = staff.platform.published()?;
    let shape = Shape::flat(part.rate, part.apart * 3);
    let begun = Moment::now();
    let (made_before, _) = staff.runs.counts();
    // Another seed for each, or both would ask for the same jobs.
    let seed = ground.seed.wrapping_add(how as u64 + 1);
    let stop = ground.stop.child_token();
    let arriving = staff.arrive(shape, seed, begun, tally, &stop);
    let breaking = async {
        ground.sleep(part.apart).await;
        let gone = Moment::now();
        let done = match how {
            How::Restarted => private.restart_redis(),
            How::Wiped => private.wipe_redis(),
        };
        if let Err(error) = done {
            // Without it no job ends that comes.
            stop.cancel();
            return Err(error);
        }
        let back = Moment::now();
        staff.runs.mark(back);
        let waiting = staff.runs.waiting();
        until(PATIENCE, &stop, async || staff.runs.have_started(&waiting)).await;
        Ok((gone, back, waiting.len() as u64, Moment::now()))
    };
    let (arrived, broken) = tokio::join!(arriving, breaking);
    let (gone, back, waiting, caught_up) = broken?;
    arrived?;
    let ended = staff.ended(system, PATIENCE, &ground.stop).await;
    draft.phase(how.title(), gone);
    let left = Left::of(system.node.store.db(), &staff.runs.open_ids()).await?;
    let (made, _) = staff.runs.counts();
    let now = staff.platform.published()?;
    let seconds = |moment: Moment| moment.since(back).as_secs_f64();
    let mut rows = vec![
        count("jobs", made - made_before, "jobs"),
        figure("it was down for", back.since(gone).as_secs_f64(), "s"),
        count("jobs waiting when it was back", waiting, "jobs"),
        count("jobs lost", left.lost, "jobs").better_less(),
        count("jobs not ended", left.open, "jobs").better_less(),
        count("published twice", now.twice - published.twice, "posts").better_less(),
    ];
    if let Some(first) = staff.runs.first_since_mark() {
        rows.push(figure("first start after it was back", seconds(first), "s").better_less());
    }
    if ended {
        let all = figure("all that waited had started after", seconds(caught_up), "s");
        rows.push(all.better_less());
    }
    draft.table(how.title(), rows);
    Ok(())
}
