//! Record keys that follow from the publication.
//!
//! A record key of a post is a TID: 64 bits, of which the first is 0, the next 53 are a time in
//! microseconds and the last 10 tell clocks apart, written in 13 sortable digits of base 32
//! (<https://atproto.com/specs/tid>). Ours takes the second from the post's frozen time, so that
//! posts sort by it, and everything below from the publication's id.

use postworks::job::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const LENGTH: u32 = 13;
const MICROS_MAX: u64 = (1 << 53) - 1;

/// The key of a publication's record: the same at every attempt.
pub(super) fn record_key(publication_id: Uuid, created_at: Timestamp) -> String {
    let digest = Sha256::digest(publication_id.hyphenated().to_string());
    let hash = digest.iter().take(4).fold(0u64, |hash, byte| hash << 8 | u64::from(*byte));
    // A time before 1970 has no TID.
    let second = u64::try_from(created_at.as_millis().div_euclid(1000)).unwrap_or(0);
    let micros = second.saturating_mul(1_000_000).saturating_add((hash >> 10) % 1_000_000);
    encode(micros.min(MICROS_MAX) << 10 | (hash & 0x3ff))
}

fn encode(value: u64) -> String {
    (0..LENGTH)
        .rev()
        .map(|place| {
            let digit = (value >> (5 * place)) & 0x1f;
            char::from(DIGITS[usize::try_from(digit).unwrap_or(0)])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_tid(text: &str) -> bool {
        text.len() == 13
            && text.bytes().all(|digit| DIGITS.contains(&digit))
            // The first bit of 65 is no bit of the value, the second is 0.
            && text.bytes().next().is_some_and(|first| b"234567abcdefghij".contains(&first))
    }

    #[test]
    fn a_key_is_pinned_since_a_change_would_publish_again() {
        let id = "0198f2a0-7c3e-7000-8000-000000000001".parse().unwrap();
        let at = "2026-03-01T09:30:00.250Z".parse().unwrap();
        assert_eq!(record_key(id, at), "3mfygiomvtf5u");
    }

    #[test]
    fn digits_are_those_of_the_specification() {
        assert_eq!(encode(0), "2222222222222");
        assert_eq!(encode(31), "222222222222z");
        assert_eq!(encode(u64::MAX >> 1), "bzzzzzzzzzzzz");
    }

    #[test]
    fn times_outside_the_range_still_give_a_key() {
        for millis in [i64::MIN, -1, 0, i64::MAX] {
            assert!(is_tid(&record_key(Uuid::nil(), Timestamp::from_millis(millis))), "{millis}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_a_tid_and_sorts_by_the_second(
            ids in any::<[u128; 2]>(),
            second in 0i64..8_000_000_000,
            later in 1i64..1_000_000,
        ) {
            let key = |id, second: i64| {
                record_key(Uuid::from_u128(id), Timestamp::from_millis(second * 1000))
            };
            let (early, late) = (key(ids[0], second), key(ids[1], second + later));
            prop_assert!(is_tid(&early) && is_tid(&late));
            prop_assert!(early < late);
        }
    }
}
