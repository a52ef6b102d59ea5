//! `breaking-point`: the highest rate of the reference mix at which jobs start in time.
//!
//! The rate grows by half until it is too much, or falls until it holds, and is then looked for between
//! the highest that held and the lowest that did not.

use std::time::Duration;

use super::Ground;
use super::draft::{Draft, figure};
use super::load::Staff;
use crate::loadtest::findings::{Figure, Plot, Series};
use crate::loadtest::moment::Moment;
use crate::loadtest::profile::BreakingPoint;
use crate::loadtest::schedule::Shape;
use crate::loadtest::screen::Bar;
use crate::loadtest::system::System;
use crate::loadtest::tally::Tally;
use crate::loadtest::watch::{Cpu, Meter, Watch};

/// By what the rate grows until it is too much.
const GROWTH: f64 = 1.5;
/// By what it falls if not even the first held, and in all at most.
const LESS: f64 = 2.0;
const LESS_MAX: f64 = 20.0;
/// Rates that are tried at most.
const STEPS_MAX: u64 = 30;
/// The part of a step that is not looked at: what was before still shows in it.
const SETTLING: f64 = 0.3;
/// How long what one rate too many has left behind may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// A processor, or all of them, with less to spare than that is at its end.
const FULL: f64 = 0.9;
/// A worker gives no queue more of its places than that.
const PLACES_FULL: f64 = 0.75;

/// One rate.
struct Step {
    rate: f64,
    p99_ms: f64,
    held: bool,
    gave_way: &'static str,
}

pub(super) async fn run(
    ground: &Ground<'_>,
    part: &BreakingPoint,
    system: &System,
    draft: &mut Draft,
) -> anyhow::Result<()> {
    let crew = ground.profile.system;
    let slo_ms = part.slo_p99.as_secs_f64() * 1_000.0;
    draft.about(format!(
        "The highest rate of the mix at which 99 % of the jobs start within {slo_ms} ms of being due, \
         with {} worker processes of {} places; each rate is held for {} s.",
        crew.workers,
        crew.concurrency,
        part.step.as_secs_f64()
    ));
    draft.capacity.slo_p99_ms = Some(slo_ms);
    let mut bar = ground.screen.bar("breaking-point", part.step * 10);
    bar.say("starting workers, connecting accounts");
    let mut staff = Staff::hire(ground, system, (crew.workers, crew.concurrency), draft).await?;
    staff.platform.behave(&ground.profile.platform, ground.seed).await?;
    let begun = draft.begin();
    let tally = Tally::new(begun);
    staff.runs.start_anew(tally.clone());
    let watch = Watch::start(system, &staff.workers, begun)?;
    let mut search = Search::default();
    let searched = search.run(ground, part, (system, &mut staff, &tally), draft, &mut bar).await;
    staff.runs.count_waiting();
    draft.series(tally.series("start"));
    draft.series(watch.end().await.series);
    let name = "rate held".to_owned();
    draft.series(vec![Series {
        plot: Plot::Throughput,
        name,
        unit: "1/s".to_owned(),
        points: std::mem::take(&mut search.asked),
    }]);
    draft.timings(tally.timings());
    conclude(draft, part, ground.stop.is_cancelled() || searched.is_err(), &search);
    searched?;
    staff.dismiss(ground).await
}

/// What is known so far.
#[derive(Default)]
struct Search {
    /// The highest rate that held, and the lowest after it that did not.
    held: Option<f64>,
    failed: Option<f64>,
    steps: Vec<Step>,
    /// The rates over time.
    asked: Vec<(f64, Option<f64>)>,
}

impl Search {
    /// Tries rates until the limit is known, or it is stopped.
    async fn run(
        &mut self,
        ground: &Ground<'_>,
        part: &BreakingPoint,
        (system, staff, tally): (&System, &mut Staff, &Tally),
        draft: &mut Draft,
        bar: &mut Bar,
    ) -> anyhow::Result<()> {
        for n in 0..STEPS_MAX {
            let Some(rate) = next(part, self.held, self.failed) else { break };
            bar.say(format!("{rate:.0} jobs/s"));
            let from = Moment::now();
            let step = hold(ground, part, staff, (rate, n), tally).await?;
            if ground.stop.is_cancelled() {
                break;
            }
            draft.phase(format!("{rate:.0} jobs/s"), from);
            let (from, to) = (draft.at(from), draft.at(Moment::now()));
            // No rate is held while it recovers.
            self.asked.extend([(from, Some(rate)), (to, Some(rate)), (to, None)]);
            if step.held {
                self.held = Some(rate);
            } else {
                self.failed = Some(rate);
                draft.capacity.gave_way = Some((rate, step.gave_way.to_owned()));
                bar.say("letting it recover");
                staff.ended(system, PATIENCE, &ground.stop).await;
            }
            self.steps.push(step);
        }
        Ok(())
    }
}

/// The rate to try next; `None` if it is known well enough.
fn next(part: &BreakingPoint, held: Option<f64>, failed: Option<f64>) -> Option<f64> {
    match (held, failed) {
        (None, None) => Some(part.from),
        (Some(held), None) => (held < part.to).then(|| (held * GROWTH).min(part.to)),
        (None, Some(failed)) => {
            let lower = failed / LESS;
            (lower >= part.from / LESS_MAX).then_some(lower)
        }
        (Some(held), Some(failed)) => {
            let close = failed - held <= held * part.precision_percent / 100.0;
            (!close).then(|| f64::midpoint(held, failed))
        }
    }
}

