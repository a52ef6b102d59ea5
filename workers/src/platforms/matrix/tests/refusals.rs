//! What each refusal means, and what becomes of the job.

use super::*;
use crate::platforms::refusals::{Headers, answer, verdict};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const TRANSIENT: ErrorClass = ErrorClass::Transient;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };
const TOKENS: &[Step] = &[Step::SignIn, Step::Refresh];
const ACCESS: &[Step] = &[Step::Publish, Step::Upload, Step::Read];
const ANY: &[Step] = &[Step::Publish, Step::Upload, Step::Read, Step::SignIn, Step::Refresh];

fn refused(step: Step, status: u16, headers: Headers<'_>, body: &str) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let call = Call { api: API, step, account: Uuid::nil(), secrets: &secrets };
    let answer = errors::with_wait(answer(call, status, headers, body));
    answer.value::<Sent>(call).err().unwrap()
}

fn class(step: Step, status: u16, body: &Value) -> ErrorClass {
    refused(step, status, &[], &body.to_string()).class()
}

#[test]
fn each_refusal_has_its_class() {
    let soft = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "words", "soft_logout": true });
    let hard = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "words", "soft_logout": false });
    let locked = json!({ "errcode": "M_USER_LOCKED", "error": "words", "soft_logout": true });
    let rows: &[(&[Step], u16, &Value, ErrorClass)] = &[
        (ACCESS, 401, &soft, EXPIRED),
        (ACCESS, 401, &hard, REVOKED),
        (ACCESS, 401, &refusal("M_UNKNOWN_TOKEN"), REVOKED),
        (ACCESS, 401, &refusal("M_MISSING_TOKEN"), EXPIRED),
        (TOKENS, 401, &hard, REVOKED),
        (TOKENS, 401, &soft, REVOKED),
        (TOKENS, 403, &refusal("M_FORBIDDEN"), REVOKED),
        (TOKENS, 403, &refusal("M_USER_DEACTIVATED"), REVOKED),
        (ANY, 401, &locked, REVOKED),
        (ANY, 403, &refusal("M_USER_SUSPENDED"), REVOKED),
        (ANY, 403, &refusal("M_CONSENT_NOT_GIVEN"), REVOKED),
        (ANY, 403, &refusal("M_RESOURCE_LIMIT_EXCEEDED"), TRANSIENT),
        // By status.
        (ACCESS, 403, &refusal("M_FORBIDDEN"), INVALID),
        (ACCESS, 403, &refusal("M_BAD_STATE"), INVALID),
        (ACCESS, 403, &refusal("M_USER_LIMIT_EXCEEDED"), INVALID),
        (ACCESS, 413, &refusal("M_TOO_LARGE"), INVALID),
        (ANY, 400, &refusal("M_BAD_JSON"), INVALID),
        (ANY, 404, &refusal("M_UNRECOGNIZED"), INVALID),
        (&[Step::Publish], 500, &refusal("M_UNKNOWN"), UNKNOWN),
        (&[Step::Publish], 502, &Value::Null, UNKNOWN),
        (&[Step::Read, Step::Upload], 502, &refusal("M_UNKNOWN"), TRANSIENT),
        (TOKENS, 500, &refusal("M_UNKNOWN"), TRANSIENT),
    ];
    for (steps, status, body, expected) in rows {
        for &step in *steps {
            assert_eq!(class(step, *status, body), *expected, "{step:?}: {status} {body}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        let status = if rule.status == 0 { 400 } else { rule.status };
        let name = rule.error.split(' ').next().unwrap();
        let soft = rule.error.ends_with("(soft_logout)");
        let body = json!({ "errcode": name, "error": "words", "soft_logout": soft });
        for &step in rule.steps {
            let (named, unnamed) = (class(step, status, &body), class(step, status, &json!({})));
            let changes = named != unnamed || (status == 401 && named == EXPIRED);
            assert!(changes, "the row {} for {step:?} changes nothing", rule.error);
        }
    }
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, Refresh, SignIn};
    let limit =
        r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":90001}"#;
    let bare = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests"}"#;
    let odd = r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-4}"#;
    let soft =
        r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Access token has expired","soft_logout":true}"#;
    let hard = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Invalid access token passed.",
        "soft_logout":false}"#;
    let used = r#"{"errcode":"M_FORBIDDEN","error":"refresh token isn't valid anymore"}"#;
    let outside = r#"{"errcode":"M_FORBIDDEN","error":"User @a:b not in room !c:b"}"#;
    let large = r#"{"errcode":"M_TOO_LARGE","error":"event too large"}"#;
    let page = "<html>Bad gateway</html>";
    let after: Headers<'_> = &[("retry-after", "7")];
    let rows: &[(Step, u16, Headers<'_>, &str, &str)] = &[
        // The header, or failing that the body, says when it is over.
        (Publish, 429, after, limit, "rate_limited, waits 7 s"),
        (Publish, 429, &[], limit, "rate_limited, waits 91 s"),
        (SignIn, 429, &[], limit, "rate_limited, waits 91 s"),
        (Publish, 429, &[], bare, "rate_limited, waits 30 s"),
        (Publish, 429, &[], odd, "rate_limited, waits 30 s"),
        (Publish, 429, after, page, "rate_limited, waits 7 s"),
        (Publish, 401, &[], soft, "auth_expired, retry"),
        (Publish, 401, &[], hard, "auth_revoked, parked"),
        (Refresh, 403, &[], used, "auth_revoked, parked"),
        (Publish, 403, &[], outside, "invalid, dead"),
        (Publish, 413, &[], large, "invalid, dead"),
        (Publish, 502, &[], page, "unknown, retry"),
        (Read, 502, &[], page, "transient, retry"),
        // Somebody before the server answers for it.
        (Publish, 200, &[], page, "unknown, retry"),
        (Publish, 200, &[], "{}", "unknown, retry"),
        (Read, 200, &[], page, "transient, retry"),
    ];
    for &(step, status, headers, body, expected) in rows {
        let error = refused(step, status, headers, body);
        assert_eq!(verdict(&error), expected, "{step:?}: {status} {headers:?} {body}");
    }
}
