//! Reads what a request says: body, query and ids, and names what is wrong with them.

use std::time::Duration;

use axum::body::Body;
use axum::body::HttpBody as _;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use postworks::job::{FieldError, TraceParent};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::app::types::Object;

/// So much of a body that is too long is read and thrown away, for the answer to arrive: clients
/// that still write when the connection closes never see it.
const DRAIN_BYTES_MAX: usize = 32 << 20;
/// A body that has not arrived by then is not waited for: it is the caller who is slow.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest key in the header Idempotency-Key.
pub(super) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest query string.
const QUERY_BYTES_MAX: usize = 4_096;

/// The request's JSON document.
pub(super) async fn document<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Problem> {
    decode(&bytes(request, limit).await?)
}

/// The bytes of the request's JSON document.
pub(super) async fn bytes(request: Request, limit: usize) -> Result<Vec<u8>, Problem> {
    let is_json = content_is_json(request.headers());
    let bytes = raw(request, limit, BODY_TIMEOUT).await?;
    if !is_json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON, with the header content-type: application/json",
        ));
    }
    Ok(bytes)
}

/// The bytes of the request, which must have arrived within `timeout`.
pub(super) async fn raw(
    request: Request,
    limit: usize,
    timeout: Duration,
) -> Result<Vec<u8>, Problem> {
    let too_long = || {
        let detail = format!("the body is longer than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    // Nobody reads so much to be polite, and a caller that asks before it sends is told at once.
    let announced = announced_length(request.headers());
    let asks = request.headers().contains_key(header::EXPECT);
    if announced > if asks { limit } else { DRAIN_BYTES_MAX } {
        return Err(too_long());
    }
    let read = tokio::time::timeout(timeout, body(request.into_body(), limit)).await;
    match read {
        Ok(read) => read?.ok_or_else(too_long),
        Err(_) if announced > limit => Err(too_long()),
        Err(_) => {
            let wait = timeout.as_secs();
            let detail = format!("the body did not arrive within {wait} s; nothing was done");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// The header Idempotency-Key, if it is there.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "idempotency-key";
    let wrong = |words: String| Problem::fields(vec![FieldError::new("Idempotency-Key", words)]);
    let mut values = headers.get_all(NAME).iter();
    let Some(key) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("is there twice".to_owned()));
    }
    match key.to_str() {
        Ok(text) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) => Ok(Some(text.into())),
        _ => {
            let most = IDEMPOTENCY_KEY_BYTES_MAX;
            Err(wrong(format!("must be 1 to {most} bytes of plain characters")))
        }
    }
}

/// The caller's trace. What is no `traceparent`, or is there twice, is ignored, as W3C Trace Context
/// wants it: no request fails for the sake of its trace.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    let trace = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(trace)
}

fn content_is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// What the header says; 0 if it says nothing.
fn announced_length(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// The bytes, or `None` if there are more than `limit`.
async fn body(body: Body, limit: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off"));
        };
        length += chunk.len();
        if length <= limit {
            bytes.extend_from_slice(&chunk);
        } else if length > DRAIN_BYTES_MAX {
            break;
        }
    }
    Ok((length <= limit).then_some(bytes))
}

/// First whether it is JSON at all (400), then whether it says what it should (422).
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed = |error: &serde_json::Error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
    };
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| malformed(&error))?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(document) =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            if error.inner().is_data() {
                Problem::fields(vec![FieldError::of_json(&error)])
            } else {
                malformed(error.inner())
            }
        })?;
    Ok(document)
}

/// The request's query, strictly: repeated names are faults, and so are unknown ones, unless the type
/// takes them.
pub(super) fn query<T: DeserializeOwned>(raw: Option<&str>) -> Result<T, Problem> {
    query_within(raw, QUERY_BYTES_MAX)
}

