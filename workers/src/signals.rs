//! The first SIGINT or SIGTERM asks a server to drain, the second to let go at once, and the third
//! ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use postworks::worker::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::service;

/// The exit codes of a forced end, as shells have them.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// What signals ask for.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Cancelled by the first and the second signal.
    pub stop: Stop,
    forced: Arc<AtomicI32>,
}

impl Signals {
    /// Listens from now on, on the current runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn listen() -> std::io::Result<Self> {
        let interrupts = signal(SignalKind::interrupt())?;
        let terminations = signal(SignalKind::terminate())?;
        let signals = Self { stop: Stop::default(), forced: Arc::default() };
        tokio::spawn(signals.clone().follow(interrupts, terminations));
        tokio::spawn(service::say_when_stopping(signals.stop.clone()));
        Ok(signals)
    }

    /// Drains as well when stdin ends: for a process whose starter holds the other end, and must not
    /// be outlived.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn drain_when_stdin_ends(&self) -> std::io::Result<()> {
        let drain = self.stop.drain.clone();
        // A thread of its own, since the runtime would wait for the read at its end.
        let reading = move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drain.cancel();
        };
        std::thread::Builder::new().name("stdin".to_owned()).spawn(reading).map(drop)
    }

    /// The exit code of a process that was told twice; `None` if it drained in peace.
    pub fn forced(&self) -> Option<i32> {
        Some(self.forced.load(Ordering::SeqCst)).filter(|code| *code != 0)
    }

    async fn follow(self, mut interrupts: Signal, mut terminations: Signal) {
        loop {
            let code = tokio::select! {
                _ = interrupts.recv() => INTERRUPTED,
                _ = terminations.recv() => TERMINATED,
            };
            if self.stop.now.is_cancelled() {
                std::process::exit(code);
            } else if self.stop.drain.is_cancelled() {
                tracing::warn!("a second signal: letting go at once");
                self.forced.store(code, Ordering::SeqCst);
                self.stop.now.cancel();
            } else {
                tracing::info!("draining; a second signal lets go at once");
                self.stop.drain.cancel();
            }
        }
    }
}
