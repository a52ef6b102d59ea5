//! Asks the API over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use postworks::job::JobId;
use postworks_workers::platforms::ImageKind;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

use super::failure::{Exit, Failure};
use super::target::{Sink, Target};
use crate::api::{Problem, chain};
use crate::app::types::{
    AddConnector, AddPost, AddSchedule, AuditQuery, AuditView, AutoscaleQuery, AutoscaleView,
    CancelledJob, CancelledSet, Connector, ConnectorsQuery, Created, DeadDiscard, DeadEdit,
    DeadGroupView, DeadLetterView, DeadQuery, DeadRetry, Discarded, DisconnectedView,
    EffectResolved, EffectView, EnqueueJob, Enqueued, GateView, JobView, JobsQuery, LastTimes,
    MediaView, MovePost, MovePublication, MovedPost, NextTimes, Page, PageQuery, Planned,
    Publication, QueueView, RedriveView, RemovedSchedule, ResolveEffect, RetriedSet, RevisePost,
    RevisedPost, ScheduleView, SchedulesQuery, SetView, TimesQuery, Why, WhyView,
};

/// An address that does not answer is told soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the API's own limit, so that its words arrive.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest an export may take.
const EXPORT: Duration = Duration::from_secs(24 * 3600);
/// Longest answer that is read: an image of 32 MiB, and room.
const ANSWER_BYTES_MAX: usize = 33 << 20;

/// What to do without a good key.
const MAKE_A_KEY: &str = "`postworks apikey create --role ROLE` makes a key, on the machine of the \
     API's database or with its DATABASE_URL and REDIS_URL; put it into POSTWORKS_API_KEY";

/// The API at an address.
pub struct HttpTarget {
    client: Client,
    server: Url,
    api_key: Option<SecretString>,
}

impl HttpTarget {
    /// The API at `server`.
    pub fn new(server: Url, api_key: Option<SecretString>) -> Result<Self, Failure> {
        let mut client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
        let local = match server.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        if local {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| Failure::new(Exit::Failed, chain(&error)))?;
        Ok(Self { client, server, api_key })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let base = self.server.as_str().trim_end_matches('/');
        let request = self.client.request(method, format!("{base}{path}"));
        match &self.api_key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error.to_string()))
    }

    async fn bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = self.read(response).await?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => self.refused(&problem),
            Err(_) => self.strange(&format!("status {status}")),
        })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(self.strange("it is longer than any answer of the API"));
            }
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let message = format!("no answer from {}: {}", self.server, cause(error));
        if error.is_timeout() {
            return Failure::new(Exit::Retry, message)
                .advise("what was asked may have been done; look before you ask again");
        }
        Failure::new(Exit::Unavailable, message).advise(
            "start one with `postworks up`, name another with --server, or set DATABASE_URL and \
             REDIS_URL to do without",
        )
    }

    /// What the API said, and about keys what to do.
    fn refused(&self, problem: &Problem) -> Failure {
        let failure = refused(problem);
        match (problem.status, &self.api_key) {
            (401, None) => {
                let message = "this API wants to know who asks, and POSTWORKS_API_KEY is not set";
                Failure { message: message.to_owned(), ..failure }.advise(MAKE_A_KEY)
            }
            (401, Some(_)) => failure.advise(MAKE_A_KEY),
            (403, _) => failure.advise(
                "set POSTWORKS_API_KEY to a key of such a role and tenant; `postworks apikey list` \
                 shows who has which",
            ),
            _ => failure,
        }
    }

    fn strange(&self, why: &str) -> Failure {
        let message = format!("what answers at {} is no Postworks API: {why}", self.server);
        Failure::new(Exit::Failed, message)
    }
}

/// A name as a part of a path, whatever a person typed.
fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

/// The innermost cause: the layers of an HTTP client say nothing to a person.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn refused(problem: &Problem) -> Failure {
    let exit = match problem.status {
        400 | 413 | 415 | 422 => Exit::Usage,
        404 => Exit::NotFound,
        409 => Exit::Conflict,
        408 | 429 => Exit::Retry,
        502..=504 => Exit::Unavailable,
        _ => Exit::Failed,
    };
    let message = match problem.errors.as_slice() {
        [] => match &problem.cause {
            Some(cause) => format!("{}: {cause}", problem.detail),
            None => problem.detail.clone(),
        },
        faults => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    Failure::new(exit, message)
}

#[async_trait]
impl Target for HttpTarget {
    async fn enqueue(&self, job: EnqueueJob) -> Result<Enqueued, Failure> {
        let request = self.request(Method::POST, "/api/jobs").json(&job);
        self.answer(match job.trace {
            Some(trace) => request.header("traceparent", trace.to_string()),
            None => request,
        })
        .await
    }

