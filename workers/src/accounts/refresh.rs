//! One renewal of one account's tokens, from the lease to the record of what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::job::{ErrorClass, JobError, SnoozeReason, Timestamp};
use postworks::telemetry::metrics::TOKEN_REFRESHES;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::Inner;
use super::lease::Lease;
use crate::platforms::{Account, Platform, Secret, TokenSet};
use crate::store::{Access, CoolDown, Error, Held, Renewed};

/// After a failure nobody asks again before this, doubling up to the most.
const COOL_DOWN: Duration = Duration::from_secs(1);
const COOL_DOWN_MAX: Duration = Duration::from_secs(300);

/// Why tokens are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A job for that has come, as a rule ahead of their end.
    Ahead,
    /// A job needs them for its own work.
    OnDemand,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::OnDemand => "on_demand",
        }
    }
}

/// Who renews an account's tokens.
pub(super) struct Holder {
    pub(super) inner: Arc<Inner>,
    pub(super) seen: Access,
    pub(super) account: Account,
    owner: Uuid,
}

/// Renews the tokens as they were `seen`, if nobody else does. `Ok` means: look again.
pub(super) async fn refresh(
    inner: Arc<Inner>,
    seen: Access,
    reason: Reason,
) -> Result<(), JobError> {
    let platform = inner.platforms.get(&seen.connector.platform).cloned();
    let platform = platform.map_err(|error| {
        JobError::new(ErrorClass::Invalid, "the account's platform").because(error)
    })?;
    let holder = Holder::new(inner, seen);
    let Some((held, lease)) = holder.begin().await? else { return Ok(()) };
    let name = platform.descriptor().name;
    let count = |outcome| {
        TOKEN_REFRESHES.count(&[name, reason.as_str(), outcome]).increment(1);
    };
    match holder.ask(platform.as_ref(), &held, lease).await {
        Ok((set, signed_in)) => {
            if postworks::planted!(TellToken) {
                tracing::info!(access = set.access.expose_secret(), "tokens were renewed");
            }
            let kind = platform.descriptor().secret;
            let new = Renewed { signed_in, ..renewed(set, held, kind) };
            let kept = holder.keep(&new).await;
            count(if matches!(kept, Ok(true)) { "refreshed" } else { "lost" });
            kept.map(drop)
        }
        Err(error) if is_refusal(&error) => {
            count("refused");
            holder.give_up(&error).await
        }
        Err(error) => {
            count("failed");
            holder.cool_down(error).await
        }
    }
}

/// Whether the platform has refused the secret itself. For a refresh, "expired" is as final as
/// "revoked": there is nothing older to renew it with.
fn is_refusal(error: &JobError) -> bool {
    matches!(error.class(), ErrorClass::AuthExpired | ErrorClass::AuthRevoked)
}

/// What to keep of an answer.
fn renewed(set: TokenSet, held: Held, kind: Secret) -> Renewed {
    let (password, first) = match kind {
        Secret::Password | Secret::AccessToken => (held.secret, None),
        Secret::RefreshToken => (None, held.secret),
    };
    Renewed {
        access: set.access,
        refresh: set.refresh.or(held.refresh).or(first),
        secret: password,
        expires_at: set.expires_at,
        remote_id: set.remote_id,
        signed_in: false,
    }
}

impl Holder {
    pub(super) fn new(inner: Arc<Inner>, seen: Access) -> Self {
        let account = seen.connector.account();
        Self { inner, seen, account, owner: Uuid::new_v4() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(super) fn fault(&self, error: Error) -> JobError {
        error.into_job_error(self.now())
    }

    /// Takes the lease, unless somebody else has it or was first.
    async fn begin(&self) -> Result<Option<(Held, Lease)>, JobError> {
        match self.seen.lease_owner {
            // Nobody gave it back.
            Some(_) => self.take_over().await,
            None => self.acquire().await,
        }
    }

    /// Takes the lease, or prolongs it.
    async fn acquire(&self) -> Result<Option<(Held, Lease)>, JobError> {
        // Counted from before the database is asked: its answer may be long in coming.
        let lease = Lease::from(self.now(), Instant::now());
        self.try_acquire(lease).await.map_err(|error| self.fault(error))
    }

    pub(super) async fn try_acquire(&self, lease: Lease) -> Result<Option<(Held, Lease)>, Error> {
        let held = self.inner.store.acquire_refresh(&self.seen, self.owner, lease.until()).await?;
        Ok(held.map(|held| (held, lease)))
    }

    /// Answers new tokens, and whether they come of a new sign-in.
    async fn ask(
        &self,
        platform: &dyn Platform,
        held: &Held,
        lease: Lease,
    ) -> Result<(TokenSet, bool), JobError> {
        let account = &self.account;
        let Some(refresh) = &held.refresh else {
            let Some(secret) = &held.secret else {
                return Err(JobError::new(
                    ErrorClass::AuthRevoked,
                    "there is nothing to renew its tokens with: the platform granted no refresh token",
                ));
            };
            self.check(lease)?;
            return Ok((platform.sign_in(account, secret).await?, true));
        };
        self.check(lease)?;
        let answer = platform.refresh(account, refresh).await;
        let refused = matches!(&answer, Err(error) if is_refusal(error));
        match &held.secret {
            // Sessions end when an account was idle for long; the password still opens a new one.
            Some(secret) if refused => Ok(match self.sign_in_again(platform, secret).await? {
                Some(answer) => (answer, true),
                None => (answer?, false),
            }),
            _ => Ok((answer?, false)),
        }
    }

    /// A second request, so the lease starts anew; who lost it must not send, and has no answer.
    async fn sign_in_again(
        &self,
        platform: &dyn Platform,
        secret: &SecretString,
    ) -> Result<Option<TokenSet>, JobError> {
        if self.inner.drains() {
            let words = "the worker ends before it could sign in again";
            let until = self.now();
            return Err(JobError::new(ErrorClass::Unavailable { until }, words));
        }
        let Some((_, lease)) = self.acquire().await? else { return Ok(None) };
        self.check(lease)?;
        platform.sign_in(&self.account, secret).await.map(Some)
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
        // Somebody else has it, or there are other secrets by now: that is worth another look.
        if !left.map_err(|error| self.fault(error))? {
            return Ok(());
        }
        Err(match error.class() {
            // Free as well, and the platform's own word. A fault of ours is for a person.
            ErrorClass::RateLimited { .. } | ErrorClass::Bug => error,
            // Of the job's own work nothing has happened, so whatever this failed with is neither
            // its fault nor a reason to give it up.
            _ => not_renewed(failure.until, self.seen.failures + 1, &error.chain()),
        })
    }
}

/// What a job is told while nobody may ask for its account's tokens.
pub(super) fn not_renewed(until: Timestamp, failures: u32, last_error: &str) -> JobError {
    let words = format!(
        "the account's tokens could not be renewed, {failures} times in a row by now: {last_error}"
    );
    JobError::new(ErrorClass::Unavailable { until }, words).waiting_for(SnoozeReason::TokenRefresh)
}
