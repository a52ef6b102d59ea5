//! Mastodon's refusals and what they mean.
//!
//! A server answers `{"error": words}`, in the language of the account at times; what a refusal means is
//! in its status, but for the rows here. What is not in the table is decided by its status: 401 of a
//! token that is used is an old one, 429 "wait", 5xx "unknown" on a publish and "later" else, the rest is
//! wrong and will stay wrong (422 for one: `Validation failed: …`).
//!
//! Words are those of `app/controllers/api/base_controller.rb` and `config/locales/en.yml`
//! (github.com/mastodon/mastodon).

use serde_json::Value;

use crate::platforms::answer::{ErrorTable, Rule, Verdict, WITH_ACCESS, Words};
use crate::platforms::call::Step;

/// Steps that ask the API; none gets a new token.
const ASKING: &[Step] = &[Step::SignIn, Step::Upload, Step::Publish, Step::Read];

pub(super) const TABLE: ErrorTable = ErrorTable {
    words,
    rules: &[
        // "The access token is invalid", "… was revoked", "… expired": of the token a person pasted
        // there is no other one.
        Rule::new(&[Step::SignIn], 401, "", Verdict::Revoked),
        // Before 4.3 a token of nobody was answered with 422.
        Rule::new(WITH_ACCESS, 422, "", Verdict::Expired).saying("requires an authenticated user"),
        // Only a token that is allowed more helps.
        Rule::new(ASKING, 403, "", Verdict::Revoked).saying("outside the authorized scopes"),
        // "Your login is currently disabled", "… missing a confirmed e-mail address", "… pending
        // approval".
        Rule::new(ASKING, 403, "", Verdict::Revoked).saying("Your login is"),
        // "Cannot attach files that have not finished processing. Try again in a moment!"
        Rule::new(&[Step::Publish], 422, "", Verdict::Later).saying("not finished processing"),
    ],
};

fn words(body: &Value) -> Words {
    let message = body["error"].as_str().unwrap_or_default().to_owned();
    Words { name: String::new(), message }
}
