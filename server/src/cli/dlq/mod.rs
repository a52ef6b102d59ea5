//! `postworks dlq …`: jobs that a person must look at.

mod act;
mod filter;
mod redrive;

use clap::{Args, Subcommand};
use postworks::job::{Category, JobId};

use super::failure::Failure;
use super::output::{list, or_dash, table};
use super::{Context, target};
use crate::app::types::{DeadGroupView, DeadLetterView, DeadQuery, Page, PageQuery};
use act::DlqRetryArgs;
use filter::{ChoiceArgs, FilterArgs};
use redrive::RedriveCommand;

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, newest first
    List(DlqListArgs),
    /// Count dead letters by their cause, the most numerous first
    Groups {
        #[command(flatten)]
        filter: FilterArgs,
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
    },
    /// Show why a job died: its arguments, its attempts, and when it was put back before
    Show {
        /// The job
        #[arg(value_parser = super::parse_job_id)]
        id: JobId,
    },
    /// Put dead letters back to run again
    ///
    /// Those whose outcome is unknown are put back only if their ids are named and they can find
    /// it out; of the others `postworks effects` takes a person's word.
    ///
    /// Superseded ones are put back only if their ids are named: those whose unique key a later job
    /// has, or had when it completed, and those to synchronise or refresh an account for which a
    /// later job lives or has completed. What is published already is completed.
    ///
    /// More than 1000 jobs, --canary or --rate make it a redrive that goes on in the background. It
    /// begins with three jobs of each cause, and leaves a cause alone that comes back three times.
    Retry(DlqRetryArgs),
    /// End dead jobs for good, as cancelled, and delete their letters
    Discard(ChoiceArgs),
    /// Write dead letters with arguments and attempts to stdout, a JSON object a line
    ///
    /// The audit keeps who exported how many, and why.
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List redrives, newest first
    Redrives {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show or stop a redrive
    #[command(subcommand)]
    Redrive(RedriveCommand),
}

/// Arguments of `dlq list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DlqListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many, 1 to 100
    #[arg(long, value_name = "N", value_parser = super::parse_limit)]
    limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(context: &Context, command: DlqCommand) -> Result<(), Failure> {
    match command {
        DlqCommand::List(args) => {
            let query =
                DeadQuery { limit: args.limit, cursor: args.cursor, ..args.filter.query()? };
            let letters = target::choose(context).await?.dead_letters(&query).await?;
            context.format.say(&letters, |letters| page(letters, none(&args.filter)))
        }
        DlqCommand::Groups { filter, limit } => {
            let query = DeadQuery { limit, ..filter.query()? };
            let groups = target::choose(context).await?.dead_groups(&query).await?;
            context.format.say(&groups, |found| self::groups(found, none(&filter)))
        }
        DlqCommand::Show { id } => {
            let letter = target::choose(context).await?.dead_letter(id).await?;
            context.format.say(&letter, show)
        }
        DlqCommand::Retry(args) => act::retry(context, args).await,
        DlqCommand::Discard(args) => act::discard(context, args).await,
        DlqCommand::Export { filter, reason } => {
            let query = DeadQuery { reason, ..filter.query()? };
            let target = target::choose(context).await?;
            let mut out = std::io::BufWriter::new(std::io::stdout());
            target.dlq_export(&query, &mut out).await?;
            Ok(std::io::Write::flush(&mut out)?)
        }
        DlqCommand::Redrives { limit, cursor } => {
            let query = PageQuery { limit, cursor };
            let redrives = target::choose(context).await?.redrives(&query).await?;
            context.format.say(&redrives, redrive::page)
        }
        DlqCommand::Redrive(command) => redrive::run(context, command).await,
    }
}

/// Where to go on with an outcome that nobody knows.
const UNKNOWN: &str = "outcome unknown: postworks effects list says what to do";

/// Why letters are left alone that would run.
const SUPERSEDED: &str = "superseded: another job has done their work since, or is about to; \
     postworks dlq show names it. A letter whose id is named is put back all the same, unless a \
     live job has its unique key";

fn none(filter: &FilterArgs) -> &'static str {
    if filter.is_empty() { "no dead letters" } else { "no dead letter fits the filter" }
}

