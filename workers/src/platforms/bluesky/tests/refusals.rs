//! What each refusal means, and what becomes of the job.

use super::*;
use crate::platforms::refusals::{Headers, answer, epoch_seconds, verdict};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const TRANSIENT: ErrorClass = ErrorClass::Transient;

fn refused(step: Step, status: u16, headers: Headers<'_>, body: &str) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let account = uuid::Uuid::nil();
    let call = Call { api: API, step, account, secrets: &secrets };
    let answer = answer(call, status, headers, body);
    answer.value::<Written>(call).err().unwrap()
}

fn class(step: Step, status: u16, error: &str) -> ErrorClass {
    let body = json!({ "error": error, "message": "words" });
    refused(step, status, &[], &body.to_string()).class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn, Upload};
    let rows: &[(&[Step], u16, &str, ErrorClass)] = &[
        (&[Publish, Read, Upload], 400, "ExpiredToken", EXPIRED),
        (&[SignIn, Refresh], 400, "ExpiredToken", REVOKED),
        (&[Publish, Read], 400, "InvalidToken", EXPIRED),
        (&[Publish, Read], 401, "InvalidToken", EXPIRED),
        (&[Publish, Read], 401, "AuthMissing", EXPIRED),
        (&[Publish, Read], 401, "AuthenticationRequired", EXPIRED),
        (&[Refresh, SignIn], 400, "InvalidToken", REVOKED),
        (&[Refresh, SignIn], 401, "InvalidToken", REVOKED),
        (&[Refresh, SignIn], 401, "AuthMissing", REVOKED),
        (&[Refresh, SignIn], 401, "AuthenticationRequired", REVOKED),
        (&[SignIn], 401, "AuthFactorTokenRequired", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 401, "AccountTakedown", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 400, "AccountTakedown", REVOKED),
        (&[Publish, Read, Refresh, SignIn], 501, "MethodNotImplemented", INVALID),
        (&[Publish], 400, "BlobNotFound", TRANSIENT),
        // By status.
        (&[Upload], 400, "InvalidRequest", INVALID),
        (&[Upload], 400, "RecordNotFound", INVALID),
        (&[Upload], 413, "PayloadTooLarge", INVALID),
        (&[Upload], 500, "InternalServerError", TRANSIENT),
        (&[Upload], 502, "UpstreamFailure", TRANSIENT),
        (&[Upload], 504, "UpstreamTimeout", TRANSIENT),
        (&[Publish, Read, Refresh, SignIn], 400, "InvalidRequest", INVALID),
        (&[Read], 400, "RecordNotFound", INVALID),
        (&[Publish], 413, "PayloadTooLarge", INVALID),
        (&[Publish, Read], 401, "SomethingNew", EXPIRED),
        (&[Publish], 500, "InternalServerError", UNKNOWN),
        (&[Publish], 502, "UpstreamFailure", UNKNOWN),
        (&[Read, Refresh, SignIn], 500, "InternalServerError", TRANSIENT),
        (&[Read, Refresh, SignIn], 502, "UpstreamFailure", TRANSIENT),
    ];
    for (steps, status, error, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, error), *expected, "{step:?}: {status} {error}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        let status = if rule.status == 0 { 400 } else { rule.status };
        for &step in rule.steps {
            let named = class(step, status, rule.error);
            let unnamed = class(step, status, "");
            assert_ne!(named, unnamed, "the row {} for {step:?} changes nothing", rule.error);
        }
    }
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, Refresh, Upload};
    let reset = epoch_seconds(120);
    // As a server writes it, without Retry-After.
    let limited: Headers<'_> = &[
        ("ratelimit-limit", "30"),
        ("ratelimit-remaining", "0"),
        ("ratelimit-reset", &reset),
        ("ratelimit-policy", "30;w=300"),
    ];
    let told: Headers<'_> = &[("retry-after", "7"), ("content-type", "text/html")];
    let too_many = r#"{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}"#;
    let expired = r#"{"error":"ExpiredToken","message":"Token has expired"}"#;
    let ended = r#"{"error":"ExpiredToken","message":"Token has been revoked"}"#;
    let swap = r#"{"error":"InvalidRequest","message":"Invalid TID string"}"#;
    let broken = r#"{"error":"InternalServerError","message":"Internal Server Error"}"#;
    let page = "<html>Bad gateway</html>";
    let rows: &[(Step, u16, Headers<'_>, &str, &str)] = &[
        (Publish, 429, limited, too_many, "rate_limited, waits 120 s"),
        (Refresh, 429, limited, too_many, "rate_limited, waits 120 s"),
        (Upload, 429, told, page, "rate_limited, waits 7 s"),
        (Read, 429, &[], too_many, "rate_limited, waits 30 s"),
        // What is left of a window says nothing of another refusal.
        (Publish, 400, limited, expired, "auth_expired, retry"),
        (Refresh, 400, &[], expired, "auth_revoked, parked"),
        (Refresh, 400, &[], ended, "auth_revoked, parked"),
        (Publish, 400, &[], swap, "invalid, dead"),
        (Publish, 500, &[], broken, "unknown, retry"),
        (Publish, 502, &[], page, "unknown, retry"),
        // Somebody before the server answers for it.
        (Publish, 200, &[], page, "unknown, retry"),
        (Publish, 200, &[], "", "unknown, retry"),
        (Publish, 200, &[], r#"{"cid":"x"}"#, "unknown, retry"),
        (Read, 200, &[], page, "transient, retry"),
        (Publish, 301, &[("location", "https://pds.example/")], "", "invalid, dead"),
    ];
    for &(step, status, headers, body, expected) in rows {
        let error = refused(step, status, headers, body);
        assert_eq!(verdict(&error), expected, "{step:?}: {status} {headers:?} {body}");
    }
}
