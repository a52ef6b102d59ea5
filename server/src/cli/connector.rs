//! `postworks connector …`: accounts on platforms.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::agreed::agreed;
use super::failure::{Exit, Failure};
use super::output::{list, or_dash, table};
use super::secret_file::read_secret;
use super::{Context, target};
use crate::app::types::{AddConnector, Connector, ConnectorsQuery, Page, Why};

/// What to do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Connect an account, or connect it again
    Add(ConnectorAddArgs),
    /// List accounts, newest first, with what waits for a person and what cannot be fetched
    List {
        #[arg(long, help = "Only those in this state: active, needs_reauth or disconnecting")]
        state: Option<String>,
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Disconnect an account: destroy its tokens, cancel its jobs, delete its rows
    Remove(ConnectorRemoveArgs),
}

/// Arguments of `connector remove`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectorRemoveArgs {
    /// The account's id
    id: Uuid,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Arguments of `connector add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectorAddArgs {
    /// bluesky, mastodon, wordpress, matrix, x, facebook, linkedin, instagram, threads, sandbox
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
    /// Where on the account posts go, on platforms where that is to be said: a room, a page
    #[arg(long)]
    target: Option<String>,
    /// A file with the app password or token; - reads it from stdin
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
                target: args.target,
                secret: read_secret(&args.secret_file, "--secret-file")?,
                reason: args.reason,
            };
            let created = target::choose(context).await?.add_connector(connector).await?;
            context.format.say(&created, |created| created.id.to_string())
        }
        ConnectorCommand::List { state, limit, cursor } => {
            let query = ConnectorsQuery { state, limit, cursor };
            let connectors = target::choose(context).await?.connectors(&query).await?;
            context.format.say(&connectors, page)
        }
        ConnectorCommand::Remove(args) => remove(context, args).await,
    }
}

async fn remove(context: &Context, args: ConnectorRemoveArgs) -> Result<(), Failure> {
    let ConnectorRemoveArgs { id, yes, reason } = args;
    let plan = format!("{id}: its tokens are destroyed, its jobs cancelled, its rows deleted");
    if !yes && std::io::stdin().is_terminal() && !agreed(&plan)? {
        return Err(Failure::new(Exit::Failed, "nothing was disconnected"));
    }
    let removed = target::choose(context).await?.disconnect(id, &Why { reason }).await?;
    context.format.say(&removed, |removed| {
        list(&[
            ("state", removed.state.clone()),
            ("tokens taken back by the platform", said(removed.revoked).to_owned()),
            ("jobs cancelled", removed.cancelled_jobs.to_string()),
        ])
    })
}

fn said(revoked: Option<bool>) -> &'static str {
    match revoked {
        Some(true) => "yes",
        Some(false) => "no: they end there by themselves",
        None => "it was disconnected before",
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
            connector.waiting.to_string(),
            or_dash(reason(connector).as_ref()),
        ]
    });
    let header = ["ID", "PLATFORM", "IDENTIFIER", "BASE URL", "STATE", "WAITING", "REASON"];
    super::paged(table(&header, rows, "no accounts"), page.next.as_deref())
}

/// Why it needs a person, and why what is fetched of it is not.
fn reason(connector: &Connector) -> Option<String> {
    let failing = connector.failing.iter().map(|failing| {
        format!("{} fails, {} so far: {}", failing.stream, failing.failures, failing.last_error)
    });
    let reasons: Vec<String> = connector.state_reason.iter().cloned().chain(failing).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_an_account_say_what_fails_how_often_and_why() {
        let failing = |stream: &str| {
            let failed_at = "2026-03-01T09:30:00Z";
            serde_json::json!({
                "stream": stream, "failures": 3, "failed_at": failed_at, "last_error": "invalid: 403",
            })
        };
        let mut account = serde_json::json!({
            "id": Uuid::nil(), "platform": "linkedin", "base_url": "https://api.linkedin.com",
            "identifier": "ann", "state": "active", "state_reason": null,
            "created_at": "2026-03-01T09:00:00Z",
        });
        let reason_of =
            |account: &serde_json::Value| reason(&serde_json::from_value(account.clone()).unwrap());
        assert_eq!(reason_of(&account), None);
        account["failing"] = serde_json::json!([failing("metrics")]);
        let fails = "metrics fails, 3 so far: invalid: 403";
        assert_eq!(reason_of(&account).as_deref(), Some(fails));
        account["state_reason"] = "the token was revoked".into();
        let both = format!("the token was revoked; {fails}");
        assert_eq!(reason_of(&account), Some(both));
    }
}
