//! What Meta's refusals mean, read off the one table of its three platforms.

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, RateScope};
use serde_json::{Value, json};

use super::*;
use crate::platforms::answer::{Rule, Verdict};
use crate::platforms::facebook::DESCRIPTOR;
use crate::platforms::refusals::{self, Headers, verdict_on};
use crate::platforms::{instagram, threads};

const EVERY: [Step; 5] = [Step::SignIn, Step::Refresh, Step::Upload, Step::Publish, Step::Read];

fn answer(step: Step, status: u16, headers: Headers<'_>, body: &Value) -> (Call<'static>, Answer) {
    let account = uuid::Uuid::nil();
    let api = Api { descriptor: &DESCRIPTOR, refusals: &TABLE };
    let call = Call { api, step, account, secrets: &[] };
    (call, refusals::answer(call, status, headers, &body.to_string()))
}

fn class(step: Step, status: u16, body: &Value) -> ErrorClass {
    let (call, answer) = answer(step, status, &[], body);
    answer.value::<Value>(call).unwrap_err().class()
}

fn refusal(code: i64, subcode: i64) -> Value {
    json!({ "error": {
        "message": "words", "type": "OAuthException", "code": code, "error_subcode": subcode,
        "fbtrace_id": "EJplcsCHuLu",
    }})
}

/// What a class is but for its time.
fn kind(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::AuthExpired => "expired",
        ErrorClass::AuthRevoked => "revoked",
        ErrorClass::Invalid => "invalid",
        ErrorClass::Transient => "later",
        ErrorClass::Unknown { repeatable: false } => "unknown",
        ErrorClass::RateLimited { scope: RateScope::App, .. } => "app waits",
        ErrorClass::RateLimited { scope: RateScope::Account, .. } => "account waits",
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn, Upload};
    let rows: &[(&[Step], i64, i64, &str)] = &[
        // The page's own example: the password was changed.
        (&EVERY, 190, 460, "revoked"),
        (&EVERY, 190, 458, "revoked"),
        (&EVERY, 190, 459, "revoked"),
        (&EVERY, 190, 464, "revoked"),
        (&EVERY, 190, 492, "revoked"),
        (&[Upload, Publish, Read], 190, 463, "expired"),
        (&[Upload, Publish, Read], 190, 467, "expired"),
        (&[Upload, Publish, Read], 190, 0, "expired"),
        (&[SignIn, Refresh], 190, 463, "revoked"),
        (&[Publish, Read], 102, 0, "expired"),
        (&[SignIn, Refresh], 102, 0, "revoked"),
        (&EVERY, 25, 2207050, "revoked"),
        (&[SignIn], 100, 36009, "revoked"),
        (&[SignIn], 100, 36007, "revoked"),
        (&[SignIn], 101, 0, "invalid"),
        (&EVERY, 4, 0, "app waits"),
        (&EVERY, 341, 0, "app waits"),
        (&EVERY, 17, 0, "account waits"),
        (&EVERY, 32, 0, "account waits"),
        (&EVERY, 613, 0, "account waits"),
        (&EVERY, 80000, 0, "account waits"),
        (&EVERY, 80001, 0, "account waits"),
        (&EVERY, 80002, 0, "account waits"),
        (&EVERY, 80003, 0, "account waits"),
        (&EVERY, 80004, 0, "account waits"),
        (&EVERY, 80005, 0, "account waits"),
        (&EVERY, 80006, 0, "account waits"),
        (&EVERY, 80008, 0, "account waits"),
        (&EVERY, 80009, 0, "account waits"),
        (&EVERY, 80014, 0, "account waits"),
        (&EVERY, 368, 0, "account waits"),
        (&[Upload, Publish], 368, 1390008, "account waits"),
        (&[Upload, Publish], 9, 2207042, "account waits"),
        (&[Upload, Publish], 4, 2207051, "invalid"),
        (&[Publish], 1, 0, "unknown"),
        (&[Publish], 2, 0, "unknown"),
        (&[Publish], -1, 2207001, "unknown"),
        (&[Upload, Read], 2, 0, "later"),
        (&[Upload], -1, 2207001, "later"),
        (&[Upload, Publish], -1, 2207032, "later"),
        (&[Upload, Publish], -1, 2207053, "later"),
        (&[Upload, Publish], -2, 2207003, "later"),
        (&[Upload, Publish], -2, 2207020, "later"),
        (&[Upload, Publish], 9007, 2207027, "later"),
        (&[Upload, Publish], 24, 2207008, "later"),
        // Not fetched yet: of what was never made there is no second one.
        (&[Upload], 9004, 2207052, "later"),
        // Wrong, and will stay so: not found, not fetched for a post, too large, wrong format, wrong shape, text
        // too long, no permission, a link that cannot be read.
        (&[Publish], 24, 2207006, "invalid"),
        (&[Publish], 9004, 2207052, "invalid"),
        (&[Upload], 36000, 2207004, "invalid"),
        (&[Upload], 36001, 2207005, "invalid"),
        (&[Upload], 36003, 2207009, "invalid"),
        (&[Upload], 36004, 2207010, "invalid"),
        (&[Publish, Read], 10, 0, "invalid"),
        (&[Publish, Read], 200, 0, "invalid"),
        (&[Publish, Read], 100, 33, "invalid"),
        (&[Publish], 1609005, 0, "invalid"),
    ];
    for (steps, code, subcode, expected) in rows {
        for &step in *steps {
            // Whatever the status, which is mostly 400, and 403 now and then.
            for status in [400, 403] {
                let class = class(step, status, &refusal(*code, *subcode));
                assert_eq!(kind(class), *expected, "{step:?} {status}: {code}/{subcode}");
            }
        }
    }
    // By the status alone.
    assert_eq!(kind(class(Publish, 500, &Value::Null)), "unknown");
    assert_eq!(kind(class(Read, 503, &Value::Null)), "later");
    assert_eq!(kind(class(Publish, 429, &Value::Null)), "account waits");
}

