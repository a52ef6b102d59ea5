//! Platform clients: each speaks one API and turns its answers into the engine's error classes.
//!
//! A client knows no database, no queue and no retry. It does one request when it is told to and
//! says what the answer means.

mod answer;
pub mod bluesky;
mod body;
mod call;
pub mod http;
mod known;
mod meter;
mod network;
pub mod oauth;
mod ranges;
mod rate;
mod resolver;
#[cfg(test)]
mod responder;
mod revoke;
pub mod sandbox;
mod windows;

pub use known::{Platforms, SetupError, UnknownPlatform, all};
pub use network::{NetworkPolicy, check_base_url};
pub use resolver::{Lookup, SystemLookup};
pub use revoke::{REVOKE_WITHIN, revoke};
pub use windows::Windows;

use std::time::Duration;

use async_trait::async_trait;
use postworks::job::{ErrorClass, JobError, SyncStream, Timestamp};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// What a platform is like: constants that handlers and the product decide by.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name in queues and in the API, such as `bluesky`.
    pub name: &'static str,
    /// How a repeated publish is kept from publishing twice.
    pub idempotency: Idempotency,
    /// Whether it can be asked for a post by our reference.
    pub look_up: bool,
    /// What a person enters as the account's secret.
    pub secret: Secret,
    /// Longest text of a post, in characters.
    pub text_chars_max: usize,
    /// What can be fetched of an account.
    pub streams: &'static [SyncStream],
    /// Whether the platform is for demos and tests: reached on loopback alone, over plain HTTP too,
    /// without `POSTWORKS_ALLOW_LOOPBACK`.
    pub local: bool,
}

/// How a repeated publish is kept from publishing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// We choose the record's id, so a repeat writes the same record, at any time.
    DeterministicId,
    /// The platform remembers a key that we send.
    ClientKey {
        /// For how long; `None` is for ever. Later the same request is a new one.
        lifetime: Option<Duration>,
    },
    /// It is not.
    None,
}

impl Idempotency {
    /// Whether sending the same publish again soon is harmless.
    pub const fn repeatable(self) -> bool {
        matches!(self, Self::DeterministicId | Self::ClientKey { .. })
    }
}

/// What helps against not knowing whether a request was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recourse {
    /// Sending the same again.
    Repeat,
    /// Asking for the post, and sending again once its absence is proof.
    LookUp,
    /// A person, who looks at the account.
    Person,
}

impl Descriptor {
    /// What helps if the first such request will be `age` past when a repeat arrives.
    pub fn recourse(&self, age: Duration) -> Recourse {
        let recognised = match self.idempotency {
            Idempotency::DeterministicId => true,
            Idempotency::ClientKey { lifetime } => lifetime.is_none_or(|lifetime| age < lifetime),
            Idempotency::None => false,
        };
        match (recognised, self.look_up) {
            (true, _) => Recourse::Repeat,
            (false, true) => Recourse::LookUp,
            (false, false) => Recourse::Person,
        }
    }
}

/// What a person enters as an account's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// A refresh token: used up by the first refresh.
    RefreshToken,
    /// A password for apps: kept, and used to sign in again.
    Password,
}

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

/// A post as it is sent: the same at every attempt.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The publication's id: the idempotency key on platforms that take one.
    pub publication_id: Uuid,
    /// The text.
    pub text: String,
    /// The time shown on the post; also the source of deterministic record keys.
    pub created_at: Timestamp,
}

/// Where a post went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The platform's id of the post.
    pub remote_id: String,
    /// Where people see it, if the platform says so.
    pub remote_url: Option<String>,
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

    /// Publishes: the one request that cannot be taken back.
    async fn publish(
        &self,
        account: &Account,
        access: &SecretString,
        post: &Outgoing,
    ) -> Result<Published, JobError>;

    /// Reads a page of the account's posts, newest first.
    async fn posts(
        &self,
        account: &Account,
        access: &SecretString,
        cursor: Option<&str>,
    ) -> Result<SyncPage, JobError>;

    /// Reads how often these posts of the account, at most [`NUMBERED_MAX`], were liked, and the
    /// like; those that it does not answer are gone.
    ///
    /// Only platforms that have [`SyncStream::Metrics`] are asked.
    async fn numbers(
        &self,
        account: &Account,
        access: &SecretString,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let _ = (account, access, posts);
        Err(lacks(self.descriptor(), SyncStream::Metrics))
    }

    /// Reads what the account says of itself.
    ///
    /// Only platforms that have [`SyncStream::Profile`] are asked.
    async fn profile(&self, account: &Account, access: &SecretString) -> Result<Profile, JobError> {
        let _ = (account, access);
        Err(lacks(self.descriptor(), SyncStream::Profile))
    }

    /// Asks whether a post is there, after a publish whose outcome is unknown.
    ///
    /// Only platforms with [`Descriptor::look_up`] are asked.
    async fn look_up(
        &self,
        account: &Account,
        access: &SecretString,
        post: &Outgoing,
    ) -> Result<Option<Published>, JobError> {
        let _ = (account, access, post);
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
