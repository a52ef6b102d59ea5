//! Publishes one post on one account, at most once.
//!
//! The publication's row says `sending` before a request leaves, and what became of it before the
//! job ends. A run that finds `sending` left behind knows that the post may be out there, and goes
//! by what the platform offers:
//!
//! - it knows our key, or we choose the record's id: sending the same again is harmless;
//! - it can be asked: the post is looked up, and sent again only once its absence is proof;
//! - it offers nothing: a person must look at the account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postworks::job::{ErrorClass, JobError, PostPublication, Queue, Timestamp};
use postworks::worker::{Handler, JobContext};
use secrecy::SecretString;
use uuid::Uuid;

use super::Services;
use crate::platforms::{Account, Descriptor, Idempotency, Outgoing, Platform, Published};
use crate::store::{Publication, PublicationState};

/// Longest a platform client's request takes. A client gives up earlier or at this.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a platform that was asked may not show a post that it has.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// Time an attempt needs for the request and for recording its outcome. With less left it does
/// not start, since being cut off in the middle leaves the outcome unknown. Where attempts are
/// configured to be short, half of one must do.
const SEND_TIME: Duration = Duration::from_secs(35);

/// Handles [`PostPublication`].
pub struct PublishPost(pub Services);

/// One attempt at one publication.
struct Attempt<'a> {
    services: &'a Services,
    cx: &'a JobContext,
    platform: Arc<dyn Platform>,
    publication: Publication,
    /// After this the attempt does not start sending.
    start_by: Timestamp,
    /// Whether this attempt has made the row `sending`.
    begun: AtomicBool,
}

#[async_trait]
impl Handler<PostPublication> for PublishPost {
    async fn handle(&self, job: PostPublication, cx: &JobContext) -> Result<(), JobError> {
        let services = &self.0;
        let found = services.store.publication(job.publication_id).await;
        let Some(publication) = found.map_err(|error| services.fault(error))? else {
            return Err(JobError::new(ErrorClass::Invalid, "no publication with this id"));
        };
        if publication.state == PublicationState::Published {
            return Ok(());
        }
        let connector = services.connector(publication.connector_id).await?;
        let platform = services.platform(&connector)?;
        let room = cx.deadline.since(services.now());
        let start_by = cx.deadline.before(SEND_TIME.min(room / 2));
        let begun = AtomicBool::new(false);
        Attempt { services, cx, platform, publication, start_by, begun }.run().await
    }

    fn interrupted(&self, queue: &Queue) -> ErrorClass {
        let platform = self.0.platform_of(queue);
        let again = platform.is_some_and(|platform| may_run_again(platform.descriptor()));
        ErrorClass::Unknown { repeatable: again }
    }
}

/// Whether a run after one with an unknown outcome can do better than a person.
fn may_run_again(descriptor: &Descriptor) -> bool {
    descriptor.idempotency.repeatable() || descriptor.idempotency == Idempotency::LookUp
}

