//! `postworks config …` and `postworks completions`.

use clap::Subcommand;
use postworks::config::without_password;

use super::Context;
use super::failure::Failure;
use super::output::say;

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check it; every fault is named
    Check,
    /// Print the values in effect, and where those that are no defaults come from
    Print,
}

pub(super) fn run(context: &Context, command: ConfigCommand) -> Result<(), Failure> {
    let (environment, config) = context.settings(|sources| sources)?;
    match command {
        ConfigCommand::Check => context
            .format
            .say(&serde_json::json!({ "ok": true }), |_| "the configuration is right".to_owned()),
        ConfigCommand::Print => context.format.say(config.values(), |_| {
            let mut text = config.print();
            if let Some(stores) = &environment.stores {
                let (database, redis) =
                    (without_password(&stores.database), without_password(&stores.redis));
                text.push_str(&format!("\n# DATABASE_URL={database}\n# REDIS_URL={redis}\n"));
            }
            text
        }),
    }
}

/// Prints a shell's completions.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "postworks", &mut script);
    say(&String::from_utf8_lossy(&script))
}
