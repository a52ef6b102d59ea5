//! `failover`: what happens when something gives way. Redis is restarted and wiped only if it was
//! started for this test.

mod pool;
mod redis;
mod worker;

use super::load::Staff;
use super::{Draft, Ground};
use crate::loadtest::profile::Failover;
use crate::loadtest::screen::Bar;
use crate::loadtest::system::System;
use crate::loadtest::tally::Tally;
use crate::loadtest::watch::Watch;

/// Places of a worker: of them one queue may have three in four, which makes fifty.
const PLACES: u32 = 67;
pub(super) const WORKERS: u32 = 2;

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &Failover,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    draft.about(format!(
        "{} callers share {} connections to PostgreSQL; a worker is killed (kill -9) while {} jobs \
         and more wait; Redis is restarted, and wiped, while {} jobs a second arrive.",
        part.pool_callers, part.pool_connections, part.pending, part.rate
    ));
    let mut bar = ground.screen.bar("failover", part.apart * 8 + part.pool_hold * 4);
    bar.say("starting workers, connecting accounts");
    let known = draft.capacity.clone();
    let mut staff = Staff::hire(ground, system, (WORKERS, PLACES), draft).await?;
    // These are fewer, and smaller, than those the plan is made for.
    draft.capacity = known;
    let begun = draft.begin();
    let tally = Tally::new(begun);
    staff.runs.start_anew(tally.clone());
    // A worker is killed meanwhile, so nobody looks how large they are.
    let watch = Watch::start(system, &[], begun)?;
    let done = parts(ground, part, (system, &mut staff, &tally), draft, &mut bar).await;
    staff.runs.count_waiting();
    draft.timings(tally.timings());
    draft.series(tally.series("start"));
    draft.series(watch.end().await.series);
    done?;
    staff.dismiss(ground).await
}

async fn parts(
    ground: &Ground<'_>,
    part: &Failover,
    (system, staff, tally): (&System, &mut Staff, &Tally),
    draft: &mut Draft,
    bar: &mut Bar,
) -> anyhow::Result<()> {
    bar.say("more callers than connections");
    ground.unless_stopped(pool::exhaust(ground, part, system, draft)).await?;
    bar.say("killing a worker");
    worker::kill(ground, part, system, (staff, tally), draft).await?;
    let Some(private) = ground.stores.private() else {
        draft.cannot_measure(
            &[redis::How::Restarted, redis::How::Wiped].map(redis::How::title),
            "Redis restarted and wiped: not measured. The server was given, and others may use it; \
             without addresses the load test starts one that it may stop.",
        );
        return Ok(());
    };
    for how in [redis::How::Restarted, redis::How::Wiped] {
        if ground.stop.is_cancelled() {
            break;
        }
        bar.say(how.doing());
        redis::give_way(ground, part, (system, private), staff, (how, tally), draft).await?;
    }
    Ok(())
}
