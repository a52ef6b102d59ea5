//! The one place that builds HTTP clients for platforms, sends their requests and says what a
//! failed exchange means.
//!
//! It knows no platform's wire format; `answer` says what an answer means.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, JobError};
pub(crate) use reqwest::RequestBuilder;
use reqwest::{Client, redirect, retry};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::meter::{self, Took};
use super::network::{GuardedResolver, NetworkPolicy, Reach, Refused};
use super::{Descriptor, Windows, rate};

/// Longest answer read, in bytes. A page of posts is below half of this on every platform.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long an idle connection is kept: shorter than the idle limits of common front servers,
/// which would otherwise close it under a request.
const IDLE_KEPT: Duration = Duration::from_secs(20);

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

/// The HTTP clients that all platform clients share. Cloning shares their connections.
#[derive(Debug, Clone)]
pub struct Http {
    public: Client,
    loopback: Client,
    policy: NetworkPolicy,
    timeouts: Timeouts,
    windows: Windows,
}

impl Http {
    /// Clients with the usual timeouts.
    pub fn new(policy: NetworkPolicy) -> Result<Self, reqwest::Error> {
        Self::with_timeouts(policy, Timeouts::default())
    }

    /// Clients with timeouts of one's own, for tests.
    pub fn with_timeouts(
        policy: NetworkPolicy,
        timeouts: Timeouts,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            public: build(Reach::Public, timeouts)?,
            loopback: build(Reach::Loopback, timeouts)?,
            policy,
            timeouts,
            windows: Windows::default(),
        })
    }

    /// Says who is told of windows that answers of success say are used up.
    #[must_use]
    pub fn telling(mut self, windows: Windows) -> Self {
        self.windows = windows;
        self
    }

    /// Starts a request for a platform.
    pub(crate) fn request(
        &self,
        descriptor: &Descriptor,
        method: Method,
        url: Url,
    ) -> RequestBuilder {
        let client = match self.policy.reach(descriptor) {
            Reach::Public => &self.public,
            Reach::Loopback => &self.loopback,
        };
        client.request(method, url)
    }

    /// Sends a request once and reads the whole answer.
    pub(crate) async fn send(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
    ) -> Result<Answer, JobError> {
        let asked = Instant::now();
        let answer = meter::sending(call.descriptor.name, self.exchange(call, request)).await;
        let took = Took::new(call, asked.elapsed());
        match answer {
            Ok((status, headers, body)) => Ok(Answer { status, headers, body, took }),
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
        let reach = self.policy.reach(call.descriptor);
        reach.check(request.url()).map_err(|refused| call.refused(&refused))?;

        let mut response =
            client.execute(request).await.map_err(|error| self.failed(call, error))?;
        postworks::failpoint!(PublishAnswered if call.step == Step::Publish);
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(call, error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(call.endless_answer());
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success()
            && let Some(until) = rate::used_up(&headers, SystemClock.now())
        {
            self.windows.close(call.account, until);
        }
        Ok((status, headers, body))
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

fn build(reach: Reach, timeouts: Timeouts) -> Result<Client, reqwest::Error> {
    let settings = || {
        Client::builder()
            .user_agent(concat!("postworks/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .pool_idle_timeout(IDLE_KEPT)
            // A redirect would carry a token to another server.
            .redirect(redirect::Policy::none())
            // A proxy from the environment would resolve names past our guard.
            .no_proxy()
            // Repeating is the engine's decision.
            .retry(retry::never())
            .dns_resolver(GuardedResolver(reach))
            .connector_layer(meter::counting())
    };
    settings().build().or_else(|error| {
        // A machine without root certificates can still run against local platforms.
        let client = settings().tls_certs_only([]).build()?;
        tracing::warn!(
            error = &error as &dyn StdError,
            "no root certificates: platforms over https cannot be reached"
        );
        Ok(client)
    })
}

/// The refusal of our own resolver in the chain of a failed connection.
fn refused(error: &reqwest::Error) -> Option<&Refused> {
    std::iter::successors(error.source(), |&error| error.source())
        .find_map(|error| error.downcast_ref::<Refused>())
}

/// What a request is for: decides what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Getting the first tokens.
    SignIn,
    /// Getting the next tokens.
    Refresh,
    /// Publishing.
    Publish,
    /// Reading.
    Read,
}

impl Step {
    /// The label in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Refresh => "refresh",
            Self::Publish => "publish",
            Self::Read => "read",
        }
    }
}

/// A request's circumstances, for its errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Whose request.
    pub(crate) descriptor: &'static Descriptor,
    /// What for.
    pub(crate) step: Step,
    /// Our id of the account it is made for.
    pub(crate) account: Uuid,
    /// The secret it carries, kept out of its errors.
    pub(crate) secret: &'a SecretString,
}

impl Call<'_> {
    /// The class of a request that was sent and whose verdict is not known.
    ///
    /// A lost token answer counts as "later": the account's job tries again, and only the
    /// platform's own refusal disconnects an account.
    pub(crate) fn unanswered(self) -> ErrorClass {
        let repeatable = self.descriptor.idempotency.repeatable();
        match self.step {
            Step::Publish => ErrorClass::Unknown { repeatable },
            Step::SignIn | Step::Refresh | Step::Read => ErrorClass::Transient,
        }
    }

    /// An error of this request.
    pub(crate) fn error(self, class: ErrorClass, what: &str) -> JobError {
        JobError::new(class, self.words(what))
    }

    /// What happened, after what was being done where.
    pub(crate) fn words(self, what: &str) -> String {
        let doing = match self.step {
            Step::SignIn => "signing in to",
            Step::Refresh => "getting new tokens from",
            Step::Publish => "publishing on",
            Step::Read => "reading from",
        };
        format!("{doing} {}: {what}", self.descriptor.name)
    }

    fn refused(self, refused: &Refused) -> JobError {
        self.error(ErrorClass::Invalid, &refused.to_string())
    }

    /// An answer that is too long will be too long again, unless it was a publish: that one may
    /// have been applied.
    fn endless_answer(self) -> JobError {
        let class = match self.step {
            Step::Publish => self.unanswered(),
            Step::SignIn | Step::Refresh | Step::Read => ErrorClass::Invalid,
        };
        self.error(class, "the answer is longer than 1 MiB")
    }
}

