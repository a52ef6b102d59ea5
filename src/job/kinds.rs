//! The four built-in kinds: what producers send. The work itself is in `postworks-workers`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Job, RetryPolicy};

/// Fetches what is new on a connected account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSync {
    /// The account.
    pub connector_id: Uuid,
    /// What to fetch, at once; if empty, all that the platform has, each if it is due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<SyncStream>,
}

impl ConnectorSync {
    /// All that is due of this account.
    pub const fn of(connector_id: Uuid) -> Self {
        Self { connector_id, streams: Vec::new() }
    }
}

/// What a [`ConnectorSync`] fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncStream {
    /// Posts, as the platform lists them.
    Posts,
    /// How often posts were liked, and the like.
    Metrics,
    /// What the account says of itself.
    Profile,
}

impl SyncStream {
    /// Every stream, in the order in which a job takes them: numbers are read of posts.
    pub const ALL: [Self; 3] = [Self::Posts, Self::Metrics, Self::Profile];

    /// Its name in arguments and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Posts => "posts",
            Self::Metrics => "metrics",
            Self::Profile => "profile",
        }
    }
}

impl Job for ConnectorSync {
    const KIND: &'static str = "connector_sync";
    /// 2: may name streams.
    const VERSION: u16 = 2;
    const TIMEOUT: Duration = Duration::from_secs(120);
    const CATCHES_UP: bool = true;

    fn account(&self) -> Option<Uuid> {
        Some(self.connector_id)
    }
}

/// Publishes one post on one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostPublication {
    /// The publication: the post, the account and what became of it.
    pub publication_id: Uuid,
}

impl Job for PostPublication {
    const KIND: &'static str = "post_publication";
    /// 2: may hold more than text, and answer another post.
    const VERSION: u16 = 2;
    const TIMEOUT: Duration = Duration::from_secs(60);
    const EFFECT: bool = true;
    /// A post is about when, and platforms are down for minutes: twelve attempts over a quarter of
    /// an hour in the mean, half an hour at most; then a person decides.
    const RETRY: RetryPolicy = RetryPolicy {
        base: Duration::from_secs(2),
        cap: Duration::from_secs(300),
        max_attempts: 12,
    };
}

/// Renews a connected account's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRefresh {
    /// The account.
    pub connector_id: Uuid,
}

impl Job for TokenRefresh {
    const KIND: &'static str = "token_refresh";
    /// A platform that is down for hours must not cost the account: tokens live long after.
    const RETRY: RetryPolicy = RetryPolicy { max_attempts: 20, ..RetryPolicy::DEFAULT };
    /// A dead worker's lease on the account's tokens may have to end first, and then a request.
    const TIMEOUT: Duration = Duration::from_secs(90);
    const CATCHES_UP: bool = true;
    /// A window for publishing may last for a day, and the tokens end in it.
    const HEEDS_WINDOWS: bool = false;

    fn account(&self) -> Option<Uuid> {
        Some(self.connector_id)
    }
}

/// Deletes what is older than its retention.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataCleanup {
    /// What to clean; everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<CleanupScope>,
    /// Only count what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a [`DataCleanup`] cleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanupScope {
    /// Ended jobs and their attempts.
    Jobs,
    /// Dead letters.
    DeadLetters,
    /// Posts fetched from platforms.
    RemotePosts,
    /// Ended publications, and posts all of whose publications are gone.
    Publications,
    /// What operators did.
    Audit,
    /// Ended redrives.
    Redrives,
    /// Answers to requests that came with a key.
    Requests,
    /// Expired sessions of the API's users, and their tokens.
    Sessions,
    /// Accounts that somebody began to connect over OAuth, and did not in time.
    OauthStates,
    /// What happened to accounts.
    Events,
    /// The rows of disconnected accounts.
    Connectors,
    /// Every reading of the numbers of posts.
    Metrics,
    /// Images that no post has.
    Media,
}

impl CleanupScope {
    /// Every scope.
    pub const ALL: [Self; 13] = [
        Self::Jobs,
        Self::DeadLetters,
        Self::RemotePosts,
        Self::Publications,
        Self::Audit,
        Self::Redrives,
        Self::Requests,
        Self::Sessions,
        Self::OauthStates,
        Self::Events,
        Self::Connectors,
        Self::Metrics,
        Self::Media,
    ];

    /// Those that are tenants' own: each tenant may say for how long it keeps them.
    pub const OF_TENANTS: [Self; 5] =
        [Self::RemotePosts, Self::Metrics, Self::Publications, Self::Events, Self::Media];

    /// Its name in arguments, in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::DeadLetters => "dead_letters",
            Self::RemotePosts => "remote_posts",
            Self::Publications => "publications",
            Self::Audit => "audit",
            Self::Redrives => "redrives",
            Self::Requests => "requests",
            Self::Sessions => "sessions",
            Self::OauthStates => "oauth_states",
            Self::Events => "events",
            Self::Connectors => "connectors",
            Self::Metrics => "metrics",
            Self::Media => "media",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl Job for DataCleanup {
    const KIND: &'static str = "data_cleanup";
    /// 2: may clean the audit, redrives, requests and sessions. 3: states of OAuth, events and
    /// disconnected accounts. 4: numbers of posts. 5: images.
    const VERSION: u16 = 5;
    const TIMEOUT: Duration = Duration::from_secs(300);
}
