//! `postworks apikey …`: keys that programs ask the API with. Straight to the tables, so that the
//! first one can be made.

use std::io::Write as _;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::failure::Failure;
use super::output::{or_dash, table};
use super::{Context, audit, wiring};
use crate::app::types::{ApiKeyView, Page, PageQuery};
use crate::auth::Role;

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make a key, and show it this once
    Create(ApiKeyCreateArgs),
    /// List keys, newest first, without the keys themselves
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Make a key useless, within five seconds
    Revoke {
        /// The key's id, as `apikey list` shows it
        id: Uuid,
    },
}

/// Arguments of `apikey create`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiKeyCreateArgs {
    /// readonly, producer, operator or admin
    #[arg(long)]
    role: Role,
    /// What the key is for
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn run(context: &Context, command: ApiKeyCommand) -> Result<(), Failure> {
    match command {
        ApiKeyCommand::Create(args) => {
            let app = wiring::own_stores(context).await?.acting_as(audit::actor());
            let app = wiring::of_tenant(context, app).await?;
            let made = app.create_api_key(args.role, args.name.as_deref()).await?;
            context.format.say(&made, |made| made.key.clone())?;
            // Whoever pipes the key somewhere needs to hear of it too.
            let _ = writeln!(
                std::io::stderr(),
                "key {} is shown this once; keep it where POSTWORKS_API_KEY finds it",
                made.id
            );
            Ok(())
        }
        ApiKeyCommand::List { limit, cursor } => {
            let app = wiring::own_stores(context).await?;
            context.format.say(&app.api_keys(&PageQuery { limit, cursor }).await?, page)
        }
        ApiKeyCommand::Revoke { id } => {
            let app = wiring::own_stores(context).await?.acting_as(audit::actor());
            app.revoke_api_key(id).await?;
            let answer = serde_json::json!({ "id": id, "state": "revoked" });
            context.format.say(&answer, |_| "revoked".to_owned())
        }
    }
}

fn page(page: &Page<ApiKeyView>) -> String {
    let rows = page.items.iter().map(|key| {
        vec![
            key.id.to_string(),
            key.tenant.clone(),
            or_dash(key.name.as_ref()),
            key.role.clone(),
            key.created_at.to_string(),
            or_dash(key.revoked_at.as_ref()),
        ]
    });
    let header = ["ID", "TENANT", "NAME", "ROLE", "CREATED", "REVOKED"];
    super::paged(table(&header, rows, "no keys"), page.next.as_deref())
}
