//! Identities: of a job, of a claim, of a worker.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Timestamp;

/// A job's id: a UUID version 7, so ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// The id of a job made at `now`; `random` makes it unique within the millisecond.
    pub fn at(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Wraps an id that came from a store.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The plain UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// When it was made, by the 48 bits in front; a time without meaning if it is of no version 7.
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.as_u128() >> 80).unwrap_or(0))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Makes ids that sort in the order they were made, also within a millisecond.
#[derive(Debug, Default)]
pub struct IdSource {
    last: Mutex<u128>,
    /// What the ids come from, if a second source is to make the same.
    seed: Option<(Uuid, Timestamp)>,
}

impl IdSource {
    /// Ids made within a millisecond lie at most this far apart: of 62 random bits, enough stay
    /// for a million ids a millisecond.
    const STEP_BITS: u32 = 40;

    /// A source whose ids, in their order, follow from `seed` and `at` alone: whatever is done
    /// again with them finds what it made before. A seed is random, and used for one thing.
    pub fn repeating(seed: Uuid, at: Timestamp) -> Self {
        Self { seed: Some((seed, at)), ..Self::default() }
    }

    /// The id of something made at `now`; `random` makes it unique.
    pub fn next(&self, now: Timestamp, random: [u8; 10]) -> JobId {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, random) = match self.seed {
            Some((seed, at)) => (at, derived(seed, *last)),
            None => (now, random),
        };
        let fresh = JobId::at(now, random).0.as_u128();
        // Within a millisecond, or if the clock went back, a random step on from the last one.
        let step = 1 + (fresh & ((1 << Self::STEP_BITS) - 1));
        *last = if fresh > *last { fresh } else { last.wrapping_add(step) };
        JobId(Uuid::from_u128(*last))
    }
}

/// What follows from a seed and the id before.
fn derived(seed: Uuid, last: u128) -> [u8; 10] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(seed.as_bytes())
        .chain_update(last.to_be_bytes())
        .finalize()
        .into();
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&hash[..10]);
    bytes
}

/// A claim's fencing token: the queue's generation and, within it, the claim's number.
///
/// A later claim has the greater token, also across a broker that lost its memory, since the
/// generation comes from the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The queue's generation, counted in the ledger; 1 is the first.
    pub generation: u32,
    /// The claim's number within the generation.
    pub sequence: u64,
}

impl Token {
    /// Claims in one generation that still have distinct ranks: 2^40, ten years at 3,000 a second.
    const SEQUENCE_BITS: u32 = 40;

    /// The token as one number that sorts the same way, for the ledger.
    pub fn rank(self) -> i64 {
        let sequence = self.sequence & ((1 << Self::SEQUENCE_BITS) - 1);
        (i64::from(self.generation) << Self::SEQUENCE_BITS) | i64::try_from(sequence).unwrap_or(0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (generation, sequence) = text.split_once('-').ok_or(InvalidToken)?;
        Ok(Self {
            generation: generation.parse().map_err(|_| InvalidToken)?,
            sequence: sequence.parse().map_err(|_| InvalidToken)?,
        })
    }
}

/// A text that is no fencing token.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not a fencing token")]
pub struct InvalidToken;

/// A worker process: host, pid and a random part made at start, so it is never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// Names a worker. Characters that would not fit into a broker's key or a connection's name
    /// become `_`.
    pub fn new(host: &str, pid: u32, boot: Uuid) -> Self {
        let host: String = host
            .chars()
            .take(40)
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
            .collect();
        let boot = boot.simple().to_string();
        Self(format!("{host}:{pid}:{}", &boot[..12]).into())
    }

    /// Wraps an id that came from a broker.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_later_generation_outranks_every_earlier_one() {
        let old = Token { generation: 1, sequence: u64::from(u32::MAX) };
        let new = Token { generation: 2, sequence: 0 };
        assert!(new > old);
        assert!(new.rank() > old.rank());
        assert_eq!(new.to_string().parse::<Token>().unwrap(), new);
    }

    #[test]
    fn ids_sort_in_the_order_they_were_made_whatever_the_clock_and_the_dice_say() {
        let source = IdSource::default();
        let mut made = Vec::new();
        for (millis, dice) in [(5, 200), (5, 7), (5, 255), (4, 9), (6, 1), (6, 1), (3, 0)] {
            made.push(source.next(Timestamp::from_millis(millis), [dice; 10]));
        }
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
        assert!(made.iter().all(|id| id.as_uuid().get_version_num() == 7));
    }

    #[test]
    fn a_source_with_the_same_seed_makes_the_same_ids() {
        let (seed, at) = (Uuid::from_u128(7), Timestamp::from_millis(1_772_357_400_000));
        let made = |seed: Uuid, now: i64, dice: u8| {
            let source = IdSource::repeating(seed, at);
            [(); 5].map(|()| source.next(Timestamp::from_millis(now), [dice; 10]))
        };
        let first = made(seed, 1, 3);
        assert_eq!(first, made(seed, 99, 200), "neither the clock nor the dice matter");
        assert!(first.is_sorted() && first.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(first, made(Uuid::from_u128(8), 1, 3));
    }

    #[test]
    fn a_worker_name_never_holds_a_separator_of_the_brokers_keys() {
        let id = WorkerId::new("host|with {odd} name", 7, Uuid::nil());
        assert_eq!(id.as_str(), "host_with__odd__name:7:000000000000");
    }
}
