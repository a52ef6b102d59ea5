//! A process of a system: started, given orders, listened to, and killed by its id at the end,
//! whatever the end is.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::machine::{self, Memory, Threads};
use crate::protocol::{Event, Order};

/// The longest that a process may take to connect.
const START_MAX: Duration = Duration::from_secs(30);
/// Bytes of a log that are shown when a process failed.
const LOG_SHOWN: usize = 600;

/// One process. It dies when this value is dropped, and by itself when this program is gone.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    id: u32,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    /// What was said while something else was waited for.
    unheard: VecDeque<Event>,
    log: PathBuf,
}

impl Process {
    /// Starts it; returns when it is connected.
    pub(crate) async fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::create(&log).context("a log file")?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let id = child.id().context("it ended at once")?;
        let orders = child.stdin.take().context("its input")?;
        let said = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut process = Self { child, id, orders, said, unheard: VecDeque::new(), log };
        process.until(START_MAX, |event| (*event == Event::Ready).then_some(())).await?;
        Ok(process)
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: Order) -> Result<()> {
        let line = serde_json::to_string(&order)? + "\n";
        self.orders.write_all(line.as_bytes()).await.context("an order")?;
        Ok(self.orders.flush().await?)
    }

    /// Has jobs enqueued; answers the seconds it took.
    pub(crate) async fn enqueue(&mut self, order: Order, limit: Duration) -> Result<f64> {
        self.order(order).await?;
        let done = |event: &Event| match event {
            Event::Done { seconds } => Some(*seconds),
            _ => None,
        };
        self.until(limit, done).await
    }

    /// Waits until all jobs have run; answers the seconds it took and what was kept of their starts.
    pub(crate) async fn until_all(&mut self, limit: Duration) -> Result<(f64, Vec<u64>)> {
        let all = |event: &Event| match event {
            Event::All { seconds, latencies_us } => Some((*seconds, latencies_us.clone())),
            _ => None,
        };
        self.until(limit, all).await
    }

    /// Waits for an event; those before it can be waited for later.
    pub(crate) async fn until<T>(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> Result<T> {
        let heard = self.unheard.iter().enumerate();
        let known = heard.filter_map(|(at, event)| wanted(event).map(|found| (at, found))).next();
        if let Some((at, found)) = known {
            self.unheard.remove(at);
            return Ok(found);
        }
        let listening = async {
            while let Some(line) = self.said.next_line().await? {
                // Other lines are what a library prints.
                let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
                match wanted(&event) {
                    Some(found) => return Ok(Some(found)),
                    None => self.unheard.push_back(event),
                }
            }
            anyhow::Ok(None)
        };
        match timeout(limit, listening).await {
            Ok(Ok(Some(found))) => Ok(found),
            Ok(Ok(None)) => bail!("it ended: {}", self.last_words()),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("not done within {} s {}", limit.as_secs(), self.last_words()),
        }
    }

    /// Kills it, and answers what it had said that nobody waited for.
    pub(crate) async fn kill(mut self) -> Result<Vec<Event>> {
        self.child.start_kill()?;
        let listening = async {
            while let Ok(Some(line)) = self.said.next_line().await {
                self.unheard.extend(serde_json::from_str::<Event>(&line));
            }
            self.child.wait().await
        };
        timeout(START_MAX, listening).await.context("it does not die")??;
        Ok(self.unheard.into())
    }

    /// The processor time it has used, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        machine::cpu_of(self.id)
    }

    /// The processor time of its threads, to compare with a later look.
    pub(crate) fn threads(&self) -> Result<Threads> {
        Threads::of(self.id)
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        machine::memory_of(self.id)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_SHOWN);
        let from = (from..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
        let words = log.get(from..).unwrap_or_default().trim();
        if words.is_empty() { String::new() } else { format!("({words})") }
    }
}
