//! `postworks tenant …`: whose rows are kept apart. Straight to the tables, as users and keys are.

use clap::Subcommand;

use super::apikey::ApiKeyCommand;
use super::failure::{Exit, Failure};
use super::output::table;
use super::retention::{self, RetentionCommand};
use super::user::UserCommand;
use super::verbs::Verb;
use super::{Context, audit, wiring};
use crate::app::types::{Page, TenantView};

/// What to do with tenants.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TenantCommand {
    /// Enter a tenant
    Create {
        /// Its name: a-z, 0-9, - and _, at most 60
        name: String,
    },
    /// List tenants, the oldest first, and how many dead letters each has
    List,
    /// Handle how long a tenant keeps what is its own
    #[command(subcommand)]
    Retention(RetentionCommand),
}

/// Refuses a tenant's name where it would choose nothing.
pub(super) fn check(verb: &Verb, name: Option<&str>) -> Result<(), Failure> {
    let chooses = match verb {
        Verb::User(user) => matches!(user, UserCommand::Create(_)),
        Verb::Apikey(key) => matches!(key, ApiKeyCommand::Create(_)),
        Verb::Ingress(_) | Verb::Enqueue(_) | Verb::Connector(_) | Verb::Job(_) => true,
        Verb::Set(_) | Verb::Post(_) | Verb::Publication(_) => true,
        Verb::Schedule(_) | Verb::Dlq(_) | Verb::Effects(_) | Verb::Audit(_) => true,
        // These refuse others than the house.
        Verb::Queue(_) | Verb::Breaker(_) | Verb::Top(_) => true,
        _ => false,
    };
    if name.is_none() || chooses {
        return Ok(());
    }
    let message = "--tenant is for commands about one tenant's rows; leave it out here";
    Err(Failure::new(Exit::Usage, message))
}

pub(super) async fn run(context: &Context, command: TenantCommand) -> Result<(), Failure> {
    match command {
        TenantCommand::Create { name } => {
            let app = wiring::own_stores(context).await?.acting_as(audit::actor());
            let tenant = app.create_tenant(&name).await?;
            context.format.say(&tenant, |tenant| tenant.id.to_string())
        }
        TenantCommand::List => {
            let app = wiring::own_stores(context).await?;
            context.format.say(&app.tenants().await?, page)
        }
        TenantCommand::Retention(command) => retention::run(context, command).await,
    }
}

fn page(page: &Page<TenantView>) -> String {
    let rows = page.items.iter().map(|tenant| {
        vec![
            tenant.id.to_string(),
            tenant.name.clone(),
            tenant.created_at.to_string(),
            tenant.dead.to_string(),
        ]
    });
    table(&["ID", "NAME", "CREATED", "DEAD"], rows, "no tenants")
}
