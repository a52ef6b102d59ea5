//! `postworks queue …`.

use clap::Subcommand;

use super::breaker::summary;
use super::failure::Failure;
use super::output::{table, told};
use super::{Context, Target, target};
use crate::app::types::Why;

/// What to do with queues.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues and what is in them
    List,
    /// Let nothing more be claimed from a queue; what runs goes on
    Pause {
        /// The queue
        queue: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a paused queue go on
    Resume {
        /// The queue
        queue: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) async fn run(context: &Context, command: QueueCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    match command {
        QueueCommand::List => list(context, target.as_ref()).await,
        QueueCommand::Pause { queue, reason } => {
            context.format.say(&target.pause(&queue, &Why { reason }).await?, summary)
        }
        QueueCommand::Resume { queue, reason } => {
            context.format.say(&target.resume(&queue, &Why { reason }).await?, summary)
        }
    }
}

async fn list(context: &Context, target: &dyn Target) -> Result<(), Failure> {
    let queues = target.queues().await?;
    context.format.say(&queues, |queues| {
        let rows = queues.items.iter().map(|queue| {
            vec![
                queue.queue.to_string(),
                told(queue.ready),
                told(queue.delayed),
                told(queue.running),
                queue.dead.to_string(),
                told(queue.oldest_ready_age_seconds.map(|seconds| format!("{seconds:.1} s"))),
                queue.paused.as_ref().map_or_else(String::new, |holder| holder.by.clone()),
            ]
        });
        let header = ["QUEUE", "READY", "DELAYED", "RUNNING", "DEAD", "OLDEST READY", "PAUSED BY"];
        table(&header, rows, "no queues")
    })
}
