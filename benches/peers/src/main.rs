//! Measures Postworks beside other job queues: same machine, same run, same jobs.
//!
//! `make bench-peers` runs it. Each measurement has a private Redis and, where it is needed, a
//! private PostgreSQL; each system has one process that enqueues and one that works, which this
//! program starts, gives orders and kills. Figures are kept in a JSON file, from which the tables on
//! the terminal and `docs/benchmarks.md` are made.

#![allow(clippy::cast_precision_loss, reason = "figures of a bench are far below 2^52")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests"))]

mod aims;
mod document;
mod machine;
mod measure;
mod metrics;
mod process;
mod protocol;
mod ratios;
mod results;
mod roles;
mod run;
mod stage;
mod systems;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use results::Results;
use roles::Role;

/// The allocator of Postworks' binaries; peers in Rust have it as well.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Postworks beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measures, prints tables, and writes the report
    Run(run::Args),
    /// Writes the report from a file of figures
    Document {
        /// Figures of an earlier run
        figures: PathBuf,
        /// The file to write
        document: PathBuf,
    },
    /// One process of a system that is measured
    #[command(hide = true)]
    Role { system: String, role: Role, setup: String },
}

#[tokio::main]
async fn main() -> ExitCode {
    match act(Cli::parse().what).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn act(what: What) -> Result<()> {
    match what {
        What::Run(args) => Box::pin(run::run(args)).await,
        What::Document { figures, document } => {
            let text = document::write(&Results::read(&figures)?)?;
            std::fs::write(&document, text).context("the report cannot be written")
        }
        What::Role { system, role, setup } => {
            Box::pin(roles::play(&system, role, serde_json::from_str(&setup)?)).await
        }
    }
}
