//! What is owed of a schedule when somebody looks: which of its times are to be had now.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Cron;
use crate::job::Timestamp;

/// A time that is had no later than this is on time; after that it was missed.
pub const ON_TIME: Duration = Duration::from_secs(60);
/// Most missed times that are made up for at once ([`Missed::All`]): the newest.
pub const CATCH_UP_MAX: usize = 100;
/// Between two jobs of a catch-up, so that it is no flood.
const CATCH_UP_EVERY: Duration = Duration::from_secs(1);
/// Most that a schedule's jobs may be spread over.
pub const JITTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What becomes of times that nobody was there for, as after an outage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One job, for all of them together.
    #[default]
    Once,
    /// A job for each, the newest 100 at most, a second apart.
    All,
}

/// What becomes of a time that comes while the job of the last one is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing.
    Skip,
    /// A job all the same.
    Allow,
}

impl Missed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Once, Self::All];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }

    /// What a schedule does with overlaps unless somebody says otherwise. The jobs of a catch-up
    /// overlap each other.
    pub const fn overlap(self) -> Overlap {
        match self {
            Self::All => Overlap::Allow,
            Self::Skip | Self::Once => Overlap::Skip,
        }
    }
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Allow];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
        }
    }
}

/// A time that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time.
    pub at: Timestamp,
    /// When its job is to run: then, or soon, if it was missed.
    pub run_at: Timestamp,
}

/// What is owed of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The times to be had now, the oldest first.
    pub due: Vec<Due>,
    /// Whether some that were missed are left out.
    pub left_out: bool,
    /// The time after these; `None` if there is none.
    pub next: Option<Timestamp>,
}

/// What is owed at `now` of a schedule whose next time was `next`, and is due.
///
/// That one counts, whatever `cron` says of it: whoever computed it may have known other rules of
/// the zone.
pub fn owed(cron: &Cron, missed: Missed, next: Timestamp, now: Timestamp) -> Owed {
    let (count, oldest) = match missed {
        // One on time, and at the bound another; the third is `next`, if it is none of the cron's.
        Missed::Skip => (3, now.before(ON_TIME)),
        Missed::Once => (1, next),
        Missed::All => (CATCH_UP_MAX, next),
    };
    let mut times = cron.newest(count, next, now);
    if times.len() < count {
        times.insert(0, next);
    }
    times.retain(|at| *at >= oldest);
    let left_out = times.first() != Some(&next);
    let mut late = 0;
    let due = times.into_iter().map(|at| {
        if now.since(at) <= ON_TIME {
            return Due { at, run_at: at };
        }
        let run_at = now.after(CATCH_UP_EVERY * late);
        late += 1;
        Due { at, run_at }
    });
    Owed { due: due.collect(), left_out, next: cron.next_after(now.max(next)) }
}

