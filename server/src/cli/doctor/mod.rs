//! `postworks doctor`: looks at everything a person would look at first.

mod disk;
mod fleet;
mod keys;
mod page;

use std::time::Duration;

use postworks::broker;
use postworks::config::{Config, ConfigErrors, Environment};
use postworks::finding::{Finding, Status};
use postworks::ledger;

use super::failure::{Exit, Failure};
use super::{Context, target, wiring};
use crate::app::App;

/// Longest look at one store.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found, and how the command ends if it is a fault.
struct Look {
    findings: Vec<Finding>,
    exit: Exit,
}

impl Look {
    fn at(findings: Vec<Finding>) -> Self {
        Self { findings, exit: Exit::Failed }
    }

    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::at(vec![Finding::ok(check, detail)])
    }

    fn failed(check: &'static str, failure: Failure) -> Self {
        let advice = failure.advice.unwrap_or_else(|| "see README.md, Operations".to_owned());
        let found = Finding::fail(check, failure.message, advice);
        Self { findings: vec![found], exit: failure.exit }
    }

    fn is_bad(&self) -> bool {
        self.findings.iter().any(|found| found.status == Status::Fail)
    }
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let (environment, config) = (context.environment(), context.config(|sources| sources));
    let mut looks = vec![Look::ok("postworks", env!("CARGO_PKG_VERSION"))];
    looks.push(faults("environment", environment.as_ref().err()));
    looks.push(faults("configuration", config.as_ref().err()));
    if let (Ok(environment), Ok(config)) = (environment, config) {
        looks.extend(reach(context, &environment, &config).await?);
    }
    let findings: Vec<&Finding> = looks.iter().flat_map(|look| &look.findings).collect();
    context.format.say(&findings, |findings| page::of(findings))?;
    match looks.iter().find(|look| look.is_bad()) {
        None => Ok(()),
        Some(first) => Err(Failure::new(first.exit, "not everything is all right")),
    }
}

/// A finding for each fault, or one that there is none.
fn faults(check: &'static str, errors: Option<&ConfigErrors>) -> Look {
    let Some(ConfigErrors(faults)) = errors else { return Look::ok(check, "all right") };
    let found = faults.iter().map(|fault| {
        Finding::fail(check, fault.to_string(), "`postworks config print` shows what may be set")
    });
    Look { findings: found.collect(), exit: Exit::Config }
}

/// Asks the stores, or the API where client commands would.
async fn reach(
    context: &Context,
    environment: &Environment,
    config: &Config,
) -> Result<Vec<Look>, Failure> {
    let is_elsewhere = context.server.is_some() || environment.server.is_some();
    if environment.stores.is_none() || is_elsewhere {
        let mut looks = api(context).await?;
        // The API of this machine, unless another was named, has its file there.
        looks.extend((!is_elsewhere).then(|| disk::of(&environment.data_dir)).flatten());
        return Ok(looks);
    }
    let app = match wiring::connect_only(config, environment) {
        Err(failure) => return Ok(vec![Look::failed("stores", failure)]),
        Ok(app) => app,
    };
    let (keys, ledger, broker) = tokio::join!(keys::of(&app), ledger(&app), broker(&app));
    let all_answer = ledger.is_ok() && broker.is_ok();
    let mut looks = vec![keys];
    looks.push(ledger.unwrap_or_else(|failure| Look::failed("ledger", failure)));
    looks.push(broker.unwrap_or_else(|failure| Look::failed("broker", failure)));
    if all_answer && !looks.iter().any(|look| look.exit == Exit::Config) {
        looks.push(fleet::of_stores(&app).await);
    }
    looks.extend(disk::of(&environment.data_dir));
    Ok(looks)
}

async fn api(context: &Context) -> Result<Vec<Look>, Failure> {
    let target = target::choose(context).await?;
    Ok(match target.queues().await {
        Err(failure) => vec![Look::failed("api", failure)],
        Ok(queues) => {
            let answers = format!("answers; {} queues", queues.items.len());
            vec![Look::ok("api", answers), fleet::held(target.as_ref()).await]
        }
    })
}

async fn ledger(app: &App) -> Result<Look, Failure> {
    let ledger = &app.node().ledger;
    let late = |_| Failure::new(Exit::Unavailable, "PostgreSQL does not answer");
    let found = tokio::time::timeout(PATIENCE, ledger.examine()).await.map_err(late)?;
    let mut look = Look::at(vec![Finding::ok("ledger", "answers")]);
    look.findings.extend(found.map_err(Failure::from)?);
    match tokio::time::timeout(PATIENCE, ledger.check()).await.map_err(late)? {
        Ok(()) => look.findings.push(Finding::ok("tables", "up to date")),
        Err(error @ ledger::Error::Migrations(_)) => {
            let found = Finding::fail("tables", crate::api::chain(&error), "`postworks migrate`");
            look.findings.push(found);
            look.exit = Exit::Config;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(look)
}

async fn broker(app: &App) -> Result<Look, Failure> {
    let examined = tokio::time::timeout(PATIENCE, app.node().broker.examine()).await;
    let examined = examined
        .map_err(|_late| Failure::new(Exit::Unavailable, "Redis does not answer"))?
        .map_err(of_broker)?;
    let mut findings = vec![Finding::ok("broker", "answers")];
    findings.extend(examined);
    Ok(Look::at(findings))
}

fn of_broker(error: broker::Error) -> Failure {
    let failure = Failure::new(Exit::Unavailable, crate::api::chain(&error));
    match error {
        broker::Error::Refused(_) => failure.advise("nothing runs until that is put right"),
        _ => failure.advise("check REDIS_URL, and that Redis runs"),
    }
}
