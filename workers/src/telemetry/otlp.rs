//! Sends the spans of jobs to a collector of OpenTelemetry, over OTLP/HTTP. Behind the feature `otlp`.
//!
//! OpenTelemetry's own variables say where to and how, first of all `OTEL_EXPORTER_OTLP_ENDPOINT`:
//! without an endpoint there are no spans. A thread of the SDK sends; who opens a span never waits,
//! and what does not fit into its queue (`OTEL_BSP_MAX_QUEUE_SIZE`) is lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, TraceContextExt as _, TraceFlags, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use postworks::job::TraceParent;
use postworks::telemetry::traces::{self, Relation};
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The longest wait for the last spans, beside what a drain takes.
const FLUSH_MAX: Duration = Duration::from_secs(2);
const PROTOCOL: &str = "http/protobuf";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Why no spans are sent although the environment says where to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// One of the variables makes no sense.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// A protocol that this program does not speak.
    #[error("the OTLP protocol {0:?} is not spoken: leave it out, or set it to {PROTOCOL:?}")]
    Protocol(String),
}

/// What sends spans, if the environment says where to.
///
/// # Errors
/// See [`Error`].
pub(super) fn layer<S>() -> Result<Option<impl Layer<S>>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if of_traces("ENDPOINT").is_none() || is_off() {
        return Ok(None);
    }
    if let Some(protocol) = of_traces("PROTOCOL").filter(|protocol| protocol != PROTOCOL) {
        return Err(Error::Protocol(protocol));
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Telling { exporter, lost: AtomicUsize::new(0) })
        .with_resource(resource())
        .build();
    let tracer = provider.tracer("postworks");
    let _ = PROVIDER.set(provider);
    traces::relate_with(relate);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    let ours = Targets::new().with_target(traces::TARGET, LevelFilter::INFO);
    Ok(Some(spans.with_filter(ours)))
}

/// Sends what has not been sent yet; nothing is sent afterwards.
pub(super) fn finish() {
    if let Some(provider) = PROVIDER.get() {
        // What goes wrong is in the log.
        let _ = provider.shutdown_with_timeout(FLUSH_MAX);
    }
}

/// A variable of the environment; one that is set to nothing counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable of OTLP: for traces, or else for everything.
fn of_traces(name: &str) -> Option<String> {
    variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
        .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn is_off() -> bool {
    variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
}

/// What the spans are of. The variables win over what we say.
fn resource() -> Resource {
    let ours = Resource::builder_empty()
        .with_service_name("postworks")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => ours.with_service_name(name),
        None => ours,
    }
    .build()
}

fn relate(span: &Span, trace: TraceParent, relation: Relation) {
    let (trace, caller, flags) = trace.parts();
    let flags = TraceFlags::new(flags);
    let caller = SpanContext::new(trace.into(), caller.into(), flags, true, TraceState::NONE);
    match relation {
        Relation::LinkedTo => span.add_link(caller),
        Relation::PartOf => {
            // Only a span that nobody records has no parent to be set.
            let _ = span.set_parent(Context::new().with_remote_span_context(caller));
        }
    }
}

/// An exporter that tells once when spans get lost, and once when they do no more: a collector that
/// is away must not fill the log.
#[derive(Debug)]
struct Telling {
    exporter: opentelemetry_otlp::SpanExporter,
    lost: AtomicUsize,
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(lost, "the collector takes spans again");
                }
            }
            Err(error) => {
                if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "the collector takes no spans: they are lost");
                }
            }
        }
        // The SDK would tell of each batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
