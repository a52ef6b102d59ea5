//! `postworks up`: the API, and workers beside it, in this process or in processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use postworks::config::{Config, Environment, parse_listen, parse_number};
use postworks_workers::checkup;
use postworks_workers::role;
use postworks_workers::signals::Signals;
use postworks_workers::telemetry;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::crew::{Crew, Start};
use super::failure::Failure;
use super::roles::check_access;
use super::wiring::{Serve, embedded, ended, install_metrics, open_role, serve};

/// Arguments of `up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Workers in this process, one for each processor unless it says how many; or auto: processes
    /// of their own on PostgreSQL and Redis, as many as the load calls for
    #[arg(long, value_name = "N|auto", value_parser = parse_workers)]
    pub(crate) workers: Option<Workers>,
    /// Jobs that run at the same time in each worker
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number(text, 0, u32::MAX))]
    pub(crate) concurrency: Option<u32>,
}

/// How many workers `up` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// As many as the load calls for.
    Auto,
    /// So many.
    Count(u32),
}

fn parse_workers(text: &str) -> Result<Workers, String> {
    if text == "auto" {
        return Ok(Workers::Auto);
    }
    parse_number(text, 1, 64).map(Workers::Count).map_err(|message| format!("{message}, or auto"))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) async fn run(context: &Context, args: UpArgs) -> Result<(), Failure> {
    telemetry::install_logs();
    let (environment, mut config) = context.settings(|sources| {
        sources.flag("api.listen", args.listen).flag("worker.concurrency", args.concurrency)
    })?;
    let auth = check_access(&environment, &config)?;
    match args.workers {
        Some(Workers::Auto) if environment.stores.is_some() => {
            let most = u32::try_from(processors()).unwrap_or(u32::MAX);
            let scale = &mut config.autoscale;
            scale.max_workers.get_or_insert(most.max(scale.min_workers));
            beside(&config, &environment, context.config.as_ref(), auth).await
        }
        Some(Workers::Count(count)) => within(&config, &environment, count as usize, auth).await,
        // The embedded database has one user, so its workers are in this process; idle ones cost
        // nothing.
        Some(Workers::Auto) | None => within(&config, &environment, processors(), auth).await,
    }
}

/// Runs the API and workers in one process, embedded if the environment names no stores.
async fn within(
    config: &Config,
    environment: &Environment,
    workers: usize,
    auth: bool,
) -> Result<(), Failure> {
    let metrics = install_metrics()?;
    let signals = Signals::listen()?;
    let app = if environment.stores.is_some() {
        open_role(config, environment, &signals.stop).await?
    } else {
        let folder = &environment.data_dir;
        tracing::info!(folder = %folder.display(), "embedded: one process, one file, no service");
        let app = embedded(config, environment).await?;
        checkup::keys_at_start(app.node(), &signals.stop).await?;
        app
    };
    app.node().check_queues()?;
    let serving = CancellationToken::new();
    let work = async {
        let drained = app.node().work(workers, signals.stop.clone()).await;
        serving.cancel();
        drained
    };
    let served = serve(&app, Serve { metrics, auth, workers }, serving.clone(), || ());
    let (served, drained) = tokio::join!(served, async {
        tokio::select! {
            drained = work => Some(drained),
            // The API could not start: nothing is worth working on unseen.
            () = serving.cancelled() => None,
        }
    });
    served?;
    if let Some(drained) = drained {
        let drained = drained.map_err(role::Error::from)?;
        tracing::info!(
            handed_back = drained.handed_back,
            unsettled = drained.unsettled,
            "drained; what was handed back goes on at the next start"
        );
    }
    ended(&signals)
}

/// Runs the API in this process, and workers in others, as many as the load calls for.
async fn beside(
    config: &Config,
    environment: &Environment,
    file: Option<&PathBuf>,
    auth: bool,
) -> Result<(), Failure> {
    let metrics = install_metrics()?;
    let signals = Signals::listen()?;
    let app = open_role(config, environment, &signals.stop).await?;
    app.node().check_queues()?;
    let crew = Crew::new(Start::worker(config, file)?, config.autoscale.min_workers);
    // Also when nobody works.
    let chores = CancellationToken::new();
    let _end_with_us = chores.clone().drop_guard();
    app.node().start_chores(&chores);
    let (serving, open) = (CancellationToken::new(), CancellationToken::new());
    let work = async {
        tokio::select! {
            () = open.cancelled() => crew.run(&app, &signals.stop).await,
            // The API could not start.
            () = serving.cancelled() => {}
        }
        serving.cancel();
    };
    let how = Serve { metrics, auth, workers: 0 };
    let served = serve(&app, how, serving.clone(), || open.cancel());
    let (served, ()) = tokio::join!(served, work);
    served?;
    ended(&signals)
}
