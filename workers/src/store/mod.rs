//! The product's rows: accounts, their tokens, posts, publications, what was found on the
//! platforms, and who may ask the API. They share a database, and where it matters a transaction,
//! with the ledger.
//!
//! A file a table. Nothing here speaks to a platform or decides what becomes of a job.

mod adoption;
mod api_keys;
mod cadence;
mod cleanup;
mod connectors;
mod content;
mod counts;
mod cursors;
mod disconnect;
mod due;
mod due_accounts;
mod effects;
mod events;
mod expiry;
mod fault;
mod freeze;
mod grants;
mod media;
mod metrics;
mod months;
mod moving;
mod oauth_states;
mod posts;
mod prepared;
mod progress;
mod publications;
mod remote_posts;
mod renewals;
mod replies;
mod requests;
mod resolving;
mod retention;
mod revisions;
mod routes;
mod schedule;
mod sealing;
mod sessions;
mod sets;
mod sync_due;
mod tenants;
mod tokens;
mod users;
mod windows;

pub use adoption::Owner;
pub use api_keys::ApiKey;
pub use cadence::reread_after;
pub use connectors::{Connected, Connector, ConnectorState, NewConnector};
pub use content::{Content, PostImage, Revision};
pub use counts::{Over, Unrecorded};
pub use cursors::{Cursor, FailingStream};
pub use disconnect::{Disconnected, LastTokens, ROWS_KEPT};
pub use due_accounts::{DUE_MAX, Due, TakenDue};
pub use effects::{Begun, Earlier, OpenEffect, SEND_WITHIN, Sender};
pub use events::{Event, EventKind};
pub use expiry::{Expired, Whose};
pub use freeze::Frozen;
pub use grants::{Grant, Granted};
pub use media::Media;
pub use metrics::{DueNumbers, NumbersRead};
pub use months::Month;
pub use moving::{MOVED_MAX, Move, Moved, NotMoved, UNTOLD_MAX, Untold, Which};
pub use oauth_states::{NewOAuthState, OAUTH_STATE_KEPT, OAUTH_STATES_MAX, OAuthProof, OAuthState};
pub use posts::Post;
pub use progress::{Progress, Swept};
pub use publications::{Publication, PublicationState};
pub use replies::{REMOTE_ID_BYTES_MAX, Reply};
pub use requests::{Answered, Holding, Keyed, REQUESTS_KEPT, Taken};
pub use resolving::{Resolution, Resolved};
pub use retention::Keeps;
pub use revisions::{REVISED_MAX, Revised};
pub use routes::Route;
pub use schedule::{Fits, Publish, Scheduled};
pub use sealing::{HOLDER_BELIEVED, KeyBook, KeyHolder, Resealed, SealingKey, Stale};
pub use sessions::{
    Exchange, Exchanged, NewRefresh, REFRESH_GRACE, SESSION_KEPT, SESSION_TOKENS_MAX,
};
pub use sets::{Callback, Member, PublicationSet, ScheduledSet, SetState};
pub use tenants::NamedTenant;
pub use tokens::{Access, CoolDown, Held, Renewal, Renewed};
pub use users::User;
pub use windows::{Late, Missed, Window};

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use postworks::clock::SharedClock;
use postworks::job::{FieldError, IdSource, InvalidRequest, Timestamp};
use postworks::ledger::{self, Db};
use uuid::Uuid;

use crate::secrets::{KeyRing, SealError};

/// Most rows on a page.
pub const PAGE_MAX: u32 = 500;

/// The product's rows. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    keys: KeyRing,
    clock: SharedClock,
    ids: Arc<IdSource>,
    /// When this process last made partitions ready, in milliseconds since 1970.
    months_ready: Arc<AtomicI64>,
}

/// What went wrong between us and the product's rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Database(#[from] ledger::Error),
    /// Something the caller gave us is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
    /// An account's secrets cannot be sealed or opened.
    #[error("the secrets of account {connector_id}")]
    Sealed {
        /// The account.
        connector_id: Uuid,
        /// Why.
        source: SealError,
    },
    /// A row holds what this program never writes.
    #[error("a row holds {0}, which this program never writes")]
    Corrupt(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl ledger::MaybeUnsure for Error {
    fn of_ledger(&self) -> Option<&ledger::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InvalidRequest> for Error {
    fn from(InvalidRequest(faults): InvalidRequest) -> Self {
        Self::Fields(faults)
    }
}

impl Error {
    fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError::new(field, message)])
    }
}

impl Store {
    /// The product's rows in `db`, which is the ledger's database too; secrets are sealed with
    /// `keys`.
    pub fn new(db: Db, keys: KeyRing, clock: SharedClock) -> Self {
        Self { db, keys, clock, ids: Arc::default(), months_ready: Arc::default() }
    }

    /// The same rows, with ids from elsewhere for new ones.
    #[must_use]
    pub fn with_ids(&self, ids: Arc<IdSource>) -> Self {
        Self { ids, ..self.clone() }
    }

    /// The keys that secrets are sealed with.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// How long a request waits for a connection now; see [`Db::connection_wait`].
    ///
    /// # Errors
    /// No connection was had.
    pub async fn connection_wait(&self) -> Result<Option<Duration>, ledger::Error> {
        self.db.connection_wait().await
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new row's id: sorts by time, as a job's does.
    pub fn new_id(&self) -> Uuid {
        self.ids.next(self.now(), rand::random()).as_uuid()
    }
}

/// The id a page starts below; without a cursor, the greatest there is.
fn below(before: Option<Uuid>) -> Uuid {
    before.unwrap_or(Uuid::max())
}

fn page_limit(limit: u32) -> i64 {
    i64::from(limit.clamp(1, PAGE_MAX))
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
