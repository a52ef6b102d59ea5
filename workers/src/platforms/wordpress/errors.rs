//! WordPress's refusals and what they mean.
//!
//! A blog answers `{"code", "message", "data": {"status"}}`, with messages in its own language: rows go
//! by codes alone. All were read in the code of WordPress 6.1.9 (`wp-includes/rest-api`), and those
//! marked (T) were tried on it in `tests/it/real_wordpress.rs`. What is not in the table is decided by
//! its status; a front server, or a plugin that guards the blog, answers in HTML and without a code.
//!
//! A blog does not always say that a password is wrong. As a rule it goes on as if nobody had logged in,
//! and then refuses what nobody may do: with 401 where a user would get 403, and with a code that is
//! the same. So whoever is refused for what they may do signs in again, which tells.

use serde_json::Value;

use crate::platforms::answer::{ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS, Words};
use crate::platforms::call::Step;

pub(super) const TABLE: ErrorTable = ErrorTable { words, rules: RULES };

const UPLOAD: &[Step] = &[Step::Upload];
const PUBLISH: &[Step] = &[Step::Publish];

const RULES: &[Rule] = &[
    // (T) `rest_not_logged_in`: a wrong name or password, one that was taken back, or a front server
    // that drops the header. `incorrect_password` and the like, where a plugin has looked before.
    Rule::new(FOR_TOKENS, 401, "", Verdict::Revoked),
    // (T) Of the list of drafts, inside a 400 `rest_invalid_param`.
    Rule::new(UPLOAD, 400, "rest_forbidden_status", Verdict::Expired),
    // (T) A user who became a contributor: what they write is looked at before it is published.
    Rule::new(PUBLISH, 403, "rest_cannot_publish", Verdict::Expired),
    // (T) Of the list of posts, and of a user who became less than that.
    Rule::new(WITH_ACCESS, 403, "rest_forbidden_context", Verdict::Expired),
    // (T) A type of file that the blog does not permit, with few other things, and all with 500.
    Rule::new(UPLOAD, 500, "rest_upload_sideload_error", Verdict::Invalid),
    // The database refused: the post is as it was.
    Rule::new(PUBLISH, 500, "db_insert_error", Verdict::Later),
    Rule::new(PUBLISH, 500, "db_update_error", Verdict::Later),
];

fn words(body: &Value) -> Words {
    let text = |place| body.pointer(place).and_then(Value::as_str);
    // Why a parameter was not taken says more than that it was not.
    let name = text("/data/details/status/code").or_else(|| text("/code"));
    let message = text("/message").map(crate::platforms::html::text_of).unwrap_or_default();
    Words { name: name.unwrap_or_default().to_owned(), message }
}