/// The same, of another length.
pub(super) fn query_within<T: DeserializeOwned>(
    raw: Option<&str>,
    bytes_max: usize,
) -> Result<T, Problem> {
    let raw = raw.unwrap_or("");
    if raw.len() > bytes_max {
        let detail = format!("the query is longer than {bytes_max} bytes");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, detail));
    }
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(raw.as_bytes()) {
        let number = (name == "limit").then(|| value.parse::<i64>().ok()).flatten();
        let value = number.map_or_else(|| Value::from(value.as_ref()), Value::from);
        if fields.insert(name.to_string(), value).is_some() {
            return Err(Problem::fields(vec![FieldError::new(
                format!("/{name}"),
                "is there twice",
            )]));
        }
    }
    serde_path_to_error::deserialize(Value::Object(fields))
        .map_err(|error| Problem::fields(vec![FieldError::of_json(&error)]))
}

/// A path's segment, if it is text.
pub(super) type IdSegment = Result<Path<String>, PathRejection>;

/// An id in a path.
pub(super) fn id<T: std::str::FromStr>(what: &str, segment: IdSegment) -> Result<T, Problem> {
    let text = segment.map_or_else(|_| String::new(), |Path(text)| text);
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        let detail = format!("there is no {what} {shown:?}: an id is a UUID");
        Problem::new(StatusCode::NOT_FOUND, detail)
    })
}

/// The request's JSON document, where all of it may be left out.
pub(super) async fn optional<T: DeserializeOwned + Default>(
    request: Request,
    limit: usize,
) -> Result<T, Problem> {
    if request.body().is_end_stream() {
        return Ok(T::default());
    }
    document(request, limit).await
}

/// A name in a path, whatever it is.
pub(super) fn name(segment: IdSegment) -> String {
    segment.map_or_else(|_| String::new(), |Path(text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::types::{EnqueueBulk, EnqueueJob, JobsQuery};

    fn wrong<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (u16, String) {
        let problem = decode::<T>(text.as_bytes()).unwrap_err();
        (
            problem.status,
            problem.errors.first().map(|fault| fault.field.clone()).unwrap_or_default(),
        )
    }

    #[test]
    fn what_is_no_json_is_told_from_what_says_the_wrong_thing() {
        for (text, status, field) in [
            ("", 400, ""),
            ("{", 400, ""),
            ("{\"kind\":1} x", 400, ""),
            ("{\"kind\":\"\u{0}\"}", 400, ""),
            ("[]", 422, ""),
            ("null", 422, ""),
            ("{}", 422, "/kind"),
            (r#"{"kind":1}"#, 422, "/kind"),
            (r#"{"kind":"a","colour":1}"#, 422, "/colour"),
            (r#"{"kind":"a","priority":-1}"#, 422, "/priority"),
            (r#"{"kind":"a","run_at":"soon"}"#, 422, "/run_at"),
        ] {
            assert_eq!(wrong::<EnqueueJob>(text), (status, field.to_owned()), "{text}");
        }
        let bulk = r#"{"jobs":[{"kind":"a"},{"kind":"b","a/b":1}]}"#;
        assert_eq!(wrong::<EnqueueBulk>(bulk), (422, "/jobs/1/a~1b".to_owned()));
        let bulk = r#"{"jobs":[{"kind":"a"},{}]}"#;
        assert_eq!(wrong::<EnqueueBulk>(bulk), (422, "/jobs/1/kind".to_owned()));
    }

    #[test]
    fn bytes_that_are_no_text_and_depth_without_end_are_refused() {
        let bytes = b"{\"kind\":\"\xff\"}";
        assert_eq!(decode::<EnqueueJob>(bytes).unwrap_err().status, 400);
        let deep = format!("{{\"kind\":\"a\",\"args\":{}", "[".repeat(60_000));
        assert_eq!(wrong::<EnqueueJob>(&deep).0, 400);
        let deep = format!("{{\"kind\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(wrong::<EnqueueJob>(&deep).0, 422);
    }

    #[test]
    fn a_query_is_read_strictly() {
        let query = |raw: &str| query::<JobsQuery>(Some(raw));
        assert_eq!(query("limit=3&state=dead").unwrap().limit, Some(3));
        for (raw, field) in [
            ("limt=3", "/limt"),
            ("limit=x", "/limit"),
            ("limit=-1", "/limit"),
            ("kind=a&kind=b", "/kind"),
        ] {
            assert_eq!(query(raw).unwrap_err().errors[0].field, field, "{raw}");
        }
    }
}
