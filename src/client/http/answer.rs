//! What an answer of the API means for whoever asked.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::repeat::{Again, Miss};
use crate::job::FieldError;

/// Where the API does not say when.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The header Retry-After, if it is a number of seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// How the API says no: RFC 9457.
#[derive(Debug, Deserialize)]
struct Problem {
    /// Told from other JSON by it.
    #[serde(rename = "type")]
    kind: String,
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
    #[serde(default)]
    cause: Option<String>,
    /// What was asked may have been done all the same.
    #[serde(default)]
    unsure: bool,
}

impl Answer {
    /// What it says. `keyed` requests may meet themselves under way.
    pub(super) fn read<T: DeserializeOwned>(&self, keyed: bool) -> Result<T, Miss> {
        if self.status.is_success() {
            return serde_json::from_slice(&self.body)
                .map_err(|error| strange(&format!("its answer cannot be read: {error}")));
        }
        let problem = serde_json::from_slice::<Problem>(&self.body).ok();
        let problem = problem.filter(|problem| problem.kind.starts_with("urn:postworks:"));
        Err(match problem {
            Some(problem) => self.refused(problem, keyed),
            None => self.refused_by_another(),
        })
    }

    /// The API itself says no.
    fn refused(&self, problem: Problem, keyed: bool) -> Miss {
        let Problem { detail, errors, cause, unsure, .. } = problem;
        let retry_after = self.retry_after.unwrap_or(RETRY_AFTER);
        match self.status.as_u16() {
            400 | 413 | 414 | 415 | 422 | 431 => never(Error::Invalid { detail, errors }),
            401 => never(Error::Unauthorized(detail)),
            403 => never(Error::Forbidden(detail)),
            404 => never(Error::NotFound(detail)),
            409 if keyed => Miss {
                error: Error::Unavailable(detail),
                perhaps_done: true,
                again: Again::After(retry_after),
            },
            409 => never(Error::Conflict(detail)),
            408 => soon(detail, false),
            429 => Miss {
                error: Error::RateLimited { retry_after, detail },
                perhaps_done: false,
                again: Again::After(retry_after),
            },
            503 => Miss {
                error: Error::Busy { retry_after, cause: cause.unwrap_or(detail) },
                perhaps_done: unsure,
                again: Again::After(retry_after),
            },
            500..=599 => soon(detail, true),
            status => strange(&format!("status {status}: {detail}")),
        }
    }

    /// Something before the API says no, or it is another server.
    fn refused_by_another(&self) -> Miss {
        let status = self.status;
        let words = format!("something before the API answered {status}");
        match status.as_u16() {
            401 => never(Error::Unauthorized(words)),
            403 => never(Error::Forbidden(words)),
            413 | 414 | 431 => never(Error::Invalid { detail: words, errors: Vec::new() }),
            429 => Miss {
                error: Error::RateLimited {
                    retry_after: self.retry_after.unwrap_or(RETRY_AFTER),
                    detail: words,
                },
                perhaps_done: false,
                again: Again::After(self.retry_after.unwrap_or(RETRY_AFTER)),
            },
            300..=399 => strange(&format!("it redirects ({status}); give the address it leads to")),
            // A gateway does not know how far it got.
            408 | 500..=599 => Miss {
                again: self.retry_after.map_or(Again::Soon, Again::After),
                ..soon(words, true)
            },
            _ => strange(&format!("status {status}")),
        }
    }
}

fn never(error: Error) -> Miss {
    Miss { error, perhaps_done: false, again: Again::Never }
}

fn soon(words: String, perhaps_done: bool) -> Miss {
    Miss { error: Error::Unavailable(words), perhaps_done, again: Again::Soon }
}

pub(super) fn strange(why: &str) -> Miss {
    never(Error::Protocol(format!("what answers is no Postworks API: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(status: u16, retry_after: Option<u64>, body: &str, keyed: bool) -> Miss {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
            body: body.as_bytes().to_vec(),
        };
        answer.read::<Value>(keyed).unwrap_err()
    }

    fn problem(status: u16, more: &Value) -> String {
        let mut problem = json!({
            "type": "urn:postworks:problem:x", "title": "X", "status": status, "detail": "why",
            "errors": [],
        });
        problem.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        problem.to_string()
    }

    #[test]
    fn what_the_api_says_of_the_request_is_final_and_keeps_its_fields() {
        let body = problem(422, &json!({"errors": [{"field": "/kind", "message": "is missing"}]}));
        let miss = read(422, None, &body, true);
        let Error::Invalid { errors, .. } = &miss.error else { panic!("{miss:?}") };
        assert_eq!(errors, &[FieldError::new("/kind", "is missing")]);
        assert_eq!((miss.again, miss.perhaps_done), (Again::Never, false));
        assert_eq!(miss.error.to_string(), "/kind: is missing");
        for (status, keyed) in [(400, true), (401, true), (403, true), (404, false), (409, false)] {
            let miss = read(status, None, &problem(status, &json!({})), keyed);
            assert_eq!((miss.again, miss.perhaps_done), (Again::Never, false), "{status}");
        }
    }

    #[test]
    fn a_refusal_of_the_api_leaves_nothing_open_unless_it_says_so() {
        let seconds = |s| Again::After(Duration::from_secs(s));
        let busy = read(503, Some(30), &problem(503, &json!({"cause": "depth: 9"})), true);
        assert!(matches!(&busy.error, Error::Busy { cause, .. } if cause == "depth: 9"));
        assert_eq!((busy.again, busy.perhaps_done), (seconds(30), false));
        let unsure = read(503, Some(30), &problem(503, &json!({"unsure": true})), true);
        assert_eq!((unsure.again, unsure.perhaps_done), (seconds(30), true));
        let often = read(429, Some(2), &problem(429, &json!({})), true);
        assert_eq!((often.again, often.perhaps_done), (seconds(2), false));
        let slow = read(408, None, &problem(408, &json!({})), true);
        assert_eq!((slow.again, slow.perhaps_done), (Again::Soon, false));
    }

    #[test]
    fn a_request_that_meets_itself_under_way_waits_for_itself() {
        let miss = read(409, Some(1), &problem(409, &json!({})), true);
        assert_eq!(miss.again, Again::After(Duration::from_secs(1)));
        assert!(miss.perhaps_done);
    }

    #[test]
    fn a_gateway_that_gives_up_leaves_open_what_became_of_it() {
        for status in [500, 502, 503, 504, 408] {
            for body in ["", "<html>", r#"{"detail":"x"}"#] {
                let miss = read(status, None, body, true);
                assert_eq!((miss.again, miss.perhaps_done), (Again::Soon, true), "{status} {body}");
            }
        }
        assert_eq!(read(503, Some(7), "", true).again, Again::After(Duration::from_secs(7)));
    }

    #[test]
    fn what_is_no_postworks_api_is_told_from_one() {
        for (status, body) in [(200, "<html>"), (302, ""), (404, "no page"), (405, "{}"), (418, "")]
        {
            let miss = read(status, None, body, true);
            assert!(matches!(miss.error, Error::Protocol(_)), "{status}: {miss:?}");
            assert_eq!(miss.again, Again::Never);
        }
    }
}
