//! What is made of a platform's answer: a value, or an error class read off the platform's table.

use std::cmp::Reverse;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use postworks::job::{ErrorClass, JobError, RateScope, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::call::{Call, Step};
use super::meter::Took;
use super::rate;

/// Longest piece of a platform's own words in an error, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// A whole answer. It has no `Debug`: its body may hold tokens.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// How long it took to come.
    pub(crate) took: Took,
    /// When it had come.
    pub(crate) at: Timestamp,
}

/// What a platform's refusals mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorTable {
    /// Takes the platform's words out of a body.
    pub(crate) words: fn(&Value) -> Words,
    /// The first row that fits decides; where none does, the status.
    pub(crate) rules: &'static [Rule],
}

impl ErrorTable {
    /// A table of a platform that says `{"error", "message"}`.
    pub(crate) const fn plain(rules: &'static [Rule]) -> Self {
        Self { words: Words::plain, rules }
    }
}

/// A row of a platform's error table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// The steps it holds for.
    pub(crate) steps: &'static [Step],
    /// The status it holds for; 0 for any.
    pub(crate) status: u16,
    /// The error's name in the body; empty for any.
    pub(crate) error: &'static str,
    /// A part of its message; empty for any.
    pub(crate) says: &'static str,
    /// What it means.
    pub(crate) verdict: Verdict,
}

impl Rule {
    pub(crate) const fn new(
        steps: &'static [Step],
        status: u16,
        error: &'static str,
        verdict: Verdict,
    ) -> Self {
        Self { steps, status, error, says: "", verdict }
    }

    /// The same, if the message holds these words.
    pub(crate) const fn saying(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn fits(&self, step: Step, status: u16, words: &Words) -> bool {
        self.steps.contains(&step)
            && (self.status == 0 || self.status == status)
            && (self.error.is_empty() || self.error == words.name)
            && words.message.contains(self.says)
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Get new tokens.
    Expired,
    /// A person must reconnect the account.
    Revoked,
    /// Wrong and will stay wrong.
    Invalid,
    /// Surely not applied: try again.
    Later,
    /// Told to wait.
    Limited {
        /// Who.
        scope: RateScope,
        /// For how long, where the answer does not say.
        wait: Duration,
    },
    /// The account has a post like this already: [`Answer::is_taken`] tells before it is an error.
    Taken,
    /// It may have been applied.
    Unsure,
}

/// Steps that carry an access token.
pub(crate) const WITH_ACCESS: &[Step] = &[Step::Upload, Step::Publish, Step::Read];
/// Steps that fetch tokens.
pub(crate) const FOR_TOKENS: &[Step] = &[Step::SignIn, Step::Refresh];
/// Every step.
pub(crate) const ALWAYS: &[Step] =
    &[Step::SignIn, Step::Refresh, Step::Upload, Step::Publish, Step::Read];

/// The platform's words about a refusal.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// The error's name or number.
    pub(crate) name: String,
    /// What it says to people.
    pub(crate) message: String,
}

impl Words {
    /// Of `{"error", "message"}`; OAuth has a name of its own for the second (RFC 6749 §5.2).
    pub(crate) fn plain(body: &Value) -> Self {
        let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = match text("message") {
            "" => text("error_description"),
            message => message,
        };
        Self { name: text("error").to_owned(), message: message.to_owned() }
    }
}

impl Answer {
    /// The value of a success, or what the refusal means by its API's table and, failing that, by status.
    pub(crate) fn value<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, JobError> {
        let read = self.read(call);
        read.inspect_err(|error: &JobError| self.took.failed(error.class()))
    }

    fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, JobError> {
        if !self.status.is_success() {
            return Err(self.refusal(call));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            // The cause is left out but for its place: it may quote the body.
            let place = format!("line {}, column {}", error.line(), error.column());
            let words = match self.packed() {
                Some(how) => format!("{} with an answer that is packed ({how})", self.status),
                None => format!("{} with an answer of another form ({place})", self.status),
            };
            call.error(call.unanswered(), &words)
        })
    }

    /// Whether it is a success, whatever its body says; else what the refusal means.
    pub(crate) fn success(&self, call: Call<'_>) -> Result<(), JobError> {
        if self.status.is_success() {
            return Ok(());
        }
        let error = self.refusal(call);
        self.took.failed(error.class());
        Err(error)
    }

    /// What it means that a success lacks what it is asked for: some platforms refuse with 200.
    pub(crate) fn without(&self, what: &str, call: Call<'_>) -> JobError {
        let error = if self.words(call).name.is_empty() {
            let words = format!("{} with an answer of another form (no {what})", self.status);
            call.error(call.unanswered(), &words)
        } else {
            self.refusal(call)
        };
        self.took.failed(error.class());
        error
    }

    /// Whether it refuses a post since the account has one like it.
    pub(crate) fn is_taken(&self, call: Call<'_>) -> bool {
        !self.status.is_success() && self.verdict(call, &self.words(call)) == Some(Verdict::Taken)
    }

