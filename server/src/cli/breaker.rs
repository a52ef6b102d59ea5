//! `postworks breaker …`: circuit breakers, one for each queue.

use clap::Subcommand;

use super::failure::Failure;
use super::output::{or_dash, table};
use super::{Context, target};
use crate::app::types::{GateView, HolderView, Page, Why};

/// What to do with breakers.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BreakerCommand {
    /// List breakers, and what else keeps jobs from being claimed
    List,
    /// Open a breaker: nothing more is claimed from its queue until it is closed by hand
    Open {
        /// The breaker: the name of its queue
        name: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Close a breaker at once, whoever or whatever opened it
    Close {
        /// The breaker: the name of its queue
        name: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) async fn run(context: &Context, command: BreakerCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    let gate = match command {
        BreakerCommand::List => return context.format.say(&target.gates().await?, page),
        BreakerCommand::Open { name, reason } => {
            target.open_breaker(&name, &Why { reason }).await?
        }
        BreakerCommand::Close { name, reason } => {
            target.close_breaker(&name, &Why { reason }).await?
        }
    };
    context.format.say(&gate, summary)
}

/// What a gate is like now, in a sentence.
pub(super) fn summary(gate: &GateView) -> String {
    let name = &gate.name;
    let mut text = match (&gate.paused, &gate.forced_by, gate.state.as_deref()) {
        (Some(_), ..) => format!("{name} is paused: nothing is claimed, what runs goes on"),
        (_, Some(_), _) => format!("{name}: the breaker is held open, nothing is claimed"),
        (_, _, Some(state)) => format!("{name}: not paused, the breaker is {state}"),
        (_, _, None) => format!("{name}: not paused"),
    };
    if !gate.applied {
        text.push_str("\nrecorded; workers learn of it once the broker is back");
    }
    text
}

fn page(page: &Page<GateView>) -> String {
    let rows = page.items.iter().map(|gate| {
        vec![
            gate.name.to_string(),
            or_dash(gate.state.as_ref()),
            or_dash(gate.until.as_ref()),
            or_dash(gate.calls.as_ref()),
            or_dash(gate.bad.as_ref()),
            or_dash(gate.forced_by.as_ref().map(held).as_ref()),
            or_dash(gate.paused.as_ref().map(held).as_ref()),
        ]
    });
    let header = ["BREAKER", "STATE", "UNTIL", "CALLS", "BAD", "OPENED BY", "PAUSED BY"];
    table(&header, rows, "no breakers")
}

fn held(holder: &HolderView) -> String {
    match &holder.why {
        Some(why) => format!("{} ({why})", holder.by),
        None => holder.by.clone(),
    }
}
