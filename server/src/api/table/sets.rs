//! The routes of publication sets.

use crate::api::describe::ACCEPTED;
use crate::api::describe::Tag::Publishing;
use crate::api::route::{Route, delete, get, post};
use crate::api::sets;
use crate::app::types::{CancelledSet, RetriedSet, SetView, Why};
use crate::auth::Need::{Cancel, Operate, Read};

/// What is done with a set, once its id is known.
pub(super) const OF_SET: &[&str] = &["getSet", "cancelSet", "retrySet"];

pub(super) fn chapter() -> Vec<Route> {
    vec![
        get(Read, "/api/sets/{id}", sets::one)
            .says(Publishing, "getSet", "Shows a publication set")
            .more(
                "The publications of one request. It is `open` until each has ended; then \
                 `completed` if all are published, `partly` if some are, `failed` if none is known \
                 to be.",
            )
            .ok::<SetView>()
            .links("/publications/0/id", &["getPublication"])
            .links("/publications/0/job_id", super::OF_JOB),
        delete(Cancel, "/api/sets/{id}", sets::cancel)
            .says(Publishing, "cancelSet", "Cancels what has not ended of a set")
            .more(
                "What is being sent is left alone. Its callback stays, and sees what was cancelled. \
                 Cancelling again changes nothing more.",
            )
            .query::<Why>()
            .ok::<CancelledSet>(),
        post(Operate, "/api/sets/{id}/retry", sets::retry)
            .says(Publishing, "retrySet", "Puts the dead publications of a set back")
            .more(
                "What turns out to be published is completed, what may be is left alone. If its \
                 callback has run, another one waits for what they come to now.",
            )
            .optional_body::<Why>()
            .answers::<RetriedSet>(ACCEPTED, "What became of them."),
    ]
}
