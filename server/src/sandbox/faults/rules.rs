//! Fault rules: as they come in, checked, and as the control verbs show them.

use std::collections::BTreeMap;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, latency::Latency};
use crate::sandbox::{accounts::Account, error::ApiError};

/// The dice's seed when none is given, and before any rules were.
pub(super) const DEFAULT_SEED: u64 = 1;

/// More rules than a test needs, few enough to try on every request.
const MAX_RULES: usize = 100;

/// Longest words of a refusal.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// What a rule does to the requests it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Applied and journalled; the answer comes late.
    Latency,
    /// Not applied; an error status.
    Error,
    /// Not applied; 429 with Retry-After.
    RateLimit,
    /// Not applied; the connection is cut without an answer.
    DropBefore,
    /// Applied and journalled; the connection is cut without an answer.
    DropAfter,
    /// Applied and journalled; the answer never comes.
    Hang,
}

/// Which requests a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Publish,
    Refresh,
    List,
    Numbers,
    Profile,
    #[serde(rename = "*")]
    Any,
}

/// All rules, as a client sends them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sandbox) struct FaultsIn {
    seed: Option<u64>,
    #[serde(default)]
    rules: Vec<RuleIn>,
}

/// One rule, as a client sends it; null is the same as not given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleIn {
    op: Target,
    account: Option<String>,
    p: Option<f64>,
    times: Option<u64>,
    action: Action,
    latency_ms: Option<Latency>,
    status: Option<u16>,
    headers: Option<BTreeMap<String, Value>>,
    message: Option<String>,
}

/// One rule with its defaults filled in.
#[derive(Debug, Clone, Serialize)]
pub(in crate::sandbox) struct Rule {
    op: Target,
    account: String,
    pub(super) p: f64,
    /// How often it may still hit; null is for ever.
    pub(super) times: Option<u64>,
    pub(super) action: Action,
    pub(super) latency_ms: Latency,
    status: u16,
    headers: BTreeMap<String, Value>,
    /// What a refusal says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// A rule with what its answer needs already parsed.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) rule: Rule,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl FaultsIn {
    /// Checks every rule; the error names the first bad field.
    pub(super) fn check(self) -> Result<(u64, Vec<Armed>), ApiError> {
        if self.rules.len() > MAX_RULES {
            return Err(ApiError::field("rules", format!("at most {MAX_RULES} rules")));
        }
        let rules = self.rules.into_iter().enumerate().map(|(index, rule)| {
            rule.check().map_err(|(field, message)| {
                ApiError::field(format!("rules[{index}].{field}"), message)
            })
        });
        Ok((self.seed.unwrap_or(DEFAULT_SEED), rules.collect::<Result<_, _>>()?))
    }
}

/// A bad field and what is wrong with it.
type Bad = (String, String);

impl RuleIn {
    fn check(self) -> Result<Armed, Bad> {
        let rule = Rule {
            op: self.op,
            account: self.account.unwrap_or_else(|| "*".to_owned()),
            p: self.p.unwrap_or(1.0),
            times: self.times,
            action: self.action,
            latency_ms: self.latency_ms.unwrap_or_default(),
            status: self.status.unwrap_or(503),
            headers: self.headers.unwrap_or_default(),
            message: self.message,
        };
        if rule.account.is_empty() {
            return Err(bad("account", "must be an account's id, its handle, or *"));
        }
        if !(0.0..=1.0).contains(&rule.p) {
            return Err(bad("p", "must be between 0 and 1"));
        }
        if rule.message.as_ref().is_some_and(|words| words.len() > MESSAGE_BYTES_MAX) {
            let message = format!("must be at most {MESSAGE_BYTES_MAX} bytes");
            return Err((String::from("message"), message));
        }
        rule.latency_ms
            .check()
            .map_err(|(field, message)| (format!("latency_ms.{field}"), message))?;
        let status = StatusCode::from_u16(rule.status)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
            .ok_or_else(|| bad("status", "must be an error status, 400 to 599"))?;
        let headers = parse_headers(&rule.headers)?;
        Ok(Armed { rule, status, headers })
    }
}

impl Rule {
    /// Tells whether the rule looks at such a request at all.
    pub(super) fn concerns(&self, call: Call, account: &Account) -> bool {
        let op = match self.op {
            Target::Any => true,
            Target::Publish => call == Call::Publish,
            Target::Refresh => call == Call::Refresh,
            Target::List => call == Call::List,
            Target::Numbers => call == Call::Numbers,
            Target::Profile => call == Call::Profile,
        };
        op && (self.account == "*" || self.account == account.id || self.account == account.handle)
    }
}

fn parse_headers(headers: &BTreeMap<String, Value>) -> Result<HeaderMap, Bad> {
    // The server frames its answers itself; a second opinion would garble the connection.
    const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

    let mut parsed = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |message: &str| bad(&format!("headers.{name}"), message);
        let header: HeaderName = name.parse().map_err(|_| wrong("is no header name"))?;
        if FRAMING.contains(&header) {
            return Err(wrong("is the server's own to set"));
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong("must be a string or a number")),
        };
        let value = HeaderValue::from_str(&text).map_err(|_| wrong("is no header value"))?;
        parsed.insert(header, value);
    }
    Ok(parsed)
}

fn bad(field: &str, message: &str) -> Bad {
    (field.to_owned(), message.to_owned())
}
