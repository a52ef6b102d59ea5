//! Whom a command talks to: the API over HTTP, or the stores directly.

use std::collections::BTreeMap;

use async_trait::async_trait;
use postworks::config::Environment;
use postworks::job::JobId;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

use super::Context;
use super::failure::{Exit, Failure};
use super::http::HttpTarget;
use super::wiring;
use crate::app::App;
use crate::app::types::{
    AddConnector, AddPost, AddSchedule, AuditQuery, AuditView, AutoscaleQuery, AutoscaleView,
    CancelledJob, CancelledSet, Connector, ConnectorsQuery, Created, DeadDiscard, DeadEdit,
    DeadGroupView, DeadLetterView, DeadQuery, DeadRetry, Discarded, DisconnectedView,
    EffectResolved, EffectView, EnqueueJob, Enqueued, GateView, JobView, JobsQuery, LastTimes,
    MediaView, MovePost, MovePublication, MovedPost, NextTimes, Page, PageQuery, Planned,
    Publication, QueueView, RedriveView, RemovedSchedule, ResolveEffect, RetriedSet, RevisePost,
    RevisedPost, ScheduleView, SchedulesQuery, SetView, TimesQuery, Why, WhyView,
};

/// Where the API is unless somebody says otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7000";

/// Where an export goes.
pub(super) type Sink = dyn std::io::Write + Send;

