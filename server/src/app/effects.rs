//! Effects whose outcome is not known: showing them, and taking a person's word.

use postworks::job::{FieldError, JobId, State};
use postworks::ledger::DeadFilter;
use postworks_workers::platforms::Recourse;
use postworks_workers::store::{
    OpenEffect, Owner, Publication, PublicationState, Resolution, Resolved,
};
use uuid::Uuid;

use super::accounts::remote_post;
use super::paging::Wanted;
use super::types::{
    DeadChoice, DeadRetry, EffectResolved, EffectView, FoundOut, Needs, Page, PageQuery,
    ResolveEffect,
};
use super::{App, Error};

impl App {
    /// Lists effects whose outcome is not known and whose requests cannot be under way any more.
    pub async fn effects(&self, query: &PageQuery) -> Result<Page<EffectView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.store.open_effects(wanted.before, wanted.probe()).await?;
        let mut views = Vec::with_capacity(found.len());
        for open in found {
            views.push(self.effect(open).await?);
        }
        Ok(wanted.page(views, |effect| effect.id))
    }

    async fn effect(&self, open: OpenEffect) -> Result<EffectView, Error> {
        let OpenEffect { publication, platform, identifier } = open;
        let job_id = JobId::from_uuid(publication.job_id);
        let job_state = self.state_if_any(job_id).await?;
        let needs = match (self.recourse(&publication, &platform), job_state) {
            (Recourse::Person, _) => Needs::Person,
            (_, Some(state)) if !state.has_ended() => Needs::Nothing,
            (_, Some(State::Dead)) => Needs::Retry,
            // Without a job that could be put back, looking is simpler than making one.
            _ => Needs::Person,
        };
        Ok(EffectView {
            id: publication.id,
            job_id,
            job_state,
            connector_id: publication.connector_id,
            platform,
            identifier,
            begun_at: publication.begun_at,
            send_by: publication.send_by,
            worker: publication.worker,
            error: self.last_error(job_id).await?,
            needs,
        })
    }

    /// Takes a person's word for what became of a publication.
    pub async fn resolve_effect(
        &self,
        id: Uuid,
        resolve: &ResolveEffect,
    ) -> Result<EffectResolved, Error> {
        let resolution = resolution(resolve)?;
        let mut note = self.note("effects.resolve", id.to_string(), resolve.reason.as_deref())?;
        note.detail = Some(format!("{:?}", resolve.outcome).to_lowercase());
        let found = self.store.publication(id).await?;
        let Some(publication) = found else { return Err(missing(id)) };
        let job_id = JobId::from_uuid(publication.job_id);
        if self.state_if_any(job_id).await? == Some(State::Running) {
            let words =
                format!("a worker runs job {job_id} of publication {id}; wait until it has");
            return Err(Error::Conflict(words));
        }
        match self.store.resolve(id, &resolution, Some(&note)).await? {
            Resolved::Done(row) => {
                if resolve.retry {
                    let filter = DeadChoice { ids: vec![job_id], ..DeadChoice::default() };
                    let reason = resolve.reason.clone();
                    let retry = DeadRetry { filter, reason, ..DeadRetry::default() };
                    self.dlq_retry(&retry).await?;
                }
                let (state, job_state) = (row.state.to_string(), self.state_if_any(job_id).await?);
                Ok(EffectResolved { id, state, job_id, job_state })
            }
            Resolved::Missing => Err(missing(id)),
            Resolved::InFlight(until) => {
                let words = format!(
                    "a request of publication {id} may be under way, or not be visible yet, until \
                     {until}; look at the account after that"
                );
                Err(Error::Conflict(words))
            }
            Resolved::NotOpen(row) => {
                let words =
                    format!("nothing is unknown about publication {id}: it is {}", row.state);
                Err(Error::Conflict(words))
            }
            Resolved::Taken { remote_id, by } => Err(taken(&remote_id, by)),
        }
    }

    /// What putting a job back would do that died of not knowing.
    pub(super) async fn prospect(&self, job: JobId) -> Result<Prospect, Error> {
        let Some(row) = self.ledger.job(job).await? else { return Ok(Prospect::Unclear) };
        let Some(id) = self.store.publication_of(&row.job.kind, &row.job.args) else {
            return Ok(Prospect::Unclear);
        };
        let Some(publication) = self.store.publication(id).await? else {
            return Ok(Prospect::Clear);
        };
        Ok(match publication.state {
            PublicationState::Published => Prospect::Done(id),
            PublicationState::Scheduled | PublicationState::Failed => Prospect::Clear,
            PublicationState::Sending => {
                let connector = self.store.connector(publication.connector_id).await?;
                let platform = connector.map(|row| row.platform).unwrap_or_default();
                match self.recourse(&publication, &platform) {
                    Recourse::Person => Prospect::Hopeless,
                    Recourse::Repeat | Recourse::Reconcile => Prospect::Unclear,
                }
            }
        })
    }

    fn recourse(&self, publication: &Publication, platform: &str) -> Recourse {
        let age = publication.age_on_arrival(self.node.clock.now());
        let platform = self.node.platforms.get(platform);
        // As if the account had been signed in since: what may have to be looked up can be.
        platform.map_or(Recourse::Person, |platform| platform.descriptor().recourse(age, true))
    }

    /// A job's state, if it is still there: completed jobs are deleted before publications.
    async fn state_if_any(&self, id: JobId) -> Result<Option<State>, Error> {
        match self.state(id).await {
            Ok(state) => Ok(Some(state)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn last_error(&self, id: JobId) -> Result<Option<String>, Error> {
        let filter = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
        if let Some(letter) = self.ledger.dead_letters(&filter).await?.pop() {
            return Ok(Some(letter.reason.message));
        }
        Ok(self.ledger.attempts(id).await?.pop().map(|attempt| attempt.error))
    }
}

/// What putting back a job would do that died of not knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// Nothing: what it was to do is done; this is the publication.
    Done(Uuid),
    /// It would run as if for the first time.
    Clear,
    /// It would find out, or a person has to say so.
    Unclear,
    /// It would die again: only a person can tell.
    Hopeless,
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("there is no publication {id}"))
}

fn taken(remote_id: &str, by: Owner) -> Error {
    let Owner { id, unsure_until } = by;
    Error::Conflict(match unsure_until {
        None => format!(
            "post {remote_id} is publication {id}'s already; look at the account again: if it \
             shows no second post, say --as absent"
        ),
        Some(until) => format!(
            "post {remote_id} may be publication {id}'s, which has the same text and may be under \
             way until {until}; look at the account after that"
        ),
    })
}

fn resolution(resolve: &ResolveEffect) -> Result<Resolution, Error> {
    let mut faults = Vec::new();
    let given = resolve.remote_id.as_deref();
    let remote_id = given.map(|given| remote_post(&mut faults, "/remote_id", given));
    if remote_id.is_some() && resolve.outcome == FoundOut::Absent {
        faults.push(FieldError::new("/remote_id", "is for what is published"));
    }
    if resolve.retry && resolve.outcome == FoundOut::Published {
        faults.push(FieldError::new("/retry", "is for what is absent"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(match resolve.outcome {
        FoundOut::Published => Resolution::Published { remote_id: remote_id.map(str::to_owned) },
        FoundOut::Absent => Resolution::Absent,
    })
}
