//! Producers that reach Postworks through its API (feature `http-client`).
//!
//! A call of [`HttpProducer`] makes what it says once, whatever the network does: each enqueue has an
//! `Idempotency-Key`, and is sent again under it until there is an answer or its time is up.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use postworks::client::http::{Error, HttpProducer};
//! use postworks::job::{ConnectorSync, Request};
//!
//! # async fn run(connector_id: uuid::Uuid) -> Result<(), Box<dyn std::error::Error>> {
//! let api_key = std::env::var("POSTWORKS_API_KEY").ok().map(Into::into);
//! let producer = HttpProducer::new("https://jobs.example.org", api_key)?;
//! let mut request = Request::of(&ConnectorSync::of(connector_id))?;
//! request.policy.delay = Some(Duration::from_secs(300));
//! request.policy.unique_key = Some(format!("sync {connector_id}"));
//! match producer.enqueue(&request).await {
//!     Ok(job) => println!("{} is {}", job.id, job.state),
//!     Err(Error::Invalid { errors, .. }) => println!("to be mended: {errors:?}"),
//!     Err(Error::Busy { retry_after, .. }) => println!("nothing was done; in {retry_after:?}"),
//!     Err(Error::Unsure { key: Some(key), .. }) => {
//!         // It may have been accepted. Under the same key it is done once, also tomorrow.
//!         producer.keyed(key).enqueue(&request).await?;
//!     }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod answer;
mod error;
mod exchange;
mod repeat;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Enqueued;
use crate::job::{FieldError, Job, JobId, Request, TraceParent};
use crate::ledger::BATCH_MAX;

pub use error::Error;
use exchange::{Ask, Connections};
use repeat::{Wait, sleep, until_answered};
pub use wire::{Accepted, Attempt, Cancellation, JobStatus, ParentStatus};

/// Longest key of a request, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// How to reach the API. The defaults suit a service that answers people itself.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The longest that one call takes, with all its repetitions and waits; 60 s. Under half a
    /// minute, a busy API (503) is told to the caller rather than waited for.
    pub budget: Duration,
    /// The longest that one answer is waited for before it is asked for again; 10 s.
    pub answer_timeout: Duration,
    /// The longest that a connection may take; 5 s.
    pub connect_timeout: Duration,
    /// Requests under way at once, and about as many connections; 16. The rest stand in line.
    pub connections_max: usize,
    /// Lets `http://` lead beyond this machine, where anybody on the way can read the key; off.
    pub plain_http: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            connections_max: 16,
            plain_http: false,
        }
    }
}

/// Enqueues jobs through the API. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpProducer {
    connections: Arc<Connections>,
    budget: Duration,
    wait: Wait,
}

/// Without the key.
impl fmt::Debug for HttpProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProducer")
            .field("address", &self.connections.address())
            .field("has_key", &self.connections.has_key())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl HttpProducer {
    /// A producer for the API at `url`, which may end with a path that the API lives below. Opens no
    /// connection yet. Proxies that the environment names are left alone.
    ///
    /// # Errors
    /// [`Error::Setup`]: `url` is no `https://` address (`http://` is for loopback), or holds more
    /// than that; or the key holds what no header can.
    pub fn new(url: &str, api_key: Option<SecretString>) -> Result<Self, Error> {
        Self::with(url, api_key, &HttpOptions::default())
    }

    /// The same with these options.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn with(
        url: &str,
        api_key: Option<SecretString>,
        options: &HttpOptions,
    ) -> Result<Self, Error> {
        let connections = Arc::new(Connections::new(url, api_key, options)?);
        Ok(Self { connections, budget: options.budget, wait: sleep() })
    }

    /// The same producer, for tests in which no time is to pass between two attempts. What it was to
    /// wait counts as spent all the same.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn waiting_by<F>(self, wait: impl Fn(Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { wait: Arc::new(move |span| Box::pin(wait(span))), ..self }
    }

    /// A request under a key of the caller's own, 1 to 255 bytes of plain characters: sent again
    /// within a day with the same arguments, also by another process, it is done once and its first
    /// answer is given again. With other arguments the key is refused ([`Error::Invalid`]).
    pub fn keyed(&self, key: impl Into<String>) -> Keyed<'_> {
        Keyed { producer: self, key: key.into() }
    }

    /// A request under a new key.
    fn fresh(&self) -> Keyed<'_> {
        self.keyed(Uuid::new_v4().to_string())
    }

    /// Enqueues one job of a known type, due now, in the queue of its account's platform.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue_one<J: Job>(&self, job: &J) -> Result<Accepted, Error> {
        self.fresh().enqueue_one(job).await
    }

    /// Enqueues one job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue(&self, request: &Request) -> Result<Accepted, Error> {
        self.fresh().enqueue(request).await
    }

    /// Enqueues 1 to 1,000 jobs, all or none; answers in order. They belong to one trace. Their
    /// JSON may be 1 MiB in all.
    ///
    /// # Errors
    /// See [`Error`]; more than 1,000 are [`Error::Invalid`], since in several requests it would not
    /// be all or none.
    pub async fn enqueue_bulk(&self, requests: &[Request]) -> Result<Vec<Enqueued>, Error> {
        self.fresh().enqueue_bulk(requests).await
    }

    /// A job with its attempts.
    ///
    /// # Errors
    /// [`Error::NotFound`] and the rest of [`Error`], but for `Unsure`.
    pub async fn job(&self, id: JobId) -> Result<JobStatus, Error> {
        let ask = Ask {
            method: Method::GET,
            path: format!("/api/jobs/{id}"),
            body: None,
            key: None,
            trace: None,
        };
        self.answer(&ask, None).await
    }

    /// Ends a job that has not ended. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for a job that has ended otherwise, and the rest of
    /// [`Error`].
    pub async fn cancel(&self, id: JobId) -> Result<Cancellation, Error> {
        let ask = Ask {
            method: Method::DELETE,
            path: format!("/api/jobs/{id}"),
            body: None,
            key: None,
            trace: None,
        };
        self.answer::<wire::Cancelled>(&ask, None).await.map(|cancelled| cancelled.state)
    }

    /// Asks until there is an answer.
    async fn answer<T: DeserializeOwned>(&self, ask: &Ask, key: Option<&str>) -> Result<T, Error> {
        let ask = |left| self.connections.ask::<T>(ask, left);
        until_answered(self.budget, &self.wait, ask).await.map_err(|ended| {
            if ended.perhaps_done && !ended.error.is_about_request() {
                return Error::Unsure {
                    key: key.map(ToOwned::to_owned),
                    why: Box::new(ended.error),
                };
            }
            ended.error
        })
    }
}

