//! `postworks config …` and `postworks doctor`.

use clap::Subcommand;
use postworks::config::without_password;
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
    let environment = context.environment()?;
    let config = context.config(&environment, |sources| sources)?;
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
}

impl Finding {
    fn of(what: &'static str, result: Result<String, Failure>) -> Self {
        match result {
            Ok(detail) => Self { what, ok: true, detail },
            Err(failure) => {
                let advice = failure.advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                Self { what, ok: false, detail: format!("{}{advice}", failure.message) }
            }
        }
    }
}

/// Looks at everything a person would look at first.
pub(super) async fn doctor(context: &Context) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let mut exit = Exit::Ok;
    let environment = context.environment();
    let config = match &environment {
        Ok(environment) => context.config(environment, |sources| sources).map(Some),
        Err(_) => Ok(None),
    };
    let all_right = |_: &_| "all right".to_owned();
    let (environment, config) = match (environment, config) {
        (Ok(environment), Ok(Some(config))) => {
            findings.push(Finding::of("configuration", Ok("all right".to_owned())));
            (Some(environment), Some(config))
        }
        (environment, config) => {
            exit = Exit::Config;
            findings.push(Finding::of(
                "environment",
                environment.as_ref().map(all_right).map_err(clone),
            ));
            findings.push(Finding::of(
                "configuration",
                config.as_ref().map(|_| "all right".to_owned()).map_err(clone),
            ));
            (None, None)
        }
    };
    if let (Some(environment), Some(config)) = (environment, config) {
        let reached = if environment.stores.is_some() && context.server.is_none() {
            match wiring::open(&config, &environment).await {
                Err(failure) => vec![Finding::of("stores", Err(failure))],
                Ok(app) => {
                    let mut found = Vec::new();
                    for probe in app.probes() {
                        let (ok, detail) = match probe.is_ready().await {
                            true => (true, "answers"),
                            false => (false, "does not answer"),
                        };
                        found.push(Finding { what: probe.name(), ok, detail: detail.to_owned() });
                    }
                    found
                }
            }
        } else {
            let answer = target::choose(context).await?.queues().await;
            vec![Finding::of("api", answer.map(|queues| format!("{} queues", queues.items.len())))]
        };
        if reached.iter().any(|finding| !finding.ok) {
            exit = Exit::Unavailable;
        }
        findings.extend(reached);
    }
    context.format.say(&findings, |findings| {
        let rows = findings.iter().map(|finding| {
            let mark = if finding.ok { "ok" } else { "FAULT" };
            vec![mark.to_owned(), finding.what.to_owned(), finding.detail.clone()]
        });
        table(&["", "WHAT", "DETAIL"], rows, "")
    })?;
    if exit == Exit::Ok { Ok(()) } else { Err(Failure::new(exit, "not everything is all right")) }
}

fn clone(failure: &Failure) -> Failure {
    Failure { exit: failure.exit, message: failure.message.clone(), advice: failure.advice.clone() }
}

/// Prints a shell's completions.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "postworks", &mut script);
    say(&String::from_utf8_lossy(&script))
}
