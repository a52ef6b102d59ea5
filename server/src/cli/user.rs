//! `postworks user …`: people who may log in. Straight to the tables, so that the first one can be
//! entered before anybody can log in.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::{or_dash, table};
use super::secret_file::read_password;
use super::{Context, audit, wiring};
use crate::app::types::{Page, PageQuery, UserView};
use crate::auth::Role;

/// What to do with people.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum UserCommand {
    /// Enter a person
    Create(UserCreateArgs),
    /// List people, newest first
    List {
        /// At most this many, 1 to 100
        #[arg(long, value_name = "N", value_parser = super::parse_limit)]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Let a person do nothing any more, within five seconds
    Disable {
        /// The person's email
        email: String,
    },
}

/// Arguments of `user create`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserCreateArgs {
    /// What the person logs in with
    #[arg(long)]
    email: String,
    /// A file with the password, 12 characters or more; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// readonly, producer, operator or admin
    #[arg(long)]
    role: Role,
}

pub(super) async fn run(context: &Context, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create(args) => {
            let password = read_password(&args.password_file, "--password-file")?;
            let app = wiring::own_stores(context).await?.acting_as(audit::actor());
            let app = wiring::of_tenant(context, app).await?;
            let user = app.create_user(&args.email, password, args.role).await?;
            context.format.say(&user, |user| user.id.to_string())
        }
        UserCommand::List { limit, cursor } => {
            let app = wiring::own_stores(context).await?;
            context.format.say(&app.users(&PageQuery { limit, cursor }).await?, page)
        }
        UserCommand::Disable { email } => {
            let app = wiring::own_stores(context).await?.acting_as(audit::actor());
            app.disable_user(&email).await?;
            context.format.say(&serde_json::json!({ "email": email, "state": "disabled" }), |_| {
                "disabled".to_owned()
            })
        }
    }
}

fn page(page: &Page<UserView>) -> String {
    let rows = page.items.iter().map(|user| {
        vec![
            user.id.to_string(),
            user.tenant.clone(),
            user.email.clone(),
            user.role.clone(),
            user.created_at.to_string(),
            or_dash(user.disabled_at.as_ref()),
        ]
    });
    let header = ["ID", "TENANT", "EMAIL", "ROLE", "CREATED", "DISABLED"];
    super::paged(table(&header, rows, "no users"), page.next.as_deref())
}
