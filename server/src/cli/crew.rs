//! The workers of `up --workers auto`: processes of their own, as many as the load calls for.
//!
//! They are looked after, not governed: a worker that is too many is told to drain, one that dies is
//! followed by another after a pause, and all of them drain when this process does, also if it is
//! killed, since each follows the other end of its stdin.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use postworks::config::Config;
use postworks::worker::Stop;
use postworks_workers::service;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::App;

/// First and longest pause before a worker follows one that died.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A worker that lived for so long was no failed start.
const STEADY: Duration = Duration::from_secs(60);

/// How a worker is started.
#[derive(Debug, Clone)]
pub(super) struct Start {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Start {
    /// This program again, as a worker, by the same configuration.
    ///
    /// # Errors
    /// The operating system does not tell which program this is.
    pub(super) fn worker(config: &Config, file: Option<&PathBuf>) -> io::Result<Self> {
        let listen = config.worker.metrics_listen.map(|listen| listen.ip());
        let listen = SocketAddr::new(listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0);
        let mut args: Vec<OsString> = Vec::new();
        if let Some(file) = file {
            args.extend(["--config".into(), file.into()]);
        }
        args.extend(["worker", "--supervised", "--metrics-listen"].map(OsString::from));
        args.push(listen.to_string().into());
        args.extend(["--concurrency".into(), config.worker.concurrency.to_string().into()]);
        Ok(Self { program: std::env::current_exe()?, args })
    }

    /// Starts one, out of the reach of the terminal's Ctrl-C: it is told by us.
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::piped()).process_group(0);
        for name in service::VARIABLES {
            command.env_remove(name);
        }
        command.spawn()
    }
}

struct Member {
    since: Instant,
    stop: Stop,
}

impl Member {
    fn stays(&self) -> bool {
        !self.stop.drain.is_cancelled()
    }
}

/// The workers of this process.
pub(super) struct Crew {
    start: Start,
    members: Vec<(u32, Member)>,
    running: JoinSet<(u32, io::Result<ExitStatus>)>,
    /// How many there should be.
    wanted: usize,
    pauses: ExponentialBackoff,
    /// When the next may be started.
    not_before: Instant,
}

impl Crew {
    /// Nobody yet; so many are wanted until the load is known.
    pub(super) fn new(start: Start, wanted: u32) -> Self {
        Self {
            start,
            members: Vec::new(),
            running: JoinSet::new(),
            wanted: wanted as usize,
            pauses: pauses(),
            not_before: Instant::now(),
        }
    }

    /// Keeps as many workers as the load calls for until `stop`; returns when all have gone.
    pub(super) async fn run(mut self, app: &App, stop: &Stop) {
        let mut looks = tokio::time::interval(app.node().config.autoscale.every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.drain.is_cancelled() {
            tokio::select! {
                () = stop.drain.cancelled() => {}
                _ = looks.tick() => self.look(app).await,
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = tokio::time::sleep_until(self.not_before), if self.is_short() => {}
            }
            if !stop.drain.is_cancelled() {
                self.adjust();
            }
        }
        self.tell(|stop| stop.drain.cancel());
        let mut hurries = false;
        loop {
            tokio::select! {
                ended = self.running.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
                () = stop.now.cancelled(), if !hurries => {
                    hurries = true;
                    self.tell(|stop| stop.now.cancel());
                }
            }
        }
    }

    fn tell(&self, what: impl Fn(&Stop)) {
        self.members.iter().for_each(|(_, member)| what(&member.stop));
    }

    async fn look(&mut self, app: &App) {
        match app.workers_wanted().await {
            Ok(wanted) => self.wanted = wanted as usize,
            // What is there goes on; whoever works says that a store is away.
            Err(error) => tracing::debug!(%error, "nobody knows how many workers are needed"),
        }
    }

    fn staying(&self) -> usize {
        self.members.iter().filter(|(_, member)| member.stays()).count()
    }

    fn is_short(&self) -> bool {
        self.staying() < self.wanted
    }

    /// Starts those that are missing, and lets the youngest go of those that are too many.
    fn adjust(&mut self) {
        let (before, wanted) = (self.staying(), self.wanted);
        while self.is_short() && Instant::now() >= self.not_before {
            self.hire();
        }
        let mut spare = self.staying().saturating_sub(wanted);
        for (_, member) in self.members.iter().rev().filter(|(_, member)| member.stays()) {
            if spare == 0 {
                break;
            }
            spare -= 1;
            member.stop.drain.cancel();
        }
        let workers = self.staying();
        if workers != before {
            tracing::info!(from = before, to = workers, wanted, "the number of workers changes");
        }
    }

    fn hire(&mut self) {
        let started = self.start.start();
        let hired = started.and_then(|child| {
            child.id().map(|pid| (pid, child)).ok_or_else(|| io::Error::other("it ended at once"))
        });
        match hired {
            Ok((pid, child)) => {
                let stop = Stop::default();
                self.members.push((pid, Member { since: Instant::now(), stop: stop.clone() }));
                self.running.spawn(async move { (pid, look_after(child, &stop).await) });
            }
            Err(error) => {
                self.pause();
                tracing::error!(%error, "a worker cannot be started; another attempt follows");
            }
        }
    }

    fn ended(&mut self, ended: Result<(u32, io::Result<ExitStatus>), tokio::task::JoinError>) {
        let (pid, status) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a worker is looked after no more");
                return;
            }
        };
        let Some(place) = self.members.iter().position(|(member, _)| *member == pid) else {
            return;
        };
        let (_, member) = self.members.remove(place);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        if !member.stays() {
            tracing::info!(pid, status, "a worker has drained");
            return;
        }
        if member.since.elapsed() >= STEADY {
            self.pauses = pauses();
        }
        let pause = self.pause();
        tracing::warn!(pid, status, ?pause, "a worker ended by itself; another follows");
    }

    fn pause(&mut self) -> Duration {
        let pause = self.pauses.next().unwrap_or(PAUSE.1);
        self.not_before = Instant::now() + pause;
        pause
    }
}

/// Grows from the first pause to the longest, for ever; with jitter, so that processes which die of
/// one cause do not come back at one stroke.
fn pauses() -> ExponentialBackoff {
    let (first, longest) = PAUSE;
    let growing = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest);
    growing.without_max_times().with_jitter().build()
}

/// Waits for a worker's end; tells it to drain, and then to let go, when it is time.
async fn look_after(mut child: Child, stop: &Stop) -> io::Result<ExitStatus> {
    // Waiting would close it, and the worker drains when it is closed.
    let _lifeline = child.stdin.take();
    for told in [&stop.drain, &stop.now] {
        tokio::select! {
            status = child.wait() => return status,
            () = told.cancelled() => terminate(&child)?,
        }
    }
    child.wait().await
}

fn terminate(child: &Child) -> io::Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    match pid {
        Some(pid) => Ok(kill_process(pid, Signal::TERM)?),
        None => Ok(()),
    }
}
