//! Dead letters: which, what they say, and what became of them.

use std::fmt;

use postworks::job::{Category, JobId, Kind, Queue, Reason, Timestamp};
use postworks::ledger::PutBackOnce;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{AttemptView, RedriveView, words};
use crate::app::dead_actions::{CANARY_MAX, RATE_MAX};
use crate::app::dead_choice::IDS_MAX;
use crate::app::paging::LIMIT_MAX;

/// Which dead letters to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadQuery {
    /// Only those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Category>")]
    pub category: Option<String>,
    /// Only those of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Fingerprint>")]
    pub fingerprint: Option<String>,
    /// Only those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Queue>")]
    pub queue: Option<String>,
    /// Only those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::KnownKind>")]
    pub kind: Option<String>,
    /// Only those of this account, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Uuid>")]
    pub account: Option<String>,
    /// Only those that died then or later: RFC 3339, or how long ago, as in `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub died_after: Option<String>,
    /// Only those that died before: RFC 3339, or how long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub died_before: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
    /// Why, for the audit; for exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// A job that a person must look at.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct DeadLetterView {
    /// The job.
    #[schemars(with = "Uuid")]
    pub id: JobId,
    /// Its kind.
    #[schemars(with = "words::Kind")]
    pub kind: Kind,
    /// Its queue.
    #[schemars(with = "words::Queue")]
    pub queue: Queue,
    /// Why it died.
    #[schemars(with = "words::Reason")]
    pub reason: Reason,
    /// Groups letters of the same cause.
    pub fingerprint: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it was enqueued.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
    /// When it died.
    #[schemars(with = "words::Time")]
    pub died_at: Timestamp,
    /// What was to be done; not shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DeadDetails>,
}

/// What a list of dead letters leaves out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeadDetails {
    /// The job's arguments.
    #[schemars(with = "words::Object")]
    pub args: Box<RawValue>,
    /// The account it is about.
    pub account: Option<Uuid>,
    /// While the job lived, no other of the kind with this key was made. It holds the key no more.
    pub unique_key: Option<String>,
    /// The trace of whoever enqueued it.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// Every failed attempt, first to last, also those before it was put back.
    pub attempts: Vec<AttemptView>,
    /// When it was put back before, and from which death, first to last.
    #[schemars(with = "Vec<words::PutBackOnce>")]
    pub put_back: Vec<PutBackOnce>,
    /// A job that made it needless: one of its key, or for its account if it was to synchronise or
    /// refresh, that lives or has completed since.
    #[serde(default)]
    #[schemars(with = "Option<Uuid>")]
    pub superseded_by: Option<JobId>,
}

/// Dead letters of one cause.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadGroup")]
pub struct DeadGroupView {
    /// The cause.
    pub fingerprint: String,
    /// So many.
    pub count: u64,
    /// Their kind.
    #[schemars(with = "words::Kind")]
    pub kind: Kind,
    /// Where the youngest is filed.
    #[schemars(with = "words::Category")]
    pub category: Category,
    /// The class of its failure.
    pub class: String,
    /// Its words.
    pub message: String,
    /// When the first of them died.
    #[schemars(with = "words::Time")]
    pub first_died_at: Timestamp,
    /// When the last of them died.
    #[schemars(with = "words::Time")]
    pub last_died_at: Timestamp,
    /// The youngest of them.
    #[schemars(with = "Uuid")]
    pub example: JobId,
}

/// Which dead letters to act on: those that fit everything that is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadChoice {
    /// These jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Uuid>", length(max = IDS_MAX))]
    pub ids: Vec<JobId>,
    /// Those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Category>")]
    pub category: Option<Category>,
    /// Those of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Fingerprint>")]
    pub fingerprint: Option<String>,
    /// Those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Queue>")]
    pub queue: Option<Queue>,
    /// Those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::KnownKind>")]
    pub kind: Option<Kind>,
    /// Those of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Uuid>,
    /// Those that died then or later: RFC 3339, or how long ago, as in `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub died_after: Option<String>,
    /// Those that died before: RFC 3339, or how long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub died_before: Option<String>,
}

/// Dead letters to put back.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadRetry {
    /// Which.
    #[serde(deserialize_with = "super::object::object")]
    pub filter: DeadChoice,
    /// An empty filter means every dead letter.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only say what would happen.
    pub dry_run: bool,
    /// Put so many back first, 1 to 1,000, and go on only if none dies of the same cause again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = CANARY_MAX))]
    pub canary: Option<u32>,
    /// Put back at most so many a second, 1 to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub rate: Option<u32>,
    /// Why, for the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// Dead letters to discard.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadDiscard {
    /// Which.
    #[serde(deserialize_with = "super::object::object")]
    pub filter: DeadChoice,
    /// An empty filter means every dead letter.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only say what would happen.
    pub dry_run: bool,
    /// Why, for the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// A dead job's new arguments, with which it is put back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadEdit {
    /// All arguments, or those that change.
    #[schemars(with = "words::Object")]
    pub args: Box<RawValue>,
    /// Whether `args` are those that change, and the others stay.
    #[serde(default)]
    pub merge: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// What became, or would become, of the chosen dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Chosen.
    pub matched: u64,
    /// Put back.
    pub runnable: u64,
    /// Completed: what they were to do is done.
    pub done: u64,
    /// Left alone: perhaps done. Naming the job's id puts it back if the job can find out; else
    /// only a person can tell.
    pub unknown: u64,
    /// Left alone: something newer made them needless. Naming the job's id puts it back all the
    /// same, unless a live job has its unique key.
    pub superseded: u64,
    /// What those that are put back cost, if a platform charges for posts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// Posts that their platforms charge for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CostOfPosts")]
pub struct Cost {
    /// So many.
    pub posts: u64,
    /// What publishing them costs by the platforms' price lists, in millionths of a US dollar.
    pub usd_micros: u64,
}

impl Cost {
    /// This and another.
    pub(in crate::app) fn and(self, other: Self) -> Self {
        Self {
            posts: self.posts + other.posts,
            usd_micros: self.usd_micros.saturating_add(other.usd_micros),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The cheapest costs more than a thousandth.
        let (dollars, mills) = (self.usd_micros / 1_000_000, self.usd_micros % 1_000_000 / 1_000);
        write!(f, "{} for ${dollars}.{mills:03}", self.posts)
    }
}

/// The answer to a retry of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What became of them; of a redrive that goes on in the background, what will.
    pub plan: Plan,
    /// The redrive that goes on in the background, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive: Option<RedriveView>,
}

/// The answer to discarding dead letters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Discarded {
    /// What they were: those that are runnable could have been put back.
    pub plan: Plan,
    /// So many were ended for good.
    pub discarded: u64,
}
