//! What systemd is told of a role, where it asked to be (`Type=notify`): that it is ready, that it
//! lives, and that it stops. Elsewhere nothing of this does anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postworks::worker::{Pulse, Stop};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The variables by which systemd asks, which no child of ours may answer to.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Says that the role serves.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// Says that the role stops, once it was told to.
pub async fn say_when_stopping(stop: Stop) {
    stop.drain.cancelled().await;
    say(&[NotifyState::Stopping]);
}

/// Says that a worker lives, each time that its own watchdog has found that it does; `None` if
/// nobody asked.
pub fn pulse() -> Option<Pulse> {
    let every = watched()?;
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    Some(Arc::new(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= every) {
            *last = Some(Instant::now());
            say(&[NotifyState::Watchdog]);
        }
    }))
}

/// Says that a role without a worker lives, for as long as its runtime runs this.
pub async fn live_until(stop: CancellationToken) {
    let Some(every) = watched() else { return };
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => say(&[NotifyState::Watchdog]),
        }
    }
}

/// How often to say so: twice in the time after which we count as hung, and once more to be safe.
fn watched() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 3)
}

fn say(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, ?what, "systemd cannot be told");
    }
}
