//! `postworks effects …`: requests that cannot be taken back and whose outcome is not known.

use clap::{Args, Subcommand, ValueEnum};
use postworks::job::State;
use uuid::Uuid;

use super::failure::Failure;
use super::output::{list, or_dash, table};
use super::{Context, target};
use crate::app::types::{
    EffectResolved, EffectView, FoundOut, Needs, Page, PageQuery, ResolveEffect,
};

/// What to do with effects.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EffectsCommand {
    /// List publications that may be out, newest first
    ///
    /// Those whose request may still be under way are left out.
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Say what became of a publication, after looking at the account
    Resolve(ResolveArgs),
}

/// Arguments of `effects resolve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResolveArgs {
    /// The publication
    #[arg(value_parser = parse_id)]
    id: Uuid,
    /// What is on the account; what is absent may be sent again
    #[arg(long = "as", value_enum, value_name = "OUTCOME")]
    outcome: Outcome,
    /// The platform's id of the post that is published
    #[arg(long, value_name = "ID")]
    remote_id: Option<String>,
    /// Put the dead job of what is absent back at once
    #[arg(long)]
    retry: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// The post is there: its job is completed, its dead letter goes
    Published,
    /// It is not there
    Absent,
}

fn parse_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "must be a publication's id, a UUID such as 0198f3a0-…".to_owned())
}

pub(super) async fn run(context: &Context, command: EffectsCommand) -> Result<(), Failure> {
    match command {
        EffectsCommand::List { limit, cursor } => {
            let query = PageQuery { limit, cursor };
            let effects = target::choose(context).await?.effects(&query).await?;
            context.format.say(&effects, page)
        }
        EffectsCommand::Resolve(args) => {
            let outcome = match args.outcome {
                Outcome::Published => FoundOut::Published,
                Outcome::Absent => FoundOut::Absent,
            };
            let ResolveArgs { remote_id, retry, reason, .. } = args;
            let resolve = ResolveEffect { outcome, remote_id, retry, reason };
            let resolved = target::choose(context).await?.resolve_effect(args.id, &resolve).await?;
            context.format.say(&resolved, summary)
        }
    }
}

fn summary(resolved: &EffectResolved) -> String {
    let text = list(&[
        ("id", resolved.id.to_string()),
        ("state", resolved.state.clone()),
        ("job", resolved.job_id.to_string()),
        ("job state", or_dash(resolved.job_state.as_ref())),
    ]);
    let next = match resolved.job_state {
        _ if resolved.state == "published" => return text,
        Some(State::Dead) => format!("postworks dlq retry {}", resolved.job_id),
        Some(state) if !state.has_ended() => return text,
        _ => format!("postworks enqueue post_publication --arg publication_id={}", resolved.id),
    };
    format!("{text}\n\nto send it: {next}")
}

fn page(page: &Page<EffectView>) -> String {
    let rows = page.items.iter().map(|effect| {
        vec![
            effect.id.to_string(),
            format!("{}/{}", effect.platform, effect.identifier),
            or_dash(effect.begun_at.as_ref()),
            or_dash(effect.send_by.as_ref()),
            or_dash(effect.worker.as_ref()),
            effect.job_id.to_string(),
            or_dash(effect.job_state.as_ref()),
            effect.needs.as_str().to_owned(),
            or_dash(effect.error.as_ref()),
        ]
    });
    let header =
        ["ID", "ACCOUNT", "SENT FROM", "SENT BY", "WORKER", "JOB", "JOB STATE", "NEEDS", "ERROR"];
    let mut text = table(&header, rows, "no outcome is unknown");
    for (needs, advice) in [
        (
            Needs::Person,
            "person: look at the account, then postworks effects resolve ID --as published|absent",
        ),
        (Needs::Retry, "retry: postworks dlq retry JOB finds out"),
        (Needs::Nothing, "nothing: the job finds out by itself"),
    ] {
        if page.items.iter().any(|effect| effect.needs == needs) {
            text.push_str("\n\n");
            text.push_str(advice);
        }
    }
    super::paged(text, page.next.as_deref())
}
