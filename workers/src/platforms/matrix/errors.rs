//! What a Matrix server refuses, and what that means.
//!
//! A server answers `{"errcode", "error"}`; of a 401 it also says whether the session lives on
//! (`soft_logout`). Rows marked (S) are from the specification, 1.18, "Standard error response",
//! "Soft logout" and "Account moderation"; the others were tried on Synapse 1.163.2. What is not in
//! the table is decided by its status: 429 is "wait", 5xx "unknown" on a publish and "later"
//! elsewhere, the rest is wrong and will stay wrong (403 `M_FORBIDDEN` "not in room", 413
//! `M_TOO_LARGE`).

use http::HeaderValue;
use http::header::RETRY_AFTER;
use serde_json::Value;

use super::super::answer::{
    ALWAYS, Answer, ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS, Words,
};

/// An ended token whose session lives on: it only needs to be renewed.
const SOFT: &str = "M_UNKNOWN_TOKEN (soft_logout)";

pub(super) static TABLE: ErrorTable = ErrorTable { words, rules: RULES };

const RULES: &[Rule] = &[
    Rule::new(WITH_ACCESS, 401, SOFT, Verdict::Expired),
    // "Invalid access token passed.": the device was signed out, by its owner or an administrator.
    Rule::new(WITH_ACCESS, 401, "M_UNKNOWN_TOKEN", Verdict::Revoked),
    // "refresh token does not exist", and the like. Another session may be had for the password.
    Rule::new(FOR_TOKENS, 401, "M_UNKNOWN_TOKEN", Verdict::Revoked),
    Rule::new(FOR_TOKENS, 401, SOFT, Verdict::Revoked),
    // "refresh token isn't valid anymore": used up. "Invalid username or password".
    Rule::new(FOR_TOKENS, 403, "M_FORBIDDEN", Verdict::Revoked),
    // (S) The account, of which only an administrator or its owner can say more.
    Rule::new(ALWAYS, 0, "M_USER_DEACTIVATED", Verdict::Revoked),
    Rule::new(ALWAYS, 0, "M_USER_LOCKED", Verdict::Revoked),
    Rule::new(ALWAYS, 0, "M_USER_SUSPENDED", Verdict::Revoked),
    // (S) New terms, which a person must accept.
    Rule::new(ALWAYS, 0, "M_CONSENT_NOT_GIVEN", Verdict::Revoked),
    // (S) The server is full, which is none of the post's doing.
    Rule::new(ALWAYS, 0, "M_RESOURCE_LIMIT_EXCEEDED", Verdict::Later),
];

fn words(body: &Value) -> Words {
    let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, message) = (text("errcode"), text("error"));
    if name == "M_UNKNOWN_TOKEN" && body.get("soft_logout") == Some(&Value::Bool(true)) {
        return Words { name: SOFT.to_owned(), message };
    }
    Words { name, message }
}

/// Says in the header what a 429 says in its body alone, as servers did before Matrix 1.10.
pub(super) fn with_wait(mut answer: Answer) -> Answer {
    if answer.status.as_u16() != 429 || answer.headers.contains_key(RETRY_AFTER) {
        return answer;
    }
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if let Some(wait_ms) = body.get("retry_after_ms").and_then(Value::as_u64) {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
    }
    answer
}