/// What client commands ask for.
#[async_trait]
pub trait Target: Send + Sync {
    /// Enqueues a job.
    async fn enqueue(&self, job: EnqueueJob) -> Result<Enqueued, Failure>;
    /// A job with its attempts.
    async fn job(&self, id: JobId) -> Result<JobView, Failure>;
    /// Lists jobs.
    async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, Failure>;
    /// Ends a job.
    async fn cancel(&self, id: JobId, why: &Why) -> Result<CancelledJob, Failure>;
    /// Connects an account.
    async fn add_connector(&self, connector: AddConnector) -> Result<Created, Failure>;
    /// Lists accounts.
    async fn connectors(&self, query: &ConnectorsQuery) -> Result<Page<Connector>, Failure>;
    /// Disconnects an account.
    async fn disconnect(&self, id: Uuid, why: &Why) -> Result<DisconnectedView, Failure>;
    /// Keeps an image.
    async fn add_media(&self, bytes: Vec<u8>) -> Result<MediaView, Failure>;
    /// An image's bytes.
    async fn media(&self, id: Uuid) -> Result<Vec<u8>, Failure>;
    /// Keeps a post.
    async fn add_post(&self, post: &AddPost) -> Result<Created, Failure>;
    /// Changes a post.
    async fn revise_post(&self, id: Uuid, to: &RevisePost) -> Result<RevisedPost, Failure>;
    /// A publication.
    async fn publication(&self, id: Uuid) -> Result<Publication, Failure>;
    /// Moves a publication.
    async fn move_publication(
        &self,
        id: Uuid,
        to: &MovePublication,
    ) -> Result<Publication, Failure>;
    /// Moves a post's publications.
    async fn move_post(&self, id: Uuid, to: &MovePost) -> Result<MovedPost, Failure>;
    /// Lists dead letters.
    async fn dead_letters(&self, query: &DeadQuery) -> Result<Page<DeadLetterView>, Failure>;
    /// A dead letter.
    async fn dead_letter(&self, id: JobId) -> Result<DeadLetterView, Failure>;
    /// Puts dead letters back.
    async fn dlq_retry(&self, retry: &DeadRetry) -> Result<Planned, Failure>;
    /// Ends dead jobs for good.
    async fn dlq_discard(&self, discard: &DeadDiscard) -> Result<Discarded, Failure>;
    /// Puts a dead job back with other arguments.
    async fn dlq_edit(&self, id: JobId, edit: &DeadEdit) -> Result<Planned, Failure>;
    /// Groups dead letters by their cause.
    async fn dead_groups(&self, query: &DeadQuery) -> Result<Page<DeadGroupView>, Failure>;
    /// Writes dead letters to `out`, a line each.
    async fn dlq_export(&self, query: &DeadQuery, out: &mut Sink) -> Result<(), Failure>;
    /// Lists redrives.
    async fn redrives(&self, query: &PageQuery) -> Result<Page<RedriveView>, Failure>;
    /// A redrive.
    async fn redrive(&self, id: Uuid) -> Result<RedriveView, Failure>;
    /// Stops a redrive.
    async fn stop_redrive(&self, id: Uuid, why: &Why) -> Result<RedriveView, Failure>;
    /// Carries on redrives until the guard is dropped, if nobody else can be relied on to do so.
    fn carry_on(&self) -> Option<DropGuard> {
        None
    }
    /// Lists effects whose outcome is not known.
    async fn effects(&self, query: &PageQuery) -> Result<Page<EffectView>, Failure>;
    /// Takes a person's word for what became of a publication.
    async fn resolve_effect(
        &self,
        id: Uuid,
        resolve: &ResolveEffect,
    ) -> Result<EffectResolved, Failure>;
    /// Lists queues.
    async fn queues(&self) -> Result<Page<QueueView>, Failure>;
    /// How many workers there are, and should be, for some queues.
    async fn autoscale(&self, query: &AutoscaleQuery) -> Result<AutoscaleView, Failure>;
    /// How many runs have ended, by queue, since the process that answers began, and in it; nothing
    /// if it runs none.
    async fn runs_ended(&self) -> Option<BTreeMap<String, u64>> {
        None
    }
    /// Why a job does not run.
    async fn why(&self, id: JobId) -> Result<WhyView, Failure>;
    /// Lets nothing more be claimed from a queue.
    async fn pause(&self, queue: &str, why: &Why) -> Result<GateView, Failure>;
    /// Lets a paused queue go on.
    async fn resume(&self, queue: &str, why: &Why) -> Result<GateView, Failure>;
    /// Every queue's gate.
    async fn gates(&self) -> Result<Page<GateView>, Failure>;
    /// Opens a breaker by hand.
    async fn open_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure>;
    /// Closes a breaker.
    async fn close_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure>;
    /// Lists operators' actions.
    async fn audits(&self, query: &AuditQuery) -> Result<Page<AuditView>, Failure>;
    /// Adds a schedule.
    async fn add_schedule(&self, schedule: AddSchedule) -> Result<ScheduleView, Failure>;
    /// Lists schedules.
    async fn schedules(&self, query: &SchedulesQuery) -> Result<Page<ScheduleView>, Failure>;
    /// When a schedule will fire.
    async fn next_times(&self, id: Uuid, query: &TimesQuery) -> Result<NextTimes, Failure>;
    /// When a schedule has fired.
    async fn last_times(&self, id: Uuid, query: &TimesQuery) -> Result<LastTimes, Failure>;
    /// Lets a schedule fire no more.
    async fn pause_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure>;
    /// Lets a paused schedule go on.
    async fn resume_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure>;
    /// Makes a schedule's job now.
    async fn run_schedule(&self, id: Uuid, why: &Why) -> Result<Enqueued, Failure>;
    /// Removes a schedule.
    async fn remove_schedule(&self, id: Uuid, why: &Why) -> Result<RemovedSchedule, Failure>;
    /// A publication set.
    async fn set(&self, id: Uuid) -> Result<SetView, Failure>;
    /// Cancels what has not ended of a set.
    async fn cancel_set(&self, id: Uuid, why: &Why) -> Result<CancelledSet, Failure>;
    /// Puts the dead publications of a set back.
    async fn retry_set(&self, id: Uuid, why: &Why) -> Result<RetriedSet, Failure>;
}

/// Chooses: `--server`, else the stores if their addresses are set, else the API on this machine.
pub(crate) async fn choose(context: &Context) -> Result<Box<dyn Target>, Failure> {
    let environment = context.environment()?;
    let Some(server) = server(context, &environment)? else {
        let config = context.config(|sources| sources)?;
        let app = wiring::open(&config, &environment).await?;
        let app = wiring::of_tenant(context, app).await?;
        return Ok(Box::new(app.acting_as(super::audit::actor())));
    };
    if context.tenant.is_some() {
        let message = "--tenant is for commands that talk to the stores themselves";
        let advice =
            "the API knows the tenant by the key: set POSTWORKS_API_KEY to one of that tenant";
        return Err(Failure::new(Exit::Usage, message).advise(advice));
    }
    Ok(Box::new(HttpTarget::new(server, environment.api_key)?))
}

