//! Users and API keys: makes them, lists them, takes them away.

use postworks_workers::store::{ApiKey, User};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::paging::Wanted;
use super::types::{ApiKeyMade, ApiKeyView, Page, PageQuery, UserView};
use super::{App, Error};
use crate::auth::{Role, Secret, hashed_password, proper_email};

/// Longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 100;

impl App {
    /// Enters a person.
    pub async fn create_user(
        &self,
        email: &str,
        password: SecretString,
        role: Role,
    ) -> Result<UserView, Error> {
        let email = proper_email(email).map_err(|message| Error::field("/email", message))?;
        let hashed = hashed_password(password).await;
        let hash = hashed.map_err(|message| Error::field("/password", message))?;
        let mut note = self.note("user.create", email.clone(), None)?;
        note.detail = Some(role.to_string());
        let user = User {
            id: self.store.new_id(),
            email,
            role: role.to_string(),
            created_at: self.node.clock.now(),
            disabled_at: None,
        };
        if !self.store.add_user(&user, &hash, &note).await? {
            return Err(Error::Conflict(format!("there is a user {} already", user.email)));
        }
        Ok(user.into())
    }

    /// Lists people.
    pub async fn users(&self, query: &PageQuery) -> Result<Page<UserView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.store.users(wanted.before, wanted.probe()).await?;
        Ok(wanted.page(found.into_iter().map(UserView::from).collect(), |user| user.id))
    }

    /// Lets a person do nothing any more.
    pub async fn disable_user(&self, email: &str) -> Result<(), Error> {
        let email = proper_email(email).map_err(|message| Error::field("/email", message))?;
        let note = self.note("user.disable", email.clone(), None)?;
        if self.store.disable_user(&email, &note).await? {
            return Ok(());
        }
        Err(Error::NotFound(format!("there is no user {email}")))
    }

    /// Makes a key for a program. The answer is the only place where it is told.
    pub async fn create_api_key(
        &self,
        role: Role,
        name: Option<&str>,
    ) -> Result<ApiKeyMade, Error> {
        let mut faults = Vec::new();
        if let Some(name) = name {
            super::accounts::text(&mut faults, "/name", name, NAME_BYTES_MAX);
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let secret = Secret::api_key(self.store.new_id());
        let mut note = self.note("apikey.create", secret.id.to_string(), None)?;
        note.detail = Some(name.map_or_else(|| role.to_string(), |name| format!("{role} {name}")));
        let key = ApiKey {
            id: secret.id,
            name: name.map(str::to_owned),
            role: role.to_string(),
            hash: secret.hash,
            created_at: self.node.clock.now(),
            revoked_at: None,
        };
        self.store.add_api_key(&key, &note).await?;
        let text = secret.text().expose_secret().to_owned();
        Ok(ApiKeyMade { id: key.id, key: text, role: key.role })
    }

    /// Lists keys.
    pub async fn api_keys(&self, query: &PageQuery) -> Result<Page<ApiKeyView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.store.api_keys(wanted.before, wanted.probe()).await?;
        Ok(wanted.page(found.into_iter().map(ApiKeyView::from).collect(), |key| key.id))
    }

    /// Whether nobody can prove who they are: there is no key and no person, good or not.
    pub async fn is_closed_to_all(&self) -> Result<bool, Error> {
        let keys = self.store.api_keys(None, 1).await?;
        Ok(keys.is_empty() && self.store.users(None, 1).await?.is_empty())
    }

    /// Makes a key useless.
    pub async fn revoke_api_key(&self, id: Uuid) -> Result<(), Error> {
        let note = self.note("apikey.revoke", id.to_string(), None)?;
        if self.store.revoke_api_key(id, &note).await? {
            return Ok(());
        }
        Err(Error::NotFound(format!("there is no API key {id}")))
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User { id, email, role, created_at, disabled_at } = user;
        Self { id, email, role, created_at, disabled_at }
    }
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, role, created_at, revoked_at, .. } = key;
        Self { id, name, role, created_at, revoked_at }
    }
}
