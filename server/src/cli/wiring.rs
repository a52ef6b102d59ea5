//! The one place that puts stores, workers and platforms together for the commands.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use postworks::chore::Collected;
use postworks::config::{Config, Environment, without_password};
use postworks::ledger::{self, Db, PostgresOptions};
use postworks::worker::Stop;
use postworks_workers::checkup;
use postworks_workers::health::Health;
use postworks_workers::node::{self, Node};
use postworks_workers::platforms::SetupError;
use postworks_workers::presence::advertised;
use postworks_workers::role;
use postworks_workers::service;
use postworks_workers::signals::Signals;
use postworks_workers::telemetry;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::failure::{Exit, Failure};
use super::roles::{SandboxArgs, bind, cannot_listen, ready};
use crate::api;
use crate::app::App;
use crate::auth::Auth;
use crate::sandbox;

/// Opens the stores that the environment names. They may be away; the tables must be ours.
pub(crate) async fn open(config: &Config, environment: &Environment) -> Result<App, Failure> {
    let node = connect(config, environment)?;
    node.check_tables().await?;
    Ok(App::new(Arc::new(node)))
}

/// The same, without a look at them.
pub(crate) fn connect_only(config: &Config, environment: &Environment) -> Result<App, Failure> {
    Ok(App::new(Arc::new(connect(config, environment)?)))
}

fn connect(config: &Config, environment: &Environment) -> Result<Node, Failure> {
    let urls = environment.stores_for("this command")?;
    Ok(Node::connected(urls, config.clone(), environment)?)
}

/// Opens the stores for a role that handles accounts, and ends with `stop`.
pub(crate) async fn open_role(
    config: &Config,
    environment: &Environment,
    stop: &Stop,
) -> Result<App, Failure> {
    role_of(connect_role(config, environment).await?, stop).await
}

async fn connect_role(config: &Config, environment: &Environment) -> Result<Node, Failure> {
    let urls = environment.stores_for("this command")?;
    Ok(Node::for_role(urls, config.clone(), environment).await?)
}

async fn role_of(node: Node, stop: &Stop) -> Result<App, Failure> {
    checkup::at_start(&node, stop).await?;
    Ok(App::new(Arc::new(node)))
}

/// Brings the tables up to date.
pub(crate) async fn migrate(config: &Config, environment: &Environment) -> Result<(), Failure> {
    let urls = environment.stores_for("postworks migrate")?;
    let acquire_timeout = config.ledger.acquire_timeout;
    let options = PostgresOptions { connections_max: 1, acquire_timeout, ..Default::default() };
    let db = Db::connect_postgres(urls.database.expose_secret(), &options)?;
    db.migrate().await?;
    tracing::info!(database = without_password(&urls.database), "the tables are up to date");
    Ok(())
}

/// Runs the API until a signal; with `auth` callers must prove who they are. A supervised one also
/// drains when whoever started it is gone.
pub(crate) async fn api(
    config: &Config,
    environment: &Environment,
    auth: bool,
    supervised: bool,
) -> Result<(), Failure> {
    let metrics = install_metrics()?;
    let signals = Signals::listen()?;
    if supervised {
        signals.drain_when_stdin_ends()?;
    }
    let app = open_role(config, environment, &signals.stop).await?;
    serve(&app, Serve { metrics, auth, workers: 0 }, signals.stop.drain.clone(), || ()).await?;
    ended(&signals)
}

/// Runs a worker until a signal and its jobs have ended; a supervised one also drains when whoever
/// started it is gone.
pub(crate) async fn worker(
    config: &Config,
    environment: &Environment,
    supervised: bool,
) -> Result<(), Failure> {
    let metrics = install_metrics()?;
    let signals = Signals::listen()?;
    if supervised {
        signals.drain_when_stdin_ends()?;
    }
    let node = connect_role(config, environment).await?;
    node.check_queues()?;
    let app = role_of(node, &signals.stop).await?;
    let announce = |address| drop(ready("worker", address));
    role::run(app.node(), metrics, signals.stop.clone(), announce).await?;
    ended(&signals)
}

pub(super) async fn embedded(config: &Config, environment: &Environment) -> Result<App, Failure> {
    let folder = &environment.data_dir;
    Ok(App::new(Arc::new(Node::embedded(folder, config.clone(), environment).await?)))
}

