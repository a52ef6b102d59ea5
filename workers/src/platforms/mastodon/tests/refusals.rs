//! What becomes of a job after each kind of answer.

use super::*;
use crate::platforms::refusals::{Headers, answer, verdict};

fn refused(step: Step, status: u16, headers: Headers<'_>, body: &str) -> JobError {
    let secret = SecretString::from(SECRET);
    let secrets = [&secret];
    let call = Call { api: API, step, account: Uuid::nil(), secrets: &secrets };
    let answer = answer(call, status, headers, body);
    answer.value::<Status>(call).err().unwrap()
}

#[test]
fn a_whole_answer_decides_what_becomes_of_the_job() {
    use Step::{Publish, Read, SignIn, Upload};
    // With parts of a second, and no Retry-After.
    let reset = SystemClock.now().after(Duration::from_secs(120)).to_string().replace('Z', "456Z");
    let limited: Headers<'_> = &[
        ("x-ratelimit-limit", "300"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", &reset),
    ];
    let too_many = r#"{"error":"Too many requests"}"#;
    let revoked = r#"{"error":"The access token was revoked"}"#;
    let unfinished = r#"{"error":"Cannot attach files that have not finished processing. Try again in a moment!"}"#;
    let wordless = r#"{"error":"Validation failed: Text can't be blank"}"#;
    let page = "<html>Bad gateway</html>";
    let rows: &[(Step, u16, Headers<'_>, &str, &str)] = &[
        (Publish, 429, limited, too_many, "rate_limited, waits 120 s"),
        (Upload, 429, limited, too_many, "rate_limited, waits 120 s"),
        (Read, 429, &[("retry-after", "7")], page, "rate_limited, waits 7 s"),
        (Read, 429, &[], too_many, "rate_limited, waits 30 s"),
        (Publish, 401, &[], revoked, "auth_expired, retry"),
        (SignIn, 401, &[], revoked, "auth_revoked, parked"),
        (Publish, 422, &[], unfinished, "transient, retry"),
        (Publish, 422, &[], wordless, "invalid, dead"),
        // What is left of a window says nothing of another refusal.
        (Publish, 422, limited, wordless, "invalid, dead"),
        (Publish, 503, &[], "{}", "unknown, retry"),
        (Publish, 502, &[], page, "unknown, retry"),
        (Upload, 502, &[], page, "transient, retry"),
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
