//! `postworks set …`.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::failure::Failure;
use super::output::{list, or_dash, table};
use super::{Context, target};
use crate::app::types::{CancelledSet, RetriedSet, SetView, Why};

/// What to do with publication sets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SetCommand {
    /// Show how the publications of a set fare
    Show {
        /// The set
        id: Uuid,
    },
    /// Cancel what has not ended and is not being sent
    Cancel(SetChange),
    /// Put the dead publications of a set back
    Retry(SetChange),
}

/// Arguments of what changes a set.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetChange {
    /// The set
    id: Uuid,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(context: &Context, command: SetCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    match command {
        SetCommand::Show { id } => context.format.say(&target.set(id).await?, show),
        SetCommand::Cancel(SetChange { id, reason }) => {
            context.format.say(&target.cancel_set(id, &Why { reason }).await?, cancelled)
        }
        SetCommand::Retry(SetChange { id, reason }) => {
            context.format.say(&target.retry_set(id, &Why { reason }).await?, retried)
        }
    }
}

fn show(set: &SetView) -> String {
    let callback = set.callback.as_ref().map(|callback| match callback.state {
        Some(state) => format!("{} ({state})", callback.job_id),
        None => callback.job_id.to_string(),
    });
    let mut text = list(&[
        ("id", set.id.to_string()),
        ("post", set.post_id.to_string()),
        ("state", set.state.clone()),
        ("callback", or_dash(callback.as_ref())),
        ("created", set.created_at.to_string()),
        ("finished", or_dash(set.finished_at.as_ref())),
    ]);
    let rows = set.publications.iter().map(|one| {
        vec![
            one.id.to_string(),
            one.connector_id.to_string(),
            one.state.clone(),
            one.job_id.to_string(),
            or_dash(one.job_state.as_ref()),
            or_dash(one.remote_url.as_ref().or(one.reason.as_ref())),
        ]
    });
    let header = ["PUBLICATION", "ACCOUNT", "STATE", "JOB", "JOB STATE", "WHERE OR WHY"];
    text.push_str("\n\n");
    text.push_str(&table(&header, rows, "its publications were cleaned up"));
    text
}

fn cancelled(done: &CancelledSet) -> String {
    let CancelledSet { cancelled, sending, ended } = done;
    format!(
        "{} cancelled, {} left alone since a request may be out, {} had ended",
        cancelled.len(),
        sending.len(),
        ended.len()
    )
}

fn retried(done: &RetriedSet) -> String {
    let plan = &done.plan;
    let mut text = format!(
        "{} of {} put back; {} are published, {} may be, {} are needless",
        plan.runnable, plan.matched, plan.done, plan.unknown, plan.superseded
    );
    if let Some(job) = &done.callback_job_id {
        text.push_str(&format!("; job {job} is called back when they have ended"));
    }
    text
}
