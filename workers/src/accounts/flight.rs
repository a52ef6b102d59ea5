//! One renewal of an account's tokens at a time in this process, for however many jobs wait.
//!
//! A flight waits for another process's lease if there is one, and renews the tokens itself if
//! there is none. It belongs to no job: its answer is kept though all who waited have gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postworks::job::{ErrorClass, JobError};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::refresh::Reason;
use super::{Inner, refresh};
use crate::store::{Access, ConnectorState};

/// How long a job waits in its place, and for a flight, counted from the flight's start. Most are
/// over by then; else the place is of use to other accounts.
const INLINE: Duration = Duration::from_secs(2);
/// A job that left comes back once the flight is twice as old, but not before and not after these.
const COMES_BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Another process's refresh is looked at after this, and then ever more seldom.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How a flight ended. `Ok` means: look again.
type Landed = Result<(), JobError>;

/// The flights of this process, by account.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Uuid, Flight>>);

/// A flight that somebody waits for.
#[derive(Clone)]
pub(super) struct Flight {
    began: Instant,
    landed: watch::Receiver<Option<Landed>>,
}

impl Flights {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Uuid, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// How it ended; `None` if it takes longer than a job waits in its place, or has patience.
    pub(super) async fn landed(&self, patience: Instant) -> Option<Landed> {
        let mut landed = self.landed.clone();
        let landed = landed.wait_for(Option::is_some);
        match tokio::time::timeout_at(patience.min(self.began + INLINE), landed).await {
            Ok(Ok(landed)) => landed.clone(),
            Ok(Err(_)) => Some(Err(JobError::new(ErrorClass::Bug, "the refresh ended unfinished"))),
            Err(_) => None,
        }
    }

    /// How long a job had better stay away that could not wait for it.
    pub(super) fn comes_back_after(&self) -> Duration {
        come_back_after(self.began.elapsed())
    }
}

/// Until when a job waits in its place that begins to wait now.
pub(super) fn patience() -> Instant {
    Instant::now() + INLINE
}

/// How long a job had better stay away from a renewal that is so old; no two for the same time.
pub(super) fn come_back_after(age: Duration) -> Duration {
    let (min, max) = COMES_BACK;
    age.clamp(min, max).mul_f64(rand::random_range(1.0..=1.5))
}

impl Inner {
    /// The account's flight: the one under way, or a new one, for this reason, from the tokens as
    /// they were `seen`. `None` if this process ends: who is not under way by now would be cut off.
    pub(super) fn fly(self: &Arc<Self>, seen: Access, reason: Reason) -> Option<Flight> {
        let id = seen.connector.id;
        let mut flights = self.flights.under_way();
        if let Some(flight) = flights.get(&id) {
            return Some(flight.clone());
        }
        if self.drains() {
            return None;
        }
        let (landing, landed) = watch::channel(None);
        let flight = Flight { began: Instant::now(), landed };
        flights.insert(id, flight.clone());
        let ends = Ends { inner: Arc::clone(self), id };
        self.refreshes.spawn(async move {
            let landed = ends.inner.renew(seen, reason).await;
            // Gone first: who hears that it has landed, and is not content, starts another.
            drop(ends);
            landing.send_replace(Some(landed));
        });
        Some(flight)
    }

    /// Waits for others, and renews the tokens if they leave that to us.
    async fn renew(self: &Arc<Self>, mut seen: Access, reason: Reason) -> Landed {
        let mut wait = LOOK;
        loop {
            let blocked = seen.lease_until.is_some_and(|until| until > self.clock.now());
            if !blocked {
                return refresh::refresh(Arc::clone(self), seen, reason).await;
            }
            // Without an owner it cools down, of which the row tells everybody.
            if seen.lease_owner.is_none() || self.drains() {
                return Ok(());
            }
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..=1.0))).await;
            wait = (wait * 2).min(LOOK_MAX);
            let found = self.store.access(seen.connector.id).await;
            let found = found.map_err(|error| error.into_job_error(self.clock.now()))?;
            match found {
                Some(next)
                    if next.version == seen.version
                        && next.connector.state == ConnectorState::Active =>
                {
                    seen = next;
                }
                _ => return Ok(()),
            }
        }
    }
}

/// Takes a flight off the list however it ends, a panic included.
struct Ends {
    inner: Arc<Inner>,
    id: Uuid,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.inner.flights.under_way().remove(&self.id);
    }
}
