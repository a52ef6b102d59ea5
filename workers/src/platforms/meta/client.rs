//! The client of a platform whose posts are containers first. What sets one apart from the others is
//! its [`Speech`].

use std::marker::PhantomData;

use async_trait::async_trait;
use postworks::clock::SharedClock;
use postworks::job::JobError;
use secrecy::SecretString;

use super::{Dialect, Grants, Graph, Listed, Word};
use crate::platforms::call::Step;
use crate::platforms::http::HttpOptions;
use crate::platforms::oauth::{Consent, Granted, OAuthClient};
use crate::platforms::{
    Account, Bearer, Committed, Descriptor, Numbers, Outgoing, Platform, Preparation, Prepared,
    Profile, Reconciled, Sought, SyncPage, TokenSet,
};

/// What one platform has of its own.
#[async_trait]
pub(in crate::platforms) trait Speech: Send + Sync + 'static {
    /// What it is like.
    const DESCRIPTOR: &'static Descriptor;
    /// Its API's version.
    const VERSION: &'static str;
    /// What it calls things.
    const DIALECT: &'static Dialect;
    /// How tokens become others.
    const GRANTS: &'static Grants;
    /// A post in its lists.
    type Post: Listed;

    /// As [`Platform::numbers`].
    async fn numbers(word: Word<'_>, posts: &[String]) -> Result<Vec<(String, Numbers)>, JobError>;

    /// As [`Platform::profile`].
    async fn profile(word: Word<'_>) -> Result<Profile, JobError>;
}

/// Speaks to such a platform.
pub(in crate::platforms) struct ContainerClient<S> {
    graph: Graph,
    speech: PhantomData<S>,
}

impl<S: Speech> ContainerClient<S> {
    /// A client.
    pub(in crate::platforms) fn new(
        options: &HttpOptions,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let graph = Graph::new(S::DESCRIPTOR, S::VERSION, options, clock)?;
        Ok(Self { graph, speech: PhantomData })
    }

    fn word<'a>(&'a self, by: Bearer<'a>) -> Word<'a> {
        Word { graph: &self.graph, dialect: S::DIALECT, by }
    }
}

#[async_trait]
impl<S: Speech> Platform for ContainerClient<S> {
    fn descriptor(&self) -> &'static Descriptor {
        S::DESCRIPTOR
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.graph.adopt(account, secret, S::GRANTS).await
    }

    async fn exchange_code(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        self.graph.exchange(oauth, consent, S::GRANTS).await
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.graph.renew(Step::Refresh, account, refresh_token, S::GRANTS).await
    }

    async fn prepare(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        self.word(by).prepare(post, &so_far).await
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        _: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        self.word(by).commit(prepared).await
    }

    async fn address(&self, by: Bearer<'_>, remote_id: &str) -> Result<Option<String>, JobError> {
        self.word(by).address(remote_id).await
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        self.word(by).reconcile::<S::Post>(post, prepared, sought).await
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let list = self.word(by).path(S::DIALECT.make);
        self.graph.posts::<S::Post>(by, &list, cursor).await
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        S::numbers(self.word(by), posts).await
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        S::profile(self.word(by)).await
    }
}
