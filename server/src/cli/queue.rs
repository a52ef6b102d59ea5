//! `postworks queue …`.

use clap::Subcommand;

use super::failure::Failure;
use super::output::table;
use super::{Context, target};

/// What to do with queues.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues and what is in them
    List,
}

pub(super) async fn run(context: &Context, command: QueueCommand) -> Result<(), Failure> {
    let QueueCommand::List = command;
    let queues = target::choose(context).await?.queues().await?;
    context.format.say(&queues, |queues| {
        let rows = queues.items.iter().map(|queue| {
            vec![
                queue.queue.to_string(),
                queue.ready.to_string(),
                queue.delayed.to_string(),
                queue.running.to_string(),
                queue.dead.to_string(),
                format!("{:.1} s", queue.oldest_ready_age_seconds),
            ]
        });
        table(&["QUEUE", "READY", "DELAYED", "RUNNING", "DEAD", "OLDEST READY"], rows, "no queues")
    })
}
