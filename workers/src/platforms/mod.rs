//! Platform clients: each speaks one API and turns its answers into the engine's error classes.
//!
//! A client knows no database, no queue and no retry. It does one request when it is told to and
//! says what the answer means.

mod addresses;
mod answer;
pub mod bluesky;
mod body;
mod call;
mod content;
mod descriptor;
pub mod facebook;
mod html;
pub mod http;
pub mod instagram;
mod known;
mod likeness;
mod limits;
pub mod linkedin;
mod look_back;
pub mod mastodon;
pub mod matrix;
mod meta;
mod meter;
mod network;
pub mod oauth;
mod original;
mod price;
mod publish;
mod ranges;
mod rate;
#[cfg(test)]
mod refusals;
mod resolver;
#[cfg(test)]
mod responder;
mod revoke;
pub mod sandbox;
pub mod threads;
mod uploads;
mod windows;
pub mod wordpress;
pub mod x;

pub(crate) use content::with_link;
pub use content::{Image, ImageKind, Link, Outgoing};
pub use descriptor::{Descriptor, Idempotency, KeyScope, OAuthDefaults, Recourse, Secret, Target};
pub use known::{Platforms, SetupError, UnknownPlatform, all};
pub use limits::{Draft, DraftImage, ImageLimits, ImageRule, Length, Limits, LinkAs, Refusal};
pub use network::{NetworkPolicy, check_base_url};
pub use original::{Original, Originals};
pub use price::Price;
pub use publish::{Committed, Others, Preparation, Prepared, Published, Reconciled, Sought};
pub use resolver::{Lookup, SystemLookup};
pub use revoke::{REVOKE_WITHIN, revoke};
pub use windows::Windows;

use async_trait::async_trait;
use postworks::job::{ErrorClass, JobError, SyncStream, Timestamp};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use self::oauth::{Consent, Granted, OAuthClient};

/// The account a request is made for.
#[derive(Debug, Clone)]
pub struct Account {
    /// Our id of it.
    pub connector_id: Uuid,
    /// Where its server is.
    pub base_url: Url,
    /// The handle or address a person entered.
    pub identifier: String,
    /// The platform's own id of it, once known (a DID on Bluesky).
    pub remote_id: Option<String>,
    /// Where on the account posts go, on platforms with a [`Target`].
    pub target: Option<String>,
    /// When it was last signed in, if that is known.
    pub signed_in_at: Option<Timestamp>,
}

/// An account, and the token that proves that requests are its.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// Whose.
    pub account: &'a Account,
    /// The access token; on platforms without one what a person entered.
    pub access: &'a SecretString,
}

impl Account {
    /// The account with a token of its own.
    pub const fn with<'a>(&'a self, access: &'a SecretString) -> Bearer<'a> {
        Bearer { account: self, access }
    }
}

/// A fresh set of tokens.
#[derive(Debug, Clone)]
pub struct TokenSet {
    /// Proves who asks.
    pub access: SecretString,
    /// Gets the next set; `None` keeps the one there is.
    pub refresh: Option<SecretString>,
    /// When the access token ends, if the platform says so.
    pub expires_at: Option<Timestamp>,
    /// The platform's own id of the account, if it says so.
    pub remote_id: Option<String>,
}

/// A post found on the platform.
#[derive(Debug, Clone, PartialEq)]
pub struct RemotePost {
    /// The platform's id of the post.
    pub remote_id: String,
    /// When it was posted, as far as the platform says.
    pub created_at: Option<Timestamp>,
    /// Its text.
    pub text: String,
}

/// A page of a walk from the newest post back.
#[derive(Debug, Clone, Default)]
pub struct SyncPage {
    /// The posts, newest first.
    pub posts: Vec<RemotePost>,
    /// Where the next page starts; `None` ends the walk.
    pub next: Option<String>,
}

/// What a platform counts of a post; `None` for what it does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// People who liked it.
    pub likes: Option<u64>,
    /// People who passed it on.
    pub reposts: Option<u64>,
    /// Answers to it.
    pub replies: Option<u64>,
    /// How often it was shown.
    pub views: Option<u64>,
}

/// What an account says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name that people see.
    pub display_name: Option<String>,
    /// A few words about it.
    pub description: Option<String>,
    /// How many follow it, if the platform says so.
    pub followers: Option<u64>,
}

/// Speaks to one platform.
#[async_trait]
pub trait Platform: Send + Sync + 'static {
    /// What the platform is like.
    fn descriptor(&self) -> &'static Descriptor;

    /// Gets the first tokens from the secret a person entered.
    async fn sign_in(&self, account: &Account, secret: &SecretString)
    -> Result<TokenSet, JobError>;

    /// Gets new tokens. Once sent, this is never abandoned: the old token may be used up.
    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError>;

    /// Ends what a refresh token is good for, when its account is disconnected; also what a person
    /// entered, if that is a refresh token. Answers whether the platform did: `false` if it has
    /// nothing of the kind.
    async fn revoke(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<bool, JobError> {
        let _ = (account, refresh_token);
        Ok(false)
    }

    /// Exchanges the code of a person's consent for tokens. A platform that gives more for them, such
    /// as tokens that last, is asked for that too.
    async fn exchange_code(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        oauth.exchange(consent).await
    }

    /// Makes ready what a commit refers to: uploads, a draft, a container. Nobody sees it, and it may
    /// be done again at any time. `so_far` is what the last run of it left; where the platform takes
    /// its time, this asks how far it is.
    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let _ = (by, post);
        Ok(Preparation::Ready(so_far))
    }

    /// Publishes: the one request that cannot be taken back.
    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError>;

    /// Where people see a post, if that is to be asked for by itself.
    async fn address(&self, by: Bearer<'_>, remote_id: &str) -> Result<Option<String>, JobError> {
        let _ = (by, remote_id);
        Ok(None)
    }

    /// Reads a page of the account's posts, newest first.
    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError>;

    /// Reads how often these posts of the account, at most [`NUMBERED_MAX`], were liked, and the
    /// like; those that it does not answer are gone, and one of which it counts nothing keeps the
    /// numbers it had.
    ///
    /// Only platforms that have [`SyncStream::Metrics`] are asked.
    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let _ = (by, posts);
        Err(lacks(self.descriptor(), SyncStream::Metrics))
    }

    /// Reads what the account says of itself.
    ///
    /// Only platforms that have [`SyncStream::Profile`] are asked.
    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let _ = by;
        Err(lacks(self.descriptor(), SyncStream::Profile))
    }

    /// Asks what became of a commit whose outcome is unknown.
    ///
    /// Only platforms with [`Descriptor::reconciles`] are asked.
    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let _ = (by, post, prepared, sought);
        let words = format!("{} has no way of looking a post up", self.descriptor().name);
        Err(JobError::new(ErrorClass::Bug, words))
    }
}

/// Posts whose numbers are asked for in one request, at most.
pub const NUMBERED_MAX: usize = 100;

fn lacks(descriptor: &Descriptor, stream: SyncStream) -> JobError {
    let words = format!("{} has no stream {}", descriptor.name, stream.as_str());
    JobError::new(ErrorClass::Bug, words)
}
