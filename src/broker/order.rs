//! Which job goes first: the arithmetic that both brokers share.

use crate::job::{Envelope, PRIORITY_S_MAX, Timestamp};

use super::BATCH_MAX;

/// Latest time that is told apart, year 5138: times are stored with 14 digits.
const LATEST_MS: i64 = 99_999_999_999_999;

/// Fewest delayed jobs that one claim looks at.
const PROMOTED_MIN: usize = 100;

/// When a job falls due, in milliseconds since 1970, as far as a broker tells times apart.
pub(super) fn due_ms(envelope: &Envelope) -> i64 {
    told_apart(envelope.run_at)
}

/// A time as far as a broker tells times apart.
pub(super) fn told_apart(time: Timestamp) -> i64 {
    time.as_millis().clamp(0, LATEST_MS)
}

/// A job's head start in seconds.
pub(super) fn head_start_s(envelope: &Envelope) -> i64 {
    i64::from(envelope.priority_s.min(PRIORITY_S_MAX))
}

/// A due job's place: the smallest goes first.
///
/// Time counts, and a priority is a head start of at most an hour, so nothing starves.
pub(super) fn score(envelope: &Envelope) -> i64 {
    due_ms(envelope) - head_start_s(envelope) * 1_000
}

/// How many delayed jobs a claim of `limit` may promote: more than it takes, so that promotion
/// never falls behind, and not many more, since each costs the broker time.
pub(super) fn promotions(limit: usize) -> usize {
    limit.saturating_mul(2).clamp(PROMOTED_MIN, BATCH_MAX)
}
