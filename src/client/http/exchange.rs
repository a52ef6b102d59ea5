//! One request and its answer, over connections that are kept and shared.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::address::Address;
use super::answer::{Answer, strange};
use super::repeat::{Again, Miss};
use super::{Error, HttpOptions};
use crate::job::TraceParent;

/// Longest answer that is read: a job with its arguments and 100 failed attempts, and room.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Connections that were silent for longer are not used again: the API closes them after 30 s.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The connections to one API.
pub(super) struct Connections {
    client: Client,
    address: Address,
    api_key: Option<SecretString>,
    places: Semaphore,
    answer_timeout: Duration,
}

/// What is asked, each time the same.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<String>,
    /// For the header Idempotency-Key.
    pub(super) key: Option<HeaderValue>,
    pub(super) trace: Option<TraceParent>,
}

impl Ask {
    /// Whether an answer that got lost leaves something open.
    fn changes(&self) -> bool {
        self.method != Method::GET
    }
}

impl Connections {
    pub(super) fn new(
        url: &str,
        api_key: Option<SecretString>,
        options: &HttpOptions,
    ) -> Result<Self, Error> {
        let address = Address::parse(url, options.plain_http)?;
        // Said here, since the client would say it in every call.
        if let Some(key) = &api_key
            && !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::Setup("the API key holds characters that no key has".to_owned()));
        }
        let places = options.connections_max.max(1);
        let client = Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.answer_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(places)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("postworks/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Setup(format!("no HTTP client: {}", cause(&error))))?;
        let answer_timeout = options.answer_timeout;
        Ok(Self { client, address, api_key, places: Semaphore::new(places), answer_timeout })
    }

    pub(super) fn address(&self) -> &str {
        self.address.as_str()
    }

    pub(super) fn has_key(&self) -> bool {
        self.api_key.is_some()
    }

    /// Asks once, within the time that is left.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        left: Duration,
    ) -> Result<T, Miss> {
        // Connections are few, so that they are shared; the line for them is as long as the caller's
        // patience.
        let began = tokio::time::Instant::now();
        let Ok(Ok(_place)) = tokio::time::timeout(left, self.places.acquire()).await else {
            let words = "all connections to the API were taken for as long as there was time";
            let error = Error::Unavailable(words.to_owned());
            return Err(Miss { error, perhaps_done: false, again: Again::Soon });
        };
        let left = left.saturating_sub(began.elapsed()).min(self.answer_timeout);
        self.exchange(ask, left).await?.read(ask.key.is_some())
    }

    async fn exchange(&self, ask: &Ask, timeout: Duration) -> Result<Answer, Miss> {
        let mut request = self.client.request(ask.method.clone(), self.address.of(&ask.path));
        request = request.timeout(timeout);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(trace) = ask.trace {
            request = request.header("traceparent", trace.to_string());
        }
        if let Some(body) = &ask.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let lost = |error: reqwest::Error| self.lost(&error, ask.changes());
        let mut response = request.send().await.map_err(lost)?;
        let body = body(&mut response).await.map_err(lost)?;
        let Some(body) = body else {
            return Err(strange("its answer is longer than any of the API"));
        };
        let retry_after = retry_after(response.headers());
        Ok(Answer { status: response.status(), retry_after, body })
    }

    /// There is no answer, or none to its end.
    fn lost(&self, error: &reqwest::Error, changes: bool) -> Miss {
        let words = format!("no answer from {}: {}", self.address.as_str(), cause(error));
        // Without a connection nothing was sent.
        let perhaps_done = changes && !error.is_connect();
        Miss { error: Error::Unavailable(words), perhaps_done, again: Again::Soon }
    }
}

/// The whole body; `None` if it is too long.
async fn body(response: &mut Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// A number of seconds; a date is left alone, since clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause: the layers of an HTTP client say nothing to a person.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if error.is_timeout() && cause.to_string() != "operation timed out" {
        return format!("timed out ({cause})");
    }
    cause.to_string()
}
