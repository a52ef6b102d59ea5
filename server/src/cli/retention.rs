//! `postworks tenant retention …`.

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::table;
use super::{Context, audit, wiring};
use crate::app::types::{KeptView, Page, SetRetention, Why};

/// What to do with a tenant's retention.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Tell how long a tenant keeps what is its own
    List {
        /// The tenant's name
        #[arg(value_name = "TENANT", default_value = "default")]
        name: String,
    },
    /// Set how long a tenant keeps something
    #[command(after_help = "Example:\n  postworks tenant retention set acme remote_posts 30d")]
    Set {
        #[command(flatten)]
        what: RetentionOf,
        /// For how long, such as 30d; a day at least
        keep: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let the configuration say it again
    Clear {
        #[command(flatten)]
        what: RetentionOf,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Whose retention of what.
#[derive(Debug, Clone, Args)]
pub(crate) struct RetentionOf {
    // Not `tenant`: that is what every command is acting for.
    /// The tenant's name
    #[arg(value_name = "TENANT")]
    name: String,
    #[arg(help = "remote_posts, metrics, publications, events or media")]
    scope: String,
}

pub(super) async fn run(context: &Context, command: RetentionCommand) -> Result<(), Failure> {
    let app = wiring::own_stores(context).await?.acting_as(audit::actor());
    match command {
        RetentionCommand::List { name } => {
            let app = app.for_tenant_named(&name).await?;
            context.format.say(&app.retention().await?, page)
        }
        RetentionCommand::Set { what: RetentionOf { name, scope }, keep, reason } => {
            let app = app.for_tenant_named(&name).await?;
            let kept = app.set_retention(&scope, &SetRetention { keep, reason }).await?;
            context.format.say(&kept, |kept| format!("{name} keeps {} {}", kept.scope, kept.keep))
        }
        RetentionCommand::Clear { what: RetentionOf { name, scope }, reason } => {
            let app = app.for_tenant_named(&name).await?;
            let kept = app.clear_retention(&scope, &Why { reason }).await?;
            context.format.say(&kept, |kept| {
                format!("{name} keeps {} {}, as the configuration says", kept.scope, kept.keep)
            })
        }
    }
}

fn page(page: &Page<KeptView>) -> String {
    let rows = page.items.iter().map(|kept| {
        let by = if kept.own { "the tenant" } else { "the configuration" };
        vec![kept.scope.clone(), kept.keep.clone(), by.to_owned()]
    });
    table(&["SCOPE", "KEEP", "SAID BY"], rows, "nothing")
}
