//! Gives jobs a valid access token, and sees to it that one caller at a time renews it.
//!
//! On a platform with strict rotation two refreshes of one token revoke the account. So nobody
//! refreshes without the lease in the account's row, callers that come second adopt what the
//! first one got, and a request that has left is followed to its end by a task of its own,
//! whatever becomes of the job.

mod flight;
mod keep;
mod lease;
#[cfg(test)]
mod model;
mod refresh;
mod takeover;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SnoozeReason, Timestamp};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::flight::Flights;
use self::refresh::Reason;
use crate::platforms::{Account, Platforms};
use crate::store::{Access, ConnectorState, Error, Renewal, Store};

/// A token that ends sooner than this is renewed first: it must last for a slow request.
const MARGIN: Duration = Duration::from_secs(30);

/// The accounts' access tokens. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: Store,
    platforms: Platforms,
    clock: SharedClock,
    flights: Flights,
    refreshes: TaskTracker,
    stop: Mutex<CancellationToken>,
}

/// What a caller needs of an access token.
#[derive(Debug, Clone, Copy)]
enum Need {
    /// It works for a while.
    Usable,
    /// It is of a later version than one that the platform refused.
    NewerThan(i64),
    /// It was renewed after this.
    RenewedAfter(Timestamp),
}

impl Need {
    fn is_met_by(self, access: &Access, now: Timestamp) -> bool {
        access.token.is_some()
            && match self {
                Self::Usable => access.expires_at.is_none_or(|end| end > now.after(MARGIN)),
                Self::NewerThan(version) => access.version > version,
                Self::RenewedAfter(time) => access.refreshed_at.is_some_and(|at| at > time),
            }
    }
}

impl Accounts {
    /// The accounts in `store`, on these platforms.
    pub fn new(store: Store, platforms: Platforms, clock: SharedClock) -> Self {
        let (flights, refreshes) = (Flights::default(), TaskTracker::new());
        let stop = Mutex::default();
        Self(Arc::new(Inner { store, platforms, clock, flights, refreshes, stop }))
    }

