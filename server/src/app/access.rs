//! Users and API keys: makes them, lists them, takes them away. New ones are of the tenant that is
//! acted for; the house looks after all of them, and notes it in its audit.

use std::collections::HashMap;

use postworks::job::Tenant;
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
            id: self.node.store.new_id(),
            tenant: self.tenant,
            email,
            role: role.to_string(),
            created_at: self.node.clock.now(),
            disabled_at: None,
        };
        if !self.node.store.add_user(&user, &hash, &note).await? {
            return Err(Error::Conflict(format!("there is a user {} already", user.email)));
        }
        Ok(user_view(user, &self.tenant_names().await?))
    }

    /// Lists people.
    pub async fn users(&self, query: &PageQuery) -> Result<Page<UserView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.node.store.users(wanted.before, wanted.probe()).await?;
        let names = self.tenant_names().await?;
        let views = found.into_iter().map(|user| user_view(user, &names)).collect();
        Ok(wanted.page(views, |user: &UserView| user.id))
    }

    /// Lets a person do nothing any more.
    pub async fn disable_user(&self, email: &str) -> Result<(), Error> {
        let email = proper_email(email).map_err(|message| Error::field("/email", message))?;
        let note = self.note("user.disable", email.clone(), None)?;
        if self.node.store.disable_user(&email, &note).await? {
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
        let secret = Secret::api_key(self.node.store.new_id());
        let mut note = self.note("apikey.create", secret.id.to_string(), None)?;
        note.detail = Some(name.map_or_else(|| role.to_string(), |name| format!("{role} {name}")));
        let key = ApiKey {
            id: secret.id,
            tenant: self.tenant,
            name: name.map(str::to_owned),
            role: role.to_string(),
            hash: secret.hash,
            created_at: self.node.clock.now(),
            revoked_at: None,
        };
        self.node.store.add_api_key(&key, &note).await?;
        let text = secret.text().expose_secret().to_owned();
        Ok(ApiKeyMade { id: key.id, key: text, role: key.role })
    }

    /// Lists keys.
    pub async fn api_keys(&self, query: &PageQuery) -> Result<Page<ApiKeyView>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.node.store.api_keys(wanted.before, wanted.probe()).await?;
        let names = self.tenant_names().await?;
        let views = found.into_iter().map(|key| key_view(key, &names)).collect();
        Ok(wanted.page(views, |key: &ApiKeyView| key.id))
    }

    /// Whether nobody can prove who they are: there is no key and no person, good or not.
    pub async fn is_closed_to_all(&self) -> Result<bool, Error> {
        let keys = self.node.store.api_keys(None, 1).await?;
        Ok(keys.is_empty() && self.node.store.users(None, 1).await?.is_empty())
    }

    /// Makes a key useless.
    pub async fn revoke_api_key(&self, id: Uuid) -> Result<(), Error> {
        let note = self.note("apikey.revoke", id.to_string(), None)?;
        if self.node.store.revoke_api_key(id, &note).await? {
            return Ok(());
        }
        Err(Error::NotFound(format!("there is no API key {id}")))
    }
}

type Names = HashMap<Tenant, String>;

fn user_view(user: User, names: &Names) -> UserView {
    let User { id, tenant, email, role, created_at, disabled_at } = user;
    UserView { id, tenant: named(tenant, names), email, role, created_at, disabled_at }
}

fn key_view(key: ApiKey, names: &Names) -> ApiKeyView {
    let ApiKey { id, tenant, name, role, created_at, revoked_at, .. } = key;
    ApiKeyView { id, tenant: named(tenant, names), name, role, created_at, revoked_at }
}

/// One that was entered just now has no name here yet.
fn named(tenant: Tenant, names: &Names) -> String {
    names.get(&tenant).cloned().unwrap_or_else(|| tenant.to_string())
}