fn show(letter: &DeadLetterView) -> String {
    let mut text = list(&[
        ("id", letter.id.to_string()),
        ("kind", letter.kind.to_string()),
        ("queue", letter.queue.to_string()),
        ("category", letter.reason.category.to_string()),
        ("class", letter.reason.class.clone()),
        ("message", letter.reason.message.clone()),
        ("fingerprint", letter.fingerprint.clone()),
        ("attempts", letter.attempts.to_string()),
        ("created", letter.created_at.to_string()),
        ("died", letter.died_at.to_string()),
    ]);
    if let Some(details) = &letter.details {
        let last = details.put_back.last();
        text.push('\n');
        text.push_str(&list(&[
            ("args", details.args.get().to_owned()),
            ("account", or_dash(details.account.as_ref())),
            ("unique key", or_dash(details.unique_key.as_ref())),
            ("trace", or_dash(details.trace_id.as_ref())),
            ("superseded by", or_dash(details.superseded_by.as_ref())),
            ("put back", format!("{} times", details.put_back.len())),
            ("last put back", or_dash(last.map(|once| once.at).as_ref())),
        ]));
        let attempts = details.attempts.iter().map(|attempt| {
            vec![
                attempt.n.to_string(),
                or_dash(attempt.started_at.as_ref()),
                took(attempt.started_at, attempt.ended_at),
                attempt.outcome.clone(),
                or_dash(attempt.error.as_ref()),
                or_dash(attempt.worker.as_ref()),
            ]
        });
        let header = ["ATTEMPT", "STARTED", "TOOK", "OUTCOME", "ERROR", "WORKER"];
        text.push_str(&format!("\n\n{}", table(&header, attempts, "it never ran")));
        if !details.put_back.is_empty() {
            let rows = details.put_back.iter().map(|once| {
                vec![
                    once.at.to_string(),
                    once.died_at.to_string(),
                    once.category.to_string(),
                    once.fingerprint.clone(),
                    once.message.clone(),
                ]
            });
            let header = ["PUT BACK", "HAD DIED", "CATEGORY", "FINGERPRINT", "MESSAGE"];
            text.push_str(&format!("\n\n{}", table(&header, rows, "")));
        }
    }
    if is_unknown(letter) { format!("{text}\n\n{UNKNOWN}") } else { text }
}

fn took(
    started: Option<postworks::job::Timestamp>,
    ended: Option<postworks::job::Timestamp>,
) -> String {
    match (started, ended) {
        (Some(started), Some(ended)) => format!("{:.3} s", ended.since(started).as_secs_f64()),
        _ => "-".to_owned(),
    }
}

fn is_unknown(letter: &DeadLetterView) -> bool {
    letter.reason.category == Category::UnknownOutcome
}

fn groups(page: &Page<DeadGroupView>, none: &str) -> String {
    let rows = page.items.iter().map(|group| {
        vec![
            group.count.to_string(),
            group.fingerprint.clone(),
            group.kind.to_string(),
            group.category.to_string(),
            group.class.clone(),
            group.first_died_at.to_string(),
            group.last_died_at.to_string(),
            group.example.to_string(),
            group.message.clone(),
        ]
    });
    let header = [
        "COUNT",
        "FINGERPRINT",
        "KIND",
        "CATEGORY",
        "CLASS",
        "FIRST",
        "LAST",
        "EXAMPLE",
        "MESSAGE",
    ];
    table(&header, rows, none)
}

fn page(page: &Page<DeadLetterView>, none: &str) -> String {
    let rows = page.items.iter().map(|letter| {
        vec![
            letter.id.to_string(),
            letter.queue.to_string(),
            letter.reason.category.to_string(),
            letter.fingerprint.clone(),
            letter.died_at.to_string(),
            letter.reason.message.clone(),
        ]
    });
    let header = ["ID", "QUEUE", "CATEGORY", "FINGERPRINT", "DIED", "MESSAGE"];
    let mut text = table(&header, rows, none);
    if page.items.iter().any(is_unknown) {
        text.push_str(&format!("\n\n{UNKNOWN}"));
    }
    super::paged(text, page.next.as_deref())
}
