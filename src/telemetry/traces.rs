//! Spans of jobs, for tracing systems, of which the engine knows none. Until a binary says by
//! [`relate_with`] that somebody takes spans, the engine opens none.

use std::sync::OnceLock;

use tracing::Span;

use crate::job::TraceParent;

/// What these spans are told from all others by; their level is info.
pub const TARGET: &str = "postworks::traces";

/// How a span stands to the trace that a job's caller named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is a part of that trace, below the caller's span.
    PartOf,
    /// It is in a trace of its own, and links to the caller's span: an attempt may come hours later,
    /// and again.
    LinkedTo,
}

/// Tells a tracing system how a span that was not entered yet stands to a trace.
pub type Relate = fn(&Span, TraceParent, Relation);

static RELATE: OnceLock<Relate> = OnceLock::new();

/// Has spans opened from now on, and says how their relations are told; the first call holds.
pub fn relate_with(relate: Relate) {
    let _ = RELATE.set(relate);
}

/// Whether anybody takes spans.
pub(crate) fn are_taken() -> bool {
    RELATE.get().is_some()
}

/// Tells how a span stands to the trace of a job's caller, if there is one.
pub(crate) fn relate(span: &Span, trace: Option<TraceParent>, relation: Relation) {
    if let (Some(relate), Some(trace)) = (RELATE.get(), trace) {
        relate(span, trace, relation);
    }
}