/// The API's address; none if the stores are talked to.
fn server(context: &Context, environment: &Environment) -> Result<Option<Url>, Failure> {
    match context.server.as_ref().or(environment.server.as_ref()) {
        Some(server) => Ok(Some(server.clone())),
        None if environment.stores.is_some() => Ok(None),
        None => Ok(Some(SERVER_DEFAULT.parse().map_err(std::io::Error::other)?)),
    }
}

/// Whom [`choose`] chooses, for a person; no password.
pub(super) fn named(context: &Context) -> Result<String, Failure> {
    let Some(mut server) = server(context, &context.environment()?)? else {
        return Ok("PostgreSQL and Redis".to_owned());
    };
    // An address that has no place for a password has none.
    let _ = server.set_password(None);
    Ok(server.as_str().trim_end_matches('/').to_owned())
}

#[async_trait]
impl Target for App {
    async fn enqueue(&self, job: EnqueueJob) -> Result<Enqueued, Failure> {
        let enqueued = self.enqueue(job).await?;
        // This process ends now, and with it what it has not told the broker.
        self.flush().await;
        Ok(enqueued)
    }

    async fn job(&self, id: JobId) -> Result<JobView, Failure> {
        Ok(self.job(id).await?)
    }

    async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, Failure> {
        Ok(self.jobs(query).await?)
    }

    async fn cancel(&self, id: JobId, why: &Why) -> Result<CancelledJob, Failure> {
        Ok(self.cancel(id, why).await?)
    }

    async fn add_connector(&self, connector: AddConnector) -> Result<Created, Failure> {
        // What no node could open would be lost.
        self.prove_keys().await?;
        Ok(self.add_connector(connector).await?)
    }

    async fn connectors(&self, query: &ConnectorsQuery) -> Result<Page<Connector>, Failure> {
        Ok(self.connectors(query).await?)
    }

    async fn disconnect(&self, id: Uuid, why: &Why) -> Result<DisconnectedView, Failure> {
        Ok(self.disconnect(id, why).await?)
    }

    async fn add_media(&self, bytes: Vec<u8>) -> Result<MediaView, Failure> {
        Ok(self.add_media(&bytes).await?)
    }

    async fn media(&self, id: Uuid) -> Result<Vec<u8>, Failure> {
        Ok(self.media(id).await?.1.to_vec())
    }

    async fn add_post(&self, post: &AddPost) -> Result<Created, Failure> {
        Ok(self.add_post(post).await?)
    }

    async fn revise_post(&self, id: Uuid, to: &RevisePost) -> Result<RevisedPost, Failure> {
        Ok(self.revise_post(id, to).await?)
    }

    async fn publication(&self, id: Uuid) -> Result<Publication, Failure> {
        Ok(self.publication(id).await?)
    }

    async fn move_publication(
        &self,
        id: Uuid,
        to: &MovePublication,
    ) -> Result<Publication, Failure> {
        Ok(self.move_publication(id, to).await?)
    }

    async fn move_post(&self, id: Uuid, to: &MovePost) -> Result<MovedPost, Failure> {
        Ok(self.move_post(id, to).await?)
    }

    async fn dead_letters(&self, query: &DeadQuery) -> Result<Page<DeadLetterView>, Failure> {
        Ok(self.dead_letters(query).await?)
    }

    async fn dead_letter(&self, id: JobId) -> Result<DeadLetterView, Failure> {
        Ok(self.dead_letter(id).await?)
    }

    async fn dlq_retry(&self, retry: &DeadRetry) -> Result<Planned, Failure> {
        let planned = self.dlq_retry(retry).await?;
        self.flush().await;
        Ok(planned)
    }

    async fn dlq_discard(&self, discard: &DeadDiscard) -> Result<Discarded, Failure> {
        Ok(self.dlq_discard(discard).await?)
    }

    async fn dlq_edit(&self, id: JobId, edit: &DeadEdit) -> Result<Planned, Failure> {
        let planned = self.dlq_edit(id, edit).await?;
        self.flush().await;
        Ok(planned)
    }

    async fn dead_groups(&self, query: &DeadQuery) -> Result<Page<DeadGroupView>, Failure> {
        Ok(self.dead_groups(query).await?)
    }

