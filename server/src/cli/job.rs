//! `postworks job …`.

use clap::{Args, Subcommand};
use postworks::job::JobId;

use super::failure::Failure;
use super::output::{list, or_dash, table};
use super::{Context, target};
use crate::app::types::{JobView, JobsQuery, Page, ProgressView, Why};

/// What to do with jobs.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobCommand {
    /// Show a job and its attempts
    Show {
        /// The job
        #[arg(value_parser = super::parse_job_id)]
        id: JobId,
    },
    /// Say why a job does not run, and when it will
    Why {
        /// The job
        #[arg(value_parser = super::parse_job_id)]
        id: JobId,
    },
    /// List jobs, newest first
    List(JobListArgs),
    /// End a job that has not ended; one that runs is told to stop
    Cancel {
        /// The job
        #[arg(value_parser = super::parse_job_id)]
        id: JobId,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Arguments of `job list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobListArgs {
    /// delayed, ready, running, parked, completed, dead or cancelled
    #[arg(long)]
    state: Option<String>,
    /// Only this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only this queue
    #[arg(long)]
    queue: Option<String>,
    /// At most this many, 1 to 100
    #[arg(long, value_name = "N", value_parser = super::parse_limit)]
    limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(context: &Context, command: JobCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    match command {
        JobCommand::Show { id } => context.format.say(&target.job(id).await?, show),
        JobCommand::Why { id } => context.format.say(&target.why(id).await?, |why| {
            let eta = why.eta.map_or_else(String::new, |eta| format!("\nexpected: {eta}"));
            format!("{}: {}{eta}", why.reason, why.detail)
        }),
        JobCommand::List(args) => {
            let query = JobsQuery {
                state: args.state,
                kind: args.kind,
                queue: args.queue,
                limit: args.limit,
                cursor: args.cursor,
            };
            context.format.say(&target.jobs(&query).await?, page)
        }
        JobCommand::Cancel { id, reason } => {
            let cancelled = target.cancel(id, &Why { reason }).await?;
            context.format.say(&cancelled, |cancelled| {
                format!("{id}  {}", format!("{:?}", cancelled.state).to_lowercase())
            })
        }
    }
}

fn show(job: &JobView) -> String {
    let mut text = list(&[
        ("id", job.id.to_string()),
        ("kind", job.kind.to_string()),
        ("queue", job.queue.to_string()),
        ("state", job.state.to_string()),
        ("args", job.args.get().to_owned()),
        ("attempt", format!("{} of {}", job.attempt, job.max_attempts)),
        ("run at", job.run_at.to_string()),
        ("created", job.created_at.to_string()),
        ("finished", or_dash(job.finished_at.as_ref())),
        ("expires", job.expires_at.to_string()),
        ("trace", or_dash(job.trace_id.as_ref())),
        ("waits for", or_dash(job.parked_for.as_ref())),
        (
            "reason",
            job.reason.as_ref().map_or_else(
                || "-".to_owned(),
                |reason| format!("{} ({}): {}", reason.category, reason.class, reason.message),
            ),
        ),
    ]);
    let attempts = job.attempts.iter().flatten().map(|attempt| {
        vec![
            attempt.n.to_string(),
            or_dash(attempt.started_at.as_ref()),
            or_dash(attempt.ended_at.as_ref()),
            attempt.outcome.clone(),
            or_dash(attempt.error.as_ref()),
            or_dash(attempt.worker.as_ref()),
        ]
    });
    let header = ["ATTEMPT", "STARTED", "ENDED", "OUTCOME", "ERROR", "WORKER"];
    text.push_str("\n\n");
    text.push_str(&table(&header, attempts, "no attempt has ended"));
    let parents = job.parents.iter().flatten().map(|parent| {
        vec![
            parent.id.to_string(),
            parent.kind.to_string(),
            parent.state.to_string(),
            or_dash(parent.reason.as_ref()),
        ]
    });
    if parents.clone().next().is_some() {
        text.push_str("\n\n");
        text.push_str(&table(&["PARENT", "KIND", "STATE", "REASON"], parents, ""));
    }
    if let Some(progress) = &job.progress {
        text.push_str("\n\n");
        text.push_str(&swept(progress));
    }
    text
}

fn swept(progress: &[ProgressView]) -> String {
    let rows = progress.iter().map(|scope| {
        let tenants = scope.tenants.iter().map(|own| format!("{} {}", own.tenant, own.rows));
        vec![
            scope.scope.clone(),
            scope.rows.to_string(),
            scope.partitions.to_string(),
            if scope.done { "yes" } else { "no" }.to_owned(),
            tenants.collect::<Vec<_>>().join(", "),
        ]
    });
    table(&["SCOPE", "ROWS", "PARTITIONS", "DONE", "OF TENANTS"], rows, "nothing yet")
}

fn page(page: &Page<JobView>) -> String {
    let rows = page.items.iter().map(|job| {
        vec![
            job.id.to_string(),
            job.queue.to_string(),
            job.state.to_string(),
            format!("{}/{}", job.attempt, job.max_attempts),
            job.run_at.to_string(),
            job.reason.as_ref().map_or_else(String::new, |reason| reason.message.clone()),
        ]
    });
    let header = ["ID", "QUEUE", "STATE", "ATTEMPT", "RUN AT", "REASON"];
    super::paged(table(&header, rows, "no jobs"), page.next.as_deref())
}
