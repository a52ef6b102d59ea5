//! Jobs that are made again and again.

use postworks::job::schedule::{CRON_BYTES_MAX, JITTER_MAX};
use postworks::job::{JobId, Kind, MAX_ATTEMPTS_MAX, PRIORITY_S_MAX, Queue, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::jobs::no_args;
use super::{HolderView, words};
use crate::app::paging::LIMIT_MAX;
use crate::app::schedules::NEXT_MAX;

/// Longest jitter, in milliseconds.
const JITTER_MS_MAX: u64 = JITTER_MAX.as_secs() * 1_000;

/// A schedule to add.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSchedule {
    /// Its name, unlike those of the others: a-z, 0-9, - and _.
    #[schemars(with = "words::ScheduleName")]
    pub name: String,
    /// Minute, hour, day of month, month and day of week, or a nickname such as `@daily`.
    #[schemars(with = "words::Words", length(max = CRON_BYTES_MAX))]
    pub cron: String,
    /// The cron's time zone, by its name in the IANA database; UTC if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>")]
    pub zone: Option<String>,
    /// The jobs' kind.
    #[schemars(with = "words::KnownKind")]
    pub kind: String,
    /// Their arguments; none if absent.
    #[serde(default = "no_args")]
    #[schemars(with = "words::Args")]
    pub args: Box<RawValue>,
    /// Their head start in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = PRIORITY_S_MAX))]
    pub priority: Option<u32>,
    /// Their attempts in all; the kind's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_ATTEMPTS_MAX))]
    pub max_attempts: Option<u32>,
    /// What becomes of times that nobody was there for: `once` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::MissedPolicy>")]
    pub missed: Option<String>,
    /// What becomes of a time that comes while the last job is not done: `skip` if absent, but
    /// `allow` with `missed` `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::OverlapPolicy>")]
    pub overlap: Option<String>,
    /// Jobs run some part of this many milliseconds after their times, by dice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = JITTER_MS_MAX))]
    pub jitter_ms: Option<u64>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// A schedule as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Schedule")]
pub struct ScheduleView {
    /// The schedule.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When.
    pub cron: String,
    /// In which zone.
    pub zone: String,
    /// The jobs' kind.
    #[schemars(with = "words::Kind")]
    pub kind: Kind,
    /// Their arguments.
    #[schemars(with = "words::Object")]
    pub args: Box<RawValue>,
    /// Their queue.
    #[schemars(with = "words::Queue")]
    pub queue: Queue,
    /// Their head start in seconds.
    pub priority: u32,
    /// Their attempts in all; null for the kind's own.
    pub max_attempts: Option<u32>,
    /// What becomes of times that nobody was there for.
    #[schemars(with = "words::MissedPolicy")]
    pub missed: String,
    /// What becomes of a time that comes while the last job is not done.
    #[schemars(with = "words::OverlapPolicy")]
    pub overlap: String,
    /// Jobs run some part of this many milliseconds after their times.
    pub jitter_ms: u64,
    /// When it was made.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
    /// The next time; null while it is paused.
    #[schemars(with = "Option<words::Time>")]
    pub next_at: Option<Timestamp>,
    /// Who paused it, if it is paused: `postworks` if it can fire no more.
    pub paused: Option<HolderView>,
    /// How many times were had.
    pub fires: u64,
    /// The program made it by itself: it can be paused, and not removed.
    #[serde(default)]
    pub built_in: bool,
}

/// Which schedules to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulesQuery {
    /// Only that of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::ScheduleName>")]
    pub name: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
}

/// How many times to foretell, or to remember.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimesQuery {
    /// So many, 1 to 100; 10 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = NEXT_MAX))]
    pub limit: Option<u32>,
}

/// The next times of a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NextTimes {
    /// In order, if nobody pauses it.
    pub times: Vec<NextTime>,
}

/// A time to come.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NextTime {
    /// The time.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// The same as the zone's clocks show it.
    pub local: String,
}

/// A time that was had.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Fire")]
pub struct FireView {
    /// The time.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// When it was had.
    #[schemars(with = "words::Time")]
    pub made_at: Timestamp,
    /// Its job; null if that of an earlier time was not done.
    #[schemars(with = "Option<Uuid>")]
    pub job_id: Option<JobId>,
    /// A person did it.
    pub by_hand: bool,
}

/// The last times of a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LastTimes {
    /// The newest first.
    pub fires: Vec<FireView>,
}

/// A schedule that is gone.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RemovedSchedule {
    /// What it was.
    pub id: Uuid,
    /// Its name, which is free.
    pub name: String,
}
