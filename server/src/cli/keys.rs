//! `postworks keys …`: the keys that accounts' secrets are sealed with. Straight to the tables: it seals
//! rows of every tenant, with the keys of this command's own ring.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::failure::{Exit, Failure};
use super::output::{list, or_dash, table};
use super::{Context, audit, wiring};
use crate::app::KeyRotation;
use crate::app::types::{KeyGivenUp, KeyView, KeysRotated, Page};

/// Between two words on how far it is.
const SAY: Duration = Duration::from_secs(1);

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeysCommand {
    /// List keys, what each has sealed, who has it, and whether it may go
    List,
    /// Seal what other keys have sealed with the first key of the ring
    Rotate(KeysRotateArgs),
    /// Delete what a lost key has sealed; people have to connect those accounts again
    GiveUp(KeysGiveUpArgs),
}

/// Arguments of `keys rotate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeysRotateArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Arguments of `keys give-up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeysGiveUpArgs {
    /// The key, as `keys list` shows it
    id: String,
    /// Do it; without, it is only said how many accounts it would be
    #[arg(long)]
    yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(context: &Context, command: KeysCommand) -> Result<(), Failure> {
    let app = wiring::own_stores(context).await?.acting_as(audit::actor());
    match command {
        KeysCommand::List => context.format.say(&app.keys().await?, page),
        KeysCommand::Rotate(args) if args.dry_run => {
            context.format.say(&app.plan_key_rotation().await?, summary)
        }
        KeysCommand::Rotate(args) => {
            let rotation = app.rotate_keys(args.reason.as_deref()).await?;
            let rotated = to_the_end(rotation).await?;
            context.format.say(&rotated, summary)?;
            check(&rotated)
        }
        KeysCommand::GiveUp(args) => {
            let lost = app.give_up_key(&args.id, !args.yes, args.reason.as_deref()).await?;
            context.format.say(&lost, given_up)
        }
    }
}

/// Goes on page by page; an interrupt falls between two, or undoes the one it falls in.
async fn to_the_end(mut rotation: KeyRotation) -> Result<KeysRotated, Failure> {
    let (mut said, mut done) = (Instant::now(), 0);
    loop {
        let progress = tokio::select! {
            biased;
            progress = rotation.step() => progress?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                let message = format!("interrupted: {done} accounts' secrets were sealed anew");
                return Err(Failure::new(Exit::Interrupted, message)
                    .advise("what was done stays so; the same command goes on with what is left"));
            }
        };
        done = progress.done;
        if !progress.more {
            return Ok(rotation.finish().await?);
        }
        if said.elapsed() >= SAY {
            said = Instant::now();
            writeln!(std::io::stderr(), "{done} of {} sealed anew", rotation.matched)?;
        }
    }
}

/// A rotation that left something alone did not do all that was asked.
fn check(rotated: &KeysRotated) -> Result<(), Failure> {
    let damaged = rotated.damaged.len();
    if damaged > 0 {
        return Err(Failure::new(Exit::Failed, format!("{damaged} accounts' secrets do not open"))
            .advise("somebody has to connect these accounts again; they are listed above"));
    }
    if rotated.left > 0 {
        let message = format!("{} accounts' secrets were sealed with another key", rotated.left);
        return Err(Failure::new(Exit::Retry, message).advise(
            "a node seals with another key: put the same one first in the POSTWORKS_KEYS of every \
             node, start them again, and repeat this",
        ));
    }
    Ok(())
}

fn summary(rotated: &KeysRotated) -> String {
    let mut pairs = vec![
        ("key", rotated.key.clone()),
        ("sealed with others", rotated.matched.to_string()),
        ("sealed anew", rotated.resealed.to_string()),
        ("left", rotated.left.to_string()),
    ];
    pairs.extend(rotated.damaged.iter().map(|id| ("does not open", id.to_string())));
    pairs.extend(rotated.retired.iter().map(|id| ("retired", id.clone())));
    list(&pairs)
}

fn given_up(lost: &KeyGivenUp) -> String {
    let KeyGivenUp { id, accounts, .. } = lost;
    match lost.dry_run {
        true => format!("{accounts} accounts are lost with {id}; --yes deletes what it has sealed"),
        false => format!("{accounts} accounts have to be connected again"),
    }
}

fn page(page: &Page<KeyView>) -> String {
    let rows = page.items.iter().map(|key| {
        vec![
            key.id.clone(),
            key.rows.to_string(),
            key.nodes.to_string(),
            key.sealing.to_string(),
            or_dash(key.first_seen.as_ref()),
            or_dash(key.retired_at.as_ref()),
            key.needed.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
        ]
    });
    let header = ["ID", "ROWS", "NODES", "SEALING", "FIRST SEEN", "RETIRED", "MAY GO"];
    table(&header, rows, "no keys yet: a node enters its own when it starts")
}
