//! The client of the sandbox, our own test double of a social platform.
//!
//! One server stands for three kinds of platform, so that each way of keeping a repeat from
//! publishing twice can be tried: a key that the platform remembers (`sandbox`), a reference that
//! it can be asked for (`sandbox_lookup`), nothing at all (`sandbox_blind`).
//! The wire format is the SANDBOX part of the public contract.

mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, SyncStream};
use secrecy::{ExposeSecret, SecretString};

use self::wire::{Created, Figures, NewPost, Page, Person, RefreshGrant, Revocation};
use super::answer::{ALWAYS, ErrorTable, FOR_TOKENS, Rule, Verdict, WITH_ACCESS};
use super::call::{Api, Step};
use super::http::{Http, HttpOptions, endpoint};
use super::oauth::{self, OAuthClient};
use super::{
    Account, Bearer, Committed, Descriptor, Idempotency, KeyScope, Limits, Numbers, Outgoing,
    Platform, Prepared, Profile, Published, Reconciled, RemotePost, Secret, Sought, SyncPage,
    TokenSet,
};

/// Remembers an idempotency key, as long as the server runs; it can be asked for a reference too.
pub static SANDBOX: Descriptor =
    describe("sandbox", Idempotency::ClientKey { lifetime: None, scope: KeyScope::Account }, true);
/// Takes no key, and can be asked for a reference.
pub static SANDBOX_LOOKUP: Descriptor = describe("sandbox_lookup", Idempotency::None, true);
/// Takes neither.
pub static SANDBOX_BLIND: Descriptor = describe("sandbox_blind", Idempotency::None, false);

const fn describe(name: &'static str, idempotency: Idempotency, reconciles: bool) -> Descriptor {
    Descriptor {
        name,
        idempotency,
        reconciles,
        secret: Secret::RefreshToken,
        target: None,
        oauth: None,
        // The server's own limit.
        limits: Limits::text_only(5_000),
        streams: &SyncStream::ALL,
        price: None,
        local: true,
    }
}

/// The refusals whose meaning is not in the status alone.
static TABLE: ErrorTable = ErrorTable::plain(&[
    Rule::new(WITH_ACCESS, 401, "token_expired", Verdict::Expired),
    Rule::new(ALWAYS, 401, "token_revoked", Verdict::Revoked),
    // With an access token it is any 401: RFC 6750 means expired ones by it, too.
    Rule::new(FOR_TOKENS, 401, "invalid_token", Verdict::Revoked),
    Rule::new(FOR_TOKENS, 400, "invalid_grant", Verdict::Revoked),
]);

/// Speaks to the sandbox.
pub struct SandboxClient {
    api: Api,
    http: Http,
    /// The servers that the tokens come from, if others than the account's own.
    oauth: Option<Arc<OAuthClient>>,
}

impl SandboxClient {
    /// A client that behaves as `descriptor` says.
    ///
    /// # Errors
    /// Its HTTP client cannot be built.
    pub fn new(
        descriptor: &'static Descriptor,
        options: &HttpOptions,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let api = Api { descriptor, refusals: &TABLE };
        Ok(Self { api, http: Http::new(descriptor, options, clock)?, oauth: None })
    }

    /// Gets tokens from these servers; posts go to the account's own server as before.
    #[must_use]
    pub fn with_oauth(self, oauth: Arc<OAuthClient>) -> Self {
        Self { oauth: Some(oauth), ..self }
    }

    /// The refresh grant of OAuth 2.0 (RFC 6749 §6). Rotation is strict: the token is used up.
    async fn grant(
        &self,
        step: Step,
        account: &Account,
        token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        if let Some(oauth) = &self.oauth {
            return oauth.renew(step, account, token).await;
        }
        // Before sending, so that the new token never seems to live longer than it does.
        let asked_at = self.http.now();
        let form =
            RefreshGrant { grant_type: "refresh_token", refresh_token: token.expose_secret() };
        let request =
            self.http.request(Method::POST, endpoint(&account.base_url, "oauth/token")).form(&form);
        let secrets = [token];
        let call = account.call(self.api, step, &secrets);
        let answer = self.http.send(call, request).await?;
        let told = oauth::tokens(&answer, call)?;
        Ok(told.into_set(asked_at))
    }