impl Attempt<'_> {
    async fn run(&self) -> Result<(), JobError> {
        let (id, store) = (self.publication.id, &self.services.store);
        let frozen = store.freeze(id).await.map_err(|error| self.services.fault(error))?;
        let post = Outgoing { publication_id: id, text: frozen.text, created_at: frozen.at };
        postworks::failpoint!(PoisonRun if post.text.starts_with("poison"));
        if self.publication.state == PublicationState::Sending {
            match self.idempotency() {
                _ if postworks::planted!(BlindResend) => {}
                Idempotency::DeterministicId | Idempotency::ClientKey => {}
                Idempotency::LookUp => {
                    if let Some(published) = self.look_up(&post).await? {
                        return self.record(&published).await;
                    }
                }
                Idempotency::None => {
                    let words = "an earlier attempt may have been published; look at the account";
                    return Err(JobError::new(ErrorClass::Unknown { repeatable: false }, words));
                }
            }
        }
        self.check_length(&post).await?;
        self.check_time()?;
        match self.send(post).await {
            Ok(Some(published)) => self.record(&published).await,
            // Another run has published it meanwhile.
            Ok(None) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    fn idempotency(&self) -> Idempotency {
        self.platform.descriptor().idempotency
    }

    fn may_run_again(&self) -> bool {
        may_run_again(self.platform.descriptor())
    }

    /// Asks whether an earlier attempt's post is there. Its absence proves something only once no
    /// request of that attempt can still be under way: until then the job waits.
    async fn look_up(&self, post: &Outgoing) -> Result<Option<Published>, JobError> {
        let proof_from = self
            .publication
            .send_by
            .unwrap_or_else(|| self.services.now())
            .after(REQUEST_MAX)
            .after(VISIBLE_WITHIN);
        let asked_at = self.services.now();
        let call = |account: Account, access: SecretString| {
            let (platform, post) = (Arc::clone(&self.platform), post.clone());
            async move { platform.look_up(&account, &access, &post).await }
        };
        let found = self.services.accounts.with_access(self.publication.connector_id, call).await?;
        if found.is_none() && asked_at < proof_from {
            let words = "an earlier attempt's post is not there yet, and may still come";
            return Err(JobError::new(ErrorClass::Unavailable { until: proof_from }, words));
        }
        Ok(found)
    }

    async fn check_length(&self, post: &Outgoing) -> Result<(), JobError> {
        let (chars, max) = (post.text.chars().count(), self.platform.descriptor().text_chars_max);
        // What may have been sent is not called failed, whatever its length.
        if chars <= max || self.publication.state == PublicationState::Sending {
            return Ok(());
        }
        let rejected = self.services.store.rejected(post.publication_id, true).await;
        rejected.map_err(|error| self.services.fault(error))?;
        let name = self.platform.descriptor().name;
        let words = format!("the text has {chars} characters; {name} takes at most {max}");
        Err(JobError::new(ErrorClass::Invalid, words))
    }

    fn check_time(&self) -> Result<(), JobError> {
        let now = self.services.now();
        if !self.cx.cancelled.is_cancelled() && now <= self.start_by {
            return Ok(());
        }
        let words = "too little time was left to send";
        Err(JobError::new(ErrorClass::Unavailable { until: now }, words))
    }

    /// Makes the one request that cannot be taken back. `None`: nothing was sent, since another
    /// run has published it.
    async fn send(&self, post: Outgoing) -> Result<Option<Published>, JobError> {
        let call = |account: Account, access: SecretString| {
            let post = post.clone();
            async move {
                // A refresh may have taken a while since the time was looked at.
                self.check_time()?;
                // After `AuthExpired` this runs once more, and finds its own `sending`.
                let again = self.begun.load(Ordering::Relaxed) || self.resends();
                postworks::failpoint!(IntentBefore);
                let Some(send_by) = self.begin(post.publication_id, again).await? else {
                    return Ok(None);
                };
                postworks::failpoint!(IntentCommitted);
                self.begun.store(true, Ordering::Relaxed);
                // Whoever looks the post up later counts on this: nothing leaves after `send_by`.
                if self.services.now() >= send_by {
                    let words = "was held up between recording the request and sending it";
                    return Err(JobError::new(ErrorClass::NotSent, words));
                }
                self.platform.publish(&account, &access, &post).await.map(Some)
            }
        };
        self.services.accounts.with_access(self.publication.connector_id, call).await
    }

    /// Whether this run may send what an earlier one left as `sending`: `run` has checked.
    fn resends(&self) -> bool {
        self.publication.state == PublicationState::Sending
            && (self.may_run_again() || postworks::planted!(BlindResend))
    }

    async fn begin(&self, id: Uuid, again: bool) -> Result<Option<Timestamp>, JobError> {
        let store = &self.services.store;
        if postworks::planted!(LeaseAsEffectGuard) {
            return Ok(Some(self.start_by));
        }
        let begun = store.begin_sending(id, again).await;
        if let Some(send_by) = begun.map_err(|error| self.services.fault(error))? {
            return Ok(Some(send_by));
        }
        let now = store.publication(id).await.map_err(|error| self.services.fault(error))?;
        if now.is_some_and(|row| row.state == PublicationState::Published) {
            return Ok(None);
        }
        let words = "another run is sending this publication";
        Err(JobError::new(ErrorClass::Unknown { repeatable: self.may_run_again() }, words))
    }

    async fn record(&self, published: &Published) -> Result<(), JobError> {
        postworks::failpoint!(OutcomeBefore);
        let recorded = self.services.store.sent(self.publication.id, published).await;
        recorded.map_err(|error| {
            let words = format!("published as {}, but not recorded", published.remote_id);
            let class = ErrorClass::Unknown { repeatable: self.may_run_again() };
            JobError::new(class, words).because(error)
        })
    }

    /// Records what a failure says about the publication.
    async fn failed(&self, error: JobError) -> JobError {
        let last = self.cx.attempt >= self.cx.max_attempts;
        let begun = self.begun.load(Ordering::Relaxed);
        let finally = match error.class() {
            // The row stays `sending`: that is what the next run must know.
            ErrorClass::Unknown { .. } => return self.unknown(error),
            ErrorClass::Bug => return error,
            ErrorClass::Invalid => true,
            ErrorClass::NotSent | ErrorClass::Transient | ErrorClass::AuthExpired => last,
            ErrorClass::RateLimited { .. }
            | ErrorClass::Unavailable { .. }
            | ErrorClass::AuthRevoked => false,
        };
        // This attempt's request is surely not applied, an earlier one's may be: where that was
        // not ruled out by looking it up, nothing new is known.
        let open = self.publication.state == PublicationState::Sending
            && self.idempotency() != Idempotency::LookUp;
        if open || !(begun || finally) {
            return error;
        }
        match self.services.store.rejected(self.publication.id, finally).await {
            Err(fault) if begun => {
                let words = format!("not published ({error}), but that was not recorded");
                let class = ErrorClass::Unknown { repeatable: self.may_run_again() };
                JobError::new(class, words).because(fault)
            }
            _ => error,
        }
    }

    /// On a platform that can be asked, the next run asks: that is as good as a key.
    fn unknown(&self, error: JobError) -> JobError {
        if self.idempotency() != Idempotency::LookUp {
            return error;
        }
        let class = ErrorClass::Unknown { repeatable: true };
        JobError::new(class, "whether it was published is to be looked up").because(error)
    }
}
