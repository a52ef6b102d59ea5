//! `postworks enqueue`.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use clap::Args;
use postworks::config::{parse_duration, parse_number};
use postworks::job::family::{OnFailure, Parent};
use postworks::job::{JobId, Timestamp, TraceParent, UniqueUntil};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::failure::{Exit, Failure};
use super::{Context, target};
use crate::app::types::{EnqueueJob, Enqueued};

/// Arguments longer than this are refused by every API.
const ARGS_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `enqueue`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EnqueueArgs {
    #[arg(help = "connector_sync, post_publication, token_refresh or data_cleanup")]
    kind: String,
    /// The job's arguments as a JSON object; - reads them from stdin
    #[arg(long, value_name = "JSON", conflicts_with = "arg")]
    json: Option<String>,
    /// One argument; true, false, null and numbers are read as such
    #[arg(long, value_name = "k=v", value_parser = parse_arg)]
    arg: Vec<(String, Value)>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "delay")]
    run_at: Option<Timestamp>,
    /// Not before so long from now
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// While a live job of the kind has this key, another is not made
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,
    /// What frees the key: the job's end (ended, if not given) or the start of a run (started)
    #[arg(long, value_name = "WHEN", requires = "unique_key")]
    unique_until: Option<UniqueUntil>,
    /// The key is held for so long even if the job completes before (1s to 30 days)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "unique_key")]
    unique_for: Option<Duration>,
    /// Due so long from now (100ms to 24h); another such job of the key that comes while it waits
    /// replaces its arguments and lets it wait anew
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "unique_key")]
    debounce: Option<Duration>,
    /// It waits no longer than this in all; ten times --debounce if not given
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "debounce")]
    max_delay: Option<Duration>,
    /// Head start over jobs that became ready at the same time, in seconds (0 to 3600); any at all
    /// lets it use what quotas keep for urgent jobs
    #[arg(long, value_name = "SECONDS", value_parser = |text: &str| parse_number(text, 0, 3_600))]
    priority: Option<u32>,
    /// Attempts in all
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 1, 100))]
    max_attempts: Option<u32>,
    /// Not before these jobs have ended; may be given several times
    #[arg(long, value_name = "ID", num_args = 1.., value_parser = super::parse_job_id)]
    after: Vec<JobId>,
    /// What becomes of it if one of them does not complete: fail (then it is dead, too) or continue
    #[arg(long, value_name = "WHAT", requires = "after")]
    on_failure: Option<OnFailure>,
    /// The trace it belongs to (W3C); what is no traceparent is ignored, and said so
    #[arg(long, value_name = "TRACEPARENT", env = "TRACEPARENT", hide_env_values = true)]
    traceparent: Option<String>,
}

pub(super) fn parse_arg(text: &str) -> Result<(String, Value), String> {
    let named = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = named.ok_or("must be name=value")?;
    let value = match serde_json::from_str(value) {
        Ok(plain @ (Value::Bool(_) | Value::Number(_) | Value::Null)) => plain,
        _ => Value::from(value),
    };
    Ok((name.to_owned(), value))
}

/// The arguments that `--json` or `--arg` give; none if neither is there.
pub(super) fn arguments(
    json: Option<String>,
    arg: Vec<(String, Value)>,
) -> Result<Box<RawValue>, Failure> {
    match json {
        Some(dash) if dash == "-" => document(&from_stdin()?),
        Some(text) => document(&text),
        None => named(arg),
    }
}

impl EnqueueArgs {
    fn job(self) -> Result<EnqueueJob, Failure> {
        let args = arguments(self.json, self.arg)?;
        let trace = self.traceparent.as_deref().filter(|text| !text.is_empty()).and_then(trace);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(EnqueueJob {
            run_at: self.run_at,
            delay_ms: self.delay.map(millis),
            unique_key: self.unique_key,
            unique_until: self.unique_until.map(|until| until.as_str().to_owned()),
            unique_for_ms: self.unique_for.map(millis),
            debounce_ms: self.debounce.map(millis),
            max_delay_ms: self.max_delay.map(millis),
            priority: self.priority,
            max_attempts: self.max_attempts,
            after: self.after.into_iter().map(Parent::from).collect(),
            on_failure: self.on_failure,
            trace,
            ..EnqueueJob::new(self.kind, args)
        })
    }
}

/// No job fails for the sake of its trace.
fn trace(text: &str) -> Option<TraceParent> {
    let read = text.parse::<TraceParent>();
    if let Err(error) = &read {
        // A terminal that is gone keeps no job from being enqueued.
        let _ = writeln!(std::io::stderr(), "the job belongs to no trace: --traceparent {error}");
    }
    read.ok()
}

const FORM: &str = r#"write it as '{"connector_id": "…"}'"#;

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(ARGS_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::new(Exit::Usage, format!("--json -: stdin cannot be read: {error}")).advise(FORM)
    })?;
    Ok(text)
}

/// A JSON object, left as it was written.
fn document(text: &str) -> Result<Box<RawValue>, Failure> {
    let text = text.trim();
    let wrong = |message: String| Failure::new(Exit::Usage, message).advise(FORM);
    if text.is_empty() {
        return Err(wrong("--json is no JSON: it is empty".to_owned()));
    }
    let args = serde_json::from_str::<Box<RawValue>>(text)
        .map_err(|error| wrong(format!("--json is no JSON: {error}")))?;
    if !text.starts_with('{') {
        return Err(wrong("--json must be an object".to_owned()));
    }
    Ok(args)
}

/// The object of single arguments.
fn named(args: Vec<(String, Value)>) -> Result<Box<RawValue>, Failure> {
    let mut fields = Map::new();
    for (name, value) in args {
        if fields.contains_key(&name) {
            return Err(Failure::new(Exit::Usage, format!("--arg {name} is there twice")));
        }
        fields.insert(name, value);
    }
    serde_json::value::to_raw_value(&fields)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

pub(super) async fn run(context: &Context, args: EnqueueArgs) -> Result<(), Failure> {
    let job = args.job()?;
    let enqueued = target::choose(context).await?.enqueue(job).await?;
    context.format.say(&enqueued, |enqueued| {
        let how = match enqueued {
            Enqueued { created: true, .. } => "accepted",
            Enqueued { replaced: true, .. } => "already there, replaced",
            _ => "already there",
        };
        format!("{}  {how}, {}", enqueued.id, enqueued.state)
    })
}
