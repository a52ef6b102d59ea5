//! A quota that an operator sets, "300/5m", and the even flow of calls that keeps it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most calls of a quota.
const CALLS_MAX: u32 = 1_000_000;
/// Most calls a second: more than one platform, and one broker, ever gets from us.
const PER_SECOND_MAX: u128 = 10_000;
/// The shortest and the longest time that a quota is about.
const PER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(31 * 24 * 3_600));
/// This part of a quota may be used at one stroke by jobs without priority.
const AT_ONCE_PART: u32 = 10;
/// A call may take so much longer than another from its room to the platform, or a tenth of the
/// quota's time if that is less.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Most of a quota, in percent, that may be kept for urgent jobs.
pub const RESERVE_PERCENT_MAX: u32 = 50;

/// So many calls in any span of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    calls: u32,
    per: Duration,
}

/// A text that is no quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuota {
    /// Not of the form.
    #[error("{0:?} is no quota such as \"300/5m\": calls, a slash and a duration")]
    Form(String),
    /// No calls, or absurdly many.
    #[error("a quota must be of 1 to {CALLS_MAX} calls; \"\" is no quota")]
    Calls,
    /// A time that no platform reckons with.
    #[error("a quota's duration must be 1s to 31d")]
    Per,
    /// It would never be reached.
    #[error(
        "a quota of more than {PER_SECOND_MAX} calls a second limits nothing; \"\" is no quota"
    )]
    TooFast,
}

/// The even flow that keeps a quota (GCRA): a vessel with room for so many calls, all of it free
/// at first, in which room for one comes free every `apart`.
///
/// In any span of length t no more than `urgent + t / apart` calls get room, and no more than
/// `ordinary + t / apart` while none of them is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// How far apart room for calls comes, in microseconds; at least 1.
    pub apart_us: u64,
    /// Room at one stroke for jobs without priority; at least 1, at most `urgent`.
    pub ordinary: u32,
    /// Room at one stroke for urgent jobs.
    pub urgent: u32,
}

impl Quota {
    /// The flow that keeps this quota in any span of its length, wherever the span begins, and
    /// leaves `reserve_percent` (at most [`RESERVE_PERCENT_MAX`]) of it to urgent jobs, rounded up,
    /// but one call at least to the others.
    ///
    /// It holds for spans that are longer by a second too (by a tenth, if they are short), so that
    /// a call that was long under way and one that was not do not meet in one of the platform's
    /// windows.
    pub fn flow(self, reserve_percent: u32) -> Flow {
        let percent = u64::from(reserve_percent.min(RESERVE_PERCENT_MAX));
        let reserve = (u64::from(self.calls) * percent).div_ceil(100);
        let reserve = u32::try_from(reserve).unwrap_or(u32::MAX).min(self.calls - 1);
        let ordinary = (self.calls / AT_ONCE_PART).clamp(1, self.calls - reserve);
        let urgent = reserve + ordinary;
        let span = self.per + UNDER_WAY.min(self.per / 10);
        // A span of `n` times `apart` that does not include its end sees `urgent + n - 1` calls.
        let comes_free = u128::from(self.calls - urgent + 1);
        let apart_us = u64::try_from(span.as_micros().div_ceil(comes_free)).unwrap_or(u64::MAX);
        Flow { apart_us, ordinary, urgent }
    }
}

impl FromStr for Quota {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let form = || InvalidQuota::Form(text.chars().take(40).collect());
        let (calls, per) = text.split_once('/').ok_or_else(form)?;
        let (calls, per) = (calls.trim(), per.trim());
        if calls.is_empty() || !calls.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let per = humantime::parse_duration(per).map_err(|_| form())?;
        let calls = calls.parse().ok().filter(|calls| (1..=CALLS_MAX).contains(calls));
        let calls = calls.ok_or(InvalidQuota::Calls)?;
        if !(PER.0..=PER.1).contains(&per) {
            return Err(InvalidQuota::Per);
        }
        if u128::from(calls) * 1_000 > PER_SECOND_MAX * per.as_millis() {
            return Err(InvalidQuota::TooFast);
        }
        Ok(Self { calls, per })
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, humantime::format_duration(self.per))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quota(text: &str) -> Quota {
        text.parse().unwrap()
    }

    #[test]
    fn a_quota_reads_back_as_it_is_written() {
        for text in ["300/5m", "1/7days", "5000/1h", "1000000/1h"] {
            assert_eq!(quota(text).to_string(), text);
        }
        assert_eq!(quota(" 30 / 90s "), quota("30/1m 30s"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (text, words) in [
            ("300", "no quota such as \"300/5m\""),
            ("300/", "no quota such as"),
            ("-1/5m", "no quota such as"),
            ("1.5/1s", "no quota such as"),
            ("300/5", "no quota such as"),
            ("300/5 minutos", "no quota such as"),
            ("300/5m/2", "no quota such as"),
            ("0/5m", "1 to 1000000 calls; \"\" is no quota"),
            ("1000001/1d", "1 to 1000000 calls"),
            ("99999999999999999999/1d", "1 to 1000000 calls"),
            ("1/999ms", "must be 1s to 31d"),
            ("1/0s", "must be 1s to 31d"),
            ("1/32d", "must be 1s to 31d"),
            ("1/9999999999999y", "no quota such as"),
            ("10001/1s", "more than 10000 calls a second"),
        ] {
            let told = text.parse::<Quota>().unwrap_err().to_string();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn most_of_a_quota_flows_evenly() {
        assert_eq!(
            quota("1/1h").flow(10),
            Flow { apart_us: 3_601_000_000, ordinary: 1, urgent: 1 }
        );
        assert_eq!(quota("10/9s").flow(10), Flow { apart_us: 1_100_000, ordinary: 1, urgent: 2 });
        let flow = Flow { apart_us: 1_248_963, ordinary: 30, urgent: 60 };
        assert_eq!(quota("300/5m").flow(10), flow);
        assert_eq!(quota("300/5m").flow(0).urgent, 30, "nothing is kept");
    }

    proptest! {
        /// What the flow promises in a span, in whole numbers: never more than the quota, and of
        /// jobs without priority never more than what is not kept.
        #[test]
        fn a_flow_lets_no_span_of_its_length_have_more_than_its_quota(
            calls in 1..=CALLS_MAX, seconds in 1..=PER.1.as_secs(), percent in 0..=60_u32,
        ) {
            let quota = Quota { calls, per: Duration::from_secs(seconds) };
            let flow = quota.flow(percent);
            prop_assert!(flow.ordinary >= 1 && flow.ordinary <= flow.urgent && flow.apart_us >= 1);
            let comes_free = quota.per.as_micros().div_ceil(u128::from(flow.apart_us)) - 1;
            let most = u128::from(flow.urgent) + comes_free;
            prop_assert!(most <= u128::from(calls), "{flow:?}: {most}");
            let kept = u128::from(flow.urgent - flow.ordinary);
            let reserve = u128::from(calls) * u128::from(percent.min(50));
            prop_assert!(kept * 100 >= reserve || kept == u128::from(calls - 1));
            prop_assert!(u128::from(flow.ordinary) + comes_free <= u128::from(calls) - kept);
        }
    }
}
