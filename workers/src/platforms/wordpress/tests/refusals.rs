//! What each refusal means, and what becomes of the job.

use super::*;
use crate::platforms::refusals::{Headers, answer, verdict};

const EXPIRED: ErrorClass = ErrorClass::AuthExpired;
const REVOKED: ErrorClass = ErrorClass::AuthRevoked;
const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };

fn refused(step: Step, status: u16, headers: Headers<'_>, body: &str) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let call = Call { api: API, step, account: Uuid::nil(), secrets: &secrets };
    let answer = answer(call, status, headers, body);
    answer.value::<Post>(call).err().unwrap()
}

fn class(step: Step, status: u16, code: &str) -> ErrorClass {
    let body = json!({ "code": code, "message": "words", "data": { "status": status } });
    refused(step, status, &[], &body.to_string()).class()
}

#[test]
fn each_refusal_has_its_class() {
    use Step::{Publish, Read, Refresh, SignIn, Upload};
    const ALL: &[Step] = &[SignIn, Refresh, Upload, Publish, Read];
    let rows: &[(&[Step], u16, &str, ErrorClass)] = &[
        (&[SignIn, Refresh], 401, "rest_not_logged_in", REVOKED),
        (&[SignIn, Refresh], 401, "incorrect_password", REVOKED),
        (&[SignIn, Refresh], 401, "invalid_username", REVOKED),
        (&[SignIn, Refresh], 401, "application_passwords_disabled", REVOKED),
        (&[SignIn, Refresh], 401, "", REVOKED),
        // Signing in tells.
        (&[Upload, Publish, Read], 401, "rest_not_logged_in", EXPIRED),
        (&[Upload, Publish, Read], 401, "incorrect_password", EXPIRED),
        (&[Upload], 401, "rest_cannot_create", EXPIRED),
        (&[Publish], 401, "rest_cannot_edit", EXPIRED),
        (&[Read], 401, "rest_forbidden_context", EXPIRED),
        (&[Upload], 400, "rest_forbidden_status", EXPIRED),
        (&[Publish], 403, "rest_cannot_publish", EXPIRED),
        (&[Upload, Publish, Read], 403, "rest_forbidden_context", EXPIRED),
        // Of this post alone: its user may upload no files; the draft was given to somebody else.
        (&[Upload], 403, "rest_cannot_create", INVALID),
        (&[Publish], 403, "rest_cannot_edit", INVALID),
        (&[Upload], 500, "rest_upload_sideload_error", INVALID),
        (&[Publish], 500, "db_insert_error", TRANSIENT),
        (&[Publish], 500, "db_update_error", TRANSIENT),
        // By status.
        (&[Publish], 404, "rest_post_invalid_id", INVALID),
        (ALL, 400, "rest_invalid_param", INVALID),
        (ALL, 404, "rest_no_route", INVALID),
        (&[Upload], 413, "", INVALID),
        // A guard before the blog, or one that has moved.
        (ALL, 403, "", INVALID),
        (ALL, 301, "", INVALID),
        (&[Publish], 500, "internal_server_error", UNKNOWN),
        (&[Publish], 502, "", UNKNOWN),
        (&[SignIn, Upload, Read], 500, "internal_server_error", TRANSIENT),
        // "Briefly unavailable for scheduled maintenance."
        (&[SignIn, Upload, Read], 503, "wp_die", TRANSIENT),
    ];
    for &(steps, status, code, expected) in rows {
        for &step in steps {
            assert_eq!(class(step, status, code), expected, "{step:?} {status} {code}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_reached() {
    for rule in errors::TABLE.rules {
        for &step in rule.steps {
            let named = class(step, rule.status, rule.error);
            // What the status alone would mean.
            let other = if rule.error.is_empty() { INVALID } else { class(step, rule.status, "x") };
            assert_ne!(named, other, "{step:?} {rule:?} changes nothing");
        }
    }
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, SignIn, Upload};
    let nobody = r#"{"code":"rest_not_logged_in","message":"You are not currently logged in.",
        "data":{"status":401}}"#;
    let cannot = r#"{"code":"rest_cannot_create","message":"Sorry, you are not allowed to create
        posts as this user.","data":{"status":401}}"#;
    // Why a parameter is not taken stands inside: nobody is logged in.
    let forbidden = r#"{"code":"rest_invalid_param","message":"Invalid parameter(s): status",
        "data":{"status":400,"params":{"status":"Status is forbidden."},"details":{"status":
        {"code":"rest_forbidden_status","message":"Status is forbidden.","data":{"status":401}}}}}"#;
    let invalid = r#"{"code":"rest_invalid_param","message":"Invalid parameter(s): author",
        "data":{"status":400,"params":{"author":"author[0] is not of type integer."},"details":
        {"author":{"code":"rest_invalid_type","message":"words","data":{"param":"author[0]"}}}}}"#;
    let critical = r#"{"code":"internal_server_error","message":"<p>There has been a critical error
        on this website.</p>","data":{"status":500},"additional_errors":[]}"#;
    let wait: Headers<'_> = &[("retry-after", "120"), ("content-type", "text/html")];
    let page = "<html>Too many requests</html>";
    let moved: Headers<'_> = &[("location", "https://www.blog.example/?rest_route=/wp/v2/posts")];
    let rows: &[(Step, u16, Headers<'_>, &str, &str)] = &[
        (Publish, 429, wait, page, "rate_limited, waits 120 s"),
        (SignIn, 429, wait, page, "rate_limited, waits 120 s"),
        (Read, 429, &[], "", "rate_limited, waits 30 s"),
        (SignIn, 401, &[], nobody, "auth_revoked, parked"),
        (Upload, 401, &[], cannot, "auth_expired, retry"),
        (Upload, 400, &[], forbidden, "auth_expired, retry"),
        (Upload, 400, &[], invalid, "invalid, dead"),
        (Publish, 500, &[], critical, "unknown, retry"),
        (Upload, 500, &[], critical, "transient, retry"),
        (Publish, 503, wait, page, "unknown, retry"),
        // A guard before the blog that asks for a browser, with success.
        (Publish, 200, &[], "<html>One moment</html>", "unknown, retry"),
        (Upload, 200, &[], "<html>One moment</html>", "transient, retry"),
        (Publish, 301, moved, "", "invalid, dead"),
    ];
    for &(step, status, headers, body, expected) in rows {
        let error = refused(step, status, headers, &body.replace('\n', " "));
        assert_eq!(verdict(&error), expected, "{step:?}: {status} {headers:?} {body}");
    }
    let error = refused(Upload, 400, &[], &forbidden.replace('\n', " "));
    assert!(error.to_string().contains("400 rest_forbidden_status: Invalid parameter"), "{error}");
}
