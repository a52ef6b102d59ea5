//! Moves what is to be published to another time, and tells the broker.

use std::time::Duration;

use postworks::job::{FieldError, Job as _, PostPublication, State, Timestamp};
use postworks_workers::moved::MovedJobs;
use postworks_workers::store::{self, Late, Move, Moved, NotMoved, Untold, Which, Window};
use uuid::Uuid;

use super::accounts::{AHEAD_MAX, PAST_MAX};
use super::types::{MissedView, MovePost, MovePublication, MovedPost, NotMovedView, Publication};
use super::{App, Error};

/// A job that a worker holds is looked at again after these waits, and then by the workers' chore.
const HELD: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

impl App {
    /// Moves a publication that has not begun. Once this has answered, it is not sent at its old time.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has begun or ended.
    pub async fn move_publication(
        &self,
        id: Uuid,
        wanted: &MovePublication,
    ) -> Result<Publication, Error> {
        let to = Move { at: wanted.at, not_after: wanted.not_after, late: wanted.late };
        if to == Move::default() {
            return Err(Error::field("/at", "is missing: give at, not_after or late"));
        }
        let mut moved = self.moved(Which::One(id), &to, wanted.reason.as_deref()).await?;
        if let Some((row, why)) = moved.not_moved.pop() {
            return Err(refusal(&row, &why));
        }
        let Some((row, untold)) = moved.moved.pop() else {
            return Err(Error::NotFound(format!("there is no publication {id}")));
        };
        self.tell_moves(vec![untold]).await;
        Ok(row.into())
    }

    /// Moves all of a post's publications that have not begun.
    ///
    /// # Errors
    /// There is no such post, or it has more publications than are moved together.
    pub async fn move_post(&self, id: Uuid, wanted: &MovePost) -> Result<MovedPost, Error> {
        let to = Move { at: Some(wanted.at), not_after: wanted.not_after, late: wanted.late };
        let moved = self.moved(Which::OfPost(id), &to, wanted.reason.as_deref()).await?;
        if moved.too_many {
            let most = store::MOVED_MAX;
            let words = format!("post {id} has more than {most} publications; move them singly");
            return Err(Error::Conflict(words));
        }
        if moved.moved.is_empty() && moved.not_moved.is_empty() && !self.store.has_post(id).await? {
            return Err(Error::NotFound(format!("there is no post {id}")));
        }
        let not_moved = moved.not_moved.iter().map(|(row, why)| NotMovedView {
            id: row.id,
            connector_id: row.connector_id,
            state: row.state.to_string(),
            why: words(row, why),
        });
        let not_moved = not_moved.collect();
        let (rows, untold): (Vec<_>, Vec<_>) = moved.moved.into_iter().unzip();
        self.tell_moves(untold).await;
        Ok(MovedPost { moved: rows.into_iter().map(Publication::from).collect(), not_moved })
    }

    async fn moved(&self, which: Which, to: &Move, why: Option<&str>) -> Result<Moved, Error> {
        let (action, subject) = match which {
            Which::One(id) => ("publication.move", id),
            Which::OfPost(id) => ("post.move", id),
        };
        let mut note = self.note(action, subject.to_string(), why)?;
        let mut faults = time_faults(to.at, to.not_after.flatten(), note.at);
        if to.not_after == Some(None) && to.late.is_some() {
            faults.push(FieldError::new("/late", "is for a window, and not_after takes it away"));
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        note.detail = Some(said(to));
        let spec = self.producer.catalog().get(PostPublication::KIND);
        let life = spec.map_or(PostPublication::EXPIRES_AFTER, |spec| spec.expires_after);
        Ok(self.store.move_publications(which, to, life, &note).await?)
    }

    /// Tells the broker of moves. What it cannot be told now the workers' chore tells it.
    async fn tell_moves(&self, moves: Vec<Untold>) {
        let (store, producer) = (self.store.clone(), self.producer.clone());
        let teller = MovedJobs { store, producer };
        let mut held = tell(&teller, moves).await;
        if held.is_empty() {
            return;
        }
        self.tasks.spawn(async move {
            for wait in HELD {
                tokio::time::sleep(wait).await;
                held = tell(&teller, held).await;
                if held.is_empty() {
                    return;
                }
            }
        });
    }
}

/// Answers those whose jobs a worker holds.
async fn tell(teller: &MovedJobs, moves: Vec<Untold>) -> Vec<Untold> {
    let mut held = Vec::new();
    for untold in moves {
        match teller.tell(&untold).await {
            Ok(true) => {}
            Ok(false) => held.push(untold),
            // A store that does not answer is not asked for each of them.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(job.id = %untold.job, error, "a move is told by the workers later");
                break;
            }
        }
    }
    held
}

