//! X's refusals and what they mean.
//!
//! A refusal is a problem, `{"type", "title", "detail"}`, whose type ends with its name
//! (docs.x.com/x-api/fundamentals/response-codes-and-errors); `about:blank` is none, and then only the
//! words tell. Some servers behind it still say `{"errors": [{"code", "message"}]}`. What is not in the
//! table is decided by its status: 401 is an old token, 429 "wait", 5xx "unknown" on a publish and
//! "later" else, the rest is wrong and will stay wrong.

use std::time::Duration;

use postworks::job::RateScope;
use serde_json::Value;

use crate::platforms::answer::{ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS, Words};
use crate::platforms::call::Step;

/// For how long nothing is sent when what the app may read in a month, or has paid for, is used up.
/// Neither says when it is there again: a person may buy more at any time.
const USED_UP: Verdict =
    Verdict::Limited { scope: RateScope::App, wait: Duration::from_secs(60 * 60) };

pub(super) const TABLE: ErrorTable = ErrorTable {
    words,
    rules: &[
        // {"detail": "You are not allowed to create a Tweet with duplicate content.", "type":
        // "about:blank", "title": "Forbidden", "status": 403} (akrherz/iembot#163)
        Rule::new(&[Step::Publish], 403, "", Verdict::Taken).saying("duplicate content"),
        // 187 "Status is a duplicate." is what it was before.
        Rule::new(&[Step::Publish], 403, "187", Verdict::Taken),
        // A 429 whose headers say that there is much left (xdevplatform/xdk#25).
        Rule::new(WITH_ACCESS, 429, "usage-capped", USED_UP),
        Rule::new(WITH_ACCESS, 403, "usage-capped", USED_UP),
        // No credits are left (docs.x.com/x-api/getting-started/pricing).
        Rule::new(WITH_ACCESS, 402, "", USED_UP),
        // The account, not what was asked: suspended, or locked until its owner has logged in.
        Rule::new(WITH_ACCESS, 403, "user-suspended", Verdict::Revoked),
        Rule::new(WITH_ACCESS, 403, "64", Verdict::Revoked),
        Rule::new(WITH_ACCESS, 403, "326", Verdict::Revoked),
        Rule::new(WITH_ACCESS, 403, "", Verdict::Revoked).saying("temporarily locked"),
    ],
};

/// Refusals of the token endpoint, which says `{"error", "error_description"}`: of a used or unknown
/// token it says `invalid_request`, as of a request without one ("Missing required parameter …").
pub(super) const TOKENS: ErrorTable = ErrorTable::plain(&[
    Rule::new(FOR_TOKENS, 0, "invalid_grant", Verdict::Revoked),
    Rule::new(FOR_TOKENS, 400, "invalid_request", Verdict::Revoked)
        .saying("Value passed for the token was invalid"),
    // plhery/node-twitter-api-v2#496
    Rule::new(&[Step::SignIn], 400, "invalid_request", Verdict::Revoked)
        .saying("Value passed for the authorization code was invalid"),
]);

fn words(body: &Value) -> Words {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    if let Some(first) = body["errors"].get(0).filter(|_| body["type"].is_null()) {
        let code = first["code"].as_u64().map(|code| code.to_string());
        let name = code.unwrap_or_else(|| named(&text(first, "type")));
        let message = match text(first, "detail") {
            detail if detail.is_empty() => text(first, "message"),
            detail => detail,
        };
        return Words { name, message };
    }
    let message = match text(body, "detail") {
        detail if detail.is_empty() => text(body, "title"),
        detail => detail,
    };
    Words { name: named(&text(body, "type")), message }
}

/// The name of a problem: `https://api.x.com/2/problems/usage-capped`.
fn named(kind: &str) -> String {
    kind.rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default()
}