    async fn dlq_export(&self, query: &DeadQuery, out: &mut Sink) -> Result<(), Failure> {
        let mut export = self.export(query).await?;
        while let Some(lines) = export.next().await? {
            out.write_all(lines.as_bytes())?;
        }
        Ok(())
    }

    async fn redrives(&self, query: &PageQuery) -> Result<Page<RedriveView>, Failure> {
        Ok(self.redrives(query).await?)
    }

    async fn redrive(&self, id: Uuid) -> Result<RedriveView, Failure> {
        Ok(self.redrive(id).await?)
    }

    async fn stop_redrive(&self, id: Uuid, why: &Why) -> Result<RedriveView, Failure> {
        Ok(self.stop_redrive(id, why).await?)
    }

    fn carry_on(&self) -> Option<DropGuard> {
        let stop = CancellationToken::new();
        tokio::spawn(self.clone().carry_on_redrives_until(stop.clone()));
        Some(stop.drop_guard())
    }

    async fn effects(&self, query: &PageQuery) -> Result<Page<EffectView>, Failure> {
        Ok(self.effects(query).await?)
    }

    async fn resolve_effect(
        &self,
        id: Uuid,
        resolve: &ResolveEffect,
    ) -> Result<EffectResolved, Failure> {
        let resolved = self.resolve_effect(id, resolve).await?;
        self.flush().await;
        Ok(resolved)
    }

    async fn queues(&self) -> Result<Page<QueueView>, Failure> {
        Ok(self.queues().await?)
    }

    async fn autoscale(&self, query: &AutoscaleQuery) -> Result<AutoscaleView, Failure> {
        Ok(self.autoscale(query).await?)
    }

    async fn why(&self, id: JobId) -> Result<WhyView, Failure> {
        Ok(self.why(id).await?)
    }

    async fn pause(&self, queue: &str, why: &Why) -> Result<GateView, Failure> {
        Ok(self.pause(queue, why).await?)
    }

    async fn resume(&self, queue: &str, why: &Why) -> Result<GateView, Failure> {
        Ok(self.resume(queue, why).await?)
    }

    async fn gates(&self) -> Result<Page<GateView>, Failure> {
        Ok(self.gates().await?)
    }

    async fn open_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure> {
        Ok(self.open_breaker(name, why).await?)
    }

    async fn close_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure> {
        Ok(self.close_breaker(name, why).await?)
    }

    async fn audits(&self, query: &AuditQuery) -> Result<Page<AuditView>, Failure> {
        Ok(self.audits(query).await?)
    }

    async fn add_schedule(&self, schedule: AddSchedule) -> Result<ScheduleView, Failure> {
        Ok(self.add_schedule(schedule).await?)
    }

    async fn schedules(&self, query: &SchedulesQuery) -> Result<Page<ScheduleView>, Failure> {
        Ok(self.schedules(query).await?)
    }

    async fn next_times(&self, id: Uuid, query: &TimesQuery) -> Result<NextTimes, Failure> {
        Ok(self.next_times(id, query).await?)
    }

    async fn last_times(&self, id: Uuid, query: &TimesQuery) -> Result<LastTimes, Failure> {
        Ok(self.last_times(id, query).await?)
    }

    async fn pause_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure> {
        Ok(self.pause_schedule(id, why).await?)
    }

    async fn resume_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure> {
        Ok(self.resume_schedule(id, why).await?)
    }

    async fn run_schedule(&self, id: Uuid, why: &Why) -> Result<Enqueued, Failure> {
        let enqueued = self.run_schedule(id, why).await?;
        self.flush().await;
        Ok(enqueued)
    }

    async fn remove_schedule(&self, id: Uuid, why: &Why) -> Result<RemovedSchedule, Failure> {
        Ok(self.remove_schedule(id, why).await?)
    }

    async fn set(&self, id: Uuid) -> Result<SetView, Failure> {
        Ok(self.set(id).await?)
    }

    async fn cancel_set(&self, id: Uuid, why: &Why) -> Result<CancelledSet, Failure> {
        Ok(self.cancel_set(id, why).await?)
    }

    async fn retry_set(&self, id: Uuid, why: &Why) -> Result<RetriedSet, Failure> {
        let retried = self.retry_set(id, why).await?;
        self.flush().await;
        Ok(retried)
    }
}