/// The application for the tenant that the command names; without a name, for the house.
pub(crate) async fn of_tenant(context: &Context, app: App) -> Result<App, Failure> {
    match &context.tenant {
        Some(name) => Ok(app.for_tenant_named(name).await?),
        None => Ok(app),
    }
}

/// The stores of this installation, whichever they are, for who looks after its users and keys.
pub(crate) async fn own_stores(context: &Context) -> Result<App, Failure> {
    if context.server.is_some() {
        let message = "users and keys are looked after in the database, not over HTTP";
        return Err(Failure::new(Exit::Usage, message)
            .advise("leave --server out, and set DATABASE_URL and REDIS_URL as the API has them"));
    }
    let (environment, config) = context.settings(|sources| sources)?;
    if environment.stores.is_some() {
        return open(&config, &environment).await;
    }
    // Whoever forgot DATABASE_URL would look for the user in vain.
    let folder = environment.data_dir.display();
    let _ =
        writeln!(std::io::stderr(), "DATABASE_URL is not set: the embedded database in {folder}");
    let opened = embedded(&config, &environment).await;
    opened.map_err(|failure| match failure.exit {
        Exit::Conflict => failure.advise(
            "users and keys are not looked after over HTTP: stop what uses the folder meanwhile, \
             or set DATABASE_URL and REDIS_URL if they are meant for those",
        ),
        _ => failure,
    })
}

/// Before the stores are opened, since these look their counters up once.
pub(super) fn install_metrics() -> Result<PrometheusHandle, Failure> {
    Ok(telemetry::install_metrics().map_err(std::io::Error::other)?)
}

/// How an API is served.
pub(super) struct Serve {
    /// Counts for `/metrics`.
    pub(super) metrics: PrometheusHandle,
    /// Whether callers must prove who they are.
    pub(super) auth: bool,
    /// Workers in the same process.
    pub(super) workers: usize,
}

/// Serves the API until `stop`; cancels `stop` if it cannot. `open` is called once it listens.
pub(super) async fn serve(
    app: &App,
    how: Serve,
    stop: CancellationToken,
    open: impl FnOnce(),
) -> Result<(), Failure> {
    let Serve { metrics, auth, workers } = how;
    let _stop_with_us = stop.clone().drop_guard();
    let node = app.node();
    node.start_metrics();
    let listener = bind(node.config.api.listen).await?;
    let address = listener.local_addr()?;
    let collected = Collected::default();
    let page = node.metrics_page(metrics.clone()).with_collected(collected.clone());
    let health = Health::new(app.probes(), page);
    let auth = auth.then(|| Auth::new(node)).transpose()?;
    if auth.is_some() {
        tokio::spawn(say_if_closed(app.clone()));
    }
    say_if_exposed(node, address);
    app.listens_on(address);
    let router = api::router(app.clone(), auth, health, &node.config.api);
    ready("api", address)?;
    let found_at = advertised(address, node.config.api.advertise.as_deref());
    let role = if workers > 0 { "up" } else { "api" };
    let present = node.announce(role, Some(found_at), workers, &stop);
    open();
    tokio::spawn(app.clone().carry_on_redrives_until(stop.clone()));
    tokio::spawn(app.clone().watch_load_until(stop.clone()));
    tokio::spawn(app.clone().watch_workers_until(stop.clone()));
    tokio::spawn(service::live_until(stop.clone()));
    service::ready();
    let head_timeout = node.config.api.head_timeout;
    let upkeep = telemetry::upkeep(metrics, stop.clone());
    let collecting = node.collect_until(stop.clone(), collected);
    let serving = api::serve(listener, router, head_timeout, stop);
    let ((), (), ()) = tokio::join!(serving, upkeep, collecting);
    app.finish(node.config.worker.grace).await;
    present.leave().await;
    Ok(node.found_keys_right().map_err(node::Error::from)?)
}

/// Whoever starts an API for the first time is told what its callers will need.
async fn say_if_closed(app: App) {
    if app.is_closed_to_all().await.unwrap_or(false) {
        tracing::warn!(
            "nobody can ask this API yet: `postworks apikey create --role admin` makes a key, \
             `postworks user create` lets a person log in"
        );
    }
}

