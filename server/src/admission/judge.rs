//! From measures to a verdict: what keeps work out now, and whom. Pure.

use std::fmt;
use std::time::Duration;

use postworks::config;

use super::latch::{Latch, reopens_at};

/// What may keep work out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too many jobs wait.
    Depth,
    /// Jobs wait for too long.
    Oldest,
    /// Redis has little memory left.
    RedisMemory,
    /// Requests queue for connections to PostgreSQL.
    PostgresWait,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Depth, Self::Oldest, Self::RedisMemory, Self::PostgresWait];

    /// The label in metrics, and the key in `[admission]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Oldest => "oldest",
            Self::RedisMemory => "redis_memory",
            Self::PostgresWait => "postgres_wait",
        }
    }

    /// The bounds for ordinary and for urgent work: jobs, milliseconds or percent.
    fn bounds(self, config: &config::Admission) -> Option<(u64, u64)> {
        let twice = |bound: u64| (bound, bound.saturating_mul(2));
        match self {
            Self::Depth => config.depth.map(u64::from).map(twice),
            Self::Oldest => config.oldest.map(millis).map(twice),
            Self::RedisMemory => {
                let percent = config.redis_memory.map(u64::from);
                percent.map(|percent| (percent, (percent + 100).div_ceil(2)))
            }
            Self::PostgresWait => config.postgres_wait.map(millis).map(twice),
        }
    }
}

/// What was measured; `None` for what cannot be read now, or is not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measures {
    /// Jobs that are due and unclaimed.
    pub(super) depth: Option<u64>,
    /// How long the oldest of them has waited.
    pub(super) oldest: Option<Duration>,
    /// Percent of its memory that Redis uses.
    pub(super) redis_memory: Option<u64>,
    /// How long a connection to PostgreSQL is waited for.
    pub(super) postgres_wait: Option<Duration>,
}

impl Measures {
    fn of(&self, reason: Reason) -> Option<u64> {
        match reason {
            Reason::Depth => self.depth,
            Reason::Oldest => self.oldest.map(millis),
            Reason::RedisMemory => self.redis_memory,
            Reason::PostgresWait => self.postgres_wait.map(millis),
        }
    }
}

/// Why work is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// The bound that was reached.
    pub reason: Reason,
    /// What was measured: jobs, milliseconds or percent.
    pub measured: u64,
    /// From when on work is taken again, in the same unit.
    pub until: u64,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, measured, until } = self;
        write!(f, "{}: ", reason.as_str())?;
        let span = |ms: u64| humantime::format_duration(Duration::from_millis(ms));
        match reason {
            Reason::Depth => write!(f, "{measured} jobs are due and wait; {until} may"),
            Reason::Oldest => {
                let (measured, until) = (span(*measured), span(*until));
                write!(f, "the oldest due job has waited for {measured}; {until} is the most")
            }
            Reason::RedisMemory => {
                write!(f, "Redis uses {measured}% of its memory; {until}% is the most")
            }
            Reason::PostgresWait => {
                let (measured, until) = (span(*measured), span(*until));
                write!(f, "a connection to PostgreSQL takes {measured}; {until} is the most")
            }
        }
    }
}

/// What keeps work out now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Jobs that are due and unclaimed, if known.
    pub(super) depth: Option<u64>,
    /// Keeps ordinary work out.
    pub(super) ordinary: Option<Busy>,
    /// Keeps urgent work out as well.
    pub(super) urgent: Option<Busy>,
}

/// The bounds, and which of them are reached.
#[derive(Debug)]
pub(super) struct Judge {
    watched: Vec<(Reason, Latch, Latch)>,
}

impl Judge {
    pub(super) fn new(config: &config::Admission) -> Self {
        let watched = Reason::ALL.into_iter().filter_map(|reason| {
            let (ordinary, urgent) = reason.bounds(config)?;
            Some((reason, Latch::new(ordinary), Latch::new(urgent)))
        });
        Self { watched: watched.collect() }
    }

    /// Judges by new measures; the first reason that keeps work out is told, in the order of
    /// [`Reason::ALL`].
    pub(super) fn look(&mut self, measures: &Measures) -> Verdict {
        let mut verdict = Verdict { depth: measures.depth, ..Verdict::default() };
        for (reason, ordinary, urgent) in &mut self.watched {
            let measured = measures.of(*reason);
            for (latch, told) in [(ordinary, &mut verdict.ordinary), (urgent, &mut verdict.urgent)]
            {
                if latch.look(measured) && told.is_none() {
                    let (measured, until) =
                        (measured.unwrap_or_default(), reopens_at(latch.bound()));
                    *told = Some(Busy { reason: *reason, measured, until });
                }
            }
        }
        verdict
    }

    /// For each reason that is watched, whom it keeps out now: nobody, work, or urgent work too.
    pub(super) fn levels(&self) -> impl Iterator<Item = (Reason, u8)> {
        self.watched.iter().map(|(reason, ordinary, urgent)| {
            (*reason, u8::from(ordinary.is_shut()) + u8::from(urgent.is_shut()))
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        Judge::new(&config::Admission {
            depth: Some(100),
            oldest: Some(Duration::from_secs(60)),
            redis_memory: Some(90),
            postgres_wait: None,
        })
    }

    #[test]
    fn urgent_work_is_let_in_until_twice_the_bound() {
        let mut judge = judge();
        let mut at = |depth| judge.look(&Measures { depth: Some(depth), ..Measures::default() });
        assert_eq!((at(99).ordinary, at(99).urgent), (None, None));
        let full = at(100);
        assert_eq!(full.ordinary.map(|busy| busy.until), Some(80));
        assert_eq!(full.urgent, None);
        let both = at(200);
        assert_eq!(both.urgent.map(|busy| busy.until), Some(160));
        assert!(at(161).urgent.is_some() && at(160).urgent.is_none());
        assert!(at(81).ordinary.is_some() && at(80).ordinary.is_none());
    }

    #[test]
    fn each_bound_alone_keeps_work_out_and_is_named() {
        let measures = [
            (Measures { depth: Some(100), ..Measures::default() }, Reason::Depth, "100 jobs"),
            (
                Measures { oldest: Some(Duration::from_secs(61)), ..Measures::default() },
                Reason::Oldest,
                "waited for 1m 1s; 48s is the most",
            ),
            (
                Measures { redis_memory: Some(94), ..Measures::default() },
                Reason::RedisMemory,
                "94%",
            ),
        ];
        for (measures, reason, words) in measures {
            let verdict = judge().look(&measures);
            let busy = verdict.ordinary.expect("it is full");
            assert_eq!(busy.reason, reason);
            let text = busy.to_string();
            assert!(text.starts_with(reason.as_str()) && text.contains(words), "{text}");
            assert_eq!(verdict.urgent, None, "{text}");
        }
        let slow = Measures { postgres_wait: Some(Duration::MAX), ..Measures::default() };
        assert_eq!(judge().look(&slow).ordinary, None, "it is switched off");
    }
}
