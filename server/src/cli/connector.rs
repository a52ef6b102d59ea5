//! `postworks connector …`: accounts on platforms.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::table;
use super::secret_file::read_secret;
use super::{Context, target};
use crate::app::types::{AddConnector, Connector, Page, PageQuery};

/// What to do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Connect an account, or connect it again
    Add(ConnectorAddArgs),
    /// List accounts, newest first
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
}

/// Arguments of `connector add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectorAddArgs {
    /// bluesky, sandbox, …
    #[arg(long)]
    platform: String,
    #[arg(
        long,
        value_name = "URL",
        help = "Where the platform's server is, as in https://bsky.social"
    )]
    base_url: String,
    /// The handle or address of the account
    #[arg(long)]
    identifier: String,
    /// A file with the app password or refresh token; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(context: &Context, command: ConnectorCommand) -> Result<(), Failure> {
    match command {
        ConnectorCommand::Add(args) => {
            let connector = AddConnector {
                platform: args.platform,
                base_url: args.base_url,
                identifier: args.identifier,
                secret: read_secret(&args.secret_file, "--secret-file")?,
                reason: args.reason,
            };
            let created = target::choose(context).await?.add_connector(connector).await?;
            context.format.say(&created, |created| created.id.to_string())
        }
        ConnectorCommand::List { limit, cursor } => {
            let query = PageQuery { limit, cursor };
            let connectors = target::choose(context).await?.connectors(&query).await?;
            context.format.say(&connectors, page)
        }
    }
}

fn page(page: &Page<Connector>) -> String {
    let rows = page.items.iter().map(|connector| {
        vec![
            connector.id.to_string(),
            connector.platform.clone(),
            connector.identifier.clone(),
            connector.base_url.clone(),
            connector.state.clone(),
        ]
    });
    let header = ["ID", "PLATFORM", "IDENTIFIER", "BASE URL", "STATE"];
    super::paged(table(&header, rows, "no accounts"), page.next.as_deref())
}
