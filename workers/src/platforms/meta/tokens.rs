//! Long-lived tokens, as Instagram and Threads have them: such a token is good for 60 days and gets
//! the next one itself, once it is a day old; there is no refresh token beside it.

use std::time::Duration;

use http::Method;
use postworks::job::{ErrorClass, JobError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{Graph, TABLE};
use crate::platforms::call::Step;
use crate::platforms::http::endpoint;
use crate::platforms::oauth::{self, Consent, Granted, OAuthClient};
use crate::platforms::{Account, Bearer, TokenSet};

/// Nobody says how long a token that a person pasted is still good. It is renewed by then: it must
/// be a day old for that.
const PASTED_RENEWED_WITHIN: Duration = Duration::from_secs(48 * 60 * 60);

/// What the two platforms call the same.
pub(in crate::platforms) struct Grants {
    /// A token of an hour for one of 60 days.
    pub(in crate::platforms) exchange: &'static str,
    /// The next token.
    pub(in crate::platforms) refresh: &'static str,
    /// What an account's own id is called, and what else is asked for to know it.
    pub(in crate::platforms) who: &'static str,
}

/// Who a token is of. Instagram's `id` is good for one app, its `user_id` is the account's.
#[derive(Deserialize)]
struct Who {
    id: Option<String>,
    user_id: Option<String>,
    username: Option<String>,
}

impl Graph {
    /// The code becomes a token of an hour, and that one of 60 days.
    pub(in crate::platforms) async fn exchange(
        &self,
        oauth: &OAuthClient,
        consent: Consent<'_>,
        grants: &Grants,
    ) -> Result<Granted, JobError> {
        let granted = oauth.exchange_by(&TABLE, consent).await?;
        let account = self.nobody(oauth);
        let short = &granted.tokens.access;
        let (_, our_secret) = oauth.ours();
        let mut query =
            vec![("grant_type", grants.exchange), ("access_token", short.expose_secret())];
        query.extend(our_secret.map(|secret| ("client_secret", secret.expose_secret())));
        let secrets: Vec<&SecretString> = std::iter::once(short).chain(our_secret).collect();
        let set = self.grant(Step::SignIn, &account, &secrets, "access_token", &query).await?;
        // The token is there, and is not thrown away for want of a name.
        let who = self.who(account.with(&set.access), grants).await;
        let (id, name, unanswered) = match who {
            Ok((id, name)) => (id, name, None),
            Err(error) => (None, None, Some(error)),
        };
        Ok(Granted { tokens: TokenSet { remote_id: id, ..set }, name, unanswered, ..granted })
    }

    /// Gets the next token for one that is at least a day old.
    pub(in crate::platforms) async fn renew(
        &self,
        step: Step,
        account: &Account,
        token: &SecretString,
        grants: &Grants,
    ) -> Result<TokenSet, JobError> {
        let query = [("grant_type", grants.refresh), ("access_token", token.expose_secret())];
        let set = self.grant(step, account, &[token], "refresh_access_token", &query).await?;
        Ok(TokenSet { remote_id: account.remote_id.clone(), ..set })
    }

    /// Takes a token that a person pasted: the next one where it is old enough for that, else
    /// itself. Its account must be who it was before.
    pub(in crate::platforms) async fn adopt(
        &self,
        account: &Account,
        token: &SecretString,
        grants: &Grants,
    ) -> Result<TokenSet, JobError> {
        let set = match self.renew(Step::SignIn, account, token, grants).await {
            Ok(set) => set,
            Err(error)
                if matches!(error.class(), ErrorClass::AuthRevoked | ErrorClass::Invalid) =>
            {
                TokenSet {
                    access: token.clone(),
                    refresh: Some(token.clone()),
                    expires_at: Some(self.now().after(PASTED_RENEWED_WITHIN)),
                    remote_id: None,
                }
            }
            Err(error) => return Err(error),
        };
        let (id, _) = self.who(account.with(&set.access), grants).await?;
        let call = account.call(self.api, Step::SignIn, std::slice::from_ref(&token));
        match (&account.remote_id, &id) {
            (Some(known), Some(id)) if known != id => {
                let words = format!("the token is another account's, {id}");
                Err(call.error(ErrorClass::AuthRevoked, &words))
            }
            _ => Ok(TokenSet { remote_id: id, ..set }),
        }
    }

    /// The account's own id and its name.
    async fn who(
        &self,
        by: Bearer<'_>,
        grants: &Grants,
    ) -> Result<(Option<String>, Option<String>), JobError> {
        let answer = self.get(by, Step::SignIn, "me", &[("fields", grants.who)]).await?;
        let who: Who = answer.value(by.call(self.api, Step::SignIn))?;
        Ok((who.user_id.or(who.id), who.username))
    }

    async fn grant(
        &self,
        step: Step,
        account: &Account,
        secrets: &[&SecretString],
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<TokenSet, JobError> {
        // Before sending, so that the new token never seems to live longer than it does.
        let asked_at = self.now();
        // These addresses have no version.
        let url = endpoint(&account.base_url, path);
        let request = self.http.request(Method::GET, url).query(query);
        let call = account.call(self.api, step, secrets);
        let answer = self.http.send(call, request).await?;
        let told = oauth::tokens(&answer, call)?;
        let set = told.into_set(asked_at);
        Ok(TokenSet { refresh: Some(set.access.clone()), ..set })
    }
}
