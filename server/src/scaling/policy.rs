//! How many workers there should be, from how things are: no IO, and time comes with what was seen.
//!
//! More are wanted at once. Fewer are wanted once they would have been enough for the whole cooldown:
//! the answer is the most that any look since then called for. So load that wobbles faster than the
//! cooldown moves nothing, and neither does a program that has not looked for so long.

use std::time::Duration;

use postworks::config;
use postworks::job::Timestamp;

/// Who has missed so many looks in a row looked away.
const MISSED: u32 = 5;
/// Most workers, where nobody sets a bound.
const WORKERS_MAX: u32 = 10_000;

/// What somebody who runs workers wants.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Never fewer workers.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// The slots of a worker, as long as none runs.
    pub concurrency: u32,
    /// The part of their slots that should be busy, above 0, at most 1.
    pub utilisation: f64,
    /// The time in which what waits should be done.
    pub drain_within: Duration,
    /// More jobs that wait are too many.
    pub depth: u64,
    /// A longer wait is too long.
    pub wait: Duration,
    /// How long fewer must have been enough before they are wanted.
    pub cooldown: Duration,
    /// Looks that are further apart say nothing of the time between them.
    pub looked_away: Duration,
}

/// How things were at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Jobs that are due, and may be claimed, and are not.
    pub ready: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// Jobs that come, a second.
    pub arrivals: f64,
    /// How long a run takes, in seconds; `None` if nobody knows.
    pub mean_run: Option<f64>,
    /// Slots that are busy.
    pub busy: u64,
    /// Slots that there are.
    pub slots: u64,
    /// Workers that run.
    pub workers: u32,
}

/// A load and when it was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// How things were.
    pub load: Load,
}

impl Policy {
    /// What the configuration wants.
    pub fn of(config: &config::Autoscale, concurrency: u32) -> Self {
        Self {
            min: config.min_workers,
            max: config.max_workers.unwrap_or(WORKERS_MAX),
            concurrency: concurrency.max(1),
            utilisation: f64::from(config.utilisation_percent) / 100.0,
            drain_within: config.drain_within,
            depth: u64::from(config.depth),
            wait: config.wait,
            cooldown: config.cooldown,
            looked_away: config.every * MISSED,
        }
    }

    /// How many workers there should be after these looks, the earliest first; `None` without any.
    pub fn desired(&self, looks: &[Look]) -> Option<u32> {
        let (latest, earlier) = looks.split_last()?;
        let mut most = self.needed(&latest.load);
        let mut after = latest.at;
        for look in earlier.iter().rev() {
            let apart = after.since(look.at);
            if apart > self.looked_away {
                break;
            }
            most = most.max(self.needed(&look.load));
            if latest.at.since(look.at) >= self.cooldown {
                return Some(most);
            }
            after = look.at;
        }
        // Nobody goes on the word of one who has not looked for long enough.
        let keep = if self.cooldown.is_zero() { 0 } else { latest.load.workers };
        Some(most.max(keep).clamp(self.min, self.max))
    }

