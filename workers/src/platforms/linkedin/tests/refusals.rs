//! What each refusal of LinkedIn's means.

use postworks::job::RateScope;

use super::*;
use crate::platforms::answer::Verdict;
use crate::platforms::call::Call;
use crate::platforms::refusals::{Headers, answer, verdict_on};

fn judged(step: Step, status: u16, body: &Value) -> (ErrorClass, bool) {
    judged_by(API, step, status, body)
}

fn judged_by(api: Api, step: Step, status: u16, body: &Value) -> (ErrorClass, bool) {
    let account = uuid::Uuid::nil();
    let call = Call { api, step, account, secrets: &[] };
    let answer = answer(call, status, &[], &body.to_string());
    let class = answer.value::<Value>(call).unwrap_err().class();
    (class, answer.is_taken(call))
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, SignIn, Upload};
    const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: false };
    let expired = json!({ "status": 401, "serviceErrorCode": 65602, "code": "EXPIRED_ACCESS_TOKEN", "message": "The token used in the request has expired" });
    let revoked = json!({ "status": 401, "serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN", "message": "The token used in the request has been revoked by the user" });
    let old_form = json!({ "serviceErrorCode": 65601, "message": "The token used in the request has been revoked by the user", "status": 401 });
    let denied = json!({ "serviceErrorCode": 100, "message": "Not enough permissions to access: POST /posts", "status": 403 });
    let passing = json!({ "message": "resource is forbidden", "status": 403 });
    let version = json!({ "status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version 20210101 is not active" });
    let rows: &[(&[Step], u16, &Value, ErrorClass)] = &[
        (&[Upload, Publish, Read], 401, &expired, ErrorClass::AuthExpired),
        (&[Upload, Publish, Read, SignIn], 401, &revoked, ErrorClass::AuthRevoked),
        (&[Publish, Read, SignIn], 401, &old_form, ErrorClass::AuthRevoked),
        (&[SignIn], 401, &expired, ErrorClass::AuthRevoked),
        (&[Upload, Publish, Read], 403, &denied, ErrorClass::Invalid),
        (&[Publish], 403, &passing, ErrorClass::Transient),
        (&[Upload, Read], 403, &passing, ErrorClass::Invalid),
        (&[Publish], 426, &version, ErrorClass::Invalid),
        (&[Publish], 500, &Value::Null, UNKNOWN),
        (&[Upload, Read, SignIn], 503, &Value::Null, ErrorClass::Transient),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(judged(step, *status, body).0, *expected, "{step:?}: {status} {body}");
        }
    }
    // A bare 429, as it comes: nothing says how long.
    let ErrorClass::RateLimited { until, scope } = judged(Publish, 429, &Value::Null).0 else {
        panic!("no wait");
    };
    assert_eq!((until.since(SystemClock.now()).as_secs() + 30) / 60, 15);
    assert_eq!(scope, RateScope::Account);
}

#[test]
fn every_row_of_the_table_is_reached() {
    let tokens = Api { refusals: &TOKENS, ..API };
    let both = [API, tokens].map(|api| api.refusals.rules.iter().map(move |rule| (api, rule)));
    for (api, rule) in both.into_iter().flatten() {
        let status = if rule.status == 0 { 400 } else { rule.status };
        let body = match rule.error.parse::<u64>() {
            Ok(number) => json!({ "serviceErrorCode": number, "message": rule.says }),
            Err(_) => json!({ "error": rule.error, "message": rule.says }),
        };
        for &step in rule.steps {
            let (class, taken) = judged_by(api, step, status, &body);
            let expected = match rule.verdict {
                Verdict::Revoked => class == ErrorClass::AuthRevoked,
                Verdict::Taken => taken,
                Verdict::Later => class == ErrorClass::Transient,
                Verdict::Limited { .. } => matches!(class, ErrorClass::RateLimited { .. }),
                other => panic!("{other:?}"),
            };
            assert!(expected, "{rule:?} for {step:?}: {class:?}");
        }
    }
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, SignIn, Upload};
    let expired = r#"{"status":401,"serviceErrorCode":65602,"code":"EXPIRED_ACCESS_TOKEN","message":"The token used in the request has expired"}"#;
    let revoked = r#"{"status":401,"serviceErrorCode":65601,"code":"REVOKED_ACCESS_TOKEN","message":"The token used in the request has been revoked by the user"}"#;
    let denied = r#"{"status":403,"serviceErrorCode":100,"message":"Not enough permissions to access: POST /posts"}"#;
    let passing = r#"{"status":403,"message":"resource is forbidden"}"#;
    let wait: Headers<'_> = &[("retry-after", "120")];
    let rows: &[(Step, u16, Headers<'_>, &str, &str)] = &[
        (Publish, 401, &[], expired, "auth_expired, retry"),
        (SignIn, 401, &[], expired, "auth_revoked, parked"),
        (Publish, 401, &[], revoked, "auth_revoked, parked"),
        (Publish, 403, &[], denied, "invalid, dead"),
        (Publish, 403, &[], passing, "transient, retry"),
        (Read, 403, &[], passing, "invalid, dead"),
        // LinkedIn tells no time; whoever stands before it may.
        (Publish, 429, &[], "", "rate_limited, waits 900 s"),
        (Publish, 429, wait, "", "rate_limited, waits 120 s"),
        (Publish, 500, &[], "", "unknown, looked up"),
        (Publish, 504, &[], "<html>Gateway Timeout</html>", "unknown, looked up"),
        (Upload, 503, &[], "", "transient, retry"),
    ];
    for &(step, status, headers, body, expected) in rows {
        let account = uuid::Uuid::nil();
        let call = Call { api: API, step, account, secrets: &[] };
        let answer = answer(call, status, headers, body);
        let error = answer.value::<Value>(call).unwrap_err();
        assert_eq!(verdict_on(&DESCRIPTOR, &error), expected, "{step:?}: {status} {body}");
    }
}
