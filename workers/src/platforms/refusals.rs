//! What a platform's answer is to its client, and what becomes of the job: for tests of the tables.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Attempt, ErrorClass, JobError, Outcome, RetryPolicy, SnoozeReason, decide};

use super::answer::Answer;
use super::call::Call;
use super::meter::Took;
use super::{Descriptor, Recourse};

/// Headers of an answer.
pub(super) type Headers<'a> = &'a [(&'a str, &'a str)];

/// A whole answer.
pub(super) fn answer(call: Call<'_>, status: u16, headers: Headers<'_>, body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect::<HeaderMap>(),
        body: body.as_bytes().to_vec().into(),
        took: Took::new(call, Duration::ZERO),
        at: SystemClock.now(),
    }
}

/// The class of an error, and what becomes of a job at its first attempt: `invalid, dead`, or
/// `rate_limited, waits 120 s`.
pub(super) fn verdict(error: &JobError) -> String {
    let now = SystemClock.now();
    let attempt = Attempt {
        number: 1,
        max: 8,
        expires_at: now.after(Duration::from_secs(30 * 24 * 60 * 60)),
        now,
        jitter: 0.5,
    };
    let outcome = match decide(Err(error), attempt, &RetryPolicy::DEFAULT) {
        Outcome::Snooze { why: SnoozeReason::NeedsReauth, .. } => "parked".to_owned(),
        Outcome::Snooze { until, .. } => {
            format!("waits {:.0} s", until.since(now).as_secs_f64().ceil())
        }
        other => other.as_str().to_owned(),
    };
    format!("{}, {outcome}", error.class().as_str())
}

/// The same where a request that may have been applied is looked up by the next run, which is as good as
/// a key: `unknown, looked up`.
pub(super) fn verdict_on(descriptor: &Descriptor, error: &JobError) -> String {
    let recourse = descriptor.recourse(Duration::ZERO, false);
    let is_open = matches!(error.class(), ErrorClass::Unknown { .. });
    if is_open && recourse == Recourse::Reconcile {
        return "unknown, looked up".to_owned();
    }
    verdict(error)
}

/// So many seconds from now as seconds since 1970, as headers write it.
pub(super) fn epoch_seconds(from_now: u64) -> String {
    let at = SystemClock.now().after(Duration::from_secs(from_now));
    at.as_millis().div_euclid(1_000).to_string()
}

#[test]
fn a_verdict_says_the_class_and_what_becomes_of_the_job() {
    let said = |class| verdict(&JobError::new(class, "words"));
    assert_eq!(said(ErrorClass::AuthRevoked), "auth_revoked, parked");
    assert_eq!(said(ErrorClass::Unknown { repeatable: true }), "unknown, retry");
    assert_eq!(said(ErrorClass::Unknown { repeatable: false }), "unknown, dead");
}