#[test]
fn the_token_endpoints_of_instagram_and_threads_say_it_in_their_own_form() {
    let body = json!({
        "error_type": "OAuthException",
        "code": 400,
        "error_message": "Matching code was not found or was already used",
    });
    assert_eq!(kind(class(Step::SignIn, 400, &body)), "revoked");
    let (call, answer) = answer(Step::SignIn, 400, &[], &body);
    let error = answer.value::<Value>(call).unwrap_err().to_string();
    assert!(error.contains("Matching code was not found"), "{error}");
}

#[test]
fn a_duplicate_is_told_from_other_refusals() {
    for (code, subcode, taken) in
        [(506, 1455006, true), (506, 0, true), (100, 1366051, true), (100, 0, false)]
    {
        let (call, answer) = answer(Step::Publish, 400, &[], &refusal(code, subcode));
        assert_eq!(answer.is_taken(call), taken, "{code}/{subcode}");
    }
    let (call, answer) = answer(Step::Read, 400, &[], &refusal(506, 0));
    assert!(!answer.is_taken(call), "only a post is a duplicate");
}

#[test]
fn the_wait_is_the_headers_or_the_tables() {
    let wait = |(code, subcode), headers: Headers<'_>| {
        let (call, answer) = answer(Step::Publish, 400, headers, &refusal(code, subcode));
        let error = answer.value::<Value>(call).unwrap_err();
        match error.class() {
            // It is a moment ago that it was said.
            ErrorClass::RateLimited { until, .. } => {
                (until.since(SystemClock.now()).as_secs() + 30) / 60
            }
            other => panic!("{other:?}"),
        }
    };
    let page = r#"{"112130216863063":[{"type":"pages","call_count":100,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":42}]}"#;
    assert_eq!(wait((80001, 0), &[("x-business-use-case-usage", page)]), 42);
    assert_eq!(wait((80001, 0), &[]), 15);
    assert_eq!(wait((368, 0), &[]), 360);
    assert_eq!(wait((368, 1390008), &[]), 15, "too fast, which passes sooner than a block");
    assert_eq!(wait((9, 2207042), &[]), 60);
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, Refresh, Upload};
    let usage = r#"{"112130216863063":[{"type":"pages","call_count":100,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":42}]}"#;
    let used_up: Headers<'_> = &[("x-business-use-case-usage", usage)];
    let platforms = [&DESCRIPTOR, &instagram::DESCRIPTOR, &threads::DESCRIPTOR];
    let rows: &[(Step, u16, Headers<'_>, Value, &str)] = &[
        (Publish, 400, &[], refusal(190, 463), "auth_expired, retry"),
        (Publish, 400, &[], refusal(190, 460), "auth_revoked, parked"),
        (Refresh, 400, &[], refusal(190, 463), "auth_revoked, parked"),
        (Publish, 400, used_up, refusal(80001, 0), "rate_limited, waits 2520 s"),
        (Publish, 403, &[], refusal(4, 0), "rate_limited, waits 900 s"),
        (Publish, 400, &[], refusal(368, 0), "rate_limited, waits 21600 s"),
        (Publish, 400, &[], refusal(9, 2207042), "rate_limited, waits 3600 s"),
        (Publish, 403, &[], refusal(200, 0), "invalid, dead"),
        (Publish, 400, &[], refusal(1609005, 0), "invalid, dead"),
        // What was not taken is sent again, what may have been is looked up.
        (Publish, 400, &[], refusal(9007, 2207027), "transient, retry"),
        (Publish, 500, &[], refusal(1, 0), "unknown, looked up"),
        (Publish, 500, &[], refusal(2, 0), "unknown, looked up"),
        (Publish, 502, &[], Value::Null, "unknown, looked up"),
        (Upload, 500, &[], refusal(2, 0), "transient, retry"),
        (Read, 503, &[], Value::Null, "transient, retry"),
    ];
    for descriptor in platforms {
        for (step, status, headers, body, expected) in rows {
            let account = uuid::Uuid::nil();
            let call = Call {
                api: Api { descriptor, refusals: &TABLE },
                step: *step,
                account,
                secrets: &[],
            };
            let answer = refusals::answer(call, *status, headers, &body.to_string());
            let error = answer.value::<Value>(call).unwrap_err();
            let name = descriptor.name;
            assert_eq!(verdict_on(descriptor, &error), *expected, "{name} {step:?}: {body}");
        }
    }
}

