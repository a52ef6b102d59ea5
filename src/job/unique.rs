//! How long a job holds its unique key, and when a later job of the key replaces its arguments.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{RequestPolicy, Timestamp};

/// Bounds of how long a key is held at least.
pub const UNIQUE_FOR_MIN: Duration = Duration::from_secs(1);
/// See [`UNIQUE_FOR_MIN`].
pub const UNIQUE_FOR_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bounds of a debounce's time and of its longest delay.
pub const DEBOUNCE_MIN: Duration = Duration::from_millis(100);
/// See [`DEBOUNCE_MIN`].
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest delay of a debounce that names none: so many times its time, [`DEBOUNCE_MAX`] at most.
const DELAYED_AT_MOST: u32 = 10;

/// What ends the time that a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueUntil {
    /// The job's end, whatever it is.
    Ended,
    /// The job's start: what comes in while it runs is a job of its own.
    Started,
}

impl UniqueUntil {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Ended, Self::Started];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Started => "started",
        }
    }
}

impl FromStr for UniqueUntil {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| "must be ended or started".to_owned())
    }
}

impl fmt::Display for UniqueUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long a job holds its unique key, if it has one. What counts is how its holder was made, not how
/// another asks for it.
///
/// A job that died or was cancelled holds nothing, whatever it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Uniqueness {
    /// While it is live.
    #[default]
    UntilEnded,
    /// While no run of it has begun. Once free, it stays free: neither a retry nor a redrive takes it
    /// again.
    UntilStarted,
    /// The same; and while the holder waits, another such job's arguments take the place of its own,
    /// and it waits anew.
    Debounced {
        /// But never beyond this.
        until: Timestamp,
    },
    /// While it is live, and once it has completed until this.
    For {
        /// The end of the period.
        until: Timestamp,
    },
}

impl Uniqueness {
    /// Whether the key is free once a run has begun. Every delivery of such a job is stamped in the
    /// ledger before its handler starts: the stamp is what begins the run.
    pub fn ends_at_start(self) -> bool {
        matches!(self, Self::UntilStarted | Self::Debounced { .. })
    }

    /// Whether it replaces what another waits with.
    pub fn is_debounced(self) -> bool {
        matches!(self, Self::Debounced { .. })
    }
}

/// Arguments that took the place of those a job was made with, and what comes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The arguments: JSON.
    pub args: String,
    /// Their version.
    pub kind_version: u16,
    /// The account they are about.
    pub account: Option<uuid::Uuid>,
    /// Head start in seconds.
    pub priority_s: u32,
    /// The job is of no use after this.
    pub expires_at: Timestamp,
}

impl RequestPolicy {
    /// What is asked for; sense was made of it before.
    pub(super) fn uniqueness(&self, now: Timestamp) -> Uniqueness {
        if let Some(debounce) = self.debounce {
            let longest = (debounce * DELAYED_AT_MOST).min(DEBOUNCE_MAX);
            return Uniqueness::Debounced { until: now.after(self.max_delay.unwrap_or(longest)) };
        }
        match (self.unique_for, self.unique_until) {
            (Some(period), _) => Uniqueness::For { until: now.after(period) },
            (None, Some(UniqueUntil::Started)) => Uniqueness::UntilStarted,
            (None, _) => Uniqueness::UntilEnded,
        }
    }

    /// Tells of what is out of bounds, or at odds with something else.
    pub(super) fn uniqueness_faults(&self, fault: &mut impl FnMut(&str, String)) {
        self.keyless_faults(fault);
        if self.unique_for.is_some_and(|time| !(UNIQUE_FOR_MIN..=UNIQUE_FOR_MAX).contains(&time)) {
            fault("/unique_for_ms", "must be 1 second to 30 days".into());
        }
        let out_of_bounds = |time: &Duration| !(DEBOUNCE_MIN..=DEBOUNCE_MAX).contains(time);
        if self.debounce.as_ref().is_some_and(out_of_bounds) {
            fault("/debounce_ms", "must be 100 milliseconds to 24 hours".into());
        }
        match (self.debounce, self.max_delay) {
            (None, Some(_)) => fault("/max_delay_ms", "is of no use without debounce_ms".into()),
            (Some(_), Some(max)) if out_of_bounds(&max) => {
                fault("/max_delay_ms", "must be 100 milliseconds to 24 hours".into());
            }
            (Some(debounce), Some(max)) if max < debounce => {
                fault("/max_delay_ms", "must not be less than debounce_ms".into());
            }
            _ => {}
        }
        self.contradictions(fault);
    }

    fn keyless_faults(&self, fault: &mut impl FnMut(&str, String)) {
        let needing = [
            ("/unique_until", self.unique_until.is_some()),
            ("/unique_for_ms", self.unique_for.is_some()),
            ("/debounce_ms", self.debounce.is_some()),
        ];
        for (field, _) in needing.iter().filter(|(_, given)| *given && self.unique_key.is_none()) {
            fault(field, "needs a unique_key".into());
        }
    }

