//! The one place that puts real stores, workers and platforms together for the commands.

use postworks::config::{Config, Environment};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::roles::{DemoArgs, SandboxArgs, UpArgs};
use crate::app::App;

/// Opens the stores that the environment names.
///
/// # Errors
/// They cannot be reached, or their tables are of another version.
pub(crate) async fn open(_config: &Config, _environment: &Environment) -> Result<App, Failure> {
    Err(absent("the stores"))
}

/// Brings the tables up to date.
pub(crate) async fn migrate(_config: &Config, _environment: &Environment) -> Result<(), Failure> {
    Err(absent("migrate"))
}

/// Runs a worker until `stop` and its jobs have ended.
pub(crate) async fn worker(
    _config: &Config,
    _environment: &Environment,
    _stop: CancellationToken,
) -> Result<(), Failure> {
    Err(absent("worker"))
}

/// Runs the API and workers in one process, embedded if the environment names no stores.
pub(crate) async fn up(
    _config: &Config,
    _environment: &Environment,
    _args: &UpArgs,
    _stop: CancellationToken,
) -> Result<(), Failure> {
    Err(absent("up"))
}

/// Shows everything at work, in a temporary folder.
pub(crate) async fn demo(_args: &DemoArgs, _stop: CancellationToken) -> Result<(), Failure> {
    Err(absent("demo"))
}

/// Runs the sandbox platform.
pub(crate) async fn sandbox(_args: &SandboxArgs, _stop: CancellationToken) -> Result<(), Failure> {
    Err(absent("sandbox"))
}

fn absent(what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: not available in this build"))
}
