//! `dlq retry`, `dlq discard`: asks where a slip would be dear, acts, and says what became of it.

use std::io::IsTerminal as _;

use clap::Args;
use postworks::clock::{Clock as _, SystemClock};
use postworks::config::parse_number;
use serde_json::Value;

use super::filter::ChoiceArgs;
use super::{SUPERSEDED, UNKNOWN, redrive};
use crate::app::types::{AuditQuery, DeadDiscard, DeadEdit, DeadRetry, Discarded, Plan, Planned};
use crate::cli::agreed::agreed;
use crate::cli::enqueue::{arguments, parse_arg};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::list;
use crate::cli::target::Target;
use crate::cli::{Context, target};

/// Arguments of `dlq retry`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DlqRetryArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Put N back first, and go on only if none dies of the same cause again (1 to 1000)
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 1, 1_000))]
    canary: Option<u32>,
    /// At most N jobs a second (1 to 10000)
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 1, 10_000))]
    rate: Option<u32>,
    /// Put the one job back with these arguments instead; - reads them from stdin
    #[arg(long, value_name = "JSON", conflicts_with_all = ["arg", "canary", "rate", "filter", "all"])]
    json: Option<String>,
    /// Put the one job back with this argument changed
    #[arg(long, value_name = "k=v", value_parser = parse_arg,
        conflicts_with_all = ["canary", "rate", "filter", "all"])]
    arg: Vec<(String, Value)>,
}

pub(super) async fn retry(context: &Context, args: DlqRetryArgs) -> Result<(), Failure> {
    if args.json.is_some() || !args.arg.is_empty() {
        return edit(context, args).await;
    }
    let retry = DeadRetry {
        filter: args.choice.choice()?,
        all: args.choice.all,
        dry_run: args.choice.dry_run,
        canary: args.canary,
        rate: args.rate,
        reason: args.choice.reason.clone(),
    };
    let target = target::choose(context).await?;
    if asks(&args.choice)? {
        let plan = target.dlq_retry(&DeadRetry { dry_run: true, ..retry.clone() }).await?.plan;
        if !agreed(&summary(plan, true))? {
            return Err(Failure::new(Exit::Failed, "nothing was put back"));
        }
    }
    let left = async {
        let dry = DeadRetry { dry_run: true, ..retry.clone() };
        Ok(target.dlq_retry(&dry).await?.plan.matched)
    };
    let steps = Steps { target: target.as_ref(), action: "dlq.retry", done: "put back" };
    let planned = steps.unless_interrupted(target.dlq_retry(&retry), left).await?;
    check_named(&args.choice, planned.plan)?;
    let Some(begun) = &planned.redrive else {
        let dry = args.choice.dry_run;
        return context.format.say(&planned, |planned| summary(planned.plan, dry));
    };
    let ended = redrive::watch(target.as_ref(), begun).await?;
    let planned = Planned { redrive: Some(ended), ..planned };
    context.format.say(&planned, |planned| {
        let ended = planned.redrive.as_ref().map(redrive::show);
        format!("{}\n\n{}", summary(planned.plan, true), ended.unwrap_or_default())
    })?;
    planned.redrive.as_ref().map_or(Ok(()), redrive::check)
}

async fn edit(context: &Context, args: DlqRetryArgs) -> Result<(), Failure> {
    let [id] = args.choice.ids[..] else {
        return Err(Failure::new(Exit::Usage, "--arg and --json are for one job: name its id"));
    };
    if args.choice.dry_run {
        return Err(Failure::new(Exit::Usage, "--dry-run cannot be combined with --arg or --json"));
    }
    let merge = args.json.is_none();
    let edit =
        DeadEdit { args: arguments(args.json, args.arg)?, merge, reason: args.choice.reason };
    let planned = target::choose(context).await?.dlq_edit(id, &edit).await?;
    context.format.say(&planned, |planned| summary(planned.plan, false))
}

