//! How an envelope is written, in a format for each generation of programs.
//!
//! Names are short, and what follows from the job's id or from another field is left out, since
//! many of them lie in memory: a broker's allocator has few sizes, and each one less is a quarter.
//!
//! | format | what is new |
//! |---|---|
//! | 1 | `id`, `kind`, `kv`, `args`, `a`, `m`, `p`, `run`, `born`, `exp`, `d`, `acct`, `t`, `tp` |
//! | 2 | of `id` the last four digits: the envelope's key says the rest; `k` for `kind`; `kv` if not 1; `born` if the id was not made then; `run` if that is another time; `for` instead of `exp`, counted from when it was enqueued |
//! | 3 | `s`: every run begins with a stamp in the ledger. Only such jobs are written in it, so that a program which does not know of it leaves them to newer ones |

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{DecodeError, Durability, Envelope, JobId, Kind, Tenant, Timestamp, TraceParent};

/// The newest format. Every one from 1 on is read, for ever.
const FORMAT: u64 = 3;
/// What most jobs are written in: all of it is known to the programs before this one.
const FORMAT_OF_MOST: u64 = 2;

/// About what an envelope takes besides its arguments, to be written without growing.
const BESIDES_ARGS_BYTES: usize = 128;

#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    id: &'a str,
    k: &'a Kind,
    #[serde(skip_serializing_if = "is_one")]
    kv: u16,
    args: &'a RawValue,
    #[serde(skip_serializing_if = "is_zero")]
    a: u32,
    m: u32,
    #[serde(skip_serializing_if = "is_zero")]
    p: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<i64>,
    r#for: i64,
    /// Scripts look for it behind the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<Durability>,
    #[serde(skip_serializing_if = "Option::is_none", with = "uuid::serde::simple::option")]
    acct: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none", with = "uuid::serde::simple::option")]
    t: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tp: Option<TraceParent>,
    #[serde(skip_serializing_if = "is_false")]
    s: bool,
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u64,
    id: &'a str,
    #[serde(alias = "kind")]
    k: Kind,
    #[serde(default = "one")]
    kv: u16,
    args: Box<RawValue>,
    #[serde(default)]
    a: u32,
    m: u32,
    #[serde(default)]
    p: u32,
    run: Option<i64>,
    born: Option<i64>,
    exp: Option<i64>,
    r#for: Option<i64>,
    #[serde(default = "ledger")]
    d: Durability,
    acct: Option<Uuid>,
    #[serde(default)]
    t: Tenant,
    tp: Option<TraceParent>,
    #[serde(default)]
    s: bool,
}

/// Writes an envelope behind a header.
pub(super) fn write(envelope: &Envelope, header: String) -> Vec<u8> {
    let (made, born) = (envelope.id.made_at(), envelope.created_at);
    let named = envelope.id.to_string();
    let millis = |time: Timestamp| time.as_millis();
    let written = Written {
        v: if envelope.stamped_first { FORMAT } else { FORMAT_OF_MOST },
        id: last_digits(&named),
        k: &envelope.kind,
        kv: envelope.kind_version,
        args: &envelope.args,
        a: envelope.failed_attempts,
        m: envelope.max_attempts,
        p: envelope.priority_s,
        run: (envelope.run_at != born).then_some(millis(envelope.run_at)),
        born: (born != made).then_some(millis(born)),
        r#for: millis(envelope.expires_at).saturating_sub(millis(born)),
        d: (envelope.durability != Durability::Ledger).then_some(envelope.durability),
        acct: envelope.account,
        t: (!envelope.tenant.is_default()).then_some(envelope.tenant.as_uuid()),
        tp: envelope.trace,
        s: envelope.stamped_first,
    };
    let mut bytes = header.into_bytes();
    bytes.reserve(BESIDES_ARGS_BYTES + envelope.args.get().len());
    match serde_json::to_writer(&mut bytes, &written) {
        Ok(()) => bytes,
        // Cannot be: no map keys, no foreign Serialize, all names plain.
        Err(_) => Vec::new(),
    }
}