    /// How many workers this load alone calls for.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of jobs and workers are far below 2^52, and casts of floats saturate"
    )]
    pub fn needed(&self, load: &Load) -> u32 {
        let each = match load.slots.checked_div(u64::from(load.workers)) {
            Some(each) if each > 0 => each as f64,
            _ => f64::from(self.concurrency),
        };
        // Little's law: on average so many slots are busy with what comes, and with the backlog.
        let coming = load.arrivals + load.ready as f64 / self.drain_within.as_secs_f64();
        let by_flow = load.mean_run.map_or(0.0, |run| coming * run / (each * self.utilisation));
        // What runs now must go on running.
        let by_busy = load.busy as f64 / each;
        let by_alarm = match self.is_late(load) {
            true => load.workers.saturating_add((load.workers / 2).max(1)),
            false => 0,
        };
        let any = u32::from(load.ready > 0 || load.busy > 0);
        let most = any.max(by_alarm).max(by_flow.ceil() as u32).max(by_busy.ceil() as u32);
        most.clamp(self.min, self.max)
    }

    fn is_late(&self, load: &Load) -> bool {
        load.ready > self.depth || load.ready > 0 && load.oldest > self.wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Policy {
        Policy {
            min: 1,
            max: 50,
            concurrency: 20,
            utilisation: 0.8,
            drain_within: 60 * SECOND,
            depth: 5_000,
            wait: 3 * SECOND,
            cooldown: 120 * SECOND,
            looked_away: 30 * SECOND,
        }
    }

    /// So many workers of 20 slots, with jobs of 200 ms.
    fn load(workers: u32, arrivals: f64, ready: u64) -> Load {
        Load {
            ready,
            arrivals,
            mean_run: Some(0.2),
            slots: u64::from(workers) * 20,
            workers,
            ..Load::default()
        }
    }

    fn looks(every: Duration, loads: impl IntoIterator<Item = Load>) -> Vec<Look> {
        let at = |step: u32| Timestamp::from_millis(1_000_000).after(every * step);
        (0..).zip(loads).map(|(step, load)| Look { at: at(step), load }).collect()
    }

    #[test]
    fn what_arrives_takes_as_many_workers_as_little_says() {
        // 800 a second of 0.2 s keep 160 slots busy; a worker of 20 should have 16 of them so.
        assert_eq!(policy().needed(&load(10, 800.0, 0)), 10);
        assert_eq!(policy().needed(&load(10, 801.0, 0)), 11);
        // 4,800 more within a minute are 80 a second.
        assert_eq!(policy().needed(&load(11, 800.0, 4_800)), 11);
        assert_eq!(policy().needed(&load(0, 0.0, 0)), 1);
    }

    #[test]
    fn a_depth_or_a_wait_beyond_its_bound_adds_half_whatever_the_rest_says() {
        let late = |load: Load| policy().needed(&load);
        assert_eq!(late(load(8, 0.0, 5_000)), 2);
        assert_eq!(late(load(8, 0.0, 5_001)), 12);
        assert_eq!(late(Load { oldest: 4 * SECOND, ..load(8, 0.0, 1) }), 12);
        assert_eq!(late(Load { oldest: 4 * SECOND, ..load(1, 0.0, 1) }), 2);
        assert_eq!(late(Load { oldest: 4 * SECOND, ..load(0, 0.0, 1) }), 1);
        assert_eq!(late(Load { oldest: 4 * SECOND, ..load(40, 0.0, 1) }), 50);
    }

    #[test]
    fn without_a_known_run_time_what_waits_still_gets_a_worker() {
        let unknown = Load { mean_run: None, ..load(0, 100.0, 10) };
        let policy = Policy { min: 0, ..policy() };
        assert_eq!(policy.needed(&unknown), 1);
        assert_eq!(policy.needed(&Load::default()), 0);
    }

    #[test]
    fn what_runs_now_keeps_its_workers() {
        let busy = Load { busy: 81, ..load(8, 0.0, 0) };
        assert_eq!(policy().needed(&busy), 5);
    }

    #[test]
    fn workers_go_when_fewer_were_enough_for_the_whole_cooldown() {
        let spike = std::iter::once(load(1, 800.0, 0));
        let calm = std::iter::repeat_n(load(10, 0.0, 0), 30);
        let looks = looks(10 * SECOND, spike.chain(calm));
        let wanted: Vec<u32> =
            (1..=looks.len()).filter_map(|end| policy().desired(&looks[..end])).collect();
        // The spike is the first look, and the cooldown twelve looks.
        assert_eq!(wanted.iter().position(|wanted| *wanted == 1), Some(13));
        assert!(wanted[..13].iter().all(|wanted| *wanted == 10), "{wanted:?}");
    }

    #[test]
    fn nobody_goes_on_the_word_of_one_who_has_just_begun_to_look() {
        let calm = looks(10 * SECOND, std::iter::repeat_n(load(10, 0.0, 0), 13));
        assert_eq!(policy().desired(&[]), None);
        assert_eq!(policy().desired(&calm[..1]), Some(10));
        assert_eq!(policy().desired(&calm[..12]), Some(10));
        assert_eq!(policy().desired(&calm), Some(1));
        // It looked away for too long: what it saw before says nothing.
        let mut away = calm.clone();
        away[12].at = away[11].at.after(31 * SECOND);
        assert_eq!(policy().desired(&away), Some(10));
    }

    fn any_load() -> impl Strategy<Value = Load> {
        (
            (0_u64..100_000, 0_u64..100_000, 0.0..5_000.0),
            (proptest::option::of(0.0..100.0), 0_u64..3_000, 0_u32..100, 1_u64..200),
        )
            .prop_map(|((ready, oldest, arrivals), (mean_run, busy, workers, each))| {
                Load {
                    ready,
                    oldest: Duration::from_millis(oldest),
                    arrivals,
                    mean_run,
                    busy,
                    slots: u64::from(workers) * each,
                    workers,
                }
            })
    }

    proptest! {
        #[test]
        fn more_work_never_calls_for_fewer(
            load in any_load(), ready in 0_u64..50_000, oldest in 0_u64..50_000,
            arrivals in 0.0..1_000.0, busy in 0_u64..1_000,
        ) {
            let more = Load {
                ready: load.ready + ready,
                oldest: load.oldest + Duration::from_millis(oldest),
                arrivals: load.arrivals + arrivals,
                busy: load.busy + busy,
                ..load
            };
            prop_assert!(policy().needed(&more) >= policy().needed(&load));
        }

        #[test]
        fn the_answer_is_within_its_bounds_and_carries_what_runs(
            loads in proptest::collection::vec(any_load(), 1..40), min in 0_u32..20, more in 0_u32..80,
        ) {
            let policy = Policy { min, max: min + more.max(1), ..policy() };
            let looks = looks(5 * SECOND, loads);
            let wanted = policy.desired(&looks).unwrap();
            prop_assert!((policy.min..=policy.max).contains(&wanted));
            let latest = looks.last().unwrap().load;
            let each = latest.slots.checked_div(u64::from(latest.workers)).filter(|each| *each > 0);
            let room = u64::from(wanted) * each.unwrap_or(u64::from(policy.concurrency));
            prop_assert!(room >= latest.busy || wanted == policy.max);
            prop_assert!(wanted >= policy.needed(&latest));
        }

        /// Whatever the load does within a cooldown, if it does the same again and again.
        #[test]
        fn load_that_wobbles_moves_nothing(
            period in proptest::collection::vec((0.0..2_000.0_f64, 0_u64..5_000), 1..20),
        ) {
            let policy = policy();
            let mut workers = 1;
            let mut seen: Vec<Look> = Vec::new();
            let mut wanted = Vec::new();
            for (step, (arrivals, ready)) in (0..100).zip(period.iter().cycle()) {
                let at = Timestamp::from_millis(0).after(5 * SECOND * step);
                seen.push(Look { at, load: load(workers, *arrivals, *ready) });
                workers = policy.desired(&seen).unwrap();
                wanted.push(workers);
            }
            prop_assert!(wanted[20..].iter().all(|then| *then == wanted[20]), "{wanted:?}");
        }
    }
}