/// Whoever may connect an account could let workers speak to the servers on their machine.
fn say_if_exposed(node: &Node, address: SocketAddr) {
    let local = node.platforms.descriptors().filter(|platform| platform.local);
    let local = local.filter(|platform| node.config.platform_enabled(platform.name));
    let names: Vec<&str> = local.map(|platform| platform.name).collect();
    if names.is_empty() || api::check_listen(address).is_ok() {
        return;
    }
    tracing::warn!(
        %address,
        platforms = names.join(", "),
        "platforms for demos and tests are on, and this API listens where others can reach it: its \
         callers can let workers speak to servers on the workers' own machine; switch them off with \
         platforms.NAME.enabled = false, on every node"
    );
}

/// Runs the sandbox platform until a signal.
pub(crate) async fn sandbox(args: &SandboxArgs) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    if args.supervised {
        signals.drain_when_stdin_ends()?;
    }
    let usual = sandbox::Options::default();
    let options = sandbox::Options {
        listen: args.listen,
        journal: args.journal.clone(),
        memory: args.memory.unwrap_or(usual.memory),
        ..usual
    };
    let platform = sandbox::serve(options).await.map_err(|error| match error {
        sandbox::StartError::Listen(source) => cannot_listen(args.listen, &source),
        sandbox::StartError::Journal(source) => Failure::new(Exit::Failed, source.to_string())
            .advise("choose a file of its own that this user may write to with --journal"),
    })?;
    ready("sandbox", platform.address())?;
    signals.stop.drain.cancelled().await;
    platform.shutdown().await;
    ended(&signals)
}

/// How a server that was stopped ended.
pub(crate) fn ended(signals: &Signals) -> Result<(), Failure> {
    match signals.forced() {
        None => Ok(()),
        Some(code) => {
            let exit =
                if code == Exit::Interrupted as i32 { Exit::Interrupted } else { Exit::Terminated };
            Err(Failure::new(exit, "told twice to stop: running jobs were handed back unfinished"))
        }
    }
}

impl From<node::Error> for Failure {
    fn from(error: node::Error) -> Self {
        let message = api::chain(&error);
        match error {
            node::Error::Ledger(error) => error.into(),
            node::Error::Folder { .. } => Self::new(Exit::Config, message)
                .advise("choose a folder that this user may write to with POSTWORKS_DATA_DIR"),
            node::Error::BrokerRefuses(_) => Self::new(Exit::Unavailable, message),
            node::Error::Broker(_)
            | node::Error::Unfit(_)
            | node::Error::Keys(_)
            | node::Error::Unproved(_)
            | node::Error::NoKeys
            | node::Error::NoSuchQueue { .. }
            | node::Error::AllSwitchedOff { .. } => Self::new(Exit::Config, message),
            node::Error::Platforms(SetupError::Http(_)) | node::Error::Registry(_) => {
                Self::new(Exit::Failed, message)
            }
            node::Error::Platforms(_) => Self::new(Exit::Config, message),
        }
    }
}

impl From<ledger::Error> for Failure {
    fn from(error: ledger::Error) -> Self {
        let message = api::chain(&error);
        match error {
            ledger::Error::Unavailable(_) | ledger::Error::Unsure(_) => {
                Self::new(Exit::Unavailable, message)
                    .advise("check DATABASE_URL, and that PostgreSQL runs")
            }
            ledger::Error::Refused(_) => Self::new(Exit::Unavailable, message)
                .advise("check the user, the password and the permissions in DATABASE_URL"),
            ledger::Error::Migrations(_) => Self::new(Exit::Config, message),
            ledger::Error::Url(_) => Self::new(Exit::Config, message).advise("check DATABASE_URL"),
            ledger::Error::Parents(_) => Self::new(Exit::Usage, message),
            ledger::Error::Locked(_) => Self::new(Exit::Conflict, message)
                .advise("talk to it over HTTP, or choose another folder with POSTWORKS_DATA_DIR"),
            ledger::Error::Protocol(_) => Self::new(Exit::Failed, message),
        }
    }
}

impl From<role::Error> for Failure {
    fn from(error: role::Error) -> Self {
        match &error {
            role::Error::Listen { address, source } => cannot_listen(*address, source),
            role::Error::Keys(_) => Self::new(Exit::Config, api::chain(&error)),
            _ => Self::new(Exit::Failed, api::chain(&error)),
        }
    }
}
