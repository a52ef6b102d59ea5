//! The platforms, the accounts on them, and what was sent there.

use super::{Label, Metric, PLATFORM, Writer};

/// Up to a platform client's limit, 30 s.
const REQUEST_BUCKETS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0];

/// What [`ErrorClass::as_str`](crate::job::ErrorClass::as_str) can say, and `ok`.
const CLASSES: &[&str] = &[
    "ok",
    "not_sent",
    "transient",
    "unknown",
    "rate_limited",
    "auth_expired",
    "auth_revoked",
    "invalid",
    "unavailable",
    "bug",
];

/// How long requests to platforms took.
pub const PLATFORM_REQUEST: Metric = Metric::histogram(
    Writer::Process,
    "postworks_platform_request_seconds",
    REQUEST_BUCKETS,
    &[
        PLATFORM,
        Label::words("operation", &["sign_in", "refresh", "publish", "read", "revoke"]),
        Label::words("class", CLASSES),
    ],
    "How long requests to platforms took, in seconds, by what their answers meant.",
);
/// Connections opened to platforms.
pub const PLATFORM_CONNECTIONS: Metric = Metric::counter(
    Writer::Process,
    "postworks_platform_connections_total",
    &[PLATFORM],
    "Connections opened to platforms, TLS included.",
);
/// Refreshes of accounts' tokens.
pub const TOKEN_REFRESHES: Metric = Metric::counter(
    Writer::Process,
    "postworks_token_refreshes_total",
    &[
        PLATFORM,
        Label::words("reason", &["ahead", "on_demand"]),
        Label::words("outcome", &["refreshed", "refused", "failed", "lost"]),
    ],
    "Refreshes of accounts' tokens, ahead of their end or when a job needed them.",
);
/// Tokens that were not renewed in time.
pub const TOKENS_LATE: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_tokens_late",
    &[PLATFORM],
    "Accounts that work and whose tokens end soon, or have ended, and were not renewed in time.",
);
/// Accounts that should have been synchronised.
pub const SYNCS_LATE: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_syncs_late",
    &[PLATFORM],
    "Accounts that work and whose synchronising has been due for five minutes and more, and is not \
     enqueued.",
);
/// Requests that cannot be taken back and whose outcome is not recorded.
pub const EFFECTS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_effects",
    &[Label::words("state", &["under_way", "unsure", "needs_person"])],
    "Publications that were sent and whose outcome is not recorded.",
);
/// Connected accounts.
pub const ACCOUNTS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_accounts",
    &[PLATFORM, Label::words("state", &["active", "needs_reauth", "disconnecting"])],
    "Connected accounts.",
);

pub(super) const ALL: &[Metric] = &[
    PLATFORM_REQUEST,
    PLATFORM_CONNECTIONS,
    TOKEN_REFRESHES,
    TOKENS_LATE,
    SYNCS_LATE,
    EFFECTS,
    ACCOUNTS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ErrorClass, RateScope, Timestamp};

    #[test]
    fn every_class_of_errors_is_a_value_of_the_label() {
        let until = Timestamp::default();
        for class in [
            ErrorClass::NotSent,
            ErrorClass::Transient,
            ErrorClass::Unknown { repeatable: true },
            ErrorClass::RateLimited { until, scope: RateScope::App },
            ErrorClass::AuthExpired,
            ErrorClass::AuthRevoked,
            ErrorClass::Invalid,
            ErrorClass::Unavailable { until },
            ErrorClass::Bug,
        ] {
            assert!(CLASSES.contains(&class.as_str()), "{class:?}");
        }
    }
}
