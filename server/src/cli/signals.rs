//! The first signal asks a server to drain; the second ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process, with 130 or
/// 143.
pub(crate) fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let token = stop.clone();
    tokio::spawn(async move {
        let mut draining = false;
        loop {
            let forced = tokio::select! {
                _ = interrupts.recv() => Exit::Interrupted,
                _ = terminations.recv() => Exit::Terminated,
            };
            if draining {
                tracing::warn!("a second signal: ending at once");
                std::process::exit(forced as i32);
            }
            draining = true;
            tracing::info!("draining; a second signal ends at once");
            token.cancel();
        }
    });
    Ok(stop)
}
