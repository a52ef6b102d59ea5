//! The span of an attempt, by OpenTelemetry's conventions for messaging.

use tracing::{Span, field, info_span};

use super::JobContext;
use super::run::Ended;
use crate::telemetry::traces::{self, Relation, TARGET};

/// The span of an attempt that is about to begin, if anybody takes spans.
pub(super) fn processing(cx: &JobContext) -> Span {
    if !traces::are_taken() {
        return Span::none();
    }
    let span = info_span!(
        target: TARGET,
        "process",
        otel.name = format!("process {}", cx.queue),
        otel.kind = "consumer",
        otel.status_description = field::Empty,
        messaging.system = "postworks",
        messaging.operation.name = "process",
        "messaging.operation.type" = "process",
        messaging.destination.name = cx.queue.as_str(),
        messaging.message.id = %cx.id,
        job.kind = %cx.kind,
        job.platform = cx.queue.platform(),
        job.attempt = i64::from(cx.attempt),
        "error.type" = field::Empty,
    );
    traces::relate(&span, cx.trace, Relation::LinkedTo);
    span
}

/// Says of an attempt's span how the attempt ended.
pub(super) fn processed(span: &Span, ended: &Ended) {
    // To make words of an error costs something.
    if span.is_none() {
        return;
    }
    match ended {
        Ended::Answered { result: Err(error), .. } => {
            span.record("error.type", error.class().as_str());
            // With a description the span's status is an error.
            span.record("otel.status_description", error.chain());
        }
        // It has not failed, and goes on elsewhere.
        Ended::TakenAway => {
            span.record("error.type", "taken_away");
        }
        Ended::Answered { result: Ok(()), .. } | Ended::PutOff(_) => {}
    }
}
