//! `postworks connector …`: accounts on platforms.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::failure::{Exit, Failure};
use super::output::table;
use super::{Context, target};
use crate::app::types::{AddConnector, Connector, Page, PageQuery};

/// Longest file that can be a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

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

fn read_secret(path: &Path) -> Result<SecretString, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let message = format!("cannot read the secret from {}: {error}", path.display());
        Failure::new(Exit::Failed, message)
            .advise("--secret-file names a file with the secret alone; - reads it from stdin")
    })?;
    Ok(SecretString::from(text.trim()))
}

pub(super) async fn run(context: &Context, command: ConnectorCommand) -> Result<(), Failure> {
    match command {
        ConnectorCommand::Add(args) => {
            let connector = AddConnector {
                platform: args.platform,
                base_url: args.base_url,
                identifier: args.identifier,
                secret: read_secret(&args.secret_file)?,
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