/// What is wrong with a time and the end of its window.
pub(super) fn time_faults(
    at: Option<Timestamp>,
    not_after: Option<Timestamp>,
    now: Timestamp,
) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, words: &str| faults.push(FieldError::new(field, words));
    if at.is_some_and(|at| at < now.before(PAST_MAX)) {
        fault("/at", "is more than 24 hours in the past");
    }
    if at.is_some_and(|at| at > now.after(AHEAD_MAX)) {
        fault("/at", "is more than 366 days ahead");
    }
    match not_after {
        Some(end) if at.is_some_and(|at| end <= at) => {
            fault("/not_after", "must be later than at: the window would end before it begins");
        }
        Some(end) if end <= now => fault("/not_after", "is over already: it must be in the future"),
        Some(end) if end > now.after(AHEAD_MAX) => {
            fault("/not_after", "is more than 366 days ahead");
        }
        _ => {}
    }
    faults
}

/// The window that a request to publish asks for.
pub(super) fn window(
    not_after: Option<Timestamp>,
    late: Option<Late>,
) -> Result<Option<Window>, FieldError> {
    match (not_after, late) {
        (Some(not_after), late) => Ok(Some(Window { not_after, late: late.unwrap_or_default() })),
        (None, Some(_)) => Err(FieldError::new("/late", "is for a window: give not_after as well")),
        (None, None) => Ok(None),
    }
}

/// For the audit: JSON.
fn said(to: &Move) -> String {
    let not_after = to.not_after.map(|not_after| serde_json::json!(not_after));
    let said = serde_json::json!({ "at": to.at, "not_after": not_after, "late": to.late });
    said.to_string()
}

fn refusal(row: &store::Publication, why: &NotMoved) -> Error {
    let words = words(row, why);
    match why {
        NotMoved::NoWindow => Error::field("/late", words),
        NotMoved::Inverted(_) => Error::field("/not_after", words),
        NotMoved::Sending | NotMoved::Published | NotMoved::JobEnded(_) | NotMoved::JobGone => {
            Error::Conflict(format!("publication {} was not moved: {words}", row.id))
        }
    }
}

fn words(row: &store::Publication, why: &NotMoved) -> String {
    let job = row.job_id;
    match why {
        NotMoved::Sending => {
            "it is being sent, or may have been: wait until that is known".to_owned()
        }
        NotMoved::Published => "it is published".to_owned(),
        NotMoved::JobEnded(State::Dead) if row.missed.is_some() => {
            format!("it missed its window, and its job {job} is dead; publish the post anew")
        }
        NotMoved::JobEnded(State::Dead) => {
            format!("its job {job} is dead; put it back (dlq retry), or publish the post anew")
        }
        NotMoved::JobEnded(state) => format!("its job {job} is {state}; publish the post anew"),
        NotMoved::JobGone => format!("its job {job} has ended long ago; publish the post anew"),
        NotMoved::NoWindow => "is for a window, and it has none: give not_after as well".to_owned(),
        NotMoved::Inverted(end) => {
            format!("its window ends at {end}, which is over or before it begins: give not_after")
        }
    }
}

impl MissedView {
    /// That a publication was late, in words.
    pub(super) fn of(row: &store::Publication) -> Option<Self> {
        let missed = row.missed.clone()?;
        let end = row.window.map(|window| window.not_after.to_string()).unwrap_or_default();
        let late = || format!("its window ended at {end}; it was sent late, as `late` says");
        Some(Self { at: missed.at, why: missed.why.unwrap_or_else(late) })
    }
}