    /// Begins no refresh once `stop` is cancelled: the process may be killed before its answer.
    pub fn stopping_at(&self, stop: CancellationToken) {
        *self.0.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    /// Calls a platform with a valid access token, renewing it first if need be. If the platform
    /// answers `AuthExpired`, the token is renewed and the call made once more.
    ///
    /// `AuthRevoked` is answered only for an account that is recorded as needing a person; such
    /// an account is not called at all.
    pub async fn with_access<T, F, Fut>(&self, connector_id: Uuid, call: F) -> Result<T, JobError>
    where
        F: Fn(Account, SecretString) -> Fut + Send,
        Fut: Future<Output = Result<T, JobError>> + Send,
    {
        let (version, result) = self.call(connector_id, Need::Usable, &call).await?;
        let expired =
            matches!(&result, Err(error) if matches!(error.class(), ErrorClass::AuthExpired));
        let (version, result) = if expired {
            self.call(connector_id, Need::NewerThan(version), &call).await?
        } else {
            (version, result)
        };
        match result {
            Err(error) if matches!(error.class(), ErrorClass::AuthRevoked) => {
                Err(self.revoked(connector_id, version, error).await)
            }
            other => other,
        }
    }

    /// Renews an account's tokens, unless that happened after `asked_at`.
    pub async fn refresh(&self, connector_id: Uuid, asked_at: Timestamp) -> Result<(), JobError> {
        self.current(connector_id, Need::RenewedAfter(asked_at)).await.map(drop)
    }

    /// What a job that needs a token of the account waits for now, if for anything: a renewal that
    /// is under way, or the time after failed ones.
    pub async fn awaited(&self, connector_id: Uuid) -> Result<Option<Renewal>, Error> {
        let now = self.0.clock.now();
        Ok(self.0.store.renewal(connector_id).await?.filter(|renewal| {
            // What `current` does: only a failed renewal leaves a token in use until its very end.
            let needed = if renewal.under_way { now.after(MARGIN) } else { now };
            renewal.token_ends.is_none_or(|end| end <= needed)
        }))
    }

    /// Waits for the refreshes that are under way. A program calls this before it ends: an
    /// answer that nobody keeps may cost an account its tokens.
    pub async fn finish(&self) {
        self.0.refreshes.close();
        self.0.refreshes.wait().await;
    }

    async fn call<T, F, Fut>(
        &self,
        connector_id: Uuid,
        need: Need,
        call: &F,
    ) -> Result<(i64, Result<T, JobError>), JobError>
    where
        F: Fn(Account, SecretString) -> Fut + Send,
        Fut: Future<Output = Result<T, JobError>> + Send,
    {
        let access = self.current(connector_id, need).await?;
        let token = access.token.ok_or_else(|| {
            JobError::new(ErrorClass::Bug, "a token that was found good is not there")
        })?;
        Ok((access.version, call(access.connector.account(), token).await))
    }

    /// An access token that meets the need. A renewal is waited for, but not for long.
    async fn current(&self, connector_id: Uuid, need: Need) -> Result<Access, JobError> {
        let mut need = need;
        // A token that should be renewed but just now cannot be will do until its very end.
        let patient = matches!(need, Need::Usable);
        let reason = match need {
            Need::RenewedAfter(_) => Reason::Ahead,
            Need::Usable | Need::NewerThan(_) => Reason::OnDemand,
        };
        // One that the platform refused is of no use, however long it should last.
        let refused = matches!(need, Need::NewerThan(_));
        let patience = flight::patience();
        loop {
            let access = self.access(connector_id).await?;
            let now = self.0.clock.now();
            if need.is_met_by(&access, now) {
                return Ok(access);
            }
            let lasts = access.expires_at.is_none_or(|end| end > now);
            if !access.renewable && access.token.is_some() && lasts && !refused {
                // There is nothing to renew it with: it is as good as another until its very end.
                return Ok(access);
            }
            // From here on any newer token will do, whoever got it: one that seems to have ended
            // before it came, since two clocks differ, must not be renewed without end.
            need = Need::NewerThan(access.version);
            let Err(error) = self.renewed(&access, reason, now, patience).await else { continue };
            let lasts = access.expires_at.is_none_or(|end| end > self.0.clock.now());
            if patient && access.token.is_some() && lasts {
                return Ok(access);
            }
            return Err(error);
        }
    }

    /// Sees to it that the tokens as they were `seen` are renewed. `Ok` means: look again.
    async fn renewed(
        &self,
        seen: &Access,
        reason: Reason,
        now: Timestamp,
        patience: Instant,
    ) -> Result<(), JobError> {
        if let (Some(until), None) = (seen.lease_until.filter(|at| *at > now), seen.lease_owner) {
            let last_error = seen.last_error.as_deref().unwrap_or("no reason known");
            return Err(refresh::not_renewed(until, seen.failures, last_error));
        }
        let Some(flight) = self.0.fly(seen.clone(), reason) else {
            return Err(self.later(flight::come_back_after(Duration::ZERO)));
        };
        let landed = flight.landed(patience).await;
        landed.unwrap_or_else(|| Err(self.later(flight.comes_back_after())))
    }

    /// What a job is told whose account's tokens are being renewed.
    fn later(&self, wait: Duration) -> JobError {
        let until = self.0.clock.now().after(wait);
        JobError::new(ErrorClass::Unavailable { until }, "the account's tokens are being renewed")
            .waiting_for(SnoozeReason::TokenRefresh)
    }

    async fn access(&self, connector_id: Uuid) -> Result<Access, JobError> {
        let found = self.0.store.access(connector_id).await;
        let found = found.map_err(|error| error.into_job_error(self.0.clock.now()))?;
        let Some(access) = found else { return Err(self.without_tokens(connector_id).await) };
        match access.connector.state {
            ConnectorState::Active => Ok(access),
            ConnectorState::NeedsReauth => {
                let reason = access.connector.state_reason.as_deref().unwrap_or("no reason known");
                let words = format!("the account must be connected again: {reason}");
                Err(JobError::new(ErrorClass::AuthRevoked, words))
            }
            ConnectorState::Disconnecting => Err(disconnected()),
        }
    }

    /// Why an account has no tokens. Its jobs are cancelled if a person disconnected it: one that was
    /// on its way meanwhile waits for that.
    async fn without_tokens(&self, connector_id: Uuid) -> JobError {
        match self.0.store.connector(connector_id).await {
            Ok(Some(row)) if row.state == ConnectorState::Disconnecting => disconnected(),
            Ok(_) => JobError::new(ErrorClass::Invalid, "no connector with this id"),
            Err(error) => error.into_job_error(self.0.clock.now()),
        }
    }

    /// Records that the platform wants a person to connect the account again.
    async fn revoked(&self, connector_id: Uuid, version: i64, error: JobError) -> JobError {
        match self.0.store.revoke(connector_id, None, version, &error.to_string()).await {
            Ok(true) => error,
            // Newer tokens are there or under way: the next run tells. Answering `AuthRevoked`
            // would park the job behind an account that nobody has to connect.
            Ok(false) => self.later(flight::come_back_after(Duration::ZERO)).because(error),
            Err(fault) => fault.into_job_error(self.0.clock.now()),
        }
    }
}

fn disconnected() -> JobError {
    JobError::new(ErrorClass::AuthRevoked, "the account is disconnected")
}

impl Inner {
    /// Whether this process is to end.
    fn drains(&self) -> bool {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled()
    }
}