pub(super) fn read(id: JobId, bytes: &[u8]) -> Result<Envelope, DecodeError> {
    let read = match serde_json::from_slice::<Read>(bytes) {
        Ok(read) if read.v <= FORMAT => read,
        // A newer format may have other fields, too.
        read => match serde_json::from_slice(bytes) {
            Ok(Head { v }) if v > FORMAT => return Err(DecodeError::Newer(v)),
            _ => read?,
        },
    };
    let named = id.to_string();
    if read.id != if read.v == 1 { &named } else { last_digits(&named) } {
        return Err(malformed("it is another job's"));
    }
    let born = read.born.map_or(id.made_at(), Timestamp::from_millis);
    let Some(expires_at) = read
        .exp
        .or_else(|| read.r#for.map(|ms| born.as_millis().saturating_add(ms)))
        .map(Timestamp::from_millis)
    else {
        return Err(malformed("it does not say until when it is of use"));
    };
    Ok(Envelope {
        id,
        kind: read.k,
        kind_version: read.kv,
        args: read.args,
        failed_attempts: read.a,
        max_attempts: read.m,
        priority_s: read.p,
        run_at: read.run.map_or(born, Timestamp::from_millis),
        created_at: born,
        expires_at,
        durability: read.d,
        account: read.acct,
        tenant: read.t,
        trace: read.tp,
        stamped_first: read.s,
    })
}

/// Enough to tell that a job was taken for another, which no script should do.
fn last_digits(id: &str) -> &str {
    id.get(id.len().saturating_sub(4)..).unwrap_or(id)
}

/// What every format has: its number.
#[derive(Deserialize)]
struct Head {
    v: u64,
}

fn malformed(why: &str) -> DecodeError {
    DecodeError::Malformed(serde::de::Error::custom(why))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(number: &u16) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn one() -> u16 {
    1
}

fn ledger() -> Durability {
    Durability::Ledger
}

#[cfg(test)]
mod tests {
    use super::super::ENVELOPE_BYTES_MAX;
    use super::*;
    use proptest::prelude::*;

    /// Kept for ever: what programs already running have written must decode.
    const FORMAT_1: &str = include_str!("fixtures/envelope_1.json").trim_ascii_end();
    const FORMAT_2: &str = include_str!("fixtures/envelope_2.json").trim_ascii_end();
    const FORMAT_3: &str = include_str!("fixtures/envelope_3.json").trim_ascii_end();

    fn id() -> JobId {
        "0198f3a0-0000-7000-8000-000000000001".parse().unwrap()
    }

    #[test]
    fn an_envelope_of_every_format_ever_written_still_decodes() {
        let envelope = Envelope::decode(id(), FORMAT_1.as_bytes()).unwrap();
        assert_eq!(envelope.attempt(), 3);
        assert_eq!(envelope.durability, Durability::Ledger);
        assert_eq!(envelope.expires_at.as_millis(), 1_760_086_400_000);
        assert_eq!(envelope.encode(), FORMAT_2, "and is written like this today");
        let again = Envelope::decode(id(), FORMAT_2.as_bytes()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{envelope:?}"));
        let stamped = Envelope { stamped_first: true, ..envelope };
        assert_eq!(stamped.encode(), FORMAT_3, "only newer programs run such a job");
        let again = Envelope::decode(id(), FORMAT_3.as_bytes()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{stamped:?}"));
    }

    #[test]
    fn what_follows_from_the_id_is_not_written() {
        let mut envelope = Envelope::decode(id(), FORMAT_1.as_bytes()).unwrap();
        envelope.created_at = id().made_at();
        envelope.run_at = envelope.created_at;
        let written = envelope.encode();
        assert!(!written.contains("run") && !written.contains("born"), "{written}");
        let again = Envelope::decode(id(), written.as_bytes()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{envelope:?}"));
    }

    #[test]
    fn a_newer_format_is_told_from_garbage() {
        let read = |bytes: &[u8]| Envelope::decode(id(), bytes);
        let newer = FORMAT_2.replacen("\"v\":2", "\"v\":4", 1);
        assert!(matches!(read(newer.as_bytes()), Err(DecodeError::Newer(4))));
        for other in [r#"{"v":4,"job":"elsewhere"}"#, r#"{"id":{"new":1},"v":4}"#] {
            assert!(matches!(read(other.as_bytes()), Err(DecodeError::Newer(4))));
        }
        assert!(matches!(read(br#"{"v":70000}"#), Err(DecodeError::Newer(70_000))));
        assert!(matches!(read(br#"{"v":1,"job":"elsewhere"}"#), Err(DecodeError::Malformed(_))));
        assert!(matches!(read(b"garbage"), Err(DecodeError::Malformed(_))));
        let long = vec![b' '; ENVELOPE_BYTES_MAX + 1];
        assert!(matches!(read(&long), Err(DecodeError::TooLong(_))));
    }

    #[test]
    fn another_jobs_envelope_is_refused() {
        let other = "0198f3a0-0000-7000-8000-000000000002".parse().unwrap();
        for format in [FORMAT_1, FORMAT_2, FORMAT_3] {
            let read = Envelope::decode(other, format.as_bytes());
            assert!(matches!(read, Err(DecodeError::Malformed(_))), "{format}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::decode(id(), &bytes);
        }

        #[test]
        fn no_times_make_the_writer_panic(times in any::<(i64, i64, i64)>()) {
            let mut envelope = Envelope::decode(id(), FORMAT_2.as_bytes()).unwrap();
            let (run, born, exp) = times;
            envelope.run_at = Timestamp::from_millis(run);
            envelope.created_at = Timestamp::from_millis(born);
            envelope.expires_at = Timestamp::from_millis(exp);
            prop_assert!(Envelope::decode(id(), envelope.encode().as_bytes()).is_ok());
        }

        #[test]
        fn an_envelope_cut_anywhere_is_refused(at in 0..FORMAT_2.len()) {
            prop_assert!(Envelope::decode(id(), &FORMAT_2.as_bytes()[..at]).is_err());
        }
    }
}
