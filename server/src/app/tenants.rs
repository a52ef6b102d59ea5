//! Tenants: enters them, finds them by name, and keeps the fleet to the house.

use std::collections::HashMap;

use postworks::job::{DataCleanup, FieldError, Job as _, NewJob, Tenant, did_you_mean};
use postworks_workers::store::NamedTenant;

use super::types::{Page, TenantView};
use super::{App, Error};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 60;

impl App {
    /// Enters a tenant. Only PostgreSQL can keep tenants apart.
    pub async fn create_tenant(&self, name: &str) -> Result<TenantView, Error> {
        if !self.node.store.takes_tenants() {
            let words = "the embedded database has one tenant, default; for more set DATABASE_URL \
                 and REDIS_URL, since PostgreSQL keeps their rows apart";
            return Err(Error::Conflict(words.to_owned()));
        }
        if !is_name(name) {
            let words = format!(
                "must be 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _, and start with a letter"
            );
            return Err(Error::field("/name", words));
        }
        let note = self.note("tenant.create", name, None)?;
        let tenant = Tenant::from_uuid(self.node.store.new_id());
        let new = NamedTenant { tenant, name: name.to_owned(), created_at: note.at };
        if !self.node.store.add_tenant(&new, &note).await? {
            return Err(Error::Conflict(format!("there is a tenant {name} already")));
        }
        Ok(view(new, 0))
    }

    /// Every tenant, the oldest first, and how many dead letters each has.
    pub async fn tenants(&self) -> Result<Page<TenantView>, Error> {
        let found = self.node.store.tenants().await?;
        let dead = self.node.store.dead_by_tenant().await?;
        let dead = |tenant| dead.get(&tenant).copied().unwrap_or(0);
        let views = found.into_iter().map(|row| (dead(row.tenant), row));
        let items = views.map(|(dead, row)| view(row, dead)).collect();
        Ok(Page { items, next: None })
    }

    /// The same application for the tenant of that name.
    ///
    /// # Errors
    /// There is none; the error names those there are.
    pub async fn for_tenant_named(&self, name: &str) -> Result<Self, Error> {
        let tenants = self.node.store.tenants().await?;
        if let Some(found) = tenants.iter().find(|tenant| tenant.name == name) {
            return Ok(self.for_tenant(found.tenant));
        }
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        let hint = did_you_mean(&shown, tenants.iter().map(|tenant| tenant.name.as_str()));
        Err(Error::NotFound(format!("there is no tenant {shown:?}{hint}")))
    }

    /// The tenants' names.
    pub(super) async fn tenant_names(&self) -> Result<HashMap<Tenant, String>, Error> {
        let tenants = self.node.store.tenants().await?;
        Ok(tenants.into_iter().map(|tenant| (tenant.tenant, tenant.name)).collect())
    }

    /// Whether this acts for the house, which looks after the fleet.
    pub(super) fn is_house(&self) -> bool {
        self.tenant.is_default()
    }

    /// Lets the house alone see and hold back what all tenants share.
    pub(super) fn house_only(&self) -> Result<(), Error> {
        if self.is_house() {
            return Ok(());
        }
        let words = "queues and breakers are the whole fleet's: this takes a caller of the tenant \
             default";
        Err(Error::Forbidden(words.to_owned()))
    }

    /// What is wrong with a tenant's job that would do something to all tenants' rows.
    pub(super) fn beyond_tenant(&self, job: &NewJob) -> Option<FieldError> {
        let reaches_all = job.kind.as_str() == DataCleanup::KIND;
        (reaches_all && !self.is_house()).then(|| {
            let words = "cleans up after every tenant: only a caller of the tenant default may \
                 enqueue it";
            FieldError::new("/kind", words)
        })
    }
}

fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(fits)
}

fn view(row: NamedTenant, dead: u64) -> TenantView {
    TenantView { id: row.tenant.as_uuid(), name: row.name, created_at: row.created_at, dead }
}
