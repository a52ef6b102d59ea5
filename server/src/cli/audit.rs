//! `postworks audit …`: what people did by hand.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::failure::Failure;
use super::output::{or_dash, table};
use super::{Context, target};
use crate::app::types::{AuditQuery, AuditView, Page};

/// What to do with the audit.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who did what, and why, newest first
    List(AuditListArgs),
}

/// Arguments of `audit list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditListArgs {
    /// Only this actor's, as in cli:ann@desk, user:ann@example.org or apikey:0198f3a0-…
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, as in dlq.retry
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this: an id, a filter or a name
    #[arg(long)]
    subject: Option<String>,
    /// Only from this time on: RFC 3339, or how long ago, as in 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most this many, 1 to 100
    #[arg(long, value_name = "N", value_parser = super::parse_limit)]
    limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::List(args) = command;
    let query = AuditQuery {
        actor: args.actor,
        action: args.action,
        subject: args.subject,
        since: args.since,
        until: args.until,
        limit: args.limit,
        cursor: args.cursor,
    };
    let audits = target::choose(context).await?.audits(&query).await?;
    context.format.say(&audits, page)
}

fn page(page: &Page<AuditView>) -> String {
    let rows = page.items.iter().map(|entry| {
        vec![
            entry.at.to_string(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.count.to_string(),
            or_dash(entry.why.as_ref()),
            match &entry.detail {
                Value::Null => "-".to_owned(),
                Value::String(words) => words.clone(),
                object => object.to_string(),
            },
        ]
    });
    let header = ["AT", "ACTOR", "ACTION", "SUBJECT", "COUNT", "WHY", "DETAIL"];
    super::paged(table(&header, rows, "nobody did anything"), page.next.as_deref())
}

/// Who uses this command line.
pub(super) fn actor() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let user = named.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| {
        // Our own folder in /proc is our user's.
        let uid = std::fs::metadata("/proc/self").map(|found| found.uid());
        uid.map_or_else(|_| "unknown".to_owned(), |uid| format!("uid-{uid}"))
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("cli:{user}@{}", host.trim())
}
