//! LinkedIn's refusals and what they mean.
//!
//! A refusal says `{"status", "message", "code"?, "serviceErrorCode"?, "errorDetails"?}`. Here its
//! name is the first of the details' codes, else the code, else the number of the service error.
//! Rows marked (O) are what other clients have met, the others are from "API Error Details" and
//! from the page of the UGC Post API. What is in no row is decided by the status: 401 is "renew",
//! 5xx "unknown" on a publish and "later" elsewhere, 403 and the rest wrong, and will stay wrong.

use std::time::Duration;

use postworks::job::RateScope;
use serde_json::Value;

use crate::platforms::answer::{ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS, Words};
use crate::platforms::call::Step;

/// A bare 429 says nothing: quotas are of a day, unpublished, and end at midnight UTC, but some are
/// of their servers alone. So it is asked again from time to time.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);

const LEFT_ALONE: Verdict = Verdict::Limited { scope: RateScope::Account, wait: ASKED_AGAIN_AFTER };

const SIGN_IN: &[Step] = &[Step::SignIn];
const PUBLISH: &[Step] = &[Step::Publish];
/// Steps that ask the API. A token that a person pasted asks it who they are; all other tokens are the
/// token endpoint's.
const ASKING: &[Step] = &[Step::SignIn, Step::Upload, Step::Publish, Step::Read];

pub(super) static TABLE: ErrorTable = ErrorTable { words, rules: RULES };

/// Refusals of the token endpoint.
pub(super) static TOKENS: ErrorTable = ErrorTable {
    words,
    rules: &[
        // RFC 6749; of a refresh token that is too old, or of a code that was used.
        Rule::new(FOR_TOKENS, 0, "invalid_grant", Verdict::Revoked),
        // "Unable to retrieve access token: authorization code not found", "… does not match
        // authorization code. Or authorization code expired. …" (O). Other requests that are invalid
        // are our fault.
        Rule::new(SIGN_IN, 400, "invalid_request", Verdict::Revoked).saying("authorization code"),
        Rule::new(SIGN_IN, 400, "invalid_redirect_uri", Verdict::Revoked)
            .saying("authorization code expired"),
    ],
};

const RULES: &[Rule] = &[
    // The member took the app away; renewing is refused then, too.
    Rule::new(WITH_ACCESS, 401, "REVOKED_ACCESS_TOKEN", Verdict::Revoked),
    Rule::new(WITH_ACCESS, 401, "65601", Verdict::Revoked),
    // Of a token that a person pasted.
    Rule::new(SIGN_IN, 401, "", Verdict::Revoked),
    // "Content is a duplicate of urn:li:share:…", for about ten minutes; in newer versions with a
    // code beside it (O).
    Rule::new(PUBLISH, 422, "DUPLICATE_POST", Verdict::Taken),
    Rule::new(PUBLISH, 422, "", Verdict::Taken).saying("Content is a duplicate of"),
    // Not of a permission that lacks: it passes by itself (O), and nothing was posted.
    Rule::new(PUBLISH, 403, "", Verdict::Later).saying("resource is forbidden"),
    Rule::new(ASKING, 429, "", LEFT_ALONE),
];

fn words(body: &Value) -> Words {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let names = [
        &body["errorDetails"]["inputErrors"][0]["code"],
        &body["code"],
        &body["serviceErrorCode"],
        &body["error"],
    ];
    let name = names.into_iter().map(text).find(|name| !name.is_empty()).unwrap_or_default();
    let message = match text(&body["message"]) {
        // The token endpoint's (RFC 6749 §5.2).
        message if message.is_empty() => text(&body["error_description"]),
        message => message,
    };
    Words { name, message }
}