/// The body that a row is for.
fn body_of(rule: &Rule) -> Value {
    let subcode = rule.says.trim_matches(|char: char| !char.is_ascii_digit());
    let subcode = match subcode {
        "3600" => "36009",
        other => other,
    };
    match rule.error {
        "OAuthException" => json!({ "error_type": "OAuthException", "error_message": "words" }),
        code => refusal(code.parse().unwrap_or(100), subcode.parse().unwrap_or(0)),
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in TABLE.rules {
        for &step in rule.steps {
            let body = body_of(rule);
            let class = kind(class(step, 400, &body));
            let expected = match rule.verdict {
                Verdict::Expired => "expired",
                Verdict::Revoked => "revoked",
                Verdict::Invalid | Verdict::Taken => "invalid",
                Verdict::Later => "later",
                Verdict::Unsure if step == Step::Publish => "unknown",
                Verdict::Unsure => "later",
                Verdict::Limited { scope: RateScope::App, .. } => "app waits",
                Verdict::Limited { .. } => "account waits",
            };
            assert_eq!(class, expected, "{rule:?} for {step:?}");
            let (call, answer) = answer(step, 400, &[], &body);
            assert_eq!(answer.is_taken(call), rule.verdict == Verdict::Taken, "{rule:?}");
        }
    }
}

#[test]
fn a_time_is_read_as_the_graph_api_writes_it() {
    let at = time("2026-03-01T09:30:00+0000").unwrap();
    assert_eq!(at.to_string(), "2026-03-01T09:30:00.000Z");
    assert_eq!(time("soon"), None);
}
