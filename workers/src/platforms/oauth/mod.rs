//! The OAuth 2.0 client of any platform that has a profile: a person's consent, the code that comes
//! of it, new tokens, and their end.
//!
//! It sends by the HTTP core that platforms are asked with, and repeats nothing: codes are good
//! once, and so are the refresh tokens of strict servers.
//! RFC 6749, 7009 (revocation) and 7636 (PKCE); of OpenID Connect only who an account is.

mod answer;
mod identity;
mod pkce;
mod profile;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::Method;
use http::header::ACCEPT;
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

pub use self::pkce::{code_challenge, new_verifier};
pub use self::profile::{Profile, ProfileError};

pub(super) use self::answer::tokens;

use self::answer::Told;
use self::identity::Identity;
use self::profile::Client;
use super::answer::{Answer, ErrorTable, FOR_TOKENS, Rule, Verdict};
use super::call::{Api, Call, Step};
use super::http::{Http, HttpOptions};
use super::{Account, Descriptor, TokenSet};

/// Errors that are about us and not about any account (RFC 6749 §5.2).
const OUR_FAULT: [&str; 2] = ["invalid_client", "unauthorized_client"];

/// What else is refused at a token endpoint is "wrong and will stay wrong", or "later". A platform that
/// says it in other words brings a table of its own.
static TABLE: ErrorTable =
    ErrorTable::plain(&[Rule::new(FOR_TOKENS, 0, "invalid_grant", Verdict::Revoked)]);

/// Whose tokens are is asked for again after these, if the answer gets lost.
const ASKED_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// A code that a person's browser brought, and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Consent<'a> {
    /// The code.
    pub code: &'a SecretString,
    /// What the challenge was made of that the person set out with.
    pub verifier: &'a SecretString,
    /// Where the person came back to: to the letter what they set out with.
    pub redirect_uri: &'a str,
    /// Where on the account posts are to go, if the person chose.
    pub target: Option<&'a str>,
}

/// What a code was exchanged for.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The tokens. Their `remote_id` is the account's own id, if the platform says who it is.
    pub tokens: TokenSet,
    /// The account's handle or name, if it says that too.
    pub name: Option<String>,
    /// Where on the account posts go, if the platform says or the person chose.
    pub target: Option<String>,
    /// Why nothing is known of whose they are, if the platform was asked and did not answer.
    pub unanswered: Option<JobError>,
}

/// Speaks to one platform's OAuth 2.0 servers.
pub struct OAuthClient {
    descriptor: &'static Descriptor,
    profile: Profile,
    http: Http,
}

impl OAuthClient {
    /// A client of this platform.
    ///
    /// # Errors
    /// An address is one that the platform's clients never speak to, or the HTTP client cannot be
    /// built.
    pub fn new(
        descriptor: &'static Descriptor,
        profile: Profile,
        options: &HttpOptions,
        clock: SharedClock,
    ) -> Result<Self, ProfileError> {
        let http = Http::new(descriptor, options, clock).map_err(ProfileError::Http)?;
        for (key, url) in profile.urls() {
            http.admits(url).map_err(|why| ProfileError::Address { key, why })?;
        }
        Ok(Self { descriptor, profile, http })
    }

    /// The server's name for itself, if it is known: what a redirect's `iss` (RFC 9207) must say.
    pub fn issuer(&self) -> Option<&str> {
        self.profile.issuer.as_deref()
    }

    /// The platform's servers: the one of its API first.
    pub fn servers(&self) -> impl Iterator<Item = &Url> {
        self.profile.servers()
    }

    /// Where the platform's API is; where tokens come from, on servers of one's own.
    pub(super) fn api(&self) -> &Url {
        self.profile.servers().next().unwrap_or(&self.profile.token_url)
    }

    /// Our id, and what proves that it is us, for grants of a platform's own.
    pub(super) fn ours(&self) -> (&str, Option<&SecretString>) {
        (&self.profile.client_id, self.profile.client.secrets())
    }

