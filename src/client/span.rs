//! The span of an enqueue, by OpenTelemetry's conventions for messaging.

use tracing::{Span, field, info_span};

use crate::job::NewJob;
use crate::telemetry::traces::{self, Relation, TARGET};

/// The span of handing these jobs over, if anybody takes spans. Jobs that are handed over together
/// have one caller.
pub(super) fn sending(jobs: &[NewJob]) -> Span {
    let Some(job) = jobs.first().filter(|_| traces::are_taken()) else { return Span::none() };
    let span = info_span!(
        target: TARGET,
        "send",
        otel.name = "send",
        otel.kind = "producer",
        messaging.system = "postworks",
        messaging.operation.name = "send",
        "messaging.operation.type" = "send",
        messaging.destination.name = field::Empty,
        messaging.message.id = field::Empty,
        messaging.batch.message_count = field::Empty,
    );
    if jobs.iter().all(|other| other.queue == job.queue) {
        span.record("otel.name", format!("send {}", job.queue));
        span.record("messaging.destination.name", job.queue.as_str());
    }
    match i64::try_from(jobs.len()) {
        Ok(count) if count > 1 => span.record("messaging.batch.message_count", count),
        _ => span.record("messaging.message.id", field::display(job.id)),
    };
    traces::relate(&span, job.trace, Relation::PartOf);
    span
}