    async fn list(
        &self,
        by: Bearer<'_>,
        filters: &[(&str, Option<&str>)],
    ) -> Result<Page, JobError> {
        let given = filters.iter().filter_map(|&(name, value)| Some((name, value?)));
        let query: Vec<_> = [("account", owner(by.account))].into_iter().chain(given).collect();
        let request = self.http.request_by(by, Method::GET, "posts").query(&query);
        self.http.value(by.call(self.api, Step::Read), request).await
    }

    fn published(account: &Account, id: String) -> Published {
        let mut url = endpoint(&account.base_url, "posts");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&id);
        }
        Published { remote_id: id, remote_url: Some(url.into()) }
    }
}

/// The account as the sandbox finds it: by its id, or by its handle until that is known.
fn owner(account: &Account) -> &str {
    account.remote_id.as_deref().unwrap_or(&account.identifier)
}

#[async_trait]
impl Platform for SandboxClient {
    fn descriptor(&self) -> &'static Descriptor {
        self.api.descriptor
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.grant(Step::SignIn, account, secret).await
    }

    async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.grant(Step::Refresh, account, refresh_token).await
    }

    /// RFC 7009: a token that the server does not know is as good as revoked.
    async fn revoke(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<bool, JobError> {
        if let Some(oauth) = &self.oauth {
            return oauth.revoke(account.connector_id, refresh_token).await;
        }
        let secrets = [refresh_token];
        let call = account.call(self.api, Step::Revoke, &secrets);
        let form =
            Revocation { token: refresh_token.expose_secret(), token_type_hint: "refresh_token" };
        let request = self
            .http
            .request(Method::POST, endpoint(&account.base_url, "oauth/revoke"))
            .form(&form);
        self.http.done(call, request).await.map(|()| true)
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
    ) -> Result<Committed, JobError> {
        let reference = post.publication_id.to_string();
        let client_ref = self.api.descriptor.reconciles.then_some(reference.as_str());
        let mut request = self
            .http
            .request_by(by, Method::POST, "posts")
            .json(&NewPost { text: &post.text_with_link(), client_ref });
        if matches!(self.api.descriptor.idempotency, Idempotency::ClientKey { .. }) {
            request = request.header("idempotency-key", &reference);
        }
        let created: Created = self.http.value(by.call(self.api, Step::Publish), request).await?;
        Ok(Committed::Published(Self::published(by.account, created.id)))
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        let page = self.list(by, &[("cursor", cursor)]).await?;
        let posts = page.items.into_iter().map(|item| RemotePost {
            remote_id: item.id,
            created_at: item.created_at.and_then(|text| text.parse().ok()),
            text: item.text,
        });
        Ok(SyncPage { posts: posts.collect(), next: page.next })
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let ids = [("ids", posts.join(","))];
        let request = self.http.request_by(by, Method::GET, "posts/numbers").query(&ids);
        let figures: Figures = self.http.value(by.call(self.api, Step::Read), request).await?;
        let numbers = figures.items.into_iter().map(|of| {
            let wire::Figure { id, likes, reposts, replies, views } = of;
            (id, Numbers { likes, reposts, replies, views })
        });
        Ok(numbers.collect())
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let mut url = endpoint(&by.account.base_url, "accounts");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(owner(by.account));
        }
        let request = self.http.request(Method::GET, url).bearer_auth(by.access.expose_secret());
        let person: Person = self.http.value(by.call(self.api, Step::Read), request).await?;
        let Person { display_name, description, followers } = person;
        Ok(Profile { display_name, description, followers })
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
        _: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        if !self.api.descriptor.reconciles {
            let words = "posts carry no reference that could be looked up";
            return Err(by.call(self.api, Step::Read).error(ErrorClass::Invalid, words));
        }
        let reference = post.publication_id.to_string();
        let page = self.list(by, &[("client_ref", Some(&reference))]).await?;
        // Newest first: the last is the one that the first attempt made.
        let first = page.items.into_iter().next_back();
        Ok(first.map_or(Reconciled::Absent, |item| {
            Reconciled::There(Self::published(by.account, item.id))
        }))
    }
}

#[cfg(test)]
mod tests;
