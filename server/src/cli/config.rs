//! `postworks config …` and `postworks doctor`.

use clap::Subcommand;
use postworks::config::{Config, ConfigErrors, Environment, without_password};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{say, table};
use super::{Context, target, wiring};

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

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
    /// How the command ends if this is the first fault.
    #[serde(skip)]
    exit: Exit,
}

impl Finding {
    fn of(what: &'static str, result: Result<String, Failure>) -> Self {
        match result {
            Ok(detail) => Self { what, ok: true, detail, exit: Exit::Ok },
            Err(failure) => {
                let advice = failure.advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                let detail = format!("{}{advice}", failure.message);
                Self { what, ok: false, detail, exit: failure.exit }
            }
        }
    }
}

/// Looks at everything a person would look at first.
pub(super) async fn doctor(context: &Context) -> Result<(), Failure> {
    let (environment, config) = (context.environment(), context.config(|sources| sources));
    let mut findings = faults("environment", environment.as_ref().err());
    findings.extend(faults("configuration", config.as_ref().err()));
    if let (Ok(environment), Ok(config)) = (environment, config) {
        findings.extend(reach(context, &environment, &config).await?);
    }
    context.format.say(&findings, |findings| {
        let rows = findings.iter().map(|finding| {
            let mark = if finding.ok { "ok" } else { "FAULT" };
            vec![mark.to_owned(), finding.what.to_owned(), finding.detail.clone()]
        });
        table(&["", "WHAT", "DETAIL"], rows, "")
    })?;
    match findings.iter().find(|finding| !finding.ok) {
        None => Ok(()),
        Some(first) => Err(Failure::new(first.exit, "not everything is all right")),
    }
}

/// A finding for each fault, or one that there is none.
fn faults(what: &'static str, errors: Option<&ConfigErrors>) -> Vec<Finding> {
    match errors {
        None => vec![Finding::of(what, Ok("all right".to_owned()))],
        Some(ConfigErrors(faults)) => faults
            .iter()
            .map(|fault| Finding::of(what, Err(Failure::new(Exit::Config, fault.to_string()))))
            .collect(),
    }
}

/// Asks the stores, or the API where client commands would.
async fn reach(
    context: &Context,
    environment: &Environment,
    config: &Config,
) -> Result<Vec<Finding>, Failure> {
    if environment.stores.is_none() || context.server.is_some() || environment.server.is_some() {
        let answer = target::choose(context).await?.queues().await;
        let answer = answer.map(|queues| format!("answers; {} queues", queues.items.len()));
        return Ok(vec![Finding::of("api", answer)]);
    }
    let app = match wiring::open(config, environment).await {
        Err(failure) => return Ok(vec![Finding::of("stores", Err(failure))]),
        Ok(app) => app,
    };
    let keys = app.node().check_keys().map(|()| "there".to_owned()).map_err(Failure::from);
    let mut found = vec![Finding::of("keys", keys)];
    for probe in app.probes() {
        let answer = match probe.is_ready().await {
            true => Ok("answers".to_owned()),
            false => Err(Failure::new(Exit::Unavailable, "does not answer")),
        };
        found.push(Finding::of(probe.name(), answer));
    }
    Ok(found)
}

/// Prints a shell's completions.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "postworks", &mut script);
    say(&String::from_utf8_lossy(&script))
}
