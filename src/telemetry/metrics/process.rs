//! The process itself. What the system knows of it (`process_…`) comes from a library.

use super::{Label, Metric, Values, Writer};

/// Slots of this process' workers.
pub const WORKER_SLOTS: Metric = Metric::gauge(
    Writer::Worker,
    "postworks_worker_slots",
    &[Label::words("state", &["busy", "free"])],
    "Slots of this process' workers.",
);
/// How long the oldest run takes already.
pub const LONGEST_RUN: Metric = Metric::gauge(
    Writer::Worker,
    "postworks_longest_run_seconds",
    &[],
    "How long the longest run that is under way takes already, in seconds; 0 if none is.",
);
/// Which program this is.
pub const BUILD_INFO: Metric = Metric::gauge(
    Writer::Process,
    "postworks_build_info",
    &[Label::of("version", Values::Versions)],
    "Always 1; the label says which version runs.",
);

pub(super) const ALL: &[Metric] = &[WORKER_SLOTS, LONGEST_RUN, BUILD_INFO];
