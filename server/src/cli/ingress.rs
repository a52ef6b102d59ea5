//! `postworks ingress …`: takes over the tasks of producers that know nothing of Postworks.

use clap::{Args, Subcommand};
use postworks_workers::signals::Signals;
use postworks_workers::telemetry;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::{Context, wiring};
use crate::ingress::{Error, Ingress, Moved};

/// Whose tasks are taken over.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum IngressCommand {
    /// Tasks that apalis-redis 1.0 producers push
    #[command(after_help = "\
Each task of the queue becomes one job, however often this command is killed and started again; its
id is the job's unique key. Stop the queue's apalis workers first: they would take tasks as well.

Without --kind a task's arguments are a whole job, as POST /api/jobs takes it:
  {\"kind\": \"connector_sync\", \"args\": {\"connector_id\": \"0198f3a0-…\"}, \"priority\": 60}

Whatever waits is taken, however much and however late it is due; a task that is due later runs then.
Arguments that make no job stay in Redis, with the reason in the hash QUEUE:postworks:refused.

Examples:
  postworks ingress apalis-redis --queue posts --kind post_publication
  postworks ingress apalis-redis --queue posts --once
  postworks ingress apalis-redis --queue posts --retry-refused --redis-url redis://127.0.0.1:6380")]
    ApalisRedis(StockArgs),
}

/// Arguments of `ingress apalis-redis`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StockArgs {
    /// The queue's name, as the producer's Config has it
    #[arg(long, value_name = "NAME", value_parser = parse_queue)]
    queue: String,
    /// What the tasks' arguments are arguments of; without it they are whole jobs
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// The Redis that the producers use; that of `REDIS_URL` unless said otherwise
    #[arg(long, value_name = "URL")]
    redis_url: Option<SecretString>,
    /// Move what waits, and end
    #[arg(long)]
    once: bool,
    /// First let tasks be tried again that were refused
    #[arg(long)]
    retry_refused: bool,
}

fn parse_queue(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("must name a queue".to_owned()),
        name => Ok(name.to_owned()),
    }
}

pub(super) async fn run(context: &Context, command: IngressCommand) -> Result<(), Failure> {
    let IngressCommand::ApalisRedis(args) = command;
    telemetry::install_logs();
    let (environment, config) = context.settings(|sources| sources)?;
    let urls = environment.stores_for("postworks ingress")?;
    let signals = Signals::listen()?;
    let app = wiring::open(&config, &environment).await?;
    let app = wiring::of_tenant(context, app).await?;
    if let Some(kind) = &args.kind {
        app.known_kind(kind)?;
    }
    let url = args.redis_url.as_ref().unwrap_or(&urls.redis).expose_secret();
    // The error of an address would show its password.
    let mut ingress = Ingress::new(app, url, &args.queue, args.kind).map_err(|_| {
        Failure::new(Exit::Config, "the address of the queue's Redis is none")
            .advise("give one such as redis://127.0.0.1:6379/0 with --redis-url, or as REDIS_URL")
    })?;
    if args.retry_refused {
        let back = ingress.put_refused_back().await?;
        tracing::info!(tasks = back, "refused tasks are tried again");
    }
    let stop = &signals.stop.drain;
    let moved = if args.once {
        let moved = ingress.until_empty(stop).await?;
        context.format.say(&Told::from(moved), |told| told.text())?;
        moved
    } else {
        ingress.follow(stop).await
    };
    let Moved { recorded, refused } = moved;
    tracing::info!(recorded, refused, "no more tasks are moved");
    if refused > 0 {
        tracing::warn!(reasons = ingress.refused(), "refused tasks lie in Redis, with reasons");
    }
    wiring::ended(&signals)
}

#[derive(Debug, Serialize)]
struct Told {
    moved: u64,
    refused: u64,
}

impl From<Moved> for Told {
    fn from(Moved { recorded, refused }: Moved) -> Self {
        Self { moved: recorded, refused }
    }
}

impl Told {
    fn text(&self) -> String {
        format!("{} moved, {} refused", self.moved, self.refused)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::App(error) => error.into(),
            Error::Queue(_) => Self::new(Exit::Unavailable, crate::api::chain(&error))
                .advise("what was moved is moved; start it again when Redis is there"),
        }
    }
}
