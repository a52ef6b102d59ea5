//! What each refusal of X's means.

use postworks::job::RateScope;

use super::*;
use crate::platforms::answer::Verdict;
use crate::platforms::call::Call;
use crate::platforms::refusals::{self, Headers, epoch_seconds, verdict_on};

/// The API that tokens come from.
const TOKENS: Api = Api { refusals: &errors::TOKENS, ..API };
const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
/// Steps that X's own table is about; tokens come from the OAuth client.
const STEPS: [Step; 3] = [Step::Upload, Step::Publish, Step::Read];

fn answer(step: Step, status: u16, headers: Headers<'_>, body: &Value) -> JobError {
    answer_by(API, step, status, headers, body)
}

fn answer_by(api: Api, step: Step, status: u16, headers: Headers<'_>, body: &Value) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let account = Uuid::nil();
    let call = Call { api, step, account, secrets: &secrets };
    let answer = refusals::answer(call, status, headers, &body.to_string());
    answer.value::<Value>(call).unwrap_err()
}

fn class(step: Step, status: u16, body: &Value) -> ErrorClass {
    answer(step, status, &[], body).class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Upload};
    let duplicate = "You are not allowed to create a Tweet with duplicate content.";
    let rows: &[(&[Step], u16, Value, ErrorClass)] = &[
        (&STEPS, 401, problem("", "Unauthorized"), EXPIRED),
        (&STEPS, 401, coded(32), EXPIRED),
        (&STEPS, 403, problem("user-suspended", "The account is suspended"), REVOKED),
        (&STEPS, 403, coded(64), REVOKED),
        (&STEPS, 403, coded(326), REVOKED),
        (&STEPS, 403, problem("", "this account is temporarily locked. Please log in"), REVOKED),
        // Taken: only whoever does not look for it gets this far.
        (&[Publish], 403, problem("", duplicate), INVALID),
        (&[Publish], 403, coded(187), INVALID),
        (&STEPS, 403, problem("client-forbidden", "enroll your app"), INVALID),
        (&STEPS, 403, problem("", "You are not permitted to perform this action."), INVALID),
        (&STEPS, 400, problem("invalid-request", "One or more parameters"), INVALID),
        (
            &[Publish],
            400,
            json!({ "errors": [{ "message": "Your media IDs are invalid." }] }),
            INVALID,
        ),
        (&STEPS, 404, problem("resource-not-found", "Could not find"), INVALID),
        (&[Publish], 503, problem("", "Service Unavailable"), UNKNOWN),
        (&[Publish], 500, json!({}), UNKNOWN),
        (&[Upload, Read], 503, problem("", "Service Unavailable"), TRANSIENT),
        (&[Upload, Read], 500, json!({}), TRANSIENT),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, body), *expected, "{step:?}: {status} {body}");
        }
    }
}

