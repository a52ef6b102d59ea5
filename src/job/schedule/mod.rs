//! When something is to happen again and again: crons in time zones, and what is owed of them.
//!
//! Pure: which time it is, is passed in. (Which zones there are is the machine's knowledge, or this
//! build's where the machine has none.)

mod cron;
mod owed;

pub use cron::{CRON_BYTES_MAX, Cron};
pub use owed::{CATCH_UP_MAX, Due, JITTER_MAX, Missed, ON_TIME, Overlap, Owed, owed};
