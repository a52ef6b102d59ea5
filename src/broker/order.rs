//! Which job goes first: the arithmetic that both brokers share.

use crate::job::{Durability, Envelope, PRIORITY_S_MAX, Timestamp, Turn, place_ms};

use super::BATCH_MAX;

/// Fewest delayed jobs that one claim looks at.
const PROMOTED_MIN: usize = 100;

/// When a job falls due, in milliseconds since 1970, as far as a broker tells times apart.
pub(super) fn due_ms(envelope: &Envelope) -> i64 {
    told_apart(envelope.run_at)
}

/// A time as far as a broker tells times apart.
pub(super) fn told_apart(time: Timestamp) -> i64 {
    crate::job::due_ms(time)
}

/// A job's head start in seconds.
pub(super) fn head_start_s(envelope: &Envelope) -> i64 {
    i64::from(envelope.priority_s.min(PRIORITY_S_MAX))
}

/// A due job's place: the smallest goes first.
pub(super) fn score(envelope: &Envelope) -> i64 {
    place_ms(envelope.run_at, envelope.priority_s)
}

/// When a job's turn comes, as seen at `now`.
pub(super) fn turn(envelope: &Envelope, now: Timestamp) -> Turn {
    Turn::of(envelope.id, envelope.run_at, envelope.priority_s, now)
}

/// Whether a job may be left to the ledger: what is recorded nowhere else must be taken.
pub(super) fn may_wait_elsewhere(envelope: &Envelope) -> bool {
    envelope.durability == Durability::Ledger
}

/// How many delayed jobs a claim of `limit` may promote: more than it takes, so that promotion
/// never falls behind, and not many more, since each costs the broker time.
pub(super) fn promotions(limit: usize) -> usize {
    limit.saturating_mul(2).clamp(PROMOTED_MIN, BATCH_MAX)
}

/// A window that holds at most this many jobs is filled from the ledger: half of it, so that
/// workers do not run dry meanwhile.
pub(super) fn low_water(window: usize) -> usize {
    window / 2
}