impl Due {
    /// The same, its job some part of `jitter` later. Which part follows from the schedule and the
    /// time: another throw each time, the same for whoever throws.
    #[must_use]
    pub fn spread_over(self, jitter: Duration, schedule: Uuid) -> Self {
        let span = u64::try_from(jitter.min(JITTER_MAX).as_millis()).unwrap_or(0);
        if span == 0 {
            return self;
        }
        let hash: [u8; 32] = Sha256::new()
            .chain_update(schedule.as_bytes())
            .chain_update(self.at.as_millis().to_be_bytes())
            .finalize()
            .into();
        let dice = hash.iter().take(8).fold(0_u64, |dice, byte| (dice << 8) | u64::from(*byte));
        Self { run_at: self.run_at.after(Duration::from_millis(dice % span)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(text: &str) -> Cron {
        Cron::parse(text, "UTC").unwrap()
    }

    fn times(owed: &Owed) -> Vec<String> {
        owed.due.iter().map(|due| due.at.to_string()[11..16].to_owned()).collect()
    }

    #[test]
    fn a_time_that_is_had_at_once_is_had_under_every_policy_and_runs_then() {
        let at = time("2026-05-01T12:05:00Z");
        for missed in Missed::ALL {
            let owed = owed(&cron("*/5 * * * *"), missed, at, at.after(Duration::from_millis(7)));
            assert_eq!(owed.due, [Due { at, run_at: at }]);
            assert!(!owed.left_out);
            assert_eq!(owed.next, Some(time("2026-05-01T12:10:00Z")));
        }
    }

    #[test]
    fn missed_times_are_skipped_had_once_or_had_each() {
        let (next, now) = (time("2026-05-01T12:05:00Z"), time("2026-05-01T12:21:30Z"));
        let owed = |missed| owed(&cron("*/5 * * * *"), missed, next, now);
        assert_eq!(times(&owed(Missed::Skip)), [""; 0]);
        assert_eq!(times(&owed(Missed::Once)), ["12:20"]);
        assert_eq!(times(&owed(Missed::All)), ["12:05", "12:10", "12:15", "12:20"]);
        assert_eq!(
            Missed::ALL.map(|missed| owed(missed).left_out),
            [true, true, false],
            "what is left out is said"
        );
        // All of them run from now on, a second apart.
        let runs: Vec<u128> =
            owed(Missed::All).due.iter().map(|due| due.run_at.since(now).as_millis()).collect();
        assert_eq!(runs, [0, 1_000, 2_000, 3_000]);
    }

    #[test]
    fn what_is_on_time_is_no_catch_up() {
        let (next, now) = (time("2026-05-01T12:05:00Z"), time("2026-05-01T12:20:59Z"));
        assert_eq!(times(&owed(&cron("*/5 * * * *"), Missed::Skip, next, now)), ["12:20"]);
    }

    #[test]
    fn a_catch_up_after_years_is_bounded_and_quick_to_find() {
        let (next, now) = (time("2006-05-01T12:05:00Z"), time("2026-05-01T12:21:30Z"));
        let owed = owed(&cron("* * * * *"), Missed::All, next, now);
        assert_eq!(owed.due.len(), CATCH_UP_MAX);
        assert_eq!(owed.due.last().map(|due| due.at), Some(time("2026-05-01T12:21:00Z")));
        assert!(owed.left_out);
    }

    #[test]
    fn the_newest_of_a_rare_schedule_are_found_as_well() {
        let (next, now) = (time("2000-02-29T04:00:00Z"), time("2026-05-01T00:00:00Z"));
        let owed = owed(&cron("0 4 29 2 *"), Missed::All, next, now);
        let years: Vec<String> =
            owed.due.iter().map(|due| due.at.to_string()[..4].to_owned()).collect();
        assert_eq!(years, ["2000", "2004", "2008", "2012", "2016", "2020", "2024"]);
        assert_eq!(owed.next, Some(time("2028-02-29T04:00:00Z")));
    }

    #[test]
    fn a_next_time_that_others_computed_counts() {
        let (next, now) = (time("2026-05-01T12:03:00Z"), time("2026-05-01T12:03:00.1Z"));
        assert_eq!(times(&owed(&cron("0 0 * * *"), Missed::Skip, next, now)), ["12:03"]);
    }

    #[test]
    fn jitter_is_the_same_for_all_who_throw_and_another_each_time() {
        let (jitter, id) = (Duration::from_secs(600), Uuid::from_u128(7));
        let due = |ms| {
            let at = Timestamp::from_millis(ms);
            Due { at, run_at: at }.spread_over(jitter, id).run_at.since(at)
        };
        let thrown: Vec<Duration> = (0..100).map(|n| due(n * 60_000)).collect();
        assert_eq!(thrown, (0..100).map(|n| due(n * 60_000)).collect::<Vec<_>>());
        assert!(thrown.iter().all(|delay| *delay < jitter));
        let early = thrown.iter().filter(|delay| **delay < jitter / 2).count();
        assert!((30..=70).contains(&early), "{early} of 100 in the first half");
    }
}
