//! A process of the system under test: this same program in one of its roles.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

/// Longest wait for a start, or an end in good order.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many last lines of what it logged are shown if it fails.
const LAST_WORDS: usize = 5;

/// What a process says on stdout.
pub(crate) type Told = Lines<BufReader<ChildStdout>>;

/// A process that runs. Dropping it kills it.
pub(crate) struct Child {
    role: &'static str,
    process: tokio::process::Child,
    pid: i32,
    stdout: Option<Told>,
    log: PathBuf,
    url: String,
}

#[derive(Deserialize)]
struct Listening {
    url: String,
}

/// Runs a command to its end.
pub(super) async fn run(
    role: &str,
    args: &[&str],
    vars: &[(&'static str, String)],
) -> anyhow::Result<()> {
    let output = tokio::time::timeout(PATIENCE, command(args, vars)?.output()).await;
    let output = output.with_context(|| format!("`{role}` does not end"))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{role}` failed ({}):\n{}", output.status, last_of(&said));
    }
    Ok(())
}

fn command(args: &[&str], vars: &[(&'static str, String)]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command
        .args(args)
        // The configuration of whoever starts a load test is not what is measured.
        .env_clear()
        .envs(vars.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::piped())
        // An interrupt from the terminal is for the load test, which ends its processes itself.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

impl Child {
    /// Starts a server role, which logs to this file; returns once it listens.
    pub(super) async fn start(
        role: &'static str,
        args: &[&str],
        vars: &[(&'static str, String)],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let logs = std::fs::File::create(&log)?;
        let spawned = command(args, vars)?.stdout(Stdio::piped()).stderr(logs).spawn();
        let mut process = spawned.with_context(|| format!("the {role} does not start"))?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).context("its id")?;
        let stdout = process.stdout.take().context("its stdout")?;
        let mut stdout = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, stdout.next_line()).await;
        let line =
            line.with_context(|| format!("the {role} is not ready after {PATIENCE:?}"))??;
        let Some(line) = line else {
            bail!("the {role} ended before it was ready:\n{}", last_words(&log));
        };
        let Listening { url } = serde_json::from_str(&line)
            .with_context(|| format!("the {role} said {line:?} instead of where it listens"))?;
        Ok(Self { role, process, pid, stdout: Some(stdout), log, url })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// What else it says.
    pub(super) fn take_stdout(&mut self) -> Option<Told> {
        self.stdout.take()
    }

    /// Whether it has ended, which it was not asked to.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// What it logged last.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Stops it in good order; kills it if that takes too long.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let (false, Some(pid)) = (self.has_ended(), Pid::from_raw(self.pid)) {
            kill_process(pid, Signal::TERM)?;
        }
        if tokio::time::timeout(PATIENCE, self.process.wait()).await.is_err() {
            self.kill().await.with_context(|| format!("the {} does not end", self.role))?;
        }
        Ok(())
    }
}

fn last_words(log: &Path) -> String {
    last_of(&std::fs::read_to_string(log).unwrap_or_default())
}

fn last_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}
