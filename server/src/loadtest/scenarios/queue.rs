//! `queue`: jobs of the reference mix arrive at a rate, whether or not those before are done, at a
//! platform that is as slow and as unreliable as platforms are.

use std::time::Duration;

use super::Ground;
use super::draft::{Draft, count, figure};
use super::ledger::{Death, Fates, Left, Size};
use super::load::Staff;
use crate::loadtest::findings::Figure;
use crate::loadtest::moment::Moment;
use crate::loadtest::profile::{Jobs, Profile};
use crate::loadtest::runs::END;
use crate::loadtest::system::{CONNECTIONS, KINDS, System};
use crate::loadtest::tally::Tally;
use crate::loadtest::watch::{Cpu, Meter, Watch};

/// How long jobs that failed at first may take to end after the last one came.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &Jobs,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let (shape, crew) = (part.shape(), ground.profile.system);
    draft.about(about(ground.profile, shape.rate));
    let mut bar = ground.screen.bar("queue", shape.span());
    bar.say("starting workers, connecting accounts");
    let mut staff = Staff::hire(ground, system, (crew.workers, crew.concurrency), draft).await?;
    staff.platform.behave(&ground.profile.platform, ground.seed).await?;
    let db = system.node.store.db();
    let before = Size::of(db).await?;
    let (begun, meter) = (draft.begin(), Meter::start(ground.stores, staff.pids()));
    draft.phases_of(&shape);
    let tally = Tally::new(begun);
    staff.runs.start_anew(tally.clone());
    let watch = Watch::start(system, &staff.workers, begun)?;
    bar.follow(&tally);
    let arrived = staff.arrive(shape, ground.seed, begun, &tally, &ground.stop).await;
    bar.say("waiting for jobs that failed at first");
    let drained = Moment::now();
    let ended = arrived.is_ok() && staff.ended(system, PATIENCE, &ground.stop).await;
    draft.phase("drain", drained);
    let used = meter.read();
    staff.runs.count_waiting();
    // Laid down before anything can break it off; those that died count in it later.
    draft.timings(tally.timings());
    draft.series(tally.series("start"));
    let watched = watch.end().await;
    draft.series(watched.series);
    arrived?;
    staff.must_work()?;
    let fates = Fates::of(db).await?;
    let left = Left::of(db, &staff.runs.open_ids()).await?;
    for (death, dead) in fates.dead.iter().filter(|(death, _)| !death.asked) {
        if let Some(kind) = KINDS.into_iter().find(|known| known.as_str() == death.kind) {
            tally.failed(END, kind.as_str(), *dead);
        }
    }
    draft.timings(tally.timings());
    draft.table("Jobs", jobs(&staff, &fates, left)?);
    draft.table("Dead letters by category", dead_letters(&fates));
    note_capacity(draft, &staff, used, before, Size::of(db).await?);
    draft.table("Pools", pools(ground, &staff, watched.connections));
    if !ended {
        let words = if ground.stop.is_cancelled() { "it was stopped" } else { "time was up" };
        draft.note(format!("{} jobs had not ended when {words}.", left.open));
    }
    draft.note(
        "A start counts from when the job was due, its commit included, to its first attempt, or, of \
         a job that never started, until it was waited for no more; an end to the end of the attempt \
         that succeeded.",
    );
    let place = system.place.clone();
    let (made, _) = staff.runs.counts();
    staff.dismiss(ground).await?;
    if ended {
        #[expect(clippy::cast_precision_loss, reason = "bytes and jobs fit")]
        let each = place.held().await?.of_jobs as f64 / made.max(1) as f64;
        draft.capacity.redis_bytes_left = Some(each);
    }
    Ok(())
}

fn about(Profile { system, platform, .. }: &Profile, rate: f64) -> String {
    format!(
        "{rate} jobs a second (connector_sync 40 %, post_publication 35 %, token_refresh 20 %, \
         data_cleanup 5 %) about {} accounts, for {} worker processes of {} places. Of the \
         platform's answers {} % fail for now, {} % say \"wait\", and {} % of the posts are refused.",
        system.accounts,
        system.workers,
        system.concurrency,
        platform.transient_percent,
        platform.limited_percent,
        platform.permanent_percent,
    )
}