pub(super) async fn discard(context: &Context, args: ChoiceArgs) -> Result<(), Failure> {
    let discard = DeadDiscard {
        filter: args.choice()?,
        all: args.all,
        dry_run: args.dry_run,
        reason: args.reason.clone(),
    };
    let target = target::choose(context).await?;
    if asks(&args)? {
        let dry = target.dlq_discard(&DeadDiscard { dry_run: true, ..discard.clone() }).await?;
        if !agreed(&gone(&dry))? {
            return Err(Failure::new(Exit::Failed, "nothing was discarded"));
        }
    }
    let left = async {
        let dry = DeadDiscard { dry_run: true, ..discard.clone() };
        Ok(target.dlq_discard(&dry).await?.plan.matched)
    };
    let steps = Steps { target: target.as_ref(), action: "dlq.discard", done: "discarded" };
    let discarded = steps.unless_interrupted(target.dlq_discard(&discard), left).await?;
    check_named(&args, discarded.plan)?;
    context.format.say(&discarded, gone)
}

/// What is done a step at a time: an interrupt falls between two, or undoes the one it falls in.
struct Steps<'a> {
    target: &'a dyn Target,
    /// As the audit calls it.
    action: &'static str,
    done: &'static str,
}

impl Steps<'_> {
    /// Takes the steps; an interrupt ends them, and is told how far they came and what is `left`.
    async fn unless_interrupted<T>(
        &self,
        steps: impl Future<Output = Result<T, Failure>>,
        left: impl Future<Output = Result<u64, Failure>>,
    ) -> Result<T, Failure> {
        let begun = SystemClock.now();
        tokio::select! {
            biased;
            done = steps => return done,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        let query = AuditQuery {
            action: Some(self.action.to_owned()),
            since: Some(begun.to_string()),
            limit: Some(1),
            ..AuditQuery::default()
        };
        let noted = self.target.audits(&query).await?.items.pop();
        let (count, left) = (noted.map_or(0, |entry| entry.count), left.await?);
        let message = format!("interrupted: {count} {}, {left} left", self.done);
        Err(Failure::new(Exit::Interrupted, message)
            .advise("what was done stays so; the same command goes on with what is left"))
    }
}

/// Whether a person is to be asked. A script said what it wants, unless that is everything.
fn asks(args: &ChoiceArgs) -> Result<bool, Failure> {
    if args.yes || args.dry_run {
        return Ok(false);
    }
    if std::io::stdin().is_terminal() {
        return Ok(true);
    }
    if args.all {
        return Err(Failure::new(
            Exit::Usage,
            "--all is every dead letter, and nobody can be asked",
        )
        .advise("look with --dry-run, then add --yes; or name some with --filter"));
    }
    Ok(false)
}

fn check_named(args: &ChoiceArgs, plan: Plan) -> Result<(), Failure> {
    if !args.ids.is_empty() && plan.matched == 0 {
        return Err(Failure::new(Exit::NotFound, "none of these jobs is a dead letter"));
    }
    Ok(())
}

const NONE: &str = "no dead letter fits";

fn summary(plan: Plan, dry_run: bool) -> String {
    if plan.matched == 0 {
        return NONE.to_owned();
    }
    let verb = if dry_run { "would be put back" } else { "put back" };
    let mut rows = vec![("matched", plan.matched.to_string()), (verb, plan.runnable.to_string())];
    rows.extend(plan.cost.map(|cost| ("of them paid posts", cost.to_string())));
    rows.extend([
        ("done already", plan.done.to_string()),
        ("left: outcome unknown", plan.unknown.to_string()),
        ("left: superseded", plan.superseded.to_string()),
    ]);
    let text = list(&rows);
    let hints = [(plan.unknown, UNKNOWN), (plan.superseded, SUPERSEDED)];
    let hints = hints.iter().filter(|(count, _)| *count > 0).map(|(_, hint)| *hint);
    std::iter::once(text.as_str()).chain(hints).collect::<Vec<_>>().join("\n\n")
}

fn gone(discarded: &Discarded) -> String {
    let plan = discarded.plan;
    if plan.matched == 0 {
        return NONE.to_owned();
    }
    list(&[
        ("matched", plan.matched.to_string()),
        ("could be put back", plan.runnable.to_string()),
        ("done already", plan.done.to_string()),
        ("outcome unknown", plan.unknown.to_string()),
        ("superseded", plan.superseded.to_string()),
        ("discarded", discarded.discarded.to_string()),
    ])
}