    fn contradictions(&self, fault: &mut impl FnMut(&str, String)) {
        if self.unique_for.is_some() && self.unique_until == Some(UniqueUntil::Started) {
            let why = "cannot be given together with unique_until started: a run that begins within \
                 the period would free the key";
            fault("/unique_for_ms", why.into());
        }
        if self.debounce.is_none() {
            return;
        }
        if !self.after.is_empty() {
            fault("/debounce_ms", "cannot be given together with after".into());
        }
        if self.unique_until == Some(UniqueUntil::Ended) {
            let why = "cannot be ended together with debounce_ms: what comes in during a run is \
                 for the next one";
            fault("/unique_until", why.into());
        }
        if self.unique_for.is_some() {
            let why = "cannot be given together with debounce_ms: what comes in during the period \
                 would never run";
            fault("/unique_for_ms", why.into());
        }
        for (field, given) in
            [("/run_at", self.run_at.is_some()), ("/delay_ms", self.delay.is_some())]
        {
            if given {
                fault(field, "cannot be given together with debounce_ms, which says when".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    fn keyed() -> RequestPolicy {
        RequestPolicy { unique_key: Some("k".to_owned()), ..RequestPolicy::default() }
    }

    fn fields(policy: &RequestPolicy) -> Vec<String> {
        let mut found = Vec::new();
        policy.uniqueness_faults(&mut |field, message| found.push(format!("{field}: {message}")));
        found.iter().map(|fault| fault.split(':').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_key_is_held_for_as_long_as_was_asked() {
        let of = |policy: RequestPolicy| {
            assert_eq!(fields(&policy), [""; 0], "{policy:?}");
            policy.uniqueness(NOW)
        };
        let at = |seconds| NOW.after(Duration::from_secs(seconds));
        let (ended, started) = (Some(UniqueUntil::Ended), Some(UniqueUntil::Started));
        assert_eq!(of(keyed()), Uniqueness::UntilEnded);
        assert_eq!(of(RequestPolicy { unique_until: ended, ..keyed() }), Uniqueness::UntilEnded);
        let until_started = RequestPolicy { unique_until: started, ..keyed() };
        assert_eq!(of(until_started), Uniqueness::UntilStarted);
        let period = RequestPolicy { unique_for: secs(60), unique_until: ended, ..keyed() };
        assert_eq!(of(period), Uniqueness::For { until: at(60) });
        let debounced = RequestPolicy { debounce: secs(2), unique_until: started, ..keyed() };
        assert_eq!(of(debounced.clone()), Uniqueness::Debounced { until: at(20) });
        let bounded = RequestPolicy { max_delay: secs(3), ..debounced.clone() };
        assert_eq!(of(bounded), Uniqueness::Debounced { until: at(3) });
        let long = RequestPolicy { debounce: secs(20 * 3_600), ..debounced };
        assert_eq!(of(long), Uniqueness::Debounced { until: at(24 * 3_600) });
    }

    #[test]
    fn what_makes_no_sense_without_a_key_names_itself() {
        let policy = RequestPolicy {
            unique_key: None,
            unique_until: Some(UniqueUntil::Ended),
            unique_for: secs(60),
            ..keyed()
        };
        assert_eq!(fields(&policy), ["/unique_until", "/unique_for_ms"]);
        let policy = RequestPolicy { unique_key: None, debounce: secs(1), ..keyed() };
        assert_eq!(fields(&policy), ["/debounce_ms"]);
        let policy = RequestPolicy { max_delay: secs(1), ..keyed() };
        assert_eq!(fields(&policy), ["/max_delay_ms"]);
    }

    #[test]
    fn what_is_at_odds_with_a_debounce_is_refused_by_its_own_name() {
        let debounced = RequestPolicy { debounce: secs(1), ..keyed() };
        for (policy, field) in [
            (
                RequestPolicy { unique_until: Some(UniqueUntil::Ended), ..debounced.clone() },
                "/unique_until",
            ),
            (RequestPolicy { unique_for: secs(60), ..debounced.clone() }, "/unique_for_ms"),
            (RequestPolicy { run_at: Some(NOW), ..debounced.clone() }, "/run_at"),
            (RequestPolicy { delay: secs(1), ..debounced.clone() }, "/delay_ms"),
            (
                RequestPolicy { max_delay: Some(Duration::from_millis(999)), ..debounced },
                "/max_delay_ms",
            ),
        ] {
            assert_eq!(fields(&policy), [field]);
        }
        let started = Some(UniqueUntil::Started);
        let policy = RequestPolicy { unique_until: started, unique_for: secs(60), ..keyed() };
        assert_eq!(fields(&policy), ["/unique_for_ms"]);
    }

    #[test]
    fn bounds_hold_at_both_ends() {
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        let day = 24 * 3_600_000;
        for (unique_for, good) in
            [(999, false), (1_000, true), (30 * day, true), (30 * day + 1, false)]
        {
            let policy = RequestPolicy { unique_for: ms(unique_for), ..keyed() };
            assert_eq!(fields(&policy).is_empty(), good, "{unique_for}");
        }
        for (debounce, good) in [(99, false), (100, true), (day, true), (day + 1, false)] {
            let policy = RequestPolicy { debounce: ms(debounce), ..keyed() };
            assert_eq!(fields(&policy).is_empty(), good, "{debounce}");
            let policy = RequestPolicy { debounce: ms(100), max_delay: ms(debounce), ..keyed() };
            assert_eq!(fields(&policy).is_empty(), good, "{debounce}");
        }
    }
}