#[test]
fn what_a_limit_asks_for_is_kept_to() {
    let wait = |status, headers: &[(&str, &str)], body: &Value| {
        let error = answer(Step::Publish, status, headers, body);
        let ErrorClass::RateLimited { until, scope } = error.class() else { panic!("{error:?}") };
        (until.since(SystemClock.now()).as_secs().div_ceil(60), scope)
    };
    let in_ten_minutes = (SystemClock.now().as_millis() / 1_000 + 600).to_string();
    let quarter = ("x-rate-limit-reset", in_ten_minutes.as_str());
    let blank = problem("", "Too Many Requests");
    let empty = [quarter, ("x-rate-limit-remaining", "0")];
    assert_eq!(wait(429, &empty, &blank), (10, RateScope::Account));
    let of_the_app = [
        ("x-rate-limit-remaining", "99"),
        ("x-app-limit-24hour-reset", in_ten_minutes.as_str()),
        ("x-app-limit-24hour-remaining", "0"),
    ];
    assert_eq!(wait(429, &of_the_app, &blank), (10, RateScope::App));
    // The month's cap: the quarter of an hour has much left, and says nothing of it.
    let much = [quarter, ("x-rate-limit-remaining", "39999")];
    let capped = problem("usage-capped", "Usage cap exceeded: Monthly product cap");
    assert_eq!(wait(429, &much, &capped), (60, RateScope::App));
    assert_eq!(wait(403, &[], &capped), (60, RateScope::App));
    assert_eq!(wait(402, &much, &problem("credits", "no credits")), (60, RateScope::App));
    assert_eq!(
        wait(429, &[], &blank),
        (1, RateScope::Account),
        "half a minute, if nothing is said"
    );
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, Upload};
    let reset = epoch_seconds(600);
    let used_up: Headers<'_> =
        &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", reset.as_str())];
    let blank = problem("", "Too Many Requests");
    let suspended = problem("user-suspended", "The account is suspended");
    let capped = problem("usage-capped", "Usage cap exceeded: Monthly product cap");
    let broken = problem("", "Service Unavailable");
    let rows: &[(Step, u16, Headers<'_>, &Value, &str)] = &[
        (Publish, 429, used_up, &blank, "rate_limited, waits 600 s"),
        (Read, 429, &[], &blank, "rate_limited, waits 30 s"),
        (Publish, 402, &[], &problem("credits", "no credits"), "rate_limited, waits 3600 s"),
        (Publish, 403, &[], &capped, "rate_limited, waits 3600 s"),
        (Publish, 401, &[], &problem("", "Unauthorized"), "auth_expired, retry"),
        (Publish, 403, &[], &suspended, "auth_revoked, parked"),
        (Publish, 403, &[], &problem("client-forbidden", "enroll your app"), "invalid, dead"),
        (Publish, 503, &[], &broken, "unknown, looked up"),
        (Upload, 503, &[], &broken, "transient, retry"),
        // A success that names no post.
        (Publish, 201, &[], &json!([]), "unknown, looked up"),
    ];
    for (step, status, headers, body, expected) in rows {
        let account = Uuid::nil();
        let call = Call { api: API, step: *step, account, secrets: &[] };
        let answer = refusals::answer(call, *status, headers, &body.to_string());
        let read = answer.value::<Envelope<Created>>(call);
        let error = read.err().unwrap();
        assert_eq!(verdict_on(&DESCRIPTOR, &error), *expected, "{step:?}: {status} {body}");
    }
    let refused = |words: &str| {
        let body = json!({ "error": "invalid_request", "error_description": words });
        let error = answer_by(TOKENS, Step::Refresh, 400, &[], &body);
        verdict_on(&DESCRIPTOR, &error)
    };
    assert_eq!(refused("Value passed for the token was invalid."), "auth_revoked, parked");
    assert_eq!(refused("Missing required parameter [client_id]."), "invalid, dead");
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        let named = match rule.error.parse() {
            Ok(code) => coded(code),
            Err(_) => problem(rule.error, rule.says),
        };
        for &step in rule.steps {
            let other = class(step, 418, &problem("", "words"));
            let (named, by_status) =
                (class(step, rule.status, &named), class(step, rule.status, &problem("", "")));
            let taken = rule.verdict == Verdict::Taken;
            // What is wrong and stays wrong is a teapot's answer.
            let changes = named != by_status || rule.status == 402 && named != other;
            assert!(changes || taken, "the row {rule:?} for {step:?} changes nothing");
        }
    }
}

#[test]
fn every_row_of_the_token_endpoints_table_is_reached() {
    for rule in errors::TOKENS.rules {
        for &step in rule.steps {
            let class = |words: &str| {
                let body = json!({ "error": rule.error, "error_description": words });
                let status = if rule.status == 0 { 400 } else { rule.status };
                answer_by(TOKENS, step, status, &[], &body).class()
            };
            assert_eq!(class(rule.says), REVOKED, "{rule:?} for {step:?}");
            let other = if rule.says.is_empty() { REVOKED } else { INVALID };
            assert_eq!(class("Missing required parameter [client_id]."), other, "{rule:?}");
        }
    }
}