/// One request that is done once, however often it is sent under its key.
#[derive(Debug)]
pub struct Keyed<'a> {
    producer: &'a HttpProducer,
    key: String,
}

impl Keyed<'_> {
    /// Enqueues one job of a known type; see [`HttpProducer::enqueue_one`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue_one<J: Job>(self, job: &J) -> Result<Accepted, Error> {
        let request = Request::of(job).map_err(|error| Error::field("/args", error.to_string()))?;
        self.enqueue(&request).await
    }

    /// Enqueues one job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue(self, request: &Request) -> Result<Accepted, Error> {
        let asked = wire::Asked::from(request);
        self.post("/api/jobs", &asked, request.policy.trace).await
    }

    /// Enqueues 1 to 1,000 jobs, all or none; see [`HttpProducer::enqueue_bulk`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue_bulk(self, requests: &[Request]) -> Result<Vec<Enqueued>, Error> {
        if !(1..=BATCH_MAX).contains(&requests.len()) {
            let words = format!(
                "must hold 1 to {BATCH_MAX} jobs, not {}: they are accepted all or none, so \
                 divide them yourself",
                requests.len()
            );
            return Err(Error::field("/jobs", words));
        }
        let trace = one_trace(requests)?;
        let bulk = wire::AskedBulk { jobs: requests.iter().map(wire::Asked::from).collect() };
        let accepted: wire::AcceptedBulk = self.post("/api/jobs/bulk", &bulk, trace).await?;
        if accepted.jobs.len() != requests.len() {
            let words = "it answered for another number of jobs than it was asked for";
            return Err(Error::Protocol(words.to_owned()));
        }
        Ok(accepted.jobs)
    }

    async fn post<T: DeserializeOwned>(
        self,
        path: &str,
        body: &(impl Serialize + Sync),
        trace: Option<TraceParent>,
    ) -> Result<T, Error> {
        let fits = (1..=KEY_BYTES_MAX).contains(&self.key.len());
        let key = HeaderValue::from_str(&self.key).ok().filter(|key| fits && key.to_str().is_ok());
        let Some(key) = key else {
            let words = format!("must be 1 to {KEY_BYTES_MAX} bytes of plain characters");
            return Err(Error::field("Idempotency-Key", words));
        };
        let body = serde_json::to_string(body)
            .map_err(|error| Error::field("/args", error.to_string()))?;
        let ask = Ask {
            method: Method::POST,
            path: path.to_owned(),
            body: Some(body),
            key: Some(key),
            trace,
        };
        self.producer.answer(&ask, Some(&self.key)).await
    }
}

/// The trace that jobs belong to: a request names one.
fn one_trace(requests: &[Request]) -> Result<Option<TraceParent>, Error> {
    let trace = requests.first().and_then(|request| request.policy.trace);
    let others: Vec<FieldError> = (0..)
        .zip(requests)
        .filter(|(_, request)| request.policy.trace != trace)
        .map(|(at, _): (usize, _)| {
            let words = "is another than the first job's: a bulk belongs to one trace";
            FieldError::new(format!("/jobs/{at}/traceparent"), words)
        })
        .collect();
    if others.is_empty() {
        return Ok(trace);
    }
    Err(Error::Invalid { detail: "the request is wrong".to_owned(), errors: others })
}
