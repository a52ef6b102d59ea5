//! What goes between a handler and a platform's client when a post is published.

use std::collections::BTreeSet;

use postworks::job::{ErrorClass, JobError, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a platform holds ready for a post that is not published yet: uploads, a draft, a container.
/// Its own client alone reads it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prepared(pub Value);

impl Prepared {
    /// Nothing, as on platforms where a post needs no preparation.
    pub const NOTHING: Self = Self(Value::Null);

    /// What a client keeps, in a form of its own; one without a field is [`Prepared::NOTHING`].
    ///
    /// # Errors
    /// The form is none of JSON's: a bug.
    pub fn of(kept: &impl Serialize) -> Result<Self, JobError> {
        let kept = serde_json::to_value(kept).map_err(|error| {
            JobError::new(ErrorClass::Bug, "what was prepared cannot be kept").because(error)
        })?;
        let is_empty = kept.as_object().is_some_and(serde_json::Map::is_empty);
        Ok(if is_empty { Self::NOTHING } else { Self(kept) })
    }

    /// What was kept, if anything was.
    ///
    /// # Errors
    /// It is of another form: a bug, since to go on as if nothing was prepared could publish twice.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, JobError> {
        if self.0.is_null() {
            return Ok(None);
        }
        T::deserialize(&self.0).map(Some).map_err(|error| {
            JobError::new(ErrorClass::Bug, "what was prepared cannot be read").because(error)
        })
    }
}

/// How far a preparation came.
#[derive(Debug, Clone, PartialEq)]
pub enum Preparation {
    /// The post may be committed.
    Ready(Prepared),
    /// Not yet: it goes on from `so_far`.
    Waits {
        /// What is there already.
        so_far: Prepared,
        /// Not before this, since the platform works on it; a time that is past means at once.
        until: Timestamp,
    },
}

/// Where a post went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The platform's id of the post.
    pub remote_id: String,
    /// Where people see it, if the platform says so.
    pub remote_url: Option<String>,
}

/// What a platform said to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is published.
    Published(Published),
    /// Refused: the account has a post like this one already. It may be this very one, of an earlier
    /// request.
    AlreadyThere {
        /// The platform's id of that post, if it says so.
        remote_id: Option<String>,
    },
}

/// What is known of a post that may be out there.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// When the first request was recorded that may have been applied.
    pub since: Timestamp,
    /// When the last of them was over at the latest.
    pub until: Timestamp,
    /// The id of a post that the platform took for it.
    pub named: Option<&'a str>,
    /// What of what the account shows is not ours, or need not be.
    pub others: &'a Others,
}

impl Sought<'static> {
    /// A post of an account that publishes nothing else.
    pub fn alone(since: Timestamp, until: Timestamp) -> Self {
        Self { since, until, named: None, others: Others::NONE }
    }
}

/// What other publications of an account have on the platform, or may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// The platform's ids of their posts.
    pub ids: BTreeSet<String>,
    /// The texts, with their links, of those that may be there.
    pub texts: Vec<String>,
}

impl Others {
    /// There are none.
    pub const NONE: &'static Self = &NO_OTHERS;
}

static NO_OTHERS: Others = Others { ids: BTreeSet::new(), texts: Vec::new() };

/// What a platform says of a post that may be out there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// It is, surely.
    There(Published),
    /// This one reads as it does, and is it if no other publication has it.
    Alike(Published),
    /// It is not, as far as the platform shows.
    Absent,
    /// What it shows proves neither, in these words.
    Unsure(String),
}
