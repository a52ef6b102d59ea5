//! The command line: one file a family of verbs.
//!
//! stdout carries answers only, stderr everything else; how a command ended is in its exit code
//! ([`Exit`]).

mod agreed;
mod apikey;
mod audit;
mod breaker;
mod config;
mod connector;
mod crew;
mod demo;
mod dlq;
mod doctor;
mod effects;
mod enqueue;
mod failure;
mod http;
mod ingress;
mod job;
mod keys;
mod loadtest;
mod media;
mod metrics_page;
mod output;
mod post;
mod publication;
mod queue;
mod retention;
mod roles;
mod schedule;
mod secret_file;
mod set;
mod target;
mod tenant;
mod top;
mod up;
mod user;
mod verbs;
mod wiring;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use postworks::config::{Config, ConfigErrors, Environment, Sources, parse_number};
use postworks::job::JobId;
use postworks_workers::telemetry;
use url::Url;

pub use failure::{Exit, Failure};
pub use http::HttpTarget;
pub use output::Format;
pub use target::Target;
use verbs::Verb;

const EXAMPLES: &str = "\
Start here:
  postworks demo                      watch posts be published once, whatever fails
  postworks up                        run the API and workers in one process
  postworks enqueue data_cleanup      enqueue a job
  postworks job list --state dead     see what needs a person

Client commands talk to the API named by --server, else to DATABASE_URL and REDIS_URL directly,
else to http://127.0.0.1:7000.

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict or locked, 69 unavailable, 75 try
again, 78 configuration or migrations, 130 and 143 forced.";

/// Background jobs for products that publish to social platforms.
#[derive(Debug, Parser)]
#[command(name = "postworks", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    /// A configuration file; see `postworks config print`
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "POSTWORKS_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// The form of answers
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Format,
    /// The API to talk to
    #[arg(long, global = true, value_name = "URL", value_parser = parse_server)]
    server: Option<Url>,
    /// The tenant to act for, without an API between [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    tenant: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

fn parse_server(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("must be an address such as http://127.0.0.1:7000".to_owned()),
    }
}

fn parse_limit(text: &str) -> Result<u32, String> {
    parse_number(text, 1, 100)
}

fn parse_job_id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "must be a job's id, a UUID such as 0198f3a0-…".to_owned())
}

/// What every command knows.
#[derive(Debug)]
pub struct Context {
    config: Option<PathBuf>,
    format: Format,
    server: Option<Url>,
    tenant: Option<String>,
}

impl Context {
    /// What the environment says, and the configuration with a command's flags over it; or
    /// everything that is wrong with either.
    fn settings(
        &self,
        flags: impl FnOnce(Sources) -> Sources,
    ) -> Result<(Environment, Config), Failure> {
        match (self.environment(), self.config(flags)) {
            (Ok(environment), Ok(config)) => Ok((environment, config)),
            (Err(ConfigErrors(mut faults)), Err(more)) => {
                faults.extend(more.0);
                Err(ConfigErrors(faults).into())
            }
            (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults.into()),
        }
    }

    fn environment(&self) -> Result<Environment, ConfigErrors> {
        Environment::read(|name| std::env::var(name).ok())
    }

    fn config(&self, flags: impl FnOnce(Sources) -> Sources) -> Result<Config, ConfigErrors> {
        // What is no Unicode can be no key of ours.
        let vars = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut sources = Sources::default().env(vars);
        // POSTWORKS_CONFIG stands in for the flag.
        if let Some(path) = &self.config {
            sources = sources.read_file(path)?;
        }
        Config::load(&flags(sources))
    }
}

/// The command line's definition.
pub fn command() -> clap::Command {
    Cli::command()
}

/// A page's text, with how to get the next.
fn paged(text: String, next: Option<&str>) -> String {
    match next {
        Some(cursor) => format!("{text}\n\nmore: --cursor {cursor}"),
        None => text,
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(error.into())),
    };
    let result = runtime.block_on(Box::pin(dispatch(cli)));
    telemetry::finish();
    end(result)
}

fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return Exit::Ok.into() };
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "{failure}");
    failure.exit.into()
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    tenant::check(&cli.verb, cli.tenant.as_deref())?;
    // A variable that is set to nothing counts as not set, here as everywhere.
    let config = cli.config.filter(|path| !path.as_os_str().is_empty());
    let context = Context { config, format: cli.output, server: cli.server, tenant: cli.tenant };
    verbs::run(&context, cli.verb).await
}

#[cfg(test)]
mod tests;
