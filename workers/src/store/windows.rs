//! Windows: until when a publication may be sent, and what becomes of it if it is late.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use postworks::job::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{Begun, Error, PublicationState, Sender, Store};

/// What becomes of a publication that is late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// It is not sent any more.
    #[default]
    Skip,
    /// It is sent all the same, and says that it was late.
    Publish,
}

impl Late {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Publish];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Publish => "publish",
        }
    }

    fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|late| late.as_str() == text)
    }

    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt(format!("the policy {text:?} for what is late"));
        Self::named(text).ok_or_else(corrupt)
    }
}

/// By hand: what is no text at all is a wrong value, and no JSON that is malformed.
impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::named(&text).ok_or_else(|| D::Error::custom("must be skip or publish"))
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of a publication's time. It begins when the publication is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// It is not to be sent later than this.
    pub not_after: Timestamp,
    /// What becomes of it if it is.
    pub late: Late,
}

impl Window {
    /// Whether it is over.
    pub fn is_over(self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// Until when the job of a publication is of use that is due at `run_at`; `life` is how long
    /// jobs of its kind are. One that is to be skipped is looked at when its window ends, whatever
    /// it waits for then.
    pub fn expires_at(window: Option<Self>, run_at: Timestamp, life: Duration) -> Timestamp {
        match window {
            None => run_at.after(life),
            Some(Self { not_after, late: Late::Skip }) => not_after,
            Some(Self { not_after, late: Late::Publish }) => not_after.max(run_at).after(life),
        }
    }
}

/// A late publication, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// When.
    pub at: Timestamp,
    /// In words, if it was given up; else it was sent late.
    pub why: Option<String>,
}

impl Store {
    /// Why no intent was recorded.
    pub(super) async fn why_not_begun(
        &self,
        id: Uuid,
        sender: &Sender,
        seen: i64,
        now: Timestamp,
    ) -> Result<Begun, Error> {
        let Some(row) = self.publication(id).await? else { return Ok(Begun::Overtaken) };
        let skipped = row.window.filter(|window| window.late == Late::Skip);
        Ok(match row.state {
            PublicationState::Published => Begun::Published,
            _ if row.version != seen => Begun::Overtaken,
            _ if row.scheduled_at > sender.due_by(now) => Begun::NotYet(row.scheduled_at),
            _ if skipped.is_some_and(|window| window.is_over(now)) => Begun::Missed,
            _ => Begun::Overtaken,
        })
    }
}
