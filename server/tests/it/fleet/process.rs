//! One process of a fleet: what it says, how it ends, and how a test ends it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::wait::LONG;

/// Of a failed test's processes, this many last lines are shown.
const LAST_WORDS: usize = 40;

/// A process that runs, or has run. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: u32,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Open, since its folder may go before it.
    log: File,
    url: Option<String>,
}

/// How a command ended, and what it said.
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its answer.
    pub(crate) stdout: String,
    /// The rest.
    pub(crate) stderr: String,
}

impl Ran {
    /// Its answer, in JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs the command to its end.
pub(crate) async fn run(args: &[&str], vars: &[(&str, String)]) -> Ran {
    let running = Command::new(super::POSTWORKS)
        .args(args)
        .env_clear()
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(LONG, running).await;
    let output = ended.unwrap_or_else(|_| panic!("{args:?} does not end")).expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Process {
    /// Starts a program with nothing in its environment but `vars`; what it logs goes to a file
    /// in `folder`.
    pub(crate) fn start(
        name: &str,
        program: &str,
        args: &[&str],
        vars: &[(&str, String)],
        folder: &Path,
    ) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(format!("{name}.log"));
        let logs = File::create(&path).expect("a file for what it logs");
        let log = File::open(&path).expect("a file of our own");
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(vars.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(logs)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let pid = child.id().expect("it was just started");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { name, child, pid, stdout, log, url: None }
    }

    /// Waits until it says that a role of it listens; answers where.
    pub(crate) async fn listening(&mut self, role: &str) -> String {
        loop {
            let line = tokio::time::timeout(LONG, self.stdout.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{} is not ready after {LONG:?}", self.name));
            let Some(line) = line.expect("its stdout can be read") else {
                panic!("{} ended before it was ready", self.name);
            };
            let said: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{} said {line:?}: {error}", self.name));
            assert_eq!(
                (&said["event"], &said["pid"]),
                (&"listening".into(), &self.pid.into()),
                "{line}"
            );
            if said["role"] == role {
                let url = said["url"].as_str().expect("where it listens").to_owned();
                self.url = Some(url.clone());
                return url;
            }
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().expect("it has said where it listens")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("our own process can be signalled");
    }

    /// Ends it as a crash would, and returns when it is gone.
    pub(crate) async fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.expect("a child can be waited for");
    }

    /// Waits for its end; answers how it ended and what else it had said on stdout.
    pub(crate) async fn ended(&mut self, within: Duration) -> (ExitStatus, String) {
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            panic!("{} still runs after {within:?}", self.name);
        };
        let mut rest = String::new();
        while let Some(line) = self.stdout.next_line().await.expect("its stdout can be read") {
            rest.push_str(&line);
            rest.push('\n');
        }
        (status.expect("a child can be waited for"), rest)
    }

    /// Whether it ends by itself within a time.
    pub(crate) async fn is_gone_within(&mut self, span: Duration) -> bool {
        tokio::time::timeout(span, self.child.wait()).await.is_ok()
    }

    /// Whether a signal has stopped it.
    pub(crate) fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('T'))
    }

    /// Whether a signal stops it within a time.
    pub(crate) async fn is_frozen_within(&self, span: Duration) -> bool {
        let end = tokio::time::Instant::now() + span;
        while !self.is_frozen() && tokio::time::Instant::now() < end {
            // Another process gives no signal.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.is_frozen()
    }

    /// Fails the test if it has ended.
    #[track_caller]
    pub(crate) fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert_eq!(ended, None, "{} has ended", self.name);
    }

    /// The time that processors have spent on it so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("it runs");
        // The name before may hold spaces; utime and stime are the 12th and 13th after it.
        let (_, after) = stat.rsplit_once(") ").expect("a line of /proc");
        let ticks: u64 =
            after.split(' ').skip(11).take(2).map(|part| part.parse().unwrap_or(0)).sum();
        // 100 ticks a second on every Linux that we know of.
        Duration::from_millis(10 * ticks)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let mut text = Vec::new();
        let read = (&self.log).rewind().and_then(|()| (&self.log).read_to_end(&mut text));
        read.expect("a file of our own");
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
            eprintln!("--- {}'s last words:\n{}", self.name, last.join("\n"));
        }
    }
}
