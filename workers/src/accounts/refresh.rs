//! One renewal of one account's tokens, from the lease to the record of what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::job::{ErrorClass, JobError, Timestamp};
use postworks::ledger;
use postworks::telemetry::metrics::TOKEN_REFRESHES;
use uuid::Uuid;

use super::Inner;
use super::lease::Lease;
use crate::platforms::{Account, Platform, Secret, TokenSet};
use crate::store::{Access, CoolDown, Error, Held, Renewed};

/// How long an answer that the database does not take is held on to. While it takes nothing,
/// nobody else can get the lease either.
const KEEP_FOR: Duration = Duration::from_secs(600);
const KEEP_WAIT: Duration = Duration::from_millis(50);
const KEEP_WAIT_MAX: Duration = Duration::from_secs(2);
/// After a failure nobody asks again before this, doubling up to the most.
const COOL_DOWN: Duration = Duration::from_secs(1);
const COOL_DOWN_MAX: Duration = Duration::from_secs(300);

/// A renewal under way.
struct Flight {
    inner: Arc<Inner>,
    seen: Access,
    account: Account,
    owner: Uuid,
}

/// Renews the tokens as they were `seen`, if nobody else does. `Ok` means: look again.
pub(super) async fn refresh(inner: Arc<Inner>, seen: Access) -> Result<(), JobError> {
    let platform = inner.platforms.get(&seen.connector.platform).cloned();
    let platform = platform.map_err(|error| {
        JobError::new(ErrorClass::Invalid, "the account's platform").because(error)
    })?;
    let account = seen.connector.account();
    let flight = Flight { inner, seen, account, owner: Uuid::new_v4() };
    let Some((held, lease)) = flight.acquire().await? else { return Ok(()) };
    let name = platform.descriptor().name;
    match flight.ask(platform.as_ref(), &held, lease).await {
        Ok(set) => {
            let kept = flight.keep(&renewed(set, held, platform.descriptor().secret)).await;
            count(name, if matches!(kept, Ok(true)) { "refreshed" } else { "lost" });
            kept.map(drop)
        }
        Err(error) if is_refusal(&error) => {
            count(name, "refused");
            flight.give_up(&error).await
        }
        Err(error) => {
            count(name, "failed");
            flight.cool_down(error).await
        }
    }
}

fn count(platform: &str, outcome: &str) {
    TOKEN_REFRESHES.count(&[platform, outcome]).increment(1);
}

/// Whether the platform has refused the secret itself. For a refresh, "expired" is as final as
/// "revoked": there is nothing older to renew it with.
fn is_refusal(error: &JobError) -> bool {
    matches!(error.class(), ErrorClass::AuthExpired | ErrorClass::AuthRevoked)
}

/// What to keep of an answer.
fn renewed(set: TokenSet, held: Held, kind: Secret) -> Renewed {
    let (password, first) = match kind {
        Secret::Password => (held.secret, None),
        Secret::RefreshToken => (None, held.secret),
    };
    Renewed {
        access: set.access,
        refresh: set.refresh.or(held.refresh).or(first),
        secret: password,
        expires_at: set.expires_at,
        remote_id: set.remote_id,
    }
}

impl Flight {
    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn fault(&self, error: Error) -> JobError {
        error.into_job_error(self.now())
    }

    /// Takes the lease, or prolongs it.
    async fn acquire(&self) -> Result<Option<(Held, Lease)>, JobError> {
        // Counted from before the database is asked: its answer may be long in coming.
        let lease = Lease::from(self.now(), Instant::now());
        let held = self.inner.store.acquire_refresh(&self.seen, self.owner, lease.until()).await;
        let held = held.map_err(|error| self.fault(error))?;
        Ok(held.map(|held| (held, lease)))
    }

