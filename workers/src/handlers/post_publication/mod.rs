//! Publishes one post on one account, at most once.
//!
//! The publication's row says `sending` before a request leaves, and what became of it before the
//! job ends. A run that finds `sending` left behind knows that the post may be out there, and goes
//! by what the platform offers:
//!
//! - it knows our key still, or we choose the record's id: sending the same again is harmless;
//! - it can be asked: the post is reconciled, and sent again only once its absence is proof;
//! - it offers nothing: a person must look at the account.
//!
//! What a post refers to, such as an upload, is made ready before: that may be done again at any time.
//!
//! What the platform's answer said is left at once in [`Sending`], which the engine records, however
//! long the ledger is away, and whatever the run does after it.

mod earlier;
mod own_time;
mod sending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::job::{ErrorClass, JobError, PostPublication, Timestamp};
use postworks::worker::{Effect, Handler, JobContext};
use secrecy::SecretString;

use self::own_time::OwnTime;
use self::sending::{Sending, missed};
use super::Services;
use crate::platforms::{
    Account, Bearer, Committed, Draft, Originals, Outgoing, Platform, Preparation, Prepared,
    Published, Recourse, Refusal,
};
use crate::store::{
    Begun, ConnectorState, Earlier, Error, Late, Publication, PublicationState, SEND_WITHIN,
};

/// Time an attempt needs for the request. With less left it does not start, since being cut off
/// in the middle leaves the outcome unknown. Where attempts are configured to be short, half of
/// one must do.
const SEND_TIME: Duration = Duration::from_secs(35);
/// A row that another run is at, or that could not be written in time, is looked at again after
/// this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long an attempt goes on after the answer, for the post's address alone.
const ADDRESS_WITHIN: Duration = Duration::from_secs(5);

/// Handles [`PostPublication`].
pub struct PublishPost(pub Services);

/// One attempt at one publication.
struct Attempt<'a> {
    services: &'a Services,
    cx: &'a JobContext,
    platform: Arc<dyn Platform>,
    publication: Publication,
    /// When the account was last signed in, as this attempt read it.
    signed_in_at: Option<Timestamp>,
    /// After this the attempt does not start sending.
    start_by: Timestamp,
    /// What becomes of the request.
    sending: Arc<Sending>,
}

#[async_trait]
impl Handler<PostPublication> for PublishPost {
    async fn handle(&self, job: PostPublication, cx: &JobContext) -> Result<(), JobError> {
        let services = &self.0;
        let sending = Arc::new(Sending::of(&services.store, job.publication_id, cx));
        cx.effect.keep(Arc::clone(&sending) as Arc<dyn Effect>);
        let found = services.store.publication(job.publication_id).await;
        let Some(publication) = found.map_err(|error| services.fault(error))? else {
            return Err(JobError::new(ErrorClass::Invalid, "no publication with this id"));
        };
        if publication.state == PublicationState::Published {
            return Ok(());
        }
        sending.read(&publication);
        in_time(&publication, &sending, cx, services.now())?;
        let connector = services.connector(publication.connector_id).await?;
        if connector.state == ConnectorState::Disconnecting {
            return Err(disconnected(&publication, services.now()));
        }
        let platform = services.platform(&connector)?;
        let room = cx.deadline.since(services.now());
        let start_by = cx.deadline.before(SEND_TIME.min(room / 2));
        let signed_in_at = connector.signed_in_at;
        let attempt =
            Attempt { services, cx, platform, publication, signed_in_at, start_by, sending };
        attempt.run().await
    }

    fn ends_expired(&self) -> bool {
        true
    }
}

/// Whether it is of use to go on now, and not too early for it. A request that may have left is
/// followed up, window or not, for as long as its job is of use.
fn in_time(
    publication: &Publication,
    sending: &Sending,
    cx: &JobContext,
    now: Timestamp,
) -> Result<(), JobError> {
    let waits = publication.state != PublicationState::Sending;
    let skipped = publication.window.filter(|window| window.late == Late::Skip && waits);
    match skipped {
        Some(window) if window.is_over(now) => {
            return Err(is_missed(sending, (publication.scheduled_at, window.not_after)));
        }
        Some(_) => {}
        None if cx.expires_at <= now => {
            sending.gives_up(true);
            let words = format!("expired at {} before it could run", cx.expires_at);
            return Err(JobError::new(ErrorClass::Expired, words));
        }
        None => {}
    }
    if waits && publication.scheduled_at > sending.due_by(now) {
        return Err(not_yet(publication.scheduled_at));
    }
    Ok(())
}

fn is_missed(sending: &Sending, window: (Timestamp, Timestamp)) -> JobError {
    let words = missed(window);
    sending.is_missed(&words);
    JobError::new(ErrorClass::Expired, words)
}