/// The address of `path` on an account's server.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::bluesky::DESCRIPTOR;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_refused_for_good() {
        let http = Http::new(NetworkPolicy::default()).unwrap();
        let secret = SecretString::from("s");
        let call = Call {
            descriptor: &DESCRIPTOR,
            step: Step::Publish,
            account: Uuid::nil(),
            secret: &secret,
        };
        // Past the check of the URL, as any other name with such an address would get.
        let error = http.public.get("http://localhost:9/").send().await.unwrap_err();
        let failed = http.failed(call, error);
        assert_eq!(failed.class(), ErrorClass::Invalid);
        assert!(failed.to_string().contains("localhost is this machine"), "{failed}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_was_sent_nothing() {
        let http = Http::new(NetworkPolicy::default()).unwrap();
        let secret = SecretString::from("s");
        let call = Call {
            descriptor: &DESCRIPTOR,
            step: Step::Publish,
            account: Uuid::nil(),
            secret: &secret,
        };
        // A label may have 63 characters, so the resolver refuses this without asking anybody.
        let url = format!("https://{}.example/", "a".repeat(64)).parse().unwrap();
        let request = http.request(&DESCRIPTOR, Method::POST, url);
        let error = http.send(call, request).await.err().unwrap();
        assert_eq!(error.class(), ErrorClass::NotSent, "{}", error.chain());
    }

    #[test]
    fn a_path_is_added_to_the_address() {
        for (base, url) in [
            ("https://a.example", "https://a.example/xrpc/x"),
            ("https://a.example/", "https://a.example/xrpc/x"),
            ("https://a.example/pds/", "https://a.example/pds/xrpc/x"),
        ] {
            assert_eq!(endpoint(&base.parse().unwrap(), "xrpc/x").as_str(), url);
        }
    }
}