    async fn ask(
        &self,
        platform: &dyn Platform,
        held: &Held,
        lease: Lease,
    ) -> Result<TokenSet, JobError> {
        let account = &self.account;
        let Some(refresh) = &held.refresh else {
            let Some(secret) = &held.secret else {
                return Err(JobError::new(ErrorClass::AuthRevoked, "no secret is kept"));
            };
            self.check(lease)?;
            return platform.sign_in(account, secret).await;
        };
        self.check(lease)?;
        let answer = platform.refresh(account, refresh).await;
        let refused = matches!(&answer, Err(error) if is_refusal(error));
        match &held.secret {
            // Sessions end when an account was idle for long; the password still opens a new one.
            // That is a second request, so the lease starts anew; who lost it must not send.
            Some(secret) if refused => match self.acquire().await? {
                Some((_, lease)) => {
                    self.check(lease)?;
                    platform.sign_in(account, secret).await
                }
                None => answer,
            },
            _ => answer,
        }
    }

    /// Right before a request leaves: whoever was held up since the lease was asked for sends
    /// nothing, for another one may have taken it since and used the token up.
    fn check(&self, lease: Lease) -> Result<(), JobError> {
        let now = self.now();
        if lease.lets_send(now, Instant::now()) {
            return Ok(());
        }
        let words = "was held up between taking the account's lease and sending";
        Err(JobError::new(ErrorClass::Unavailable { until: now }, words))
    }

    /// Persists the answer, before anything else and with patience: the old tokens may be used
    /// up already. Answers whether it was kept.
    async fn keep(&self, renewed: &Renewed) -> Result<bool, JobError> {
        let (id, version) = (self.account.connector_id, self.seen.version);
        let give_up = self.now().after(KEEP_FOR);
        let mut wait = KEEP_WAIT;
        loop {
            match self.inner.store.commit_refresh(id, self.owner, version, renewed).await {
                Ok(true) => return Ok(true),
                Ok(false) => {
                    tracing::warn!(
                        account = %id,
                        "new tokens were not kept: the account was connected again, \
                         or another worker has taken the lease"
                    );
                    return Ok(false);
                }
                Err(Error::Database(ledger::Error::Unavailable(_) | ledger::Error::Unsure(_)))
                    if self.now() < give_up =>
                {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(KEEP_WAIT_MAX);
                }
                Err(error) => return Err(self.fault(error)),
            }
        }
    }

    /// The account needs a person, unless there are newer tokens by now.
    async fn give_up(&self, error: &JobError) -> Result<(), JobError> {
        let reason = if self.seen.refresh_started_at.is_some() {
            format!(
                "an earlier refresh was cut off, and its token is used up (rotation_lost): {error}"
            )
        } else {
            error.to_string()
        };
        let (id, version) = (self.account.connector_id, self.seen.version);
        let revoked = self.inner.store.revoke(id, Some(self.owner), version, &reason).await;
        revoked.map(drop).map_err(|error| self.fault(error))
    }

    /// Says that nobody should ask for a while, and nothing against the account.
    async fn cool_down(&self, error: JobError) -> Result<(), JobError> {
        let told = match error.class() {
            ErrorClass::RateLimited { until, .. } | ErrorClass::Unavailable { until } => until,
            _ => Timestamp::default(),
        };
        let doublings = self.seen.failures.min(16);
        let bound = COOL_DOWN.saturating_mul(1 << doublings).min(COOL_DOWN_MAX);
        let surely_not = matches!(
            error.class(),
            ErrorClass::NotSent
                | ErrorClass::RateLimited { .. }
                | ErrorClass::Unavailable { .. }
                | ErrorClass::Invalid
        );
        let failure = CoolDown {
            until: told.max(self.now().after(bound.mul_f64(rand::random_range(0.5..=1.0)))),
            unknown: !surely_not || self.seen.refresh_started_at.is_some(),
            error: error.to_string(),
        };
        let (id, version) = (self.account.connector_id, self.seen.version);
        let left = self.inner.store.cool_down(id, self.owner, version, &failure).await;
        left.map_err(|error| self.fault(error))?;
        Err(match error.class() {
            // It is unknown what became of the refresh. Of the job's own work nothing has
            // happened yet, and the next attempt starts with the same refresh.
            ErrorClass::Unknown { .. } => {
                JobError::new(ErrorClass::Transient, "no answer to a refresh").because(error)
            }
            _ => error,
        })
    }
}