    /// Where to send a person who is to consent. `state` comes back with the code; the challenge goes
    /// along where the server takes one.
    pub fn authorize_url(&self, state: &str, code_challenge: &str, redirect_uri: &str) -> Url {
        let mut url = self.profile.authorize_url.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code");
        query.append_pair("client_id", &self.profile.client_id);
        query.append_pair("redirect_uri", redirect_uri);
        if !self.profile.scopes.is_empty() {
            query.append_pair("scope", &self.profile.scopes.join(" "));
        }
        query.append_pair("state", state);
        if self.profile.pkce {
            query.append_pair("code_challenge", code_challenge);
            query.append_pair("code_challenge_method", "S256");
        }
        drop(query);
        url
    }

    /// Exchanges a code for tokens, and finds out whose they are. Sent once: if the answer is lost,
    /// the person has to consent again.
    ///
    /// # Errors
    /// `AuthRevoked` if the server refuses the code; `Invalid` if it refuses us.
    pub async fn exchange(&self, consent: Consent<'_>) -> Result<Granted, JobError> {
        self.exchange_by(&TABLE, consent).await
    }

    /// The same on a platform whose refusals are of a form of their own.
    pub(super) async fn exchange_by(
        &self,
        table: &'static ErrorTable,
        consent: Consent<'_>,
    ) -> Result<Granted, JobError> {
        let Consent { code, verifier, redirect_uri, .. } = consent;
        let secrets = self.with_ours([code, verifier]);
        let call = self.call(table, Step::SignIn, Uuid::nil(), &secrets);
        let mut form = vec![("grant_type", "authorization_code"), ("code", code.expose_secret())];
        if self.profile.pkce {
            form.push(("code_verifier", verifier.expose_secret()));
        }
        form.push(("redirect_uri", redirect_uri));
        let (told, asked_at) = self.grant(call, form).await?;
        let told_by_token = self.identity(&told);
        let mut tokens = told.into_set(asked_at);
        let (who, unanswered) = self.who(told_by_token, &tokens.access).await;
        tokens.remote_id = who.id;
        let target = consent.target.map(str::to_owned);
        Ok(Granted { tokens, name: who.name, target, unanswered })
    }

    /// Gets new tokens for a refresh token.
    ///
    /// # Errors
    /// `AuthRevoked` if the server refuses the token, or answers for another account; `Invalid` if
    /// it refuses us.
    pub async fn refresh(
        &self,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.renew(Step::Refresh, account, refresh_token).await
    }

    /// Gets new tokens, or the first ones of an account that was connected by its refresh token.
    pub(super) async fn renew(
        &self,
        step: Step,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.renew_by(&TABLE, step, account, refresh_token).await
    }

