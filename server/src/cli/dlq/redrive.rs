//! `dlq redrives`, `dlq redrive …`: redrives that go on in the background.

use std::io::Write as _;
use std::time::Duration;

use clap::Subcommand;
use postworks::ledger::RedriveState;
use uuid::Uuid;

use crate::app::types::{Page, RedriveView, Why};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{list, or_dash, table};
use crate::cli::target::Target;
use crate::cli::{Context, target};

/// Between two looks at a redrive that goes on.
const LOOK: Duration = Duration::from_millis(500);

/// What to do with a redrive.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RedriveCommand {
    /// Show how far a redrive came, cause by cause
    Show {
        /// The redrive
        #[arg(value_parser = parse_id)]
        id: Uuid,
    },
    /// Stop a redrive; what it has put back stays so
    Stop {
        /// The redrive
        #[arg(value_parser = parse_id)]
        id: Uuid,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

fn parse_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "must be a redrive's id, a UUID such as 0198f3a0-…".to_owned())
}

pub(super) async fn run(context: &Context, command: RedriveCommand) -> Result<(), Failure> {
    let target = target::choose(context).await?;
    let redrive = match command {
        RedriveCommand::Show { id } => target.redrive(id).await?,
        RedriveCommand::Stop { id, reason } => target.stop_redrive(id, &Why { reason }).await?,
    };
    context.format.say(&redrive, show)
}

/// Says on stderr how a redrive goes on until it ends, or until an interrupt.
pub(super) async fn watch(
    target: &dyn Target,
    begun: &RedriveView,
) -> Result<RedriveView, Failure> {
    let _carried_on = target.carry_on();
    let (id, mut said) = (begun.id, String::new());
    loop {
        tokio::select! {
            // Whoever is told of the interrupt decides; the redrive is in the ledger.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                let message = format!("redrive {id} goes on without you, where an API or `up` runs");
                return Err(Failure::new(Exit::Interrupted, message)
                    .advise(format!("postworks dlq redrive show {id} shows it, stop {id} ends it")));
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = target.redrive(id).await?;
        let line = progress(&now);
        if line != said {
            writeln!(std::io::stderr(), "{line}")?;
            said = line;
        }
        if now.state != RedriveState::Running {
            return Ok(now);
        }
    }
}

/// A redrive that left letters alone did not do all that was asked.
pub(super) fn check(redrive: &RedriveView) -> Result<(), Failure> {
    if redrive.state != RedriveState::Stopped {
        return Ok(());
    }
    let why = redrive.stopped_why.as_deref().unwrap_or("it was stopped");
    Err(Failure::new(Exit::Failed, why)
        .advise("see what they die of with `postworks dlq groups`, mend it, and put them back"))
}

fn progress(redrive: &RedriveView) -> String {
    let sum = |of: fn(&crate::app::types::CauseView) -> u64| -> u64 {
        redrive.causes.iter().map(of).sum()
    };
    format!(
        "{} of {} put back, {} not ended, {} came back",
        redrive.put_back,
        redrive.matched,
        sum(|cause| cause.underway),
        sum(|cause| cause.returned)
    )
}

pub(super) fn show(redrive: &RedriveView) -> String {
    let text = list(&[
        ("redrive", redrive.id.to_string()),
        ("state", redrive.state.as_str().to_owned()),
        ("letters", redrive.subject.clone()),
        ("by", redrive.actor.clone()),
        ("why", or_dash(redrive.why.as_ref())),
        ("canary", or_dash(redrive.canary.as_ref())),
        ("rate", or_dash(redrive.rate.as_ref())),
        ("matched", redrive.matched.to_string()),
        ("put back", redrive.put_back.to_string()),
        ("done already", redrive.done.to_string()),
        ("left: outcome unknown", redrive.unknown.to_string()),
        ("left: superseded", redrive.superseded.to_string()),
        ("started", redrive.started_at.to_string()),
        ("ended", or_dash(redrive.ended_at.as_ref())),
        ("stopped", or_dash(redrive.stopped_why.as_ref())),
    ]);
    let rows = redrive.causes.iter().map(|cause| {
        vec![
            cause.fingerprint.clone(),
            cause.put_back.to_string(),
            cause.underway.to_string(),
            cause.returned.to_string(),
        ]
    });
    let header = ["CAUSE", "PUT BACK", "NOT ENDED", "CAME BACK"];
    format!("{text}\n\n{}", table(&header, rows, "nothing was put back yet"))
}

pub(super) fn page(page: &Page<RedriveView>) -> String {
    let rows = page.items.iter().map(|redrive| {
        vec![
            redrive.id.to_string(),
            redrive.state.as_str().to_owned(),
            format!("{}/{}", redrive.put_back, redrive.matched),
            redrive.started_at.to_string(),
            redrive.actor.clone(),
            redrive.subject.clone(),
            or_dash(redrive.stopped_why.as_ref()),
        ]
    });
    let header = ["ID", "STATE", "PUT BACK", "STARTED", "BY", "LETTERS", "STOPPED"];
    crate::cli::paged(table(&header, rows, "no redrives"), page.next.as_deref())
}
