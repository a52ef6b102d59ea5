//! When a job's turn comes: the order in which a queue's jobs are wanted in a broker.

use uuid::Uuid;

use super::{JobId, PRIORITY_S_MAX, Timestamp};

/// Latest time that is told apart, year 5138: brokers store times with 14 digits.
const LATEST_MS: i64 = 99_999_999_999_999;

/// When a job's turn comes.
///
/// Of a due job it is the due time less the head start: time counts, and a priority is a head
/// start of at most an hour, so nothing starves. Of a job that is not due yet it is the due time,
/// so that no such job comes before one that could run now. The id parts jobs of the same
/// millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// In milliseconds since 1970.
    pub at_ms: i64,
    /// The job.
    pub id: JobId,
}

impl Turn {
    /// Before every job's turn.
    pub const FIRST: Self = Self { at_ms: -LATEST_MS, id: JobId::from_uuid(Uuid::nil()) };

    /// The turn, at `now`, of a job with a head start of `priority_s` seconds.
    pub fn of(id: JobId, run_at: Timestamp, priority_s: u32, now: Timestamp) -> Self {
        let at_ms = if run_at <= now { place_ms(run_at, priority_s) } else { due_ms(run_at) };
        Self { at_ms, id }
    }

    /// The very next turn that a job could have.
    #[must_use]
    pub fn next(self) -> Self {
        match self.id.as_uuid().as_u128().checked_add(1) {
            Some(id) => Self { id: JobId::from_uuid(Uuid::from_u128(id)), ..self },
            None => Self { at_ms: self.at_ms.saturating_add(1), id: Self::FIRST.id },
        }
    }
}

/// When a job falls due, in milliseconds since 1970, as far as a broker tells times apart.
pub(crate) fn due_ms(run_at: Timestamp) -> i64 {
    run_at.as_millis().clamp(0, LATEST_MS)
}

/// A due job's place among the due ones: the smallest goes first.
pub(crate) fn place_ms(run_at: Timestamp, priority_s: u32) -> i64 {
    due_ms(run_at) - i64::from(priority_s.min(PRIORITY_S_MAX)) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

    fn turn(random: u8, run_at: Timestamp, priority_s: u32) -> Turn {
        Turn::of(JobId::at(NOW, [random; 10]), run_at, priority_s, NOW)
    }

    #[test]
    fn no_head_start_puts_a_job_that_must_wait_before_one_that_could_run() {
        let soon = NOW.after(std::time::Duration::from_millis(1));
        assert!(turn(1, NOW, 0) < turn(0, soon, PRIORITY_S_MAX));
        assert!(turn(1, NOW, 1) < turn(0, NOW, 0));
        assert!(Turn::FIRST < turn(0, Timestamp::from_millis(i64::MIN), u32::MAX));
    }

    #[test]
    fn nothing_lies_between_a_turn_and_the_next() {
        let one = turn(7, NOW, 0);
        assert!(one < one.next() && one.next() < turn(8, NOW, 0));
        let last = Turn { id: JobId::from_uuid(Uuid::max()), ..one };
        assert_eq!(last.next(), Turn { at_ms: one.at_ms + 1, id: Turn::FIRST.id });
    }
}