    /// The same on a platform whose refusals are of a form of their own.
    pub(super) async fn renew_by(
        &self,
        table: &'static ErrorTable,
        step: Step,
        account: &Account,
        refresh_token: &SecretString,
    ) -> Result<TokenSet, JobError> {
        let secrets = self.with_ours([refresh_token]);
        let call = self.call(table, step, account.connector_id, &secrets);
        let form =
            vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose_secret())];
        let (told, asked_at) = self.grant(call, form).await?;
        let id = self.identity(&told).id;
        // Tokens of another account must never be used to publish as this one.
        if let (Some(known), Some(id)) = (&account.remote_id, &id)
            && known != id
        {
            let words = format!("the server answered for another account, {id}");
            return Err(call.error(ErrorClass::AuthRevoked, &words));
        }
        Ok(TokenSet { remote_id: id, ..told.into_set(asked_at) })
    }

    /// Gives a refresh token back: it, and what it was good for, ends (RFC 7009). Answers whether
    /// the platform has somewhere to give it back.
    ///
    /// # Errors
    /// As of any request. A token that the server does not know is none.
    pub async fn revoke(&self, account: Uuid, token: &SecretString) -> Result<bool, JobError> {
        let Some(url) = &self.profile.revoke_url else { return Ok(false) };
        let secrets = self.with_ours([token]);
        let call = self.call(&TABLE, Step::Revoke, account, &secrets);
        let form = vec![("token", token.expose_secret()), ("token_type_hint", "refresh_token")];
        self.post(call, url, form).await?.success(call).map(|()| true)
    }

    async fn grant<'a>(
        &'a self,
        call: Call<'_>,
        form: Vec<(&'a str, &'a str)>,
    ) -> Result<(Told, Timestamp), JobError> {
        // Before sending, so that the new token never seems to live longer than it does.
        let asked_at = self.http.now();
        let answer = self.post(call, &self.profile.token_url, form).await?;
        Ok((tokens(&answer, call)?, asked_at))
    }

    /// Sends a form, and who we are with it.
    async fn post<'a>(
        &'a self,
        call: Call<'_>,
        url: &Url,
        mut form: Vec<(&'a str, &'a str)>,
    ) -> Result<Answer, JobError> {
        let mut request = self.http.request(Method::POST, url.clone());
        request = request.header(ACCEPT, "application/json");
        match &self.profile.client {
            Client::Basic { id, secret, .. } => {
                request = request.basic_auth(id, Some(secret.expose_secret()));
            }
            Client::Post(secret) => {
                form.push(("client_id", &self.profile.client_id));
                form.push(("client_secret", secret.expose_secret()));
            }
            Client::Public => form.push(("client_id", &self.profile.client_id)),
        }
        let answer = self.http.send(call, request.form(&form)).await?;
        let name = answer.words_by(&TABLE).name;
        if !OUR_FAULT.contains(&name.as_str()) {
            return Ok(answer);
        }
        let words = format!(
            "{} {name}: the server does not take us for its client: look at client_id, \
             client_secret_file and client_auth in [platforms.{}.oauth]",
            answer.status.as_u16(),
            self.descriptor.name
        );
        answer.took.failed(ErrorClass::Invalid);
        Err(call.error(ErrorClass::Invalid, &words))
    }

    /// Who the answer itself says the account is.
    fn identity(&self, told: &Told) -> Identity {
        let token = told.id_token.as_ref();
        let told = token.and_then(|token| Identity::of_id_token(token, &self.profile));
        told.unwrap_or_default()
    }

    /// Who the account is: what the answer leaves open, the platform is asked for if it can be.
    /// Tokens that are there are not thrown away for want of a name, nor for one answer that is lost.
    async fn who(&self, told: Identity, access: &SecretString) -> (Identity, Option<JobError>) {
        let Some(url) = &self.profile.userinfo_url else { return (told, None) };
        if told.id.is_some() && told.name.is_some() {
            return (told, None);
        }
        match asked_again(|| self.ask_who(url, access)).await {
            Ok(claims) => (told.with(Identity::of_userinfo(&claims)), None),
            Err(error) => {
                tracing::warn!(
                    platform = self.descriptor.name,
                    error = %error.chain(),
                    "an account does not say who it is"
                );
                (told, Some(error))
            }
        }
    }

    async fn ask_who(&self, url: &Url, access: &SecretString) -> Result<Value, JobError> {
        let secrets = [access];
        let call = self.call(&TABLE, Step::Read, Uuid::nil(), &secrets);
        let request = self.http.request(Method::GET, url.clone());
        let request =
            request.header(ACCEPT, "application/json").bearer_auth(access.expose_secret());
        self.http.value(call, request).await
    }

    fn call<'a>(
        &self,
        refusals: &'static ErrorTable,
        step: Step,
        account: Uuid,
        secrets: &'a [&'a SecretString],
    ) -> Call<'a> {
        Call { api: Api { descriptor: self.descriptor, refusals }, step, account, secrets }
    }

    /// The secrets that a request carries, ours among them.
    fn with_ours<'a, const N: usize>(
        &'a self,
        secrets: [&'a SecretString; N],
    ) -> Vec<&'a SecretString> {
        secrets.into_iter().chain(self.profile.client.secrets()).collect()
    }
}

/// Asks whose tokens are, and again if only the answer was lost.
pub(super) async fn asked_again<T, Asked>(ask: impl Fn() -> Asked + Send) -> Result<T, JobError>
where
    Asked: Future<Output = Result<T, JobError>> + Send,
{
    let mut pauses = ASKED_AGAIN_AFTER.iter();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let passes = matches!(
            error.class(),
            ErrorClass::NotSent | ErrorClass::Transient | ErrorClass::Unknown { .. }
        );
        match pauses.next() {
            Some(pause) if passes => tokio::time::sleep(*pause).await,
            _ => return Err(error),
        }
    }
}