    async fn job(&self, id: JobId) -> Result<JobView, Failure> {
        self.get(&format!("/api/jobs/{id}"), &()).await
    }

    async fn jobs(&self, query: &JobsQuery) -> Result<Page<JobView>, Failure> {
        self.get("/api/jobs", query).await
    }

    async fn cancel(&self, id: JobId, why: &Why) -> Result<CancelledJob, Failure> {
        let request = self.request(Method::DELETE, &format!("/api/jobs/{id}"));
        self.answer(request.query(why)).await
    }

    async fn add_connector(&self, connector: AddConnector) -> Result<Created, Failure> {
        let body = serde_json::json!({
            "platform": connector.platform,
            "base_url": connector.base_url,
            "identifier": connector.identifier,
            "target": connector.target,
            "secret": connector.secret.expose_secret(),
            "reason": connector.reason,
        });
        self.post("/api/connectors", &body).await
    }

    async fn connectors(&self, query: &ConnectorsQuery) -> Result<Page<Connector>, Failure> {
        self.get("/api/connectors", query).await
    }

    async fn disconnect(&self, id: Uuid, why: &Why) -> Result<DisconnectedView, Failure> {
        let request = self.request(Method::DELETE, &format!("/api/connectors/{id}"));
        self.answer(request.query(why)).await
    }

    async fn add_media(&self, bytes: Vec<u8>) -> Result<MediaView, Failure> {
        // What is none is refused by the API, in its words.
        let kind = postworks_workers::images::measure(&bytes);
        let of = kind.map_or(ImageKind::Png, |measured| measured.kind);
        let request = self.request(Method::POST, "/api/media").body(bytes);
        self.answer(request.header(CONTENT_TYPE, of.mime())).await
    }

    async fn media(&self, id: Uuid) -> Result<Vec<u8>, Failure> {
        self.bytes(self.request(Method::GET, &format!("/api/media/{id}"))).await
    }

    async fn add_post(&self, post: &AddPost) -> Result<Created, Failure> {
        self.post("/api/posts", post).await
    }

    async fn revise_post(&self, id: Uuid, to: &RevisePost) -> Result<RevisedPost, Failure> {
        self.answer(self.request(Method::PATCH, &format!("/api/posts/{id}")).json(to)).await
    }

    async fn publication(&self, id: Uuid) -> Result<Publication, Failure> {
        self.get(&format!("/api/publications/{id}"), &()).await
    }

    async fn move_publication(
        &self,
        id: Uuid,
        to: &MovePublication,
    ) -> Result<Publication, Failure> {
        let request = self.request(Method::PATCH, &format!("/api/publications/{id}"));
        self.answer(request.json(to)).await
    }

    async fn move_post(&self, id: Uuid, to: &MovePost) -> Result<MovedPost, Failure> {
        self.post(&format!("/api/posts/{id}/move"), to).await
    }

    async fn dead_letters(&self, query: &DeadQuery) -> Result<Page<DeadLetterView>, Failure> {
        self.get("/api/dlq", query).await
    }

    async fn dead_letter(&self, id: JobId) -> Result<DeadLetterView, Failure> {
        self.get(&format!("/api/dlq/{id}"), &()).await
    }

    async fn dlq_retry(&self, retry: &DeadRetry) -> Result<Planned, Failure> {
        self.post("/api/dlq/retry", retry).await
    }

    async fn dlq_discard(&self, discard: &DeadDiscard) -> Result<Discarded, Failure> {
        self.post("/api/dlq/discard", discard).await
    }

    async fn dlq_edit(&self, id: JobId, edit: &DeadEdit) -> Result<Planned, Failure> {
        self.post(&format!("/api/dlq/{id}/retry"), edit).await
    }

    async fn dead_groups(&self, query: &DeadQuery) -> Result<Page<DeadGroupView>, Failure> {
        self.get("/api/dlq/groups", query).await
    }

