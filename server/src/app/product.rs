//! What the application needs of the product's tables: accounts, posts and publications.

use async_trait::async_trait;
use postworks::job::{FieldError, Kind, NewJob, Queue, Timestamp};
use postworks::ledger;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::types::{Accepted, Connector, Post, Publication};

/// What went wrong in the product's tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong; pointers are those of the request's document.
    #[error("invalid")]
    Invalid(Vec<FieldError>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Our fault.
    #[error("broken")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An account to connect, its form checked.
#[derive(Debug, Clone)]
pub struct NewConnector {
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: Url,
    /// The handle or address.
    pub identifier: String,
    /// What proves that it is ours.
    pub secret: SecretString,
}

/// Which rows: newest first, those older than the last of the page before.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Only those older than this id.
    pub before: Option<Uuid>,
    /// At most this many.
    pub limit: u32,
}

/// A job that cannot be routed: its place in the call, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrouted {
    /// Its place.
    pub at: usize,
    /// What is wrong; the pointer is relative to the job, as in `/args/connector_id`.
    pub fault: FieldError,
}

/// Keeps accounts, posts and publications.
#[async_trait]
pub trait Product: Send + Sync + 'static {
    /// Every queue that jobs can be routed to, and the kind of its jobs.
    fn queues(&self) -> Vec<(Queue, Kind)>;

    /// Sets the queue and the account of each job by what its arguments refer to; answers those
    /// that refer to nothing.
    async fn route(&self, jobs: &mut [NewJob]) -> Result<Vec<Unrouted>, Error>;

    /// Connects an account, or connects it again.
    async fn add_connector(&self, connector: NewConnector) -> Result<Uuid, Error>;

    /// Lists accounts.
    async fn connectors(&self, slice: Slice) -> Result<Vec<Connector>, Error>;

    /// Keeps a post.
    async fn add_post(&self, text: &str) -> Result<Uuid, Error>;

    /// Lists posts.
    async fn posts(&self, slice: Slice) -> Result<Vec<Post>, Error>;

    /// Records one publication and its job for each account, all or none, and hands the jobs to
    /// the broker.
    async fn publish(
        &self,
        post: Uuid,
        connectors: &[Uuid],
        at: Option<Timestamp>,
    ) -> Result<Vec<Accepted>, Error>;

    /// A publication.
    async fn publication(&self, id: Uuid) -> Result<Option<Publication>, Error>;
}
