//! The Graph API's refusals and what they mean: one table for Facebook, Instagram and Threads,
//! whose codes are of one space.
//!
//! A refusal says `{"error": {"message", "type", "code", "error_subcode", …}}`, mostly with 400,
//! also for "too many". Here its name is the code, and the subcode stands after the message. Rows
//! without a mark are of Meta's pages "Handling Errors", "Rate Limits" and "Instagram Platform: Error
//! Codes", (O) are what other clients have met. What is in no row is decided by the status.

use std::time::Duration;

use postworks::job::RateScope;
use serde_json::Value;

use crate::platforms::answer::{ALWAYS, ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS, Words};
use crate::platforms::call::Step;

/// Codes that say "there is no such thing" to a request for one thing: "Object with ID … does not
/// exist", and "some of the aliases you requested do not exist".
pub(in crate::platforms) const NO_SUCH_THING: [&str; 2] = ["100/33", "803"];
/// "The media builder does not exist or has been expired", and the like of other things.
pub(in crate::platforms) const NO_SUCH_MEDIA: &str = "24";

/// Most of Meta's limits are shares of a rolling hour: after a quarter of it some has come back.
const SHARE_OF_AN_HOUR: Duration = Duration::from_secs(15 * 60);
/// A day's posts come back one by one, each a day after it was made.
const SHARE_OF_A_DAY: Duration = Duration::from_secs(60 * 60);
/// For how long an account is blocked, nobody is told.
const BLOCKED: Duration = Duration::from_secs(6 * 60 * 60);

const UPLOAD: &[Step] = &[Step::Upload];
const PUBLISH: &[Step] = &[Step::Publish];
const POSTING: &[Step] = &[Step::Upload, Step::Publish];

const fn limited(scope: RateScope, wait: Duration) -> Verdict {
    Verdict::Limited { scope, wait }
}

const fn rule(
    steps: &'static [Step],
    error: &'static str,
    says: &'static str,
    verdict: Verdict,
) -> Rule {
    Rule::new(steps, 0, error, verdict).saying(says)
}

/// Too many calls of one business use case.
const fn of_business(error: &'static str) -> Rule {
    rule(ALWAYS, error, "", limited(RateScope::Account, SHARE_OF_AN_HOUR))
}

pub(in crate::platforms) static TABLE: ErrorTable = ErrorTable { words, rules: RULES };

const RULES: &[Rule] = &[
    // The person took the app away; must show who they are; changed the password; has not
    // confirmed the account; is no longer who manages the Page.
    rule(ALWAYS, "190", "(subcode 458)", Verdict::Revoked),
    rule(ALWAYS, "190", "(subcode 459)", Verdict::Revoked),
    rule(ALWAYS, "190", "(subcode 460)", Verdict::Revoked),
    rule(ALWAYS, "190", "(subcode 464)", Verdict::Revoked),
    rule(ALWAYS, "190", "(subcode 492)", Verdict::Revoked),
    // Expired (463), invalid (467), or nothing more said: another worker may have renewed it. If a
    // renewal is refused, nothing but a person's consent helps.
    rule(WITH_ACCESS, "190", "", Verdict::Expired),
    rule(FOR_TOKENS, "190", "", Verdict::Revoked),
    rule(WITH_ACCESS, "102", "", Verdict::Expired),
    rule(FOR_TOKENS, "102", "", Verdict::Revoked),
    // The account is inactive, restricted, or has a checkpoint to pass: its owner must look at it.
    rule(ALWAYS, "25", "(subcode 2207050)", Verdict::Revoked),
    // A code that was used (36009, O) or is too old (36007, O); Instagram and Threads say it in a
    // form of their own.
    rule(FOR_TOKENS, "100", "(subcode 3600", Verdict::Revoked),
    rule(FOR_TOKENS, "OAuthException", "", Verdict::Revoked),
    // A duplicate post; photos that are posted already (O).
    rule(POSTING, "506", "", Verdict::Taken),
    rule(POSTING, "", "(subcode 1366051)", Verdict::Taken),
    // "Publishing is suspected to be spam": the code says "too many calls", but it is this post.
    rule(POSTING, "4", "(subcode 2207051)", Verdict::Invalid),
    // Too many posts in a day; posting too fast (O); blocked for a time.
    rule(POSTING, "", "(subcode 2207042)", limited(RateScope::Account, SHARE_OF_A_DAY)),
    rule(POSTING, "", "(subcode 1390008)", limited(RateScope::Account, SHARE_OF_AN_HOUR)),
    rule(ALWAYS, "368", "", limited(RateScope::Account, BLOCKED)),
    // Too many calls: of the app, of the person, of the Page, of the app again, of one kind; and by
    // business use case, of which 80001 is the Pages' and 80002 Instagram's.
    rule(ALWAYS, "4", "", limited(RateScope::App, SHARE_OF_AN_HOUR)),
    rule(ALWAYS, "17", "", limited(RateScope::Account, SHARE_OF_AN_HOUR)),
    rule(ALWAYS, "32", "", limited(RateScope::Account, SHARE_OF_AN_HOUR)),
    rule(ALWAYS, "341", "", limited(RateScope::App, SHARE_OF_AN_HOUR)),
    rule(ALWAYS, "613", "", limited(RateScope::Account, SHARE_OF_AN_HOUR)),
    of_business("80000"),
    of_business("80001"),
    of_business("80002"),
    of_business("80003"),
    of_business("80004"),
    of_business("80005"),
    of_business("80006"),
    of_business("80008"),
    of_business("80009"),
    of_business("80014"),
    // A container that is not ready, or is gone: making it ready again helps.
    rule(POSTING, "9007", "", Verdict::Later),
    rule(POSTING, NO_SUCH_MEDIA, "(subcode 2207008)", Verdict::Later),
    rule(POSTING, "-2", "", Verdict::Later),
    // An image that could not be fetched now: nothing was made that trying again could double.
    rule(UPLOAD, "", "(subcode 2207052)", Verdict::Later),
    // "Create media fail", "unknown upload error": it never became a post.
    rule(PUBLISH, "-1", "(subcode 2207032)", Verdict::Later),
    rule(PUBLISH, "-1", "(subcode 2207053)", Verdict::Later),
    // Their servers failed; a post may be there all the same.
    rule(ALWAYS, "-1", "", Verdict::Unsure),
    rule(ALWAYS, "1", "", Verdict::Unsure),
    rule(ALWAYS, "2", "", Verdict::Unsure),
];

/// The code as the name, the subcode after the message.
fn words(body: &Value) -> Words {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = &body["error"];
    if !error.is_object() {
        // The token endpoints of Instagram and Threads.
        return Words { name: text(&body["error_type"]), message: text(&body["error_message"]) };
    }
    let mut message = text(&error["message"]);
    // What is meant for people says more: "Fatal" may be all that the other says.
    let for_people = text(&error["error_user_msg"]);
    for more in [for_people, subcode(error)] {
        if !more.is_empty() {
            message = format!("{message} {more}").trim().to_owned();
        }
    }
    let name = match (error["code"].as_i64(), error["error_subcode"].as_i64()) {
        // By itself 100 says that a request has something wrong in it.
        (Some(100), Some(33)) => NO_SUCH_THING[0].to_owned(),
        (Some(code), _) => code.to_string(),
        (None, _) => text(&error["type"]),
    };
    Words { name, message }
}

fn subcode(error: &Value) -> String {
    error["error_subcode"].as_i64().map_or_else(String::new, |code| format!("(subcode {code})"))
}
