//! What a page means for the walk over an account's posts. Pure.
//!
//! Platforms list newest first. A walk notes the newest post, goes back page by page until it has
//! come past the newest post of the walk before, its high water, and only then makes its own the
//! next one's goal: so a walk that breaks off in the middle goes on where it was, and leaves no gap.
//!
//! Past the high water it reads on for a while, for posts that came late and posts that were edited.
//! Where the high water is gone, deleted on the platform, a whole page that is older than all of that
//! and was found before ends the walk as well. Age alone ends none: posts may be dated back.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError, Timestamp};

use crate::platforms::{RemotePost, SyncPage};
use crate::store::Cursor;

/// What is to be kept of a page.
#[derive(Debug)]
pub(super) struct Step {
    /// These posts.
    pub(super) posts: Vec<RemotePost>,
    /// Where the walk goes on.
    pub(super) next: Cursor,
    /// It does not: it came to its end.
    pub(super) ended: bool,
}

/// What is older is read only as far as it takes to find the high water.
fn bound(cursor: &Cursor, look_back: Duration) -> Option<Timestamp> {
    cursor.high_water_at.map(|at| at.before(look_back))
}

fn is_older(post: &RemotePost, bound: Option<Timestamp>) -> bool {
    // Of a platform that tells no times, everything past the high water is old.
    bound.is_none_or(|bound| post.created_at.is_none_or(|at| at < bound))
}

/// Whether this very walk has come past the high water.
fn has_met(cursor: &Cursor) -> bool {
    cursor.page_token.is_some() && cursor.met.is_some() && cursor.met == cursor.pending_high_water
}

/// Whether the page ends the walk if all of it was found before, which is to be looked up.
pub(super) fn may_end_here(page: &SyncPage, cursor: &Cursor, look_back: Duration) -> bool {
    let bound = bound(cursor, look_back);
    let is_old = |post: &RemotePost| post.created_at.is_some() && is_older(post, bound);
    bound.is_some() && !page.posts.is_empty() && page.posts.iter().all(is_old)
}

/// The walk starts anew, since the platform no longer knows where it was. Until it has found the
/// high water it believes no page: what was kept of the part that is lost was found before, too.
pub(super) fn anew(cursor: Cursor) -> Cursor {
    let Cursor { high_water, due_at, done_by, version, .. } = cursor;
    Cursor { high_water, due_at, done_by, version, ..Cursor::default() }
}

/// Judges a page. `known`: it [may end](may_end_here) the walk, and all of it was found before.
pub(super) fn step(
    page: SyncPage,
    mut cursor: Cursor,
    look_back: Duration,
    known: bool,
    now: Timestamp,
) -> Result<Step, JobError> {
    let SyncPage { mut posts, next } = page;
    if next.is_some() && next == cursor.page_token {
        let words = "the platform names the same page as the next one";
        return Err(JobError::new(ErrorClass::Transient, words));
    }
    let met_before = has_met(&cursor);
    if cursor.pending_high_water.is_none() {
        cursor.pending_high_water = posts.first().map(|post| post.remote_id.clone());
    }
    cursor.pending_high_water_at = cursor.pending_high_water_at.max(newest(&posts, now));
    let at = posts.iter().position(|post| Some(&post.remote_id) == cursor.high_water.as_ref());
    if let Some(at) = at {
        cursor.high_water_at =
            cursor.high_water_at.or_else(|| newest(posts.get(at..).unwrap_or_default(), now));
    }
    let bound = bound(&cursor, look_back);
    let has_passed = met_before || at.is_some();
    let reads_on = has_passed && posts.last().is_some_and(|post| !is_older(post, bound));
    let ended = next.is_none() || known || (has_passed && !reads_on);
    // What is past the high water was found before: it is written again only if it may be new.
    let past = if met_before { 0 } else { at.unwrap_or(posts.len()) };
    let mut n = 0;
    posts.retain(|post| {
        n += 1;
        n <= past || !is_older(post, bound)
    });
    let next = if ended {
        let Cursor { high_water, high_water_at, pending_high_water, due_at, .. } = cursor;
        let at = match pending_high_water {
            Some(_) => cursor.pending_high_water_at,
            None => high_water_at,
        };
        let high_water = pending_high_water.or(high_water);
        let version = cursor.version;
        Cursor { high_water, high_water_at: at, due_at, version, ..Cursor::default() }
    } else {
        let met = cursor.pending_high_water.clone().filter(|_| has_passed);
        Cursor { page_token: next, met, ..cursor }
    };
    Ok(Step { posts, next, ended })
}

/// The newest time of these posts; the first may be dated back, and none is from the future.
fn newest(posts: &[RemotePost], now: Timestamp) -> Option<Timestamp> {
    posts.iter().filter_map(|post| post.created_at).max().map(|at| at.min(now))
}

#[cfg(test)]
mod tests;
