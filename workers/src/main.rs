//! The lean worker: runs jobs, and nothing else.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use postworks::config::{Config, ConfigErrors, Environment, Sources};
use postworks::ledger;
use postworks_workers::checkup;
use postworks_workers::node::{self, Node};
use postworks_workers::role::{self, WorkerArgs};
use postworks_workers::signals::Signals;
use postworks_workers::telemetry;

const EXAMPLES: &str = "\
Needs DATABASE_URL and REDIS_URL. The first SIGTERM lets running jobs finish
within the grace and hands back the rest; the second hands everything back at once.

Examples:
  postworks-worker
  postworks-worker --queues 'post_publication.*,data_cleanup' --concurrency 50

Exit codes: 0 drained, 1 failed, 2 usage, 4 address in use, 69 unavailable, 78 configuration or
migrations, 130 and 143 forced.";

/// Runs Postworks jobs.
#[derive(Debug, Parser)]
#[command(name = "postworks-worker", version, after_help = EXAMPLES)]
struct Cli {
    /// A configuration file; see `postworks config print`
    #[arg(long, value_name = "FILE", env = "POSTWORKS_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    worker: WorkerArgs,
}

/// The exit code of a wrong configuration, or of tables of another version.
const CONFIG: u8 = 78;
/// A server refuses us.
const UNAVAILABLE: u8 = 69;
/// The address is another process's.
const CONFLICT: u8 = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::install_logs();
    let result = prepare(cli).and_then(|node| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(node))
    });
    telemetry::finish();
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(exit_code(&error))
    })
}

/// The numbers are part of the public contract, and the same as those of `postworks worker`.
fn exit_code(error: &anyhow::Error) -> u8 {
    let ledger = match error.downcast_ref() {
        Some(node::Error::BrokerRefuses(_)) => return UNAVAILABLE,
        Some(node::Error::Ledger(error)) => Some(error),
        Some(_) => return CONFIG,
        None => error.downcast_ref(),
    };
    if error.is::<ConfigErrors>() {
        return CONFIG;
    }
    match (ledger, error.downcast_ref()) {
        (Some(ledger::Error::Migrations(_) | ledger::Error::Url(_)), _) => CONFIG,
        (
            Some(
                ledger::Error::Unavailable(_)
                | ledger::Error::Unsure(_)
                | ledger::Error::Refused(_),
            ),
            _,
        ) => UNAVAILABLE,
        (_, Some(role::Error::Keys(_))) => CONFIG,
        (_, Some(role::Error::Listen { source, .. })) if source.kind() == ErrorKind::AddrInUse => {
            CONFLICT
        }
        _ => 1,
    }
}

/// What the worker is told: where the stores are, the configuration, and whether it ends with whoever
/// started it.
struct Told {
    config: Config,
    environment: Environment,
    supervised: bool,
}

fn prepare(cli: Cli) -> anyhow::Result<Told> {
    let environment = Environment::read(|name| std::env::var(name).ok())?;
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut sources = Sources::default().env(vars);
    // A variable that is set to nothing counts as not set.
    if let Some(path) = cli.config.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        sources = sources.read_file(path)?;
    }
    let supervised = cli.worker.supervised;
    let config = Config::load(&cli.worker.over(sources))?;
    environment.stores_for("postworks-worker")?;
    Ok(Told { config, environment, supervised })
}

async fn run(told: Told) -> anyhow::Result<ExitCode> {
    let signals = Signals::listen()?;
    if told.supervised {
        signals.drain_when_stdin_ends()?;
    }
    let urls = told.environment.stores_for("postworks-worker")?;
    let metrics = telemetry::install_metrics()?;
    let node = Node::for_role(urls, told.config, &told.environment).await?;
    node.check_queues()?;
    checkup::at_start(&node, &signals.stop).await?;
    role::run(&node, metrics, signals.stop.clone(), announce).await?;
    Ok(match signals.forced().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => ExitCode::from(code),
        None => ExitCode::SUCCESS,
    })
}

fn announce(address: SocketAddr) {
    let line = role::ready_line("worker", address);
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
