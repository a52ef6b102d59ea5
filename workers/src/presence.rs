//! Lets others know of this process for as long as it lives: where its metrics are, what it runs,
//! how long that takes, and which keys it has.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postworks::broker::{Broker, Presence};
use postworks::job::{Queue, WorkerId};
use postworks::worker::Tempo;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::node::Node;

/// A process says that it lives so many times in a lease.
const TIMES_A_LEASE: u32 = 2;
/// It is believed until it has missed so many times: one may get lost.
const MISSED: u32 = 3;

impl Node {
    /// Lets others know of this process: what it is, where its metrics are, and how many workers run
    /// here until `drain`. A process that goes without saying so is soon forgotten.
    pub fn announce(
        &self,
        role: &str,
        metrics: Option<String>,
        workers: usize,
        drain: &CancellationToken,
    ) -> Present {
        let concurrency = self.config.worker.concurrency as usize;
        let slots = u32::try_from(workers.saturating_mul(concurrency)).unwrap_or(u32::MAX);
        let announcer = Announcer {
            broker: Arc::clone(&self.broker),
            id: self.id.clone(),
            presence: Presence { role: role.to_owned(), metrics, slots, ..Presence::default() },
            queues: if workers > 0 { self.queues() } else { Vec::new() },
            tempo: Arc::clone(&self.tempo),
            every: self.config.lease.duration / TIMES_A_LEASE,
            drain: drain.clone(),
        };
        let stop = CancellationToken::new();
        let holding = tokio::spawn(self.keyholder().clone().hold_until(stop.clone()));
        let saying = tokio::spawn(announcer.run(stop.clone()));
        Present { saying, holding, stop: stop.drop_guard() }
    }
}

/// Others know of this process as long as this is kept.
#[must_use]
pub struct Present {
    saying: JoinHandle<()>,
    holding: JoinHandle<()>,
    stop: DropGuard,
}

impl Present {
    /// Lets the others forget this process; returns when they were told, or cannot be.
    pub async fn leave(self) {
        drop(self.stop);
        let _ = tokio::join!(self.saying, self.holding);
    }
}

/// What a process says of itself.
struct Announcer {
    broker: Arc<dyn Broker>,
    id: WorkerId,
    /// What does not change.
    presence: Presence,
    /// The queues whose jobs run here, and how long these take.
    queues: Vec<Queue>,
    tempo: Arc<Tempo>,
    /// How often it is said.
    every: Duration,
    drain: CancellationToken,
}

impl Announcer {
    /// Says it until `stop`, and then that it goes.
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let draining = self.drain.is_cancelled();
            if draining {
                // It can still be asked for its metrics, and takes no more jobs.
                self.presence.slots = 0;
                self.queues.clear();
            }
            self.presence.queues = self.tempo.of(&self.queues);
            // Whoever works says that the broker is away.
            let said = self.broker.announce(&self.id, &self.presence, self.every * MISSED).await;
            if let Err(error) = said {
                tracing::debug!(%error, "others do not know of this process");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.drain.cancelled(), if !draining => {}
                () = tokio::time::sleep(self.every) => {}
            }
        }
        let _ = self.broker.leave(&self.id).await;
    }
}

/// Where others find what listens here: at what is advertised, a host or a host and a port, else
/// where it listens, by this machine's name if that is everywhere.
pub fn advertised(listen: SocketAddr, advertise: Option<&str>) -> String {
    let port = listen.port();
    match advertise {
        Some(advertise) => match advertise.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).to_string(),
            Err(_) if advertise.contains(':') => advertise.to_owned(),
            Err(_) => format!("{advertise}:{port}"),
        },
        None if listen.ip().is_unspecified() => format!("{}:{port}", host()),
        None => listen.to_string(),
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_stands_in_for_where_one_listens() {
        let (all, one) = ("0.0.0.0:9090".parse().unwrap(), "127.0.0.1:41234".parse().unwrap());
        assert_eq!(advertised(one, None), "127.0.0.1:41234");
        assert_eq!(advertised(all, None), format!("{}:9090", host()));
        for (advertise, found) in [
            ("10.1.2.3", "10.1.2.3:9090"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("worker-7.example", "worker-7.example:9090"),
            ("worker-7.example:80", "worker-7.example:80"),
            ("fd00::7", "[fd00::7]:9090"),
            ("[fd00::7]:80", "[fd00::7]:80"),
        ] {
            assert_eq!(advertised(all, Some(advertise)), found);
        }
    }
}
