//! What is made of an earlier request of which nobody knows what became.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError, Timestamp};
use secrecy::SecretString;

use super::Attempt;
use crate::platforms::{
    Account, Bearer, Outgoing, Prepared, Published, Reconciled, Recourse, Sought,
};
use crate::store::PublicationState;

/// What the clocks of two machines may differ by. Looking a post up that could be repeated does no harm.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);
/// A post that was made in one of these moments beside the request's time may be counted to it.
const AROUND: Duration = Duration::from_secs(120);
const ANOTHERS: &str = "the post that reads as this one is another publication's, or may be";

impl Attempt<'_> {
    /// What helps if this attempt's request, or an earlier one, has an unknown outcome.
    pub(super) fn recourse(&self) -> Recourse {
        self.recourse_of(self.signed_in_at)
    }

    /// The same of an account that was signed in then.
    fn recourse_of(&self, signed_in_at: Option<Timestamp>) -> Recourse {
        let age = self.publication.age_on_arrival(self.services.now());
        self.platform.descriptor().recourse(age, self.is_anew(signed_in_at))
    }

    /// Whether an account that was signed in then may be another one to its platform than the one that
    /// sent the first request of which nobody knows what became. The clocks of two machines differ.
    fn is_anew(&self, signed_in_at: Option<Timestamp>) -> bool {
        let (begun, signed_in) = (self.publication.begun_at, signed_in_at);
        begun.zip(signed_in).is_some_and(|(begun, at)| at.after(CLOCKS_DIFFER) > begun)
    }

    pub(super) fn may_run_again(&self) -> bool {
        self.recourse() != Recourse::Person
    }

    /// Asks whether an earlier attempt's post is there, and keeps that if it is. Its absence proves
    /// something only once no request of that attempt can still be under way: until then the job waits.
    pub(super) async fn is_found(&self, post: &Outgoing) -> Result<bool, JobError> {
        let asked_at = self.services.now();
        let prepared = &self.publication.prepared;
        let call = |account: Account, access: SecretString| async move {
            let by = account.with(&access);
            let published = match self.ask(by, post, prepared, None).await? {
                Reconciled::There(published) => published,
                Reconciled::Alike(published) if self.adopts(&published).await? => published,
                other => return Ok(other),
            };
            self.sending.published(published.clone());
            self.look_for_address(by, published.clone()).await;
            Ok(Reconciled::There(published))
        };
        let found = self.services.accounts.with_access(self.publication.connector_id, call).await;
        let (words, is_sure) = match unless_refused(found)? {
            Reconciled::There(_) => return Ok(true),
            Reconciled::Alike(_) => return Err(self.later(ANOTHERS)),
            Reconciled::Absent => ("an earlier attempt's post is not there yet".to_owned(), true),
            Reconciled::Unsure(words) => (words, false),
        };
        if let Some(until) = self.publication.proof_from().filter(|from| asked_at < *from) {
            let words = format!("{words}, and may still come");
            return Err(JobError::new(ErrorClass::Unavailable { until }, words));
        }
        if is_sure {
            return Ok(false);
        }
        let words = format!("{words}: look at the account");
        Err(JobError::new(ErrorClass::Unknown { repeatable: false }, words))
    }

    async fn ask(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        named: Option<&str>,
    ) -> Result<Reconciled, JobError> {
        let since = self.publication.begun_at.unwrap_or(self.publication.scheduled_at);
        // One that was refused just now may name its own post, too.
        let until = self.publication.arrived_by().filter(|_| named.is_none());
        let until = until.unwrap_or(self.services.now());
        let (first, last) = (since.before(AROUND), until.after(AROUND));
        let others = self.services.store.others_of(self.publication.id, first, last).await;
        let others = &others.map_err(|error| self.fault(error))?;
        let sought = Sought { since, until, named, others };
        let asked = self.platform.reconcile(by, post, prepared, sought);
        self.cx.breaker.calling(asked).await
    }

    /// Records that a post that reads as this one is this one, unless it is another publication's.
    async fn adopts(&self, published: &Published) -> Result<bool, JobError> {
        let adopted = self.services.store.adopt(&self.publication, published).await;
        adopted.map_err(|error| self.fault(error))
    }

    /// A key that is about to be sent again must still be the same to the platform: the account may
    /// have been signed in anew since this attempt began.
    pub(super) fn check_key(&self, account: &Account) -> Result<(), JobError> {
        let recourse = self.recourse_of(account.signed_in_at);
        if !self.sending.repeats() || recourse == Recourse::Repeat {
            return Ok(());
        }
        let words =
            "the account was signed in anew, so that its earlier request is looked up first";
        Err(JobError::new(ErrorClass::Unavailable { until: self.services.now() }, words))
    }

    /// The account has a post like this one: this very one, if an earlier request may have made it.
    pub(super) async fn taken(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        named: Option<&str>,
    ) -> Result<Published, JobError> {
        let repeatable = self.may_run_again();
        let unknown = |words: &str| JobError::new(ErrorClass::Unknown { repeatable }, words);
        if self.publication.state != PublicationState::Sending {
            let words = "the account has a post like this one already, and takes no second one";
            return Err(JobError::new(ErrorClass::Invalid, words));
        }
        if !self.platform.descriptor().reconciles {
            return Err(unknown(
                "the account has a post like this one; look whether it is this one",
            ));
        }
        match self.ask(by, post, prepared, named).await {
            Ok(Reconciled::There(published)) => Ok(published),
            Ok(Reconciled::Alike(published)) => match self.adopts(&published).await {
                Ok(true) => Ok(published),
                Ok(false) => Err(unknown(ANOTHERS)),
                Err(error) => Err(unknown(ANOTHERS).because(error)),
            },
            Ok(Reconciled::Absent) => {
                Err(unknown("the platform says it has the post, and shows none"))
            }
            Ok(Reconciled::Unsure(words)) => Err(unknown(&words)),
            Err(error) => Err(unknown("the platform says it has the post").because(error)),
        }
    }

    /// On a platform that can be asked, the next run asks: that is as good as a key.
    pub(super) fn unknown(&self, error: JobError) -> JobError {
        if self.recourse() != Recourse::Reconcile {
            return error;
        }
        let class = ErrorClass::Unknown { repeatable: true };
        JobError::new(class, "whether it was published is to be looked up").because(error)
    }
}

/// A look-up that the platform refuses says nothing about the post: a person looks then.
fn unless_refused(found: Result<Reconciled, JobError>) -> Result<Reconciled, JobError> {
    match found {
        Err(error) if error.class() == ErrorClass::Invalid => {
            Ok(Reconciled::Unsure(format!("it could not be looked up ({error})")))
        }
        other => other,
    }
}
