//! Logs, metrics and spans of the binaries: where they go and in what form.

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use postworks::telemetry::metrics::{self as names, Form};
use postworks::telemetry::traces;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

#[cfg(feature = "otlp")]
mod otlp;

/// How often histograms are folded when nobody scrapes, so that they do not grow.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Sends logs to stderr: text for a person at a terminal, JSON lines else.
///
/// `POSTWORKS_LOG`, or else `RUST_LOG`, chooses what is logged, as in `info,postworks=debug`.
/// Does nothing if logs go somewhere already.
pub fn install_logs() {
    let filter = ["POSTWORKS_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| "info".to_owned());
    let (filter, fault) = match EnvFilter::try_new(of_logs(&filter)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(of_logs("info")), Some(error)),
    };
    if let (Ok(()), Some(error)) = (install(filter), fault) {
        tracing::warn!(%error, "the log filter cannot be read; using info");
    }
}

/// Spans for tracing systems are no part of what is logged, whatever is asked for.
fn of_logs(filter: &str) -> String {
    format!("{filter},{}=off", traces::TARGET)
}

#[cfg(not(feature = "otlp"))]
fn install(filter: EnvFilter) -> Result<(), TryInitError> {
    install_logs_alone(filter)
}

/// Spans are sent whatever is logged, if the environment says where to.
#[cfg(feature = "otlp")]
fn install(filter: EnvFilter) -> Result<(), TryInitError> {
    match otlp::layer() {
        Ok(None) => install_logs_alone(filter),
        Ok(Some(spans)) => {
            tracing_subscriber::registry().with(logs().with_filter(filter)).with(spans).try_init()
        }
        Err(error) => {
            install_logs_alone(filter)?;
            tracing::error!(%error, "no spans are sent");
            Ok(())
        }
    }
}

fn install_logs_alone(filter: EnvFilter) -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(filter).with(logs()).try_init()
}

fn logs<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.with_target(false).boxed()
    } else {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    }
}

/// Sends the spans that were not sent yet, at the end of a process; waits two seconds at most.
pub fn finish() {
    #[cfg(feature = "otlp")]
    otlp::finish();
}

/// Counts into a recorder whose text the handle writes. Before stores are opened, since what counts
/// often looks its counters up once.
///
/// # Errors
/// Metrics go somewhere already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    names::describe();
    names::BUILD_INFO.level(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    Ok(handle)
}

/// A recorder with each histogram's buckets.
///
/// # Errors
/// A histogram has no buckets.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in names::all() {
        if let Form::Histogram(buckets) = metric.form {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

/// Keeps histograms small until `stop`; every process that installed metrics runs this.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => handle.run_upkeep(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postworks::job::Queue;

    #[test]
    fn a_log_of_everything_has_no_spans_of_tracing_systems() {
        for everything in ["trace", "postworks=trace", "off,postworks::traces=info"] {
            let filter = EnvFilter::new(of_logs(everything));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
                assert!(tracing::info_span!(target: traces::TARGET, "send").is_disabled());
                let logged = tracing::info_span!(target: "postworks::worker", "attempt");
                assert_eq!(logged.is_disabled(), everything.starts_with("off"), "{everything}");
            });
        }
    }

    #[test]
    fn counters_start_at_zero_and_histograms_have_buckets() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            names::describe();
            let queues = vec![Queue::parse("post_publication.bluesky").unwrap()];
            let platforms = vec!["bluesky".to_owned()];
            names::start_at_zero(&names::Known { queues, platforms });
            names::JOB_RUN.spread(&["post_publication"]).record(0.2);
        });
        let text = handle.render();
        let collected = names::all().filter(|metric| metric.writer == names::Writer::Collector);
        for metric in collected {
            assert!(!text.contains(metric.name), "only the collector shows {}", metric.name);
        }
        for expected in [
            "postworks_jobs_reclaimed_total 0",
            "queue=\"post_publication.bluesky\",kind=\"post_publication\",outcome=\"dead\"} 0",
            "category=\"unknown_outcome\"} 0",
            "postworks_token_refreshes_total{platform=\"bluesky\",reason=\"ahead\",outcome=\"lost\"} 0",
            "postworks_db_errors_total{class=\"settle\"} 0",
            "postworks_job_run_seconds_bucket{kind=\"post_publication\",le=\"0.25\"} 1",
            "# HELP postworks_job_run_seconds How long a run took",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
