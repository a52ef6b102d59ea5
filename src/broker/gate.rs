//! What keeps a queue's jobs from being claimed: a person, a platform's rate window, a breaker.
//!
//! A gate lives beside its queue, so that a claim sees it in the same atomic step, and the whole
//! fleet follows it at once. Nothing is popped and pushed back, and no attempt is burnt.

use std::time::Duration;

use crate::job::{Hold, Timestamp};

/// Jobs that a half-open breaker lets pass in each [`PROBE_TERM`].
pub const PROBES: u32 = 3;
/// After this a probe that has not ended is taken for hung, and others may be tried.
pub const PROBE_TERM: Duration = Duration::from_secs(10);
/// A breaker that closes lets a tenth of the calls pass for so long, then half of them, as long.
pub const RAMP_STEP: Duration = Duration::from_secs(1);
/// The calls of so long decide about a closed breaker, counted by the second.
pub const CALLS_OVER: Duration = Duration::from_secs(10);

/// A queue's gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gate {
    /// What people want.
    pub hold: Hold,
    /// A platform told everybody to wait until then.
    pub shut_until: Option<Timestamp>,
    /// What the platform's answers say.
    pub breaker: Breaker,
}

/// A circuit breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    /// How often it has changed. Calls count for the epoch that their jobs were claimed in.
    pub epoch: u64,
    /// What it did last.
    pub phase: Phase,
    /// How long it stayed open the last time; zero if it never did.
    pub cooldown: Duration,
    /// Calls a second before it opened: what it ramps up to.
    pub rate: u32,
}

/// What a breaker did last. The rest is time's doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, or it was reset.
    #[default]
    Closed,
    /// It opened; it is half-open from `until` on.
    Opened {
        /// Until when nothing passes.
        until: Timestamp,
    },
    /// Probes went well: it closes in steps of [`RAMP_STEP`].
    Closing {
        /// From when on.
        since: Timestamp,
    },
}

/// How a breaker stands, in the words everybody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// All calls pass.
    Closed,
    /// Some do, to see how they fare.
    HalfOpen,
    /// None do.
    Open,
}

/// How calls of an epoch went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// The epoch that their jobs were claimed in.
    pub epoch: u64,
    /// How many.
    pub calls: u32,
    /// How many of them failed or were slow.
    pub bad: u32,
}

/// A gate as a tally found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The broker's time.
    pub now: Timestamp,
    /// The gate.
    pub gate: Gate,
    /// The fleet's calls that decide: of the last [`CALLS_OVER`], or, once the breaker opened, all
    /// since.
    pub calls: u32,
    /// Those of them that failed or were slow.
    pub bad: u32,
}

impl Position {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The position's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// The position as a gauge shows it.
    pub const fn level(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Breaker {
    /// How it stands, if nobody holds it open.
    pub fn position(&self, now: Timestamp) -> Position {
        match self.phase {
            Phase::Opened { until } if now < until => Position::Open,
            Phase::Opened { .. } => Position::HalfOpen,
            Phase::Closing { since } if now < since.after(2 * RAMP_STEP) => Position::HalfOpen,
            Phase::Closing { .. } | Phase::Closed => Position::Closed,
        }
    }
}

impl Gate {
    /// How the breaker stands.
    pub fn position(&self, now: Timestamp) -> Position {
        if self.hold.forced_open { Position::Open } else { self.breaker.position(now) }
    }

    /// Until when nothing passes whatever else happens; `None` if something may pass now.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let open_until = match self.breaker.phase {
            Phase::Opened { until } => Some(until),
            Phase::Closed | Phase::Closing { .. } => None,
        };
        self.shut_until.max(open_until).filter(|until| *until > now)
    }
}

/// How many jobs a closing breaker has let pass in all after `elapsed`: whole milliseconds and
/// whole jobs, so that every broker counts alike.
pub(super) fn ramp(rate: u32, elapsed: Duration) -> u64 {
    let step = RAMP_STEP.as_millis();
    let elapsed = elapsed.as_millis();
    let percents = elapsed.min(step) * 10 + elapsed.saturating_sub(step).min(step) * 50;
    u64::try_from(u128::from(rate) * percents / (step * 100)).unwrap_or(u64::MAX).saturating_add(1)
}
