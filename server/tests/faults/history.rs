//! What a run left behind: the journals and tables that the checker reads.
//!
//! None of it is a counter of the code under test, except the metrics, which are checked against
//! the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// Accepted: from now on the job must not be lost.
    Accepted,
    /// Refused, in words: nothing may come of it.
    Refused,
    /// No answer, or one that says that nobody knows.
    Unknown,
}

/// One request of a client.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Asked {
    /// When the answer came, in milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// What the client was told.
    pub(crate) told: Told,
    /// What the request can be recognised by: the post's text, or an account's id.
    pub(crate) mark: String,
    /// The jobs it made, with the publication of each if there is one.
    pub(crate) jobs: Vec<(String, Option<String>)>,
}

/// One thing the platform accepted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Effect {
    /// Whether it is a post; else a refresh of tokens.
    pub(crate) publish: bool,
    /// The platform's account.
    pub(crate) account: String,
    /// The post's text.
    pub(crate) text: Option<String>,
}

impl Effect {
    /// Tells publications apart on every platform, also on one that takes no reference of ours: the
    /// suite never publishes a text twice on an account.
    pub(crate) fn target(&self) -> Option<(&str, &str)> {
        Some((self.account.as_str(), self.text.as_deref()?))
    }
}

/// A job's row at the end.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) failed_attempts: i32,
    pub(crate) max_attempts: i32,
    pub(crate) run_at: i64,
    pub(crate) unique_key: Option<String>,
    /// Rows in `attempts`.
    pub(crate) attempt_rows: i64,
    /// Rows in `dead_letters`.
    pub(crate) letters: i64,
    /// The dead letter's category.
    pub(crate) category: Option<String>,
}

/// A publication's row at the end.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Publication {
    pub(crate) id: String,
    pub(crate) job_id: String,
    pub(crate) state: String,
    /// The platform's account.
    pub(crate) account: String,
    /// The post's text.
    pub(crate) text: String,
}

impl Publication {
    /// As [`Effect::target`].
    pub(crate) fn target(&self) -> (&str, &str) {
        (&self.account, &self.text)
    }
}

/// One committed change of a job's row, as the database itself has noted it.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Change {
    pub(crate) at_ms: i64,
    /// The process that made it.
    pub(crate) app: String,
    pub(crate) job: String,
    pub(crate) old_state: Option<String>,
    pub(crate) state: String,
    pub(crate) old_token: Option<i64>,
    pub(crate) token: Option<i64>,
    pub(crate) old_settled: Option<bool>,
    pub(crate) settled: bool,
    pub(crate) old_failed: Option<i32>,
    pub(crate) failed: i32,
}

impl Change {
    /// Whether a claim was written over an earlier one.
    pub(crate) fn stamps(&self) -> bool {
        self.old_state.is_some() && self.token != self.old_token && !self.settled
    }

    /// Whether a claim said what becomes of the job.
    pub(crate) fn settles(&self) -> bool {
        self.settled && (self.old_settled == Some(false) || self.token != self.old_token)
    }
}

impl History {
    /// The jobs that somebody claimed while an earlier claim still had them: its holder was taken for
    /// dead. A job that was put off and runs later is none of them.
    pub(crate) fn taken_over(&self) -> BTreeSet<&str> {
        let over = |change: &&Change| {
            change.stamps() && change.old_token.is_some() && change.old_settled == Some(false)
        };
        self.changes.iter().filter(over).map(|change| change.job.as_str()).collect()
    }
}

/// What a process had used when it was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Usage {
    pub(crate) process: String,
    /// The most memory it ever had, in MiB.
    pub(crate) peak_mib: u64,
}

/// Everything about one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct History {
    pub(crate) asked: Vec<Asked>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) changes: Vec<Change>,
    /// What the broker still holds: entries by the last part of the key.
    pub(crate) broker: BTreeMap<String, u64>,
    /// Publish requests that went to the platform.
    pub(crate) publish_calls: u64,
    pub(crate) usage: Vec<Usage>,
    /// Sums of counters over the processes that lived through the whole run, if all did.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Where a secret was seen.
    pub(crate) leaks: Vec<String>,
}
