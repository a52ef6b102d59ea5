//! What one run knows of its request, for as long as the engine needs it to record that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postworks::job::{Category, ErrorClass, Reason, Timestamp};
use postworks::ledger;
use postworks::worker::{Effect, JobContext};
use uuid::Uuid;

use crate::platforms::{Prepared, Published};
use crate::store::{Begun, Earlier, Error, Late, Publication, PublicationState, Sender, Store};

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
    /// What the platform holds ready, as the row has it.
    prepared: Prepared,
    earlier: Earlier,
    course: Course,
    /// The window that the publication must not be sent after, from when on: if it has one.
    window: Option<(Timestamp, Timestamp)>,
    /// A request of an earlier run may have been applied, as far as is known yet.
    open: bool,
    /// Until when a request of this run is followed up.
    followed_until: Option<Timestamp>,
    /// That the window was missed, in words.
    missed: Option<String>,
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
        let (worker, run_at) = (cx.worker.clone(), cx.run_at);
        let sender = Sender { job: cx.id, token: cx.token, worker, run_at };
        let known = Known {
            version: 0,
            prepared: Prepared::NOTHING,
            earlier: Earlier::None,
            course: Course::Idle,
            window: None,
            open: false,
            followed_until: None,
            missed: None,
        };
        Self { store: store.clone(), publication_id, sender, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has read the row.
    pub(super) fn read(&self, row: &Publication) {
        let mut known = self.known();
        known.version = row.version;
        known.prepared = row.prepared.clone();
        known.open = row.state == PublicationState::Sending;
        let skipped = row.window.filter(|window| window.late == Late::Skip);
        known.window = skipped.map(|window| (row.scheduled_at, window.not_after));
    }

    /// Whether this run's request is one that may have been applied before, as the platform knows.
    pub(super) fn repeats(&self) -> bool {
        self.known().open
    }

    /// What the platform holds ready.
    pub(super) fn prepared(&self) -> Prepared {
        self.known().prepared.clone()
    }

    /// Keeps what the platform holds ready; `false` if the row is another one's by now.
    pub(super) async fn keep_prepared(&self, prepared: &Prepared) -> Result<bool, Error> {
        let seen = self.known().version;
        let kept = self.store.keep_prepared(self.publication_id, seen, prepared).await?;
        let Some(version) = kept else { return Ok(false) };
        let mut known = self.known();
        (known.version, known.prepared) = (version, prepared.clone());
        Ok(true)
    }

    /// What is due by then is due for this run.
    pub(super) fn due_by(&self, now: Timestamp) -> Timestamp {
        self.sender.due_by(now)
    }

    /// What the run concluded from the row about earlier requests.
    pub(super) fn concluded(&self, earlier: Earlier) {
        let mut known = self.known();
        (known.earlier, known.open) = (earlier, earlier == Earlier::Open);
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
            Begun::Recorded { version, followed_until, .. } => {
                known.version = version;
                known.followed_until = followed_until;
                // Sending once more within this run means that this request was not applied.
                if known.earlier == Earlier::None {
                    known.earlier = Earlier::Absent;
                }
            }
            Begun::Published | Begun::Overtaken | Begun::NotYet(_) | Begun::Missed => {
                known.course = Course::Idle;
            }
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

    /// The window is over, and nothing was sent: nobody will try again.
    pub(super) fn is_missed(&self, words: &str) {
        self.known().missed = Some(words.to_owned());
        self.gives_up(true);
    }

    /// The run ends without having published; `finally` if nobody will try again.
    pub(super) fn gives_up(&self, finally: bool) {
        let mut known = self.known();
        match known.course {
            // What an earlier request did is not known.
            _ if known.open => {}
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

    fn expires_at(&self, recorded: Timestamp) -> Timestamp {
        let known = self.known();
        match known.window {
            // Recorded is how long that one is followed up.
            _ if known.open => recorded,
            _ if known.may_be_out() => known.followed_until.map_or(recorded, |at| at.max(recorded)),
            Some((_, not_after)) => recorded.min(not_after),
            None => recorded,
        }
    }

    fn dies_of(&self, reason: Reason) -> Reason {
        let mut known = self.known();
        if known.open || known.may_be_out() {
            return reason;
        }
        if matches!(known.course, Course::Idle | Course::Intended | Course::NotPublished { .. }) {
            known.course = Course::NotPublished { finally: true };
        }
        // Told to wait, it would not wait in vain unless it is for the window's end.
        let late = matches!(reason.category, Category::Expired | Category::RateLimit);
        let Some(window) = known.window.filter(|_| late) else { return reason };
        if known.missed.is_some() {
            return reason;
        }
        let message = missed_before(window, &reason.message);
        known.missed = Some(message.clone());
        Reason { category: Category::Expired, message, ..reason }
    }

    async fn record(&self) -> Result<(), ledger::Error> {
        let (version, earlier, course, missed) = {
            let known = self.known();
            (known.version, known.earlier, known.course.clone(), known.missed.clone())
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
        recorded(match missed.filter(|_| finally) {
            Some(why) => self.store.missed(id, sender, version, &why).await,
            None => self.store.not_published(id, sender, version, finally).await,
        })
    }
}

impl Known {
    /// Whether a request of this run, or one that it repeats, may have been applied.
    fn may_be_out(&self) -> bool {
        matches!(self.course, Course::Sent { .. } | Course::Published(_))
            || self.earlier == Earlier::Open
    }
}

/// That a window was missed.
pub(super) fn missed((from, until): (Timestamp, Timestamp)) -> String {
    format!("it was to be sent from {from} to {until}, and that window is over")
}

/// That a window will be over before another attempt.
fn missed_before((from, until): (Timestamp, Timestamp), last: &str) -> String {
    format!(
        "it was to be sent from {from} to {until}, and could not be tried again before the end of \
         that window; the last failure was: {last}"
    )
}

fn recorded(result: Result<(), Error>) -> Result<(), ledger::Error> {
    match result {
        Err(Error::Database(error)) => Err(error),
        // A row that says what this program never writes has no outcome to record.
        Ok(()) | Err(_) => Ok(()),
    }
}
