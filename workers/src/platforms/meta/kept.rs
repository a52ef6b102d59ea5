//! What is kept of containers between two runs, what they say of themselves, and which come to
//! nothing. Pure.

use std::time::Duration;

use postworks::job::Timestamp;
use serde::{Deserialize, Serialize};

/// A container that is not ready by then is made anew; Meta advises to give up after 5 minutes.
const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);
/// A container that failed is made anew after this: a person may have mended what was wrong.
const FAILED_KEPT: Duration = Duration::from_secs(60 * 60);
/// One that failed for a reason that passes is made anew after this. Until then each look costs the
/// job an attempt, so that a post whose containers keep failing comes to an end.
const PASSING_KEPT: Duration = Duration::from_secs(5 * 60);
/// The reasons that pass: it took too long to fetch the image, or it could not be fetched; what was
/// fetched was thrown away; no container came of it, or an unknown error (2207082: so other clients
/// say).
const PASSING: [&str; 6] = ["2207003", "2207052", "2207020", "2207032", "2207053", "2207082"];

/// What is kept between two runs: the single images of a carousel, and the container.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) items: Vec<String>,
    pub(super) container: Option<String>,
    /// When the last of them was made.
    pub(super) made_at: Timestamp,
    /// The container was ready once, so that a commit may have named it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ready: bool,
    /// The container said that it is published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) published: bool,
}

pub(super) enum State {
    /// Something is to be made yet.
    Unmade,
    Ready,
    Works,
    Published,
    /// It was not published within a day.
    Expired,
    /// There is no such container.
    Gone,
    Failed {
        why: String,
        /// A new one may fare better.
        passes: bool,
    },
}

impl Kept {
    pub(super) const fn nothing(now: Timestamp) -> Self {
        Self { items: Vec::new(), container: None, made_at: now, ready: false, published: false }
    }

    /// Whether it comes to nothing, and a new one must be made.
    pub(super) fn is_lost(&self, state: &State, now: Timestamp) -> bool {
        let age = now.since(self.made_at);
        match state {
            State::Unmade | State::Ready | State::Published => false,
            // What was ready may have been committed, and what is being published may be said to be
            // in progress, too. A second one could be a second post; the first one ends by itself,
            // since what nobody publishes expires after a day.
            State::Works => !self.ready && age > STUCK_AFTER,
            State::Failed { passes, .. } => age > if *passes { PASSING_KEPT } else { FAILED_KEPT },
            State::Expired | State::Gone => true,
        }
    }
}

impl State {
    /// How far a container is by its status, and why if it failed.
    pub(super) fn read(status: &str, why: Option<&str>) -> Self {
        match status {
            "FINISHED" => Self::Ready,
            "PUBLISHED" => Self::Published,
            "EXPIRED" => Self::Expired,
            "ERROR" => {
                let why = why.unwrap_or("no reason was given");
                let mut numbers = why.split(|char: char| !char.is_ascii_digit());
                Self::Failed {
                    why: format!("it could not make a post of this: {why}"),
                    passes: numbers.any(|number| PASSING.contains(&number)),
                }
            }
            _ => Self::Works,
        }
    }
}
