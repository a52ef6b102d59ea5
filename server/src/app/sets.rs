//! Publication sets: how the publications of one request fare, cancelling them, putting them back.

use postworks::broker::Removed;
use postworks::job::{Durability, FieldError, JobId, NewJob, State};
use postworks::ledger::{AuditEntry, Cancel, DeadFilter};
use postworks_workers::store::{Member, PublicationSet, PublicationState};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::types::{
    AskedCallback, CallbackView, CancelledSet, EnqueueJob, Plan, Publish, RetriedSet, SetMember,
    SetView, Why,
};
use super::{App, Error};

impl App {
    /// The job that is called back when a request's publications have ended, if it asks for one.
    pub(super) async fn callback(&self, publish: &Publish) -> Result<Option<NewJob>, Error> {
        let Some(AskedCallback { kind, args }) = &publish.callback else { return Ok(None) };
        let asked =
            EnqueueJob { trace: publish.trace, ..EnqueueJob::new(kind.as_str(), args.clone()) };
        let below =
            |fault: FieldError| FieldError::new(format!("/callback{}", fault.field), fault.message);
        let job = match self.checked(asked).await {
            Err(Error::Invalid(faults)) => {
                return Err(Error::Invalid(faults.into_iter().map(below).collect()));
            }
            checked => checked?,
        };
        if job.durability == Durability::Broker {
            let words = format!("{} jobs are not recorded, so they can wait for none", job.kind);
            return Err(Error::field("/callback/kind", words));
        }
        Ok(Some(job))
    }

    /// A publication set.
    pub async fn set(&self, id: Uuid) -> Result<SetView, Error> {
        view(self.set_row(id).await?)
    }

    async fn set_row(&self, id: Uuid) -> Result<PublicationSet, Error> {
        let found = self.store.publication_set(id).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no publication set {id}")))
    }

    /// Cancels what has not ended and is not being sent. The callback stays: it sees what was
    /// cancelled. Cancelling again changes nothing more.
    pub async fn cancel_set(&self, id: Uuid, why: &Why) -> Result<CancelledSet, Error> {
        let note = self.note("set.cancel", id.to_string(), why.reason.as_deref())?;
        let set = self.set_row(id).await?;
        let mut done = CancelledSet::default();
        for member in &set.publications {
            let publication = member.publication.id;
            if member.publication.state == PublicationState::Sending {
                // What became of it is to be known first, not left open for a person.
                done.sending.push(publication);
            } else if member.has_ended() || !self.cancel_member(member, &note).await? {
                done.ended.push(publication);
            } else {
                done.cancelled.push(publication);
            }
        }
        Ok(done)
    }

    /// Cancels a publication's job; answers whether it was live.
    async fn cancel_member(&self, member: &Member, note: &AuditEntry) -> Result<bool, Error> {
        let job = JobId::from_uuid(member.publication.job_id);
        let Cancel::Marked { queue } = self.ledger.cancel(job, note.at, Some(note)).await? else {
            return Ok(false);
        };
        match self.node.broker.remove(&queue, job).await {
            Ok(Removed::Removed | Removed::Absent | Removed::Running) => {}
            // Whoever claims it asks the ledger before it sends.
            Err(error) => {
                tracing::warn!(job.id = %job, %error, "a cancelled job may still be in the broker");
            }
        }
        Ok(true)
    }

    /// Puts the dead publications of a set back, with the care that dead letters have: what is done is
    /// completed, what may be done is left alone. If its callback has run, or waits and was told of
    /// them, another one waits for what they come to now. May be repeated.
    pub async fn retry_set(&self, id: Uuid, why: &Why) -> Result<RetriedSet, Error> {
        let note = self.note("set.retry", id.to_string(), why.reason.as_deref())?;
        let set = self.set_row(id).await?;
        let dead = set.publications.iter().filter(|one| one.job_state.as_deref() == Some("dead"));
        let ids: Vec<JobId> = dead.map(|one| JobId::from_uuid(one.publication.job_id)).collect();
        let mut plan = Plan::default();
        if !ids.is_empty() {
            let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let filter = DeadFilter { ids, limit, ..DeadFilter::default() };
            let letters = self.ledger.dead_letters(&filter).await?;
            self.put_back_these(letters, false, None, &note, &mut plan).await?;
        }
        let callback_job_id = self.call_back_again(&set, plan.runnable > 0).await?;
        Ok(RetriedSet { plan, callback_job_id })
    }

    /// Makes another job in place of a set's callback, if that is called for.
    async fn call_back_again(
        &self,
        set: &PublicationSet,
        put_back: bool,
    ) -> Result<Option<JobId>, Error> {
        let Some(last) = &set.callback else { return Ok(None) };
        // Also what somebody put back by other means, or a retry that was cut off half-way.
        let goes_on = !set.publications.iter().all(Member::has_ended) && !last.is_live();
        if !put_back && !goes_on {
            return Ok(None);
        }
        let args = RawValue::from_string(last.args.clone())
            .map_err(|error| Error::Broken(Box::new(error)))?;
        let callback = self.checked(EnqueueJob::new(last.kind.as_str(), args)).await?;
        let Some(job) = self.store.call_back_again(set, last.job_id, &callback).await? else {
            return Ok(None);
        };
        let id = job.id;
        self.producer.dispatch(vec![job]);
        Ok(Some(id))
    }
}

fn view(set: PublicationSet) -> Result<SetView, Error> {
    let callback = set.callback.as_ref().map(|last| {
        Ok::<_, Error>(CallbackView {
            job_id: last.job_id,
            state: job_state(last.job_state.as_deref())?,
        })
    });
    Ok(SetView {
        id: set.id,
        post_id: set.post_id,
        state: set.state().to_string(),
        callback: callback.transpose()?,
        created_at: set.created_at,
        finished_at: set.finished_at(),
        publications: set.publications.into_iter().map(member).collect::<Result<_, _>>()?,
    })
}

fn member(member: Member) -> Result<SetMember, Error> {
    let publication = member.publication;
    Ok(SetMember {
        id: publication.id,
        connector_id: publication.connector_id,
        state: publication.state.to_string(),
        remote_url: publication.remote_url,
        job_id: JobId::from_uuid(publication.job_id),
        job_state: job_state(member.job_state.as_deref())?,
        reason: member.reason,
    })
}

/// A state as the ledger has it, where `ready` stands for what only time and the broker tell apart.
fn job_state(stored: Option<&str>) -> Result<Option<State>, Error> {
    match stored {
        None => Ok(None),
        Some("open") => Ok(Some(State::Ready)),
        Some(state) => state.parse().map(Some).map_err(|error| Error::Broken(Box::new(error))),
    }
}
