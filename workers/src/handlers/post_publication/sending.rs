//! What one run knows of its request, for as long as the engine needs it to record that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postworks::job::ErrorClass;
use postworks::ledger;
use postworks::worker::{Effect, JobContext};
use uuid::Uuid;

use crate::platforms::Published;
use crate::store::{Begun, Earlier, Error, Sender, Store};

/// One run's request.
pub(super) struct Sending {
    store: Store,
    publication_id: Uuid,
    sender: Sender,
    known: Mutex<Known>,
}

struct Known {
    /// The row's version, as this run last saw or wrote it.
    version: i64,
    earlier: Earlier,
    course: Course,
}

/// How far the request came.
#[derive(Clone)]
enum Course {
    /// No intent of this run is on record.
    Idle,
    /// An intent is on record, or may be, and no request that could be applied has left.
    Intended,
    /// A request has left, and what became of it is not known.
    Sent {
        /// Whether a later run can find out, or send the same again.
        repeatable: bool,
    },
    /// The platform has the post.
    Published(Published),
    /// The platform surely does not have it, as far as this run is concerned.
    NotPublished {
        /// Nobody will try again.
        finally: bool,
    },
}

impl Sending {
    pub(super) fn of(store: &Store, publication_id: Uuid, cx: &JobContext) -> Self {
        let sender = Sender { job: cx.id, token: cx.token, worker: cx.worker.clone() };
        let known = Known { version: 0, earlier: Earlier::None, course: Course::Idle };
        Self { store: store.clone(), publication_id, sender, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has read the row, and concluded this from it.
    pub(super) fn saw(&self, version: i64, earlier: Earlier) {
        let mut known = self.known();
        (known.version, known.earlier) = (version, earlier);
    }

    /// Records the intent. Without an answer it may be on record; then the engine withdraws it.
    pub(super) async fn begin(&self) -> Result<Begun, Error> {
        let (version, earlier) = {
            let mut known = self.known();
            known.course = Course::Intended;
            (known.version, known.earlier)
        };
        let begun = self.store.begin(self.publication_id, &self.sender, version, earlier).await?;
        let mut known = self.known();
        match begun {
            Begun::Recorded { version, .. } => {
                known.version = version;
                // Sending once more within this run means that this request was not applied.
                if known.earlier == Earlier::None {
                    known.earlier = Earlier::Absent;
                }
            }
            Begun::Published | Begun::Overtaken => known.course = Course::Idle,
        }
        Ok(begun)
    }

    /// The request leaves now.
    pub(super) fn leaves(&self, repeatable: bool) {
        self.known().course = Course::Sent { repeatable };
    }

    /// The request was surely not applied.
    pub(super) fn not_applied(&self) {
        self.known().course = Course::Intended;
    }

    /// The platform has the post.
    pub(super) fn published(&self, published: Published) {
        self.known().course = Course::Published(published);
    }

    /// The run ends without having published; `finally` if nobody will try again.
    pub(super) fn gives_up(&self, finally: bool) {
        let mut known = self.known();
        match known.course {
            Course::Intended => known.course = Course::NotPublished { finally },
            Course::Idle if finally => known.course = Course::NotPublished { finally },
            _ => {}
        }
    }
}

#[async_trait]
impl Effect for Sending {
    fn interrupted(&self) -> ErrorClass {
        match self.known().course {
            Course::Idle | Course::Intended | Course::NotPublished { .. } => ErrorClass::Transient,
            Course::Sent { repeatable } => ErrorClass::Unknown { repeatable },
            // The next run finds it on record.
            Course::Published(_) => ErrorClass::Unknown { repeatable: true },
        }
    }

    async fn record(&self) -> Result<(), ledger::Error> {
        let (version, earlier, course) = {
            let known = self.known();
            (known.version, known.earlier, known.course.clone())
        };
        let finally = match course {
            Course::Idle | Course::Sent { .. } => return Ok(()),
            Course::Published(published) => {
                postworks::failpoint!(OutcomeBefore);
                return recorded(self.store.published(self.publication_id, &published).await);
            }
            Course::Intended => false,
            Course::NotPublished { finally } => finally,
        };
        // This run's request was surely not applied; an earlier one may have been.
        if earlier == Earlier::Open {
            return Ok(());
        }
        let (id, sender) = (self.publication_id, &self.sender);
        recorded(self.store.not_published(id, sender, version, finally).await)
    }
}

fn recorded(result: Result<(), Error>) -> Result<(), ledger::Error> {
    match result {
        Err(Error::Database(error)) => Err(error),
        // A row that says what this program never writes has no outcome to record.
        Ok(()) | Err(_) => Ok(()),
    }
}
