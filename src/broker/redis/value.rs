//! What the broker writes for a job and for a lease, and how it is read.
//!
//! A job's value is a header of digits and the envelope. Scripts rewrite the header by position
//! and never read JSON:
//!
//! | digits | what |
//! |---|---|
//! | 10 | the generation in which the job is fresh; 0 (none) for a flagged job |
//! | 1 | how often a worker vanished while it ran the job, 9 at most |
//! | 4 | head start in seconds |
//! | 14 | due time in ms since 1970 |

use std::time::Duration;

use serde::de::Error as _;

use crate::broker::{Delivery, Lease, Push, order};
use crate::job::{DecodeError, Envelope, JobId, Queue, Timestamp, Turn};

/// Length of the header.
const HEADER_BYTES: usize = 29;

/// Length of an id, and of what a push says besides.
pub(super) const ID_BYTES: usize = 32;
pub(super) const PLACE_BYTES: usize = 33;

/// Longest span: beyond it a number in a script would lose digits.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The generation of a job that is fresh in none.
pub(super) const FLAGGED: &str = "0000000000";

/// A job's id as a key: 32 hexadecimal digits, shorter than with dashes.
pub(super) fn id(id: JobId) -> String {
    id.as_uuid().simple().to_string()
}

/// A lease's length, or another span of time, for a script.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.min(SPAN_MAX).as_millis()).unwrap_or(u64::MAX)
}

/// A lease's member in the set.
pub(super) fn member(lease: &Lease) -> String {
    format!("{}|{}|{}", lease.id.as_uuid().simple(), lease.token, lease.worker)
}

/// How long a lease's member is, at most.
pub(super) fn member_bytes(lease: &Lease) -> usize {
    const TOKEN_BYTES: usize = 10 + 1 + 20;
    ID_BYTES + 1 + TOKEN_BYTES + 1 + lease.worker.as_str().len()
}

/// The header's head start.
pub(super) fn head_start(envelope: &Envelope) -> String {
    format!("{:04}", order::head_start_s(envelope))
}

/// The header's due time.
pub(super) fn due(envelope: &Envelope) -> String {
    format!("{:014}", order::due_ms(envelope))
}

/// What the push of a job says besides: when it is due and becomes flagged, its head start, and
/// whether it may be left to the ledger.
pub(super) fn place(push: &Push) -> String {
    let Push { envelope, fresh_until, .. } = push;
    format!(
        "{:014}{:014}{:04}{}",
        order::due_ms(envelope),
        order::told_apart(*fresh_until),
        order::head_start_s(envelope),
        u8::from(order::may_wait_elsewhere(envelope)),
    )
}

/// A pushed job's value, fresh in a generation unless it is flagged.
pub(super) fn of(push: &Push, generation: &str) -> Vec<u8> {
    let Push { envelope, flagged, .. } = push;
    let header = format!(
        "{}0{:04}{:014}",
        if *flagged { FLAGGED } else { generation },
        order::head_start_s(envelope),
        order::due_ms(envelope),
    );
    envelope.encode_after(header)
}

/// A due time for the header of a job that is not looked into.
pub(super) fn due_at(time: Timestamp) -> String {
    format!("{:014}", order::told_apart(time))
}

/// The header's generation.
pub(super) fn generation(number: u32) -> String {
    format!("{number:010}")
}

/// A turn as the marks hold it; nothing for none.
pub(super) fn turn(turn: Option<Turn>) -> String {
    turn.map_or_else(String::new, |turn| format!("{} {}", turn.at_ms, id(turn.id)))
}

/// Reads a mark.
pub(super) fn read_turn(text: &str) -> Option<Turn> {
    let (at_ms, id) = text.split_once(' ')?;
    Some(Turn { at_ms: at_ms.parse().ok()?, id: id.parse().ok()? })
}

/// Reads a claimed job's value. What cannot be read is delivered as such, flagged.
pub(super) fn delivery(queue: &Queue, lease: Lease, value: &[u8]) -> Delivery {
    let (header, envelope) = value.split_at(value.len().min(HEADER_BYTES));
    let header = std::str::from_utf8(header)
        .ok()
        .filter(|header| header.len() == HEADER_BYTES)
        .filter(|header| header.bytes().all(|b| b.is_ascii_digit()));
    let fresh_in = header.and_then(|header| header[..10].parse::<u32>().ok());
    let orphaned = header.and_then(|header| header[10..11].parse().ok());
    let envelope = match header {
        Some(_) => Envelope::decode(lease.id, envelope),
        None => Err(DecodeError::Malformed(serde_json::Error::custom("its header is no number"))),
    };
    Delivery {
        queue: queue.clone(),
        flagged: fresh_in != Some(lease.token.generation),
        orphaned: orphaned.unwrap_or(0),
        quarantined: false,
        epoch: 0,
        lease,
        envelope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Token, WorkerId};

    fn read(value: &[u8]) -> Delivery {
        let lease = Lease {
            id: "0198f3a0-0000-7000-8000-000000000001".parse().unwrap(),
            token: Token { generation: 7, sequence: 1 },
            worker: WorkerId::from_text("w"),
        };
        delivery(&Queue::parse("q").unwrap(), lease, value)
    }

    #[test]
    fn a_job_is_fresh_in_one_generation_only() {
        assert!(!read(b"00000000070006000000000000009{}").flagged);
        for flagged in ["0000000000", "0000000006", "0000000008", "9999999999"] {
            let value = format!("{flagged}3006000000000000009{{}}");
            let delivery = read(value.as_bytes());
            assert!(delivery.flagged, "{flagged}");
            assert_eq!(delivery.orphaned, 3);
        }
    }

    /// `trim.lua` reads it there without reading JSON.
    #[test]
    fn behind_its_arguments_and_without_braces_an_envelope_says_where_it_is_recorded() {
        let id: JobId = "0198f3a0-0000-7000-8000-000000000001".parse().unwrap();
        let bytes = br#"{"v":2,"id":"0001","k":"k","args":{"d":"broker"},"m":1,"for":1}"#;
        let mut envelope = Envelope::decode(id, bytes).unwrap();
        let behind = |envelope: &Envelope| {
            let written = envelope.encode();
            written.rsplit_once(r#"{"d":"broker"}"#).unwrap().1.to_owned()
        };
        assert_eq!(behind(&envelope), r#","m":1,"for":1}"#);
        envelope.durability = crate::job::Durability::Broker;
        envelope.account = Some(uuid::Uuid::nil());
        envelope.tenant = crate::job::Tenant::from_uuid(uuid::Uuid::max());
        envelope.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
        let end = behind(&envelope);
        assert!(end.contains(r#","d":"broker","acct":"#), "{end}");
        assert_eq!(end.find(['{', '}']), Some(end.len() - 1), "{end}");
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let id = "0198f3a0-0000-7000-8000-000000000001".parse().unwrap();
        for mark in [Turn::FIRST, Turn { at_ms: -5, id }, Turn { at_ms: 1_760_000_000_000, id }] {
            assert_eq!(read_turn(&turn(Some(mark))), Some(mark));
        }
        assert_eq!(turn(Some(Turn::FIRST)), format!("-99999999999999 {}", "0".repeat(32)));
        for garbage in ["", "1", "x 0", "1 x", "1 0 0"] {
            assert_eq!(read_turn(garbage), None);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        for value in ["", "f", "ää", "0000000007", "0000000007000600000000000000é{}"] {
            let delivery = read(value.as_bytes());
            assert!(delivery.flagged);
            assert!(delivery.envelope.is_err());
        }
        assert!(read(&[0xff; 64]).envelope.is_err());
    }
}