/// A person moved it, or released it before its time.
fn not_yet(until: Timestamp) -> JobError {
    JobError::new(ErrorClass::Unavailable { until }, "it is not to be sent before its time")
}

/// Nobody can send or ask any more. Of a request that may have left only a person can tell what
/// became of it, once it cannot be under way any more; else the job is cancelled where it waits.
fn disconnected(publication: &Publication, now: Timestamp) -> JobError {
    if publication.state != PublicationState::Sending {
        return JobError::new(ErrorClass::AuthRevoked, "the account is disconnected");
    }
    if let Some(until) = publication.proof_from().filter(|from| now < *from) {
        let words = "an earlier attempt of an account that is disconnected may be under way";
        return JobError::new(ErrorClass::Unavailable { until }, words);
    }
    let words = "the account was disconnected before an earlier attempt's outcome was known; look \
         at the account";
    JobError::new(ErrorClass::Unknown { repeatable: false }, words)
}

impl Attempt<'_> {
    async fn run(&self) -> Result<(), JobError> {
        let (id, store) = (self.publication.id, &self.services.store);
        let frozen = store.freeze(id).await.map_err(|error| self.services.fault(error))?;
        if let Some(answered) = frozen.unanswerable {
            let words = format!("publication {answered}, which it answers, is not published");
            return Err(self.failed(JobError::new(ErrorClass::Invalid, words)));
        }
        let public = self.services.public_url.as_ref();
        let keeper: Arc<dyn Originals> = Arc::new(OwnTime(store.clone(), self.cx.breaker.clone()));
        let post = store.outgoing(id, frozen, public, &keeper).await;
        let post = post.map_err(|error| self.fault(error))?;
        postworks::failpoint!(PoisonRun if post.text.starts_with("poison"));
        let mut earlier = Earlier::None;
        if self.publication.state == PublicationState::Sending {
            earlier = match self.recourse() {
                _ if postworks::planted!(BlindResend) => Earlier::Absent,
                Recourse::Repeat => Earlier::Open,
                Recourse::Reconcile => {
                    if self.is_found(&post).await? {
                        return Ok(());
                    }
                    Earlier::Absent
                }
                Recourse::Person => {
                    let words = "an earlier attempt may have been published; look at the account";
                    return Err(JobError::new(ErrorClass::Unknown { repeatable: false }, words));
                }
            };
        }
        self.sending.concluded(earlier);
        let sent = match self.check_limits(&post).and_then(|()| self.check_time()) {
            Ok(()) => self.send(post).await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| self.failed(error))
    }

    fn check_limits(&self, post: &Outgoing) -> Result<(), JobError> {
        let descriptor = self.platform.descriptor();
        // What may have been sent is not called failed, whatever is in it.
        if self.publication.state == PublicationState::Sending {
            return Ok(());
        }
        let refused = |refusal: Refusal| JobError::new(ErrorClass::Invalid, refusal.words);
        descriptor.limits.check(descriptor.name, &Draft::from(post)).map_err(refused)
    }

    fn check_time(&self) -> Result<(), JobError> {
        let now = self.services.now();
        if !self.cx.cancelled.is_cancelled() && now <= self.start_by {
            return Ok(());
        }
        let words = "too little time was left to send";
        Err(JobError::new(ErrorClass::Unavailable { until: now }, words))
    }

    /// The fleet may have learnt while we prepared that the platform fails.
    fn check_breaker(&self) -> Result<(), JobError> {
        if !self.cx.breaker.has_opened() {
            return Ok(());
        }
        let words = "the platform's breaker opened before the request was sent";
        Err(JobError::new(ErrorClass::Unavailable { until: self.services.now() }, words))
    }

    /// Makes the one request that cannot be taken back, unless another run has published the post.
    async fn send(&self, post: Outgoing) -> Result<(), JobError> {
        let post = &post;
        let call = |account: Account, access: SecretString| {
            // After `AuthExpired` this runs once more.
            async move {
                let by = account.with(&access);
                self.check_key(by.account)?;
                let prepared = self.prepare(by, post).await?;
                // A refresh, or uploads, may have taken a while since the time was looked at.
                self.check_time()?;
                if !self.begin().await? {
                    return Ok(());
                }
                self.check_breaker()?;
                self.sending.leaves(self.may_run_again());
                let answer = self.platform.commit(by, post, &prepared);
                let answer = self.cx.breaker.calling(answer).await;
                let answer = match answer {
                    Ok(Committed::AlreadyThere { remote_id }) => {
                        let named = remote_id.as_deref();
                        self.taken(by, post, &prepared, named).await
                    }
                    Ok(Committed::Published(published)) => Ok(published),
                    Err(error) => Err(error),
                };
                self.look_for_address(by, self.heard(answer)?).await;
                Ok(())
            }
        };
        self.services.accounts.with_access(self.publication.connector_id, call).await
    }

    /// Has the platform hold ready what the post refers to, and keeps what it says of that.
    async fn prepare(&self, by: Bearer<'_>, post: &Outgoing) -> Result<Prepared, JobError> {
        let mut kept = self.sending.prepared();
        loop {
            let asked = self.platform.prepare(by, post, kept.clone());
            let (next, wait) = match self.cx.breaker.calling(asked).await? {
                Preparation::Ready(prepared) => (prepared, None),
                Preparation::Waits { so_far, until } => (so_far, Some(until)),
            };
            if next != kept
                && !self.sending.keep_prepared(&next).await.map_err(|e| self.fault(e))?
            {
                return Err(self.overtaken());
            }
            kept = next;
            match wait {
                None => return Ok(kept),
                Some(until) if until > self.services.now() => {
                    let words = "the platform still works on what the post refers to";
                    return Err(JobError::new(ErrorClass::Unavailable { until }, words));
                }
                Some(_) => self.check_time()?,
            }
        }
    }

    /// Records the intent. `false`: the post is published.
    async fn begin(&self) -> Result<bool, JobError> {
        let started = Instant::now();
        if postworks::planted!(LeaseAsEffectGuard) {
            return Ok(true);
        }
        postworks::failpoint!(IntentBefore);
        let begun = tokio::time::timeout(SEND_WITHIN, self.sending.begin()).await;
        let begun = begun.map_err(|_| self.later("the request could not be recorded in time"))?;
        postworks::failpoint!(IntentCommitted);
        match begun.map_err(|error| self.fault(error))? {
            // Whoever looks the post up later counts on this: nothing leaves after `send_by`. The
            // clock may have been set back, and the other one stands still while a machine sleeps.
            Begun::Recorded { send_by, .. } => {
                if self.services.now() < send_by && started.elapsed() < SEND_WITHIN {
                    return Ok(true);
                }
                let words = "was held up between recording the request and sending it";
                // Our fault, not the platform's.
                let until = self.services.now();
                Err(JobError::new(ErrorClass::Unavailable { until }, words))
            }
            Begun::Published => Ok(false),
            Begun::NotYet(until) => Err(not_yet(until)),
            Begun::Missed => {
                let not_after = self.publication.window.map(|window| window.not_after);
                let window = (self.publication.scheduled_at, not_after.unwrap_or_default());
                Err(is_missed(&self.sending, window))
            }
            Begun::Overtaken => Err(self.overtaken()),
        }
    }

    fn later(&self, words: &str) -> JobError {
        let until = self.services.now().after(LOOK_AGAIN);
        JobError::new(ErrorClass::Unavailable { until }, words)
    }

    fn overtaken(&self) -> JobError {
        self.later("another run is at this publication, or a person has moved it")
    }

    fn fault(&self, error: Error) -> JobError {
        self.services.fault(error)
    }

    /// Keeps what the platform's answer says about the post.
    fn heard(&self, answer: Result<Published, JobError>) -> Result<Published, JobError> {
        match &answer {
            Ok(published) => self.sending.published(published.clone()),
            Err(error) => {
                if !matches!(error.class(), ErrorClass::Unknown { .. } | ErrorClass::Bug) {
                    self.sending.not_applied();
                }
            }
        }
        answer
    }

    /// Where people see the post, on platforms that must be asked. That it is there is known already, and
    /// kept however this ends.
    async fn look_for_address(&self, by: Bearer<'_>, published: Published) {
        // The attempt must come to its end: one that is cut off counts as failed.
        let left = self.cx.deadline.since(self.services.now());
        if published.remote_url.is_some() || left.is_zero() {
            return;
        }
        let asked = self.platform.address(by, &published.remote_id);
        let asked = tokio::time::timeout(ADDRESS_WITHIN.min(left / 2), asked);
        let Ok(Ok(Some(url))) = asked.await else { return };
        self.sending.published(Published { remote_url: Some(url), ..published });
    }

    /// Keeps what a failure says about the publication.
    fn failed(&self, error: JobError) -> JobError {
        let last = self.cx.attempt >= self.cx.max_attempts;
        match error.class() {
            // The row stays `sending`: that is what the next run must know.
            ErrorClass::Unknown { .. } => return self.unknown(error),
            ErrorClass::Bug => {}
            ErrorClass::Invalid | ErrorClass::Expired => self.sending.gives_up(true),
            ErrorClass::NotSent | ErrorClass::Transient | ErrorClass::AuthExpired => {
                self.sending.gives_up(last);
            }
            ErrorClass::RateLimited { .. }
            | ErrorClass::Unavailable { .. }
            | ErrorClass::AuthRevoked => self.sending.gives_up(false),
        }
        error
    }
}