    /// How the body is packed, which no platform was asked to do.
    fn packed(&self) -> Option<String> {
        let how = self.headers.get(http::header::CONTENT_ENCODING)?.to_str().ok()?;
        Some(printable(how, &[]))
    }

    fn refusal(&self, call: Call<'_>) -> JobError {
        let words = self.words(call);
        let class = self.class(call, &words);
        let place = self.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        // What follows the path may be a code, or a token that was sent.
        let place = place.and_then(|place| place.split(['?', '#']).next());
        let mut said = format!("{} {}", self.status.as_u16(), words.name);
        for part in [words.message.as_str(), place.unwrap_or_default()] {
            if !part.is_empty() {
                said = format!("{}: {part}", said.trim_end());
            }
        }
        call.error(class, &printable(said.trim_end(), call.secrets))
    }

    fn verdict(&self, call: Call<'_>, words: &Words) -> Option<Verdict> {
        let status = self.status.as_u16();
        let rule = call.api.refusals.rules.iter().find(|rule| rule.fits(call.step, status, words));
        rule.map(|rule| rule.verdict)
    }

    fn class(&self, call: Call<'_>, words: &Words) -> ErrorClass {
        let status = self.status.as_u16();
        let limited = |or: rate::Closed| {
            let told = rate::told(&self.headers, self.at);
            let rate::Closed { until, scope } = told.unwrap_or(or);
            ErrorClass::RateLimited { until, scope }
        };
        match (self.verdict(call, words), status) {
            (Some(Verdict::Expired), _) => ErrorClass::AuthExpired,
            (Some(Verdict::Revoked), _) => ErrorClass::AuthRevoked,
            (Some(Verdict::Invalid | Verdict::Taken), _) => ErrorClass::Invalid,
            (Some(Verdict::Later), _) => ErrorClass::Transient,
            (Some(Verdict::Unsure), _) => call.unanswered(),
            (Some(Verdict::Limited { scope, wait }), _) => {
                limited(rate::Closed { until: self.at.after(wait), scope })
            }
            (None, 429) => limited(rate::untold(self.at)),
            // An unknown reason for 401: new tokens help, or their refusal says more.
            (None, 401) if WITH_ACCESS.contains(&call.step) => ErrorClass::AuthExpired,
            // 408 and 425 are the server's, or a front server's, "later".
            (None, 408 | 425 | 500..) => call.unanswered(),
            (None, _) => ErrorClass::Invalid,
        }
    }

    /// What its API says of a refusal, as it is: what is shown of it goes through [`printable`].
    pub(crate) fn words(&self, call: Call<'_>) -> Words {
        self.words_by(call.api.refusals)
    }

    /// The same of an answer that does not speak as the API does.
    pub(crate) fn words_by(&self, table: &ErrorTable) -> Words {
        serde_json::from_slice(&self.body).map(|body| (table.words)(&body)).unwrap_or_default()
    }
}

/// A platform's words without the secrets that were sent, on one line, and not too long.
pub(crate) fn printable(text: &str, secrets: &[&SecretString]) -> String {
    let spellings = secrets.iter().flat_map(|secret| spellings(secret));
    let mut spellings: Zeroizing<Vec<String>> = Zeroizing::new(spellings.collect());
    // One may be a part of another, whose rest would stay.
    spellings.sort_by_key(|spelling| Reverse(spelling.len()));
    let mut text = Zeroizing::new(text.to_owned());
    for spelling in spellings.iter().filter(|spelling| !spelling.is_empty()) {
        text = Zeroizing::new(text.replace(spelling.as_str(), "[secret]"));
    }
    let mut line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(WORDS_CHARS_MAX + 1)
        .collect();
    if let Some((cut, _)) = line.char_indices().nth(WORDS_CHARS_MAX) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// A secret as it is, and as it stands in a form or an address.
fn spellings(secret: &SecretString) -> [String; 2] {
    let secret = secret.expose_secret();
    [secret.to_owned(), form_urlencoded::byte_serialize(secret.as_bytes()).collect()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, secrets: &[&str]) -> String {
        let secrets: Vec<SecretString> = secrets.iter().map(|&text| text.into()).collect();
        printable(text, &secrets.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_platforms_words_are_printed_without_the_secrets_and_not_in_full() {
        assert_eq!(said("token s3cret\nis old", &["s3cret"]), "token [secret] is old");
        assert_eq!(said("nothing was sent", &["", ""]), "nothing was sent");
        let long = said(&"é".repeat(1_000), &[]);
        assert_eq!(long.chars().count(), WORDS_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn no_secret_of_several_is_left_in_any_spelling() {
        let secrets = ["code", "code/+verifier=", "pass word"];
        let text = "code/+verifier= for code%2F%2Bverifier%3D, code, pass word, pass+word";
        assert_eq!(
            said(text, &secrets),
            "[secret] for [secret], [secret], [secret], [secret]",
            "the longest first, or \"code\" would leave the rest of the verifier"
        );
    }
}
