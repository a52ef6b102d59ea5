//! Ways to make this program fail on purpose, for the fault suite. Built with the feature `faults`
//! only; without it the two macros leave nothing behind.
//!
//! - [`failpoint!`](crate::failpoint): a named moment at which the process is killed or frozen.
//!   `POSTWORKS_FAILPOINTS="stamp.done=5*off->1*return(kill)"` ends it, as `kill -9` would, the
//!   sixth time it comes by. The grammar is that of the `fail` crate; several points are parted by
//!   `;`.
//! - [`planted!`](crate::planted): a bug put in on purpose, to show that the suite catches it.
//!   `POSTWORKS_PLANT="blind_resend"` switches one on.
//! - `POSTWORKS_CLOCK_SKEW_MS` sets this process' clock forward or, below zero, back.
//!
//! A name that does not exist ends the process at once: a suite that misspells a point would pass
//! without having tried anything.

#[cfg(not(debug_assertions))]
compile_error!("the feature `faults` is for tests: build releases without it");

mod plant;
mod point;

use std::sync::LazyLock;

use nix::sys::signal::{Signal, raise};

pub use plant::Plant;
pub use point::Point;

/// Which failpoints do what.
const POINTS: &str = "POSTWORKS_FAILPOINTS";
/// Which bug is in.
const PLANT: &str = "POSTWORKS_PLANT";
/// How far this process' clock is ahead.
const SKEW: &str = "POSTWORKS_CLOCK_SKEW_MS";

/// Marks a moment at which the fault suite may end this process: `failpoint!(StampDone);`, or
/// `failpoint!(ClaimHeld if !jobs.is_empty());` where passing by means something only then.
#[macro_export]
macro_rules! failpoint {
    ($point:ident) => {
        $crate::faults::meet($crate::faults::Point::$point)
    };
    ($point:ident if $when:expr) => {
        if $when {
            $crate::faults::meet($crate::faults::Point::$point)
        }
    };
}

/// Whether a deliberate bug is switched on: `planted!(BlindResend)`.
#[macro_export]
macro_rules! planted {
    ($plant:ident) => {
        $crate::faults::is_planted($crate::faults::Plant::$plant)
    };
}

static CONFIGURED: LazyLock<bool> = LazyLock::new(|| {
    let Ok(text) = std::env::var(POINTS) else { return false };
    for entry in text.split(';').filter(|entry| !entry.trim().is_empty()) {
        let configured = entry.split_once('=').ok_or_else(|| "no action".to_owned()).and_then(
            |(name, actions)| {
                let point = Point::ALL.into_iter().find(|point| point.name() == name.trim());
                let point = point.ok_or_else(|| "no such point".to_owned())?;
                fail::cfg(point.name(), actions.trim())
            },
        );
        if let Err(why) = configured {
            refuse(POINTS, entry, &why);
        }
    }
    true
});

static PLANTED: LazyLock<Option<Plant>> = LazyLock::new(|| {
    let name = std::env::var(PLANT).ok().filter(|name| !name.is_empty())?;
    let found = Plant::ALL.into_iter().find(|plant| plant.name() == name);
    if found.is_none() {
        refuse(PLANT, &name, "no such bug");
    }
    found
});

static SKEW_MS: LazyLock<i64> = LazyLock::new(|| {
    let Ok(text) = std::env::var(SKEW) else { return 0 };
    text.parse().unwrap_or_else(|_| refuse(SKEW, &text, "no number of milliseconds"))
});

/// Passes a failpoint: does what its configuration says.
pub fn meet(point: Point) {
    if *CONFIGURED {
        let _ = fail::eval(point.name(), |action| act(point, action.as_deref()));
    }
}

/// Whether this bug is switched on.
pub fn is_planted(plant: Plant) -> bool {
    *PLANTED == Some(plant)
}

/// How far the clock of this process is ahead, in milliseconds.
pub(crate) fn clock_skew_ms() -> i64 {
    *SKEW_MS
}

/// The two actions that `fail` does not have, for its `return(…)`.
fn act(point: Point, action: Option<&str>) {
    let signal = match action {
        // Not an abort: nothing of this process runs after it, not even a panic hook.
        Some("kill") => Signal::SIGKILL,
        // Until the suite lets it go on: a pause of any length at this very moment.
        Some("stop") => Signal::SIGSTOP,
        other => refuse(POINTS, point.name(), &format!("no such action: {other:?}")),
    };
    tracing::warn!(point = point.name(), %signal, "a failpoint ends or stops this process");
    // To the process, not to this thread: SIGSTOP and SIGKILL know no threads.
    let _ = raise(signal);
}

fn refuse(variable: &str, value: &str, why: &str) -> ! {
    eprintln!("{variable}: {value:?}: {why}");
    std::process::exit(78);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_and_every_bug_has_a_name_and_a_sentence_of_its_own() {
        let points: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(points.len(), Point::ALL.len());
        let plants: BTreeSet<&str> = Plant::ALL.iter().map(|plant| plant.name()).collect();
        assert_eq!(plants.len(), Plant::ALL.len());
        for sentence in
            Point::ALL.iter().map(|point| point.about()).chain(Plant::ALL.map(Plant::about))
        {
            assert!(sentence.len() > 20, "{sentence}");
        }
    }

    #[test]
    fn nothing_happens_where_nothing_is_configured() {
        meet(Point::StampDone);
        assert!(!is_planted(Plant::BlindResend));
        assert_eq!(clock_skew_ms(), 0);
    }
}