    async fn dlq_export(&self, query: &DeadQuery, out: &mut Sink) -> Result<(), Failure> {
        // An export takes as long as it takes.
        let request = self.request(Method::GET, "/api/dlq/export").query(query).timeout(EXPORT);
        let sent = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = sent.status();
        if !status.is_success() {
            let problem = sent.json::<Problem>().await;
            return Err(problem.map_or_else(
                |_| self.strange(&format!("status {status}")),
                |problem| self.refused(&problem),
            ));
        }
        let mut response = sent;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            out.write_all(&chunk)?;
        }
        Ok(())
    }

    async fn redrives(&self, query: &PageQuery) -> Result<Page<RedriveView>, Failure> {
        self.get("/api/dlq/redrives", query).await
    }

    async fn redrive(&self, id: Uuid) -> Result<RedriveView, Failure> {
        self.get(&format!("/api/dlq/redrives/{id}"), &()).await
    }

    async fn stop_redrive(&self, id: Uuid, why: &Why) -> Result<RedriveView, Failure> {
        let request = self.request(Method::POST, &format!("/api/dlq/redrives/{id}/stop"));
        self.answer(request.query(why)).await
    }

    async fn effects(&self, query: &PageQuery) -> Result<Page<EffectView>, Failure> {
        self.get("/api/effects", query).await
    }

    async fn resolve_effect(
        &self,
        id: Uuid,
        resolve: &ResolveEffect,
    ) -> Result<EffectResolved, Failure> {
        self.post(&format!("/api/effects/{id}/resolve"), resolve).await
    }

    async fn queues(&self) -> Result<Page<QueueView>, Failure> {
        self.get("/api/queues", &()).await
    }

    async fn autoscale(&self, query: &AutoscaleQuery) -> Result<AutoscaleView, Failure> {
        self.get("/api/autoscale", query).await
    }

    async fn runs_ended(&self) -> Option<BTreeMap<String, u64>> {
        let request = self.request(Method::GET, "/metrics");
        let page = self.read(request.send().await.ok()?.error_for_status().ok()?).await.ok()?;
        super::metrics_page::runs_ended(&String::from_utf8_lossy(&page))
    }

    async fn why(&self, id: JobId) -> Result<WhyView, Failure> {
        self.get(&format!("/api/jobs/{id}/why"), &()).await
    }

    async fn pause(&self, queue: &str, why: &Why) -> Result<GateView, Failure> {
        self.post(&format!("/api/queues/{}/pause", segment(queue)), why).await
    }

    async fn resume(&self, queue: &str, why: &Why) -> Result<GateView, Failure> {
        self.post(&format!("/api/queues/{}/resume", segment(queue)), why).await
    }

    async fn gates(&self) -> Result<Page<GateView>, Failure> {
        self.get("/api/breakers", &()).await
    }

    async fn open_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure> {
        self.post(&format!("/api/breakers/{}/open", segment(name)), why).await
    }

    async fn close_breaker(&self, name: &str, why: &Why) -> Result<GateView, Failure> {
        self.post(&format!("/api/breakers/{}/close", segment(name)), why).await
    }

    async fn audits(&self, query: &AuditQuery) -> Result<Page<AuditView>, Failure> {
        self.get("/api/audit", query).await
    }

    async fn add_schedule(&self, schedule: AddSchedule) -> Result<ScheduleView, Failure> {
        self.post("/api/schedules", &schedule).await
    }

    async fn schedules(&self, query: &SchedulesQuery) -> Result<Page<ScheduleView>, Failure> {
        self.get("/api/schedules", query).await
    }

    async fn next_times(&self, id: Uuid, query: &TimesQuery) -> Result<NextTimes, Failure> {
        self.get(&format!("/api/schedules/{id}/next"), query).await
    }

    async fn last_times(&self, id: Uuid, query: &TimesQuery) -> Result<LastTimes, Failure> {
        self.get(&format!("/api/schedules/{id}/fires"), query).await
    }

    async fn pause_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure> {
        self.post(&format!("/api/schedules/{id}/pause"), why).await
    }

    async fn resume_schedule(&self, id: Uuid, why: &Why) -> Result<ScheduleView, Failure> {
        self.post(&format!("/api/schedules/{id}/resume"), why).await
    }

    async fn run_schedule(&self, id: Uuid, why: &Why) -> Result<Enqueued, Failure> {
        self.post(&format!("/api/schedules/{id}/run"), why).await
    }

    async fn remove_schedule(&self, id: Uuid, why: &Why) -> Result<RemovedSchedule, Failure> {
        let request = self.request(Method::DELETE, &format!("/api/schedules/{id}"));
        self.answer(request.query(why)).await
    }

    async fn set(&self, id: Uuid) -> Result<SetView, Failure> {
        self.get(&format!("/api/sets/{id}"), &()).await
    }

    async fn cancel_set(&self, id: Uuid, why: &Why) -> Result<CancelledSet, Failure> {
        let request = self.request(Method::DELETE, &format!("/api/sets/{id}"));
        self.answer(request.query(why)).await
    }

    async fn retry_set(&self, id: Uuid, why: &Why) -> Result<RetriedSet, Failure> {
        self.post(&format!("/api/sets/{id}/retry"), why).await
    }
}
