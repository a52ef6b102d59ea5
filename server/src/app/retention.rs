//! How long a tenant keeps what is its own.

use std::time::Duration;

use postworks::config::{Retention, parse_duration};
use postworks::job::{CleanupScope, did_you_mean};
use postworks_workers::store::Keeps;

use super::types::{KeptView, Page, SetRetention, Why};
use super::{App, Error};

/// What is repeated within a day must be recognised: nothing is kept for a shorter time.
const KEEP_MIN: Duration = Duration::from_secs(24 * 3_600);
/// A hundred years, so that no date overflows.
const KEEP_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3_600);

impl App {
    /// For how long the tenant keeps each kind of what is its own.
    pub async fn retention(&self) -> Result<Page<KeptView>, Error> {
        let own = self.store.retention().await?;
        let view = |scope: CleanupScope| {
            // The embedded database shows its one tenant all there is, which is the same.
            let own = own.iter().find(|keeps| keeps.scope == scope && keeps.tenant == self.tenant);
            let keep = own.map_or_else(|| self.default_keep(scope), |keeps| keeps.keep);
            KeptView { scope: scope.as_str().to_owned(), keep: words(keep), own: own.is_some() }
        };
        let items = CleanupScope::OF_TENANTS.into_iter().map(view).collect();
        Ok(Page { items, next: None })
    }

    /// Sets for how long the tenant keeps something.
    pub async fn set_retention(&self, scope: &str, set: &SetRetention) -> Result<KeptView, Error> {
        let scope = of_tenants(scope)?;
        let keep = parse_duration(&set.keep).map_err(|words| Error::field("/keep", words))?;
        if !(KEEP_MIN..=KEEP_MAX).contains(&keep) {
            return Err(Error::field("/keep", "must be 1d to 36600d"));
        }
        let mut note = self.note("retention.set", scope.as_str(), set.reason.as_deref())?;
        note.detail = Some(words(keep));
        let keeps = Keeps { tenant: self.tenant, scope, keep };
        self.store.set_retention(&keeps, &note).await?;
        Ok(KeptView { scope: scope.as_str().to_owned(), keep: words(keep), own: true })
    }

    /// Lets the configuration say again for how long the tenant keeps something.
    pub async fn clear_retention(&self, scope: &str, why: &Why) -> Result<KeptView, Error> {
        let scope = of_tenants(scope)?;
        let note = self.note("retention.clear", scope.as_str(), why.reason.as_deref())?;
        self.store.clear_retention(self.tenant, scope, &note).await?;
        let keep = words(self.default_keep(scope));
        Ok(KeptView { scope: scope.as_str().to_owned(), keep, own: false })
    }

    fn default_keep(&self, scope: CleanupScope) -> Duration {
        let Retention { remote_posts, metrics, publications, events, media, .. } =
            &self.node.config.retention;
        match scope {
            CleanupScope::RemotePosts => *remote_posts,
            CleanupScope::Metrics => *metrics,
            CleanupScope::Publications => *publications,
            CleanupScope::Media => *media,
            _ => *events,
        }
    }
}

/// The scope of that name, if it is tenants' own.
fn of_tenants(name: &str) -> Result<CleanupScope, Error> {
    let found = CleanupScope::OF_TENANTS.into_iter().find(|scope| scope.as_str() == name);
    found.ok_or_else(|| {
        let names = CleanupScope::OF_TENANTS.map(CleanupScope::as_str);
        let hint = did_you_mean(name, names);
        let words = format!("must be one of {}, which are tenants' own{hint}", names.join(", "));
        Error::field("/scope", words)
    })
}

/// A time as the configuration writes it, in the largest unit that it is whole in.
fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}