/// What became of the jobs.
fn jobs(staff: &Staff, fates: &Fates, left: Left) -> anyhow::Result<Vec<Figure>> {
    let (made, _) = staff.runs.counts();
    let (dead, refused) = (fates.of_state("dead"), fates.refused());
    let published = staff.platform.published()?;
    Ok(vec![
        count("made", made, "jobs"),
        count("completed", fates.of_state("completed").saturating_sub(staff.warm), "jobs"),
        count("refused by the platform, as asked for", refused, "jobs"),
        count("failed beyond the refusals asked for", dead.saturating_sub(refused), "jobs")
            .better_less(),
        count("not ended", left.open, "jobs").better_less(),
        count("lost", left.lost, "jobs").better_less(),
        count("attempts that failed", fates.attempts_failed, "attempts"),
        count("published", published.once, "posts"),
        count("published twice", published.twice, "posts").better_less(),
    ])
}

/// Why jobs died. That some are refused was asked for; how many, chance decides.
fn dead_letters(fates: &Fates) -> Vec<Figure> {
    let row = |(Death { asked, category, kind }, dead): (&Death, &u64)| match asked {
        true => count(format!("{category}, as asked for, {kind}"), *dead, "jobs"),
        false => count(format!("{category}, {kind}"), *dead, "jobs").better_less(),
    };
    fates.dead.iter().map(row).collect()
}

/// What the plan goes by.
#[expect(clippy::cast_precision_loss, reason = "bytes and jobs fit")]
fn note_capacity(draft: &mut Draft, staff: &Staff, used: Cpu, before: Size, after: Size) {
    let (made, _) = staff.runs.counts();
    if made == 0 {
        return;
    }
    let each = |value: f64| Some(value / made as f64);
    draft.capacity.run_mean_ms = staff.runs.run_mean_ms();
    draft.capacity.postgres_bytes = each(after.bytes.saturating_sub(before.bytes) as f64);
    let servers = used.servers;
    if let Some([redis, postgres]) = servers {
        // On a server that is not ours others write as well.
        draft.capacity.postgres_wal_bytes = each(after.wal - before.wal);
        let thousand = |seconds: f64| seconds * 1_000.0 / made as f64;
        draft.capacity.cpu_s_per_1000 = Some([used.workers, redis, postgres].map(thousand));
    }
}

/// How full what is limited was.
fn pools(ground: &Ground<'_>, staff: &Staff, connections: Option<f64>) -> Vec<Figure> {
    let places = ground.profile.system.workers * ground.profile.system.concurrency;
    let peak = staff.runs.peak_running();
    let mut rows = vec![
        count("places of all workers", u64::from(places), "places"),
        count("most of them busy at once", peak as u64, "places"),
        figure("that is", 100.0 * peak as f64 / f64::from(places), "%"),
        count("connections to PostgreSQL that a worker may open", u64::from(CONNECTIONS), ""),
    ];
    rows.extend(connections.map(|most| figure("most of them in use at once, as seen", most, "")));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::findings::Direction;

    #[test]
    fn refusals_are_known_by_the_platforms_words_and_neither_side_of_them_is_good() {
        let death = |asked| Death {
            asked,
            category: "invalid".to_owned(),
            kind: "post_publication".to_owned(),
        };
        let fates =
            Fates { dead: [(death(true), 3), (death(false), 1)].into(), ..Fates::default() };
        assert_eq!(fates.refused(), 3);
        let rows = dead_letters(&fates);
        let good: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.good)).collect();
        assert_eq!(
            good,
            [
                ("invalid, post_publication", Some(Direction::AtMost)),
                ("invalid, as asked for, post_publication", None),
            ]
        );
    }
}
