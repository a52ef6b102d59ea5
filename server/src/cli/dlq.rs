//! `postworks dlq …`: jobs that a person must look at.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use postworks::job::{Category, JobId};

use super::failure::{Exit, Failure};
use super::output::{list, table};
use super::{Context, target};
use crate::app::types::{DeadChoice, DeadLetterView, DeadQuery, DeadRetry, Page, Planned};

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters, newest first
    List(DlqListArgs),
    /// Show why a job died
    Show {
        /// The job
        #[arg(value_parser = super::parse_job_id)]
        id: JobId,
    },
    /// Put dead letters back to run again
    ///
    /// Those whose outcome is unknown are put back only if their ids are named and they can find
    /// it out; of the others `postworks effects` takes a person's word.
    Retry(DlqRetryArgs),
}

/// Arguments of `dlq list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DlqListArgs {
    /// category=, fingerprint=, queue= or kind=
    #[arg(long, value_name = "k=v", value_parser = parse_filter)]
    filter: Vec<(String, String)>,
    /// At most this many, 1 to 100
    #[arg(long, value_name = "N", value_parser = super::parse_limit)]
    limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Arguments of `dlq retry`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DlqRetryArgs {
    /// The jobs
    #[arg(required_unless_present_any = ["filter", "all"], value_parser = super::parse_job_id)]
    ids: Vec<JobId>,
    /// category=, fingerprint=, queue= or kind=; all that are given must fit
    #[arg(long, value_name = "k=v", value_parser = parse_filter)]
    filter: Vec<(String, String)>,
    /// Every dead letter
    #[arg(long, conflicts_with_all = ["ids", "filter"])]
    all: bool,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

const FILTERS: [&str; 4] = ["category", "fingerprint", "queue", "kind"];

fn parse_filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if FILTERS.contains(&name) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("must be name=value with a name of {}", FILTERS.join(", "))),
    }
}

/// Two values of one name would contradict each other.
fn check_once(filters: &[(String, String)]) -> Result<(), Failure> {
    for name in FILTERS {
        if filters.iter().filter(|(key, _)| key == name).count() > 1 {
            return Err(Failure::new(Exit::Usage, format!("--filter {name} is there twice")));
        }
    }
    Ok(())
}

fn value(filters: &[(String, String)], name: &str) -> Option<String> {
    filters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

fn parsed<T: std::str::FromStr<Err: ToString>>(
    filters: &[(String, String)],
    name: &str,
) -> Result<Option<T>, Failure> {
    value(filters, name).map(|text| text.parse()).transpose().map_err(|error: T::Err| {
        Failure::new(Exit::Usage, format!("--filter {name}: {}", error.to_string()))
    })
}

pub(super) async fn run(context: &Context, command: DlqCommand) -> Result<(), Failure> {
    match command {
        DlqCommand::List(args) => {
            check_once(&args.filter)?;
            let query = DeadQuery {
                category: value(&args.filter, "category"),
                fingerprint: value(&args.filter, "fingerprint"),
                queue: value(&args.filter, "queue"),
                kind: value(&args.filter, "kind"),
                limit: args.limit,
                cursor: args.cursor,
            };
            let letters = target::choose(context).await?.dead_letters(&query).await?;
            context.format.say(&letters, page)
        }
        DlqCommand::Show { id } => {
            let letter = target::choose(context).await?.dead_letter(id).await?;
            context.format.say(&letter, show)
        }
        DlqCommand::Retry(args) => retry(context, args).await,
    }
}

async fn retry(context: &Context, args: DlqRetryArgs) -> Result<(), Failure> {
    check_once(&args.filter)?;
    let filter = DeadChoice {
        category: parsed(&args.filter, "category")?,
        fingerprint: value(&args.filter, "fingerprint"),
        queue: parsed(&args.filter, "queue")?,
        kind: parsed(&args.filter, "kind")?,
        ids: args.ids,
    };
    let named = !filter.ids.is_empty();
    let target = target::choose(context).await?;
    let dry = DeadRetry { filter, dry_run: true, reason: args.reason };
    let wet = DeadRetry { dry_run: false, ..dry.clone() };
    let planned = if args.dry_run {
        target.dlq_retry(&dry).await?
    } else {
        // Only a person can be asked; a script said what it wants.
        if !args.yes && std::io::stdin().is_terminal() {
            let plan = target.dlq_retry(&dry).await?;
            if !agreed(&plan)? {
                return Err(Failure::new(Exit::Failed, "nothing was put back"));
            }
        }
        target.dlq_retry(&wet).await?
    };
    if named && planned.plan.matched == 0 {
        return Err(Failure::new(Exit::NotFound, "none of these jobs is a dead letter"));
    }
    context.format.say(&planned, |planned| summary(planned, args.dry_run))
}

fn agreed(planned: &Planned) -> Result<bool, Failure> {
    let mut err = std::io::stderr().lock();
    write!(err, "{}\nGo on? [y/N] ", summary(planned, true))?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn summary(planned: &Planned, dry_run: bool) -> String {
    let plan = planned.plan;
    let verb = if dry_run { "would be put back" } else { "put back" };
    let text = list(&[
        ("matched", plan.matched.to_string()),
        (verb, plan.runnable.to_string()),
        ("done already", plan.done.to_string()),
        ("left: outcome unknown", plan.unknown.to_string()),
        ("left: a live job has their unique key", plan.superseded.to_string()),
    ]);
    if plan.unknown > 0 { format!("{text}\n\n{UNKNOWN}") } else { text }
}

/// Where to go on with an outcome that nobody knows.
const UNKNOWN: &str = "outcome unknown: postworks effects list says what to do";

fn is_unknown(letter: &DeadLetterView) -> bool {
    letter.reason.category == Category::UnknownOutcome
}

fn show(letter: &DeadLetterView) -> String {
    let text = list(&[
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
    if is_unknown(letter) { format!("{text}\n\n{UNKNOWN}") } else { text }
}

fn page(page: &Page<DeadLetterView>) -> String {
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
    let mut text = table(&header, rows, "no dead letters");
    if page.items.iter().any(is_unknown) {
        text.push_str(&format!("\n\n{UNKNOWN}"));
    }
    super::paged(text, page.next.as_deref())
}
