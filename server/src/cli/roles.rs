//! The commands that run servers, and those that look after them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use postworks::config::{ByteSize, Config, Environment, parse_listen};
use postworks_workers::role::{WorkerArgs, ready_line};
use postworks_workers::signals::Signals;
use postworks_workers::telemetry;
use tokio::net::TcpListener;

use super::Context;
use super::demo::{self, DemoArgs};
use super::failure::{Exit, Failure};
use super::output::say;
use super::wiring;
use crate::api;

/// Arguments of `api`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Whether to drain when stdin ends: whoever started this process holds its other end
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

/// Arguments of `sandbox`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SandboxArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001", value_parser = parse_listen)]
    pub(crate) listen: SocketAddr,
    /// A file that gets one line for each accepted publish or refresh
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// What it keeps at most, about
    #[arg(long, value_name = "SIZE", hide = true, value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// As of the API
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let size = ByteSize::parse(text).map(|size| size.0);
    size.ok_or_else(|| "must be a size such as 512MiB".to_owned())
}

/// One line on stdout for each listener of a server: where it is, for whoever started it.
pub(crate) fn ready(role: &str, address: SocketAddr) -> Result<(), Failure> {
    say(&ready_line(role, address))
}

/// Listens on an address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

/// Why nobody can listen on an address.
pub(crate) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse {
        return Failure::new(Exit::Conflict, format!("{address} is in use by another process"))
            .advise("stop it, or choose another address; port 0 takes a free one");
    }
    Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}"))
        .advise("choose an address of this machine, and a port that this user may use")
}

/// Whether callers must prove who they are; refuses an address that others can reach if they need
/// not, before anything listens.
pub(crate) fn check_access(environment: &Environment, config: &Config) -> Result<bool, Failure> {
    let auth = config.auth(environment);
    if !auth {
        let refused = |error: api::NotLoopback| Failure::new(Exit::Config, error.to_string());
        api::check_listen(config.api.listen).map_err(refused)?;
    }
    Ok(auth)
}

pub(super) async fn run_api(context: &Context, args: ApiArgs) -> Result<(), Failure> {
    telemetry::install_logs();
    let (environment, config) =
        context.settings(|sources| sources.flag("api.listen", args.listen))?;
    let auth = check_access(&environment, &config)?;
    environment.stores_for("postworks api")?;
    wiring::api(&config, &environment, auth, args.supervised).await
}

pub(super) async fn run_worker(context: &Context, args: WorkerArgs) -> Result<(), Failure> {
    telemetry::install_logs();
    let supervised = args.supervised;
    let (environment, config) = context.settings(|sources| args.over(sources))?;
    environment.stores_for("postworks worker")?;
    wiring::worker(&config, &environment, supervised).await
}

pub(super) async fn run_demo(context: &Context, args: DemoArgs) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    demo::run(&args, context.format, signals.stop.drain.clone()).await?;
    wiring::ended(&signals)
}

pub(super) async fn run_sandbox(args: SandboxArgs) -> Result<(), Failure> {
    telemetry::install_logs();
    wiring::sandbox(&args).await
}

pub(super) async fn run_migrate(context: &Context) -> Result<(), Failure> {
    telemetry::install_logs();
    let (environment, config) = context.settings(|sources| sources)?;
    environment.stores_for("postworks migrate")?;
    wiring::migrate(&config, &environment).await
}
