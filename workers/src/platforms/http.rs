//! The one place that builds HTTP clients for platforms, sends their requests and says what a
//! failed exchange means.
//!
//! It knows no platform's wire format; `answer` says what an answer means.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, Timestamp};
pub(crate) use reqwest::RequestBuilder;
use reqwest::{Client, redirect, retry};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::body::Body;
use super::call::Call;
use super::meter::{self, Took};
use super::network::{NetworkPolicy, Reach, Refused};
use super::resolver::{GuardedResolver, Lookup, SystemLookup};
use super::{Bearer, Descriptor, Windows, rate};

/// How long an idle connection is kept: shorter than the idle limits of common front servers,
/// which would otherwise close it under a request.
const IDLE_KEPT: Duration = Duration::from_secs(20);
/// Most idle connections kept to one server: as many as a worker has places, unless told otherwise.
const IDLE_MAX: usize = 100;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// Until the answer has been read, connecting included.
    pub total: Duration,
}

impl Default for Timeouts {
    /// 3 seconds to connect, 30 seconds in all.
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(30) }
    }
}

/// What the HTTP clients of all platforms have in common.
#[derive(Clone)]
pub struct HttpOptions {
    policy: NetworkPolicy,
    timeouts: Timeouts,
    lookup: Arc<dyn Lookup>,
    windows: Windows,
}

impl HttpOptions {
    /// The usual timeouts, the operating system's resolver, and nobody who is told of windows.
    pub fn new(policy: NetworkPolicy) -> Self {
        Self {
            policy,
            timeouts: Timeouts::default(),
            lookup: Arc::new(SystemLookup),
            windows: Windows::default(),
        }
    }

    /// Timeouts of one's own.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// A resolver of one's own. Its answers are checked as the operating system's are.
    #[must_use]
    pub fn with_lookup(self, lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, ..self }
    }

    /// Says who is told of windows that answers of success say are used up.
    #[must_use]
    pub fn telling(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("policy", &self.policy)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// The HTTP client of one platform, with connections of its own.
pub(crate) struct Http {
    client: Client,
    reach: Reach,
    timeouts: Timeouts,
    windows: Windows,
    clock: SharedClock,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Http {
    /// The client of this platform.
    pub(crate) fn new(
        descriptor: &'static Descriptor,
        options: &HttpOptions,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let reach = options.policy.reach(descriptor);
        Ok(Self {
            client: build(reach, options)?,
            reach,
            timeouts: options.timeouts,
            windows: options.windows.clone(),
            clock,
        })
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether requests to this address may leave, as far as it says by itself.
    pub(crate) fn admits(&self, url: &Url) -> Result<(), String> {
        self.reach.check(url).map_err(|refused| refused.to_string())
    }

    /// Starts a request.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Starts a request to `path` on the account's server that carries its token.
    pub(crate) fn request_by(&self, by: Bearer<'_>, method: Method, path: &str) -> RequestBuilder {
        let url = endpoint(&by.account.base_url, path);
        self.request(method, url).bearer_auth(by.access.expose_secret())
    }

    /// Sends a request once; the value of its answer, or what the refusal means.
    pub(crate) async fn value<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<T, JobError> {
        self.send(call, request).await?.value(call)
    }

    /// Sends a request whose answer says nothing of use, or what the refusal means.
    pub(crate) async fn done(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<(), JobError> {
        self.send(call, request).await?.success(call)
    }

    /// Sends a request once and reads the whole answer.
    pub(crate) async fn send(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<Answer, JobError> {
        let asked = Instant::now();
        let answer = meter::sending(call.api.descriptor.name, self.exchange(call, request)).await;
        let took = Took::new(call, asked.elapsed());
        match answer {
            Ok((status, headers, body)) => {
                Ok(Answer { status, headers, body, took, at: self.now() })
            }
            Err(error) => {
                took.failed(error.class());
                Err(error)
            }
        }
    }

    async fn exchange(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Zeroizing<Vec<u8>>), JobError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| {
            call.error(ErrorClass::NotSent, "the request cannot be built")
                .because(error.without_url())
        })?;
        // A literal address never reaches the resolver.
        self.reach.check(request.url()).map_err(|refused| call.refused(&refused))?;

        let mut response =
            client.execute(request).await.map_err(|error| self.failed(call, error))?;
        postworks::failpoint!(PublishAnswered if call.step == super::call::Step::Publish);
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = Body::expecting(response.content_length());
        let mut body = body.map_err(|_too_long| call.endless_answer())?;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(call, error))? {
            body.push(&chunk).map_err(|_too_long| call.endless_answer())?;
        }
        if status.is_success()
            && let Some(until) = rate::used_up(&headers, self.now())
        {
            self.windows.close(call.account, until);
        }
        Ok((status, headers, body.whole()))
    }

    /// What a failed exchange means: only a failure to connect proves that nothing was sent.
    fn failed(&self, call: Call<'_>, error: reqwest::Error) -> JobError {
        if let Some(refused) = refused(&error) {
            return call.refused(refused);
        }
        let (connecting, late) = (error.is_connect() || error.is_builder(), error.is_timeout());
        let failure = match (connecting, late) {
            (true, true) => {
                let limit = self.timeouts.connect;
                let words = format!("no connection within {limit:?}");
                JobError::timed_out(ErrorClass::NotSent, call.words(&words))
            }
            (true, false) => call.error(ErrorClass::NotSent, "no connection"),
            (false, true) => {
                let words = format!("no answer within {:?}", self.timeouts.total);
                JobError::timed_out(call.unanswered(), call.words(&words))
            }
            (false, false) => call.error(call.unanswered(), "the connection broke"),
        };
        // The URL is the account's own and would split groups of dead letters.
        failure.because(error.without_url())
    }
}

fn build(reach: Reach, options: &HttpOptions) -> Result<Client, reqwest::Error> {
    // Tokens are small: unpacking saves nothing, and a small answer could unpack to a huge one.
    let plain = (ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let settings = || {
        Client::builder()
            .user_agent(concat!("postworks/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([plain.clone()]))
            .connect_timeout(options.timeouts.connect)
            .timeout(options.timeouts.total)
            .pool_idle_timeout(IDLE_KEPT)
            .pool_max_idle_per_host(IDLE_MAX)
            .https_only(reach == Reach::Public)
            // A redirect would carry a token to another server.
            .redirect(redirect::Policy::none())
            // A proxy from the environment would resolve names past our guard.
            .no_proxy()
            // Repeating is the engine's decision.
            .retry(retry::never())
            // Also if another package of the build switches these on in the library.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .dns_resolver(GuardedResolver { reach, lookup: Arc::clone(&options.lookup) })
            .connector_layer(meter::counting())
    };
    settings().build().or_else(|error| {
        // A machine without root certificates can still run against local platforms.
        let client = settings().tls_certs_only([]).build()?;
        if reach != Reach::Loopback {
            tracing::warn!(
                error = &error as &dyn StdError,
                "no root certificates: platforms over https cannot be reached"
            );
        }
        Ok(client)
    })
}

/// The refusal of our own resolver in the chain of a failed connection.
fn refused(error: &reqwest::Error) -> Option<&Refused> {
    std::iter::successors(error.source(), |&error| error.source())
        .find_map(|error| error.downcast_ref::<Refused>())
}

/// The address of `path` on an account's server.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests;
