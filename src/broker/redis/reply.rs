//! Reads what scripts answer. Redis may answer anything; none of it makes us panic.

use redis::Value;

use crate::broker::Error;

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
