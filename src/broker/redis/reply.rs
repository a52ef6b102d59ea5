//! Reads what scripts answer. Redis may answer anything; none of it makes us panic.

use std::time::Duration;

use redis::Value;

use super::value;
use crate::broker::{Beyond, Claimed, Delivery, Depth, Error, Lease, Pushed, Renewed};
use crate::job::{Queue, Timestamp, Token, WorkerId};

/// Times are stored with 14 digits.
const LATEST_MS: f64 = 99_999_999_999_999.0;

/// Reads the answer of `claim.lua`.
pub(super) fn claimed(queue: &Queue, worker: &WorkerId, answer: Value) -> Result<Claimed, Error> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(incomplete);
    if count(&next()?)? == 0 {
        let held = text(next()?)?.parse().ok();
        return Err(Error::NeedsGeneration { queue: queue.clone(), held });
    }
    let token = Token { generation: parsed(next()?)?, sequence: parsed(next()?)? };
    let next_due = due(&text(next()?)?);
    let more = count(&next()?)? > 0;
    let dropped = count(&next()?)?;
    if dropped > 0 {
        tracing::warn!(%queue, dropped, "threw out entries that hold no job");
    }
    let quarantined = count(&next()?)? > 0;
    let was_quarantined = count(&next()?)? > 0;
    let beyond = match count(&next()?)? {
        0 => Beyond::Nothing,
        1 => Beyond::More,
        _ => Beyond::Low,
    };
    let now = i64::try_from(count(&next()?)?).unwrap_or(i64::MAX);
    let now = Timestamp::from_millis(now);
    let epoch = parsed(next()?)?;
    let first_probes = count(&next()?)? > 0;
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(answer.len() / 2);
    while let Some(id) = answer.next() {
        let stored = bytes(answer.next().ok_or_else(incomplete)?)?;
        let lease = Lease { id: parsed(id)?, token, worker: worker.clone() };
        let delivery = value::delivery(queue, lease, &stored);
        deliveries.push(Delivery { quarantined: was_quarantined, epoch, ..delivery });
    }
    let generation = token.generation;
    Ok(Claimed {
        deliveries,
        next_due,
        now,
        more,
        quarantined,
        generation,
        beyond,
        epoch,
        first_probes,
    })
}

/// Reads the answer of `held.lua`. A member that is no lease is nobody's.
pub(super) fn leases(worker: &WorkerId, answer: Value) -> Result<Vec<Lease>, Error> {
    let mut answer = list(answer)?.into_iter();
    let mut leases = Vec::with_capacity(answer.len() / 2);
    while let (Some(id), Some(token)) = (answer.next(), answer.next()) {
        if let (Ok(id), Ok(token)) = (parsed(id), parsed(token)) {
            leases.push(Lease { id, token, worker: worker.clone() });
        }
    }
    Ok(leases)
}

/// Reads the answer to `TIME`: seconds, and microseconds in the present one.
pub(super) fn time(answer: Value) -> Result<Timestamp, Error> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || parsed::<i64>(answer.next().ok_or_else(incomplete)?);
    let (seconds, micros) = (next()?, next()?);
    Ok(Timestamp::from_millis(seconds.saturating_mul(1_000).saturating_add(micros / 1_000)))
}

/// Reads the answer of `renew.lua` to a question about so many leases.
pub(super) fn renewed(answer: Value, expected: usize) -> Result<Renewed, Error> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(incomplete);
    let generation = text(next()?)?.parse().ok();
    Ok(Renewed { generation, held: verdicts(next()?, expected)? })
}

/// Reads a sorted set's score; one that is no time is no time to wait for.
pub(super) fn due(score: &str) -> Option<Timestamp> {
    let due: f64 = score.parse().ok()?;
    // In range and whole after this, so nothing is cut off.
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 14 digits")]
    due.is_finite().then(|| Timestamp::from_millis(due.clamp(0.0, LATEST_MS) as i64))
}

/// Reads the answer of `depth.lua`.
pub(super) fn depth(answer: Value) -> Result<Depth, Error> {
    let answer = list(answer)?;
    let number = |at: usize| count(answer.get(at).ok_or_else(incomplete)?);
    Ok(Depth {
        ready: number(0)?,
        delayed: number(1)?,
        running: number(2)?,
        oldest_ready_age: Duration::from_millis(number(3)?),
        beyond: number(4)? > 0,
    })
}

/// Reads the answer of `push.lua` for `expected` jobs: one [`Pushed`] each, and how many jobs are
/// too many now.
pub(super) fn pushed(answer: Value, expected: usize) -> Result<(Vec<Pushed>, u64, String), Error> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(incomplete);
    let each = bytes(next()?)?;
    let excess = count(&next()?)?;
    let generation = text(next()?)?;
    if each.len() != expected {
        return Err(Error::Protocol(format!("{} answers to {expected} pushes", each.len())));
    }
    let each = each.into_iter().map(|byte| match byte {
        b'1' => Pushed::Added,
        b'2' => Pushed::Left,
        _ => Pushed::Held,
    });
    Ok((each.collect(), excess, generation))
}

/// A list.
pub(super) fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(nonsense("a list", &other)),
    }
}

/// A byte string.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>, Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(nonsense("a string", &other)),
    }
}

/// A text.
pub(super) fn text(value: Value) -> Result<String, Error> {
    String::from_utf8(bytes(value)?).map_err(|_| Error::Protocol("a string is no UTF-8".into()))
}

/// A text that holds a value of type `T`.
pub(super) fn parsed<T: std::str::FromStr>(value: Value) -> Result<T, Error> {
    let text = text(value)?;
    text.parse().map_err(|_| Error::Protocol(format!("unexpected {:?}", shortened(&text))))
}

/// A count.
pub(super) fn count(value: &Value) -> Result<u64, Error> {
    match value {
        Value::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        other => Err(nonsense("a number", other)),
    }
}

/// One `1` or `0` for each of `expected` things asked.
pub(super) fn verdicts(value: Value, expected: usize) -> Result<Vec<bool>, Error> {
    let bytes = bytes(value)?;
    if bytes.len() != expected {
        return Err(Error::Protocol(format!("{} answers to {expected} questions", bytes.len())));
    }
    Ok(bytes.into_iter().map(|byte| byte == b'1').collect())
}

/// The error for an answer that lacks something.
pub(super) fn incomplete() -> Error {
    Error::Protocol("an answer is too short".into())
}

fn nonsense(expected: &str, got: &Value) -> Error {
    Error::Protocol(format!("expected {expected}, got {:?}", shortened(&format!("{got:?}"))))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