/// Holds a rate, and looks how soon jobs start at it.
async fn hold(
    ground: &Ground<'_>,
    part: &BreakingPoint,
    staff: &mut Staff,
    (rate, n): (f64, u64),
    tally: &Tally,
) -> anyhow::Result<Step> {
    let begun = Moment::now();
    let settled = part.step.mul_f64(SETTLING);
    let meter = Meter::start(ground.stores, staff.pids());
    let runs = staff.runs.clone();
    // What cannot even be enqueued in time is not asked for any longer than that.
    let stop = ground.stop.child_token();
    let enough = stop.clone();
    let (step, slo) = (part.step, part.slo_p99);
    let ending = tokio::spawn(async move {
        tokio::time::sleep(step + slo * 2).await;
        enough.cancel();
    });
    let shape = Shape::flat(rate, part.step);
    // Another seed for each step, or all would begin alike.
    let seed = ground.seed.wrapping_add(n + 1);
    let (arrived, ()) = tokio::join!(staff.arrive(shape, seed, begun, tally, &stop), async {
        ground.sleep(settled).await;
        drop(runs.take_starts());
    });
    arrived?;
    ending.abort();
    let late = stop.is_cancelled();
    let (running, starts) = (staff.runs.running(), staff.runs.take_starts());
    staff.must_work()?;
    let p99_ms = starts.ms(0.99);
    let held = !late && starts.len() > 0 && p99_ms <= part.slo_p99.as_secs_f64() * 1_000.0;
    let places = ground.profile.system.workers * ground.profile.system.concurrency;
    let full = running as f64 >= f64::from(places) * PLACES_FULL;
    let span = Moment::now().since(begun);
    Ok(Step { rate, p99_ms, held, gave_way: gave_way(meter.read(), span, full) })
}

/// What is at its end.
fn gave_way(used: Cpu, span: Duration, places_full: bool) -> &'static str {
    let whole = |seconds: f64| seconds / span.as_secs_f64() >= FULL;
    match used.servers {
        _ if places_full => "places",
        // It has one thread for commands.
        Some([redis, _]) if whole(redis) => "Redis",
        _ if used.busy() >= FULL => "processor",
        // Nobody is at work, so somebody waits: for a disk, or a lock.
        _ => "PostgreSQL",
    }
}

fn conclude(
    draft: &mut Draft,
    part: &BreakingPoint,
    stopped: bool,
    Search { held, steps, .. }: &Search,
) {
    let held = *held;
    let row = |step: &Step| {
        let name =
            format!("{:.0} jobs/s, {}", step.rate, if step.held { "held" } else { "too much" });
        figure(name, step.p99_ms, "ms").better_less()
    };
    draft.table("Start p99 by rate", steps.iter().map(row).collect::<Vec<Figure>>());
    let mut rows = vec![figure("sustained", held.unwrap_or(0.0), "1/s").better_more()];
    rows.extend(
        steps
            .iter()
            .filter(|step| !step.held)
            .map(|step| step.rate)
            .reduce(f64::min)
            .map(|lowest| figure("too much", lowest, "1/s").better_more()),
    );
    // Nothing is said of what was stopped before a rate held.
    if !steps.is_empty() && (held.is_some() || !stopped) {
        draft.capacity.sustainable_rate = Some(held.unwrap_or(0.0));
        draft.table("Breaking point", rows);
    }
    if held.is_some_and(|held| held >= part.to) {
        draft.note("The highest rate of the profile held: the limit is above it.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> BreakingPoint {
        let slo_p99 = Duration::from_millis(100);
        let step = Duration::from_secs(1);
        BreakingPoint { slo_p99, from: 100.0, to: 1_000.0, step, precision_percent: 10.0 }
    }

    #[test]
    fn the_search_ends_close_below_the_limit() {
        for limit in [4.0, 30.0, 100.0, 333.0, 640.0, 2_000.0] {
            let (mut held, mut failed, mut steps) = (None, None, 0);
            while let Some(rate) = next(&part(), held, failed) {
                if rate <= limit {
                    held = Some(rate)
                } else {
                    failed = Some(rate)
                }
                steps += 1;
            }
            assert!(steps <= 12, "{limit}: {steps} steps");
            match held {
                None => assert!(limit < 100.0 / LESS_MAX),
                Some(held) => {
                    assert!(held <= limit);
                    assert!(held >= limit.min(1_000.0) / 1.1, "{limit}: {held}");
                }
            }
        }
    }

    #[test]
    fn what_is_at_its_end_is_named() {
        let span = Duration::from_secs(10);
        let cpu = |redis, machine| Cpu {
            workers: 1.0,
            servers: Some([redis, 1.0]),
            machine: (machine, 20.0),
        };
        assert_eq!(gave_way(cpu(9.5, 19.0), span, false), "Redis");
        assert_eq!(gave_way(cpu(3.0, 19.0), span, false), "processor");
        assert_eq!(gave_way(cpu(3.0, 5.0), span, true), "places");
        assert_eq!(gave_way(cpu(3.0, 5.0), span, false), "PostgreSQL");
    }
}
