//! The worker of a load test: a worker like any other, that also says when each attempt starts and
//! ends, a line each on stdout.
//!
//! It takes the spans that the engine opens for tracing systems. So what is measured is the program
//! itself, and the price is that of a span and a line: a few microseconds an attempt.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::mpsc::{Sender, channel};

use anyhow::Context as _;
use postworks::telemetry::traces;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt::layer as logs};

use super::moment::Moment;

/// The name of an attempt's span.
const ATTEMPT: &str = "process";

/// Logs warnings to stderr and says of every attempt when it starts and ends on stdout, from now on.
///
/// # Errors
/// Logs go somewhere already, or the system gives no thread.
pub(crate) fn install() -> anyhow::Result<()> {
    let (lines, written) = channel::<String>();
    // A thread of its own, which writes what has come together: no attempt waits for a pipe.
    std::thread::Builder::new().name("witness".to_owned()).spawn(move || {
        while let Ok(mut text) = written.recv() {
            text.extend(written.try_iter());
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    })?;
    let attempts = FilterFn::new(is_attempt);
    tracing_subscriber::registry()
        .with(Witness(lines).with_filter(attempts))
        .with(logs().json().with_writer(std::io::stderr).with_filter(LevelFilter::WARN))
        .try_init()
        .context("logs")?;
    traces::relate_with(|_, _, _| ());
    Ok(())
}

fn is_attempt(of: &Metadata<'_>) -> bool {
    of.target() == traces::TARGET && of.name() == ATTEMPT
}

struct Witness(Sender<String>);

/// What is said of an attempt when it ends.
#[derive(Default)]
struct Attempt {
    id: String,
    kind: String,
    number: i64,
    error: String,
}

impl Visit for Attempt {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "messaging.message.id" => &mut self.id,
            "job.kind" => &mut self.kind,
            "error.type" => &mut self.error,
            _ => return,
        };
        text.clear();
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error.type" {
            value.clone_into(&mut self.error);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "job.attempt" {
            self.number = value;
        }
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Witness {
    fn on_new_span(&self, of: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let at = Moment::now();
        let Some(span) = context.span(id) else { return };
        let mut attempt = Attempt::default();
        of.record(&mut attempt);
        let Attempt { id, kind, number, .. } = &attempt;
        // Nobody may be left to read it.
        let _ = self.0.send(format!("S {} {id} {kind} {number}\n", at.0));
        span.extensions_mut().insert(attempt);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(attempt) = span.extensions_mut().get_mut::<Attempt>() {
            values.record(attempt);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let at = Moment::now();
        let Some(span) = context.span(&id) else { return };
        let extensions = span.extensions();
        let Some(Attempt { id, error, .. }) = extensions.get::<Attempt>() else { return };
        let error = if error.is_empty() { "-" } else { error };
        let _ = self.0.send(format!("E {} {id} {error}\n", at.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_and_nothing_else() {
        let (lines, told) = channel();
        let layer = Witness(lines).with_filter(FilterFn::new(is_attempt));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!(
                target: traces::TARGET,
                "process",
                messaging.message.id = %"0198",
                job.kind = %"data_cleanup",
                job.attempt = 2_i64,
                "error.type" = tracing::field::Empty,
            );
            drop(tracing::info_span!(target: traces::TARGET, "send"));
            drop(tracing::info_span!("process"));
            span.record("error.type", "transient");
        });
        let told: Vec<String> = told.try_iter().collect();
        let words = |n: usize| told[n].split_whitespace().collect::<Vec<_>>();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((words(0)[0], &words(0)[2..]), ("S", &["0198", "data_cleanup", "2"][..]));
        assert_eq!((words(1)[0], &words(1)[2..]), ("E", &["0198", "transient"][..]));
        assert!(words(0)[1].parse::<u64>().unwrap() <= words(1)[1].parse::<u64>().unwrap());
    }
}
