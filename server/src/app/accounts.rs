//! Accounts and publications: checks their form and leaves the rest to the product.

use std::collections::HashSet;
use std::time::Duration;

use postworks::job::{ConnectorSync, FieldError, JobId, Request, TraceParent};
use postworks::ledger::{AuditEntry, Unpark};
use postworks_workers::platforms::check_base_url;
use postworks_workers::store::{
    self, Connected, ConnectorState, NewConnector, REMOTE_ID_BYTES_MAX, Reply,
};
use postworks_workers::syncs;
use secrecy::ExposeSecret;
use url::Url;
use uuid::Uuid;

use super::jobs::parse;
use super::moving::{time_faults, window};
use super::paging::Wanted;
use super::types::{
    Accepted, AddConnector, Connector, ConnectorsQuery, Created, EnqueueJob, Enqueued,
    FailingStream, MissedView, Page, Publication, Publications, Publish,
};
use super::{App, Error};

/// Longest address of a platform's server, in bytes.
pub(super) const BASE_URL_BYTES_MAX: usize = 2_048;
/// Longest handle or address, in bytes.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 255;
/// Longest secret, in bytes; refresh tokens may be signed documents.
pub(super) const SECRET_BYTES_MAX: usize = 8_192;
/// Longest post, in characters: in most scripts that fits into a request (`api.body_limit`). Most
/// platforms take less.
pub(super) const TEXT_CHARS_MAX: usize = 20_000;
/// Most accounts in one request to publish.
pub(super) const CONNECTORS_MAX: usize = 100;
/// A time this far back still means "now".
pub(super) const PAST_MAX: Duration = Duration::from_secs(24 * 3600);
/// A time further ahead is taken for a mistake.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

impl App {
    /// Connects an account.
    pub async fn add_connector(&self, connector: AddConnector) -> Result<Created, Error> {
        let mut faults = Vec::new();
        text(&mut faults, "/platform", &connector.platform, IDENTIFIER_BYTES_MAX);
        text(&mut faults, "/identifier", &connector.identifier, IDENTIFIER_BYTES_MAX);
        text(&mut faults, "/secret", connector.secret.expose_secret(), SECRET_BYTES_MAX);
        let base_url = base_url(&connector.base_url);
        let base_url = match base_url {
            Ok(url) if faults.is_empty() => url,
            Ok(_) => return Err(Error::Invalid(faults)),
            Err(message) => {
                faults.push(FieldError::new("/base_url", message));
                return Err(Error::Invalid(faults));
            }
        };
        self.check_platform(&connector.platform, &base_url)?;
        self.check_target(&connector.platform, connector.target.as_deref(), true)?;
        let AddConnector { platform, identifier, target, secret, reason, .. } = connector;
        let mut note = self.note("connector.add", "", reason.as_deref())?;
        note.detail = Some(format!("{platform} {identifier}"));
        let new = NewConnector { platform, base_url, identifier, target, secret };
        let noted = |id: Uuid| Some(AuditEntry { subject: id.to_string(), ..note });
        let connected = self.store.add_connector_noted(new, noted).await?;
        self.release(connected).await?;
        Ok(Created { id: connected.id })
    }

    /// Lets the jobs run that wait for an account to be connected again.
    pub(super) async fn release(&self, connected: Connected) -> Result<(), Error> {
        if connected.again {
            let (whose, now) = (Unpark::Account(connected.id), self.node.clock.now());
            let released = self.ledger.unpark(whose, now).await?;
            tracing::info!(connector_id = %connected.id, released, "an account is connected again");
        }
        Ok(())
    }

    /// Whether there is such a platform here, and it may have such an address.
    pub(super) fn check_platform(&self, name: &str, base_url: &Url) -> Result<(), Error> {
        let found = self.node.platforms.get(name);
        let platform = found.map_err(|error| Error::field("/platform", error.to_string()))?;
        if !self.node.config.platform_enabled(name) {
            return Err(Error::field("/platform", format!("{name} is switched off here")));
        }
        check_base_url(base_url, platform.descriptor(), self.node.network)
            .map_err(|message| Error::field("/base_url", message))
    }

    /// Whether posts on this platform can go there, or need not be told where, unless the platform
    /// itself will say (`alone`: it will not).
    pub(super) fn check_target(
        &self,
        platform: &str,
        target: Option<&str>,
        alone: bool,
    ) -> Result<(), Error> {
        let found = self.node.platforms.get(platform);
        let found = found.map_err(|error| Error::field("/platform", error.to_string()))?;
        let refused = |words: String| Err(Error::field("/target", words));
        match (found.descriptor().target, target) {
            (None, Some(_)) => refused(format!("must not be there: {platform} has none")),
            (Some(wanted), None) if wanted.required && alone => refused(format!(
                "must be there: the {} to post in, such as {}",
                wanted.what, wanted.example
            )),
            (Some(_), Some(target)) => {
                let mut faults = Vec::new();
                text(&mut faults, "/target", target, IDENTIFIER_BYTES_MAX);
                if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
            }
            (_, None) => Ok(()),
        }
    }

    /// Lists accounts, how many jobs wait for a person to connect each again, and which streams fail.
    pub async fn connectors(&self, query: &ConnectorsQuery) -> Result<Page<Connector>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let state = parse("/state", query.state.as_deref(), |text| {
            let names = || ConnectorState::ALL.map(ConnectorState::as_str).join(", ");
            ConnectorState::parse(text).ok_or_else(|| format!("must be one of {}", names()))
        })?;
        let found = self.store.connectors(state, wanted.before, wanted.probe()).await?;
        let mut page = wanted.page(found.into_iter().map(Connector::from).collect(), |row| row.id);
        let ids: Vec<Uuid> = page.items.iter().map(|row| row.id).collect();
        let waiting = self.store.waiting_for(&ids).await?;
        let mut failing = self.store.failing_streams(&ids).await?;
        for row in &mut page.items {
            row.waiting = waiting.get(&row.id).copied().unwrap_or(0);
            let streams = failing.remove(&row.id).unwrap_or_default();
            row.failing = streams.into_iter().map(FailingStream::from).collect();
        }
        Ok(page)
    }

    /// Lets an account's posts be fetched soon. While that waits or runs, asking again changes
    /// nothing.
    pub async fn sync(
        &self,
        connector: Uuid,
        trace: Option<TraceParent>,
    ) -> Result<Enqueued, Error> {
        let found = self.store.connector(connector).await?;
        if found.is_none_or(|found| found.state == ConnectorState::Disconnecting) {
            return Err(Error::NotFound(format!("there is no connector {connector}")));
        }
        let job = Request::of(&ConnectorSync::of(connector))
            .map_err(|error| Error::Broken(Box::new(error)))?;
        let unique_key = Some(syncs::unique_key(connector));
        self.enqueue(EnqueueJob { unique_key, trace, ..EnqueueJob::new(job.kind, job.args) }).await
    }

    /// Publishes a post on accounts.
    pub async fn publish(&self, publish: &Publish) -> Result<Publications, Error> {
        let mut faults = Vec::new();
        let connectors = &publish.connector_ids;
        if !(1..=CONNECTORS_MAX).contains(&connectors.len()) {
            let message = format!("must hold 1 to {CONNECTORS_MAX} ids");
            faults.push(FieldError::new("/connector_ids", message));
        }
        let mut seen = HashSet::new();
        for (at, id) in connectors.iter().enumerate().filter(|(_, id)| !seen.insert(**id)) {
            let message = format!("{id} is there twice");
            faults.push(FieldError::new(format!("/connector_ids/{at}"), message));
        }
        let now = self.node.clock.now();
        faults.extend(time_faults(publish.at, publish.not_after, now));
        let window = window(publish.not_after, publish.late);
        let window = window.unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let reply = reply(&mut faults, publish);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let wanted = store::Publish {
            post_id: publish.post_id,
            connector_ids: connectors.clone(),
            at: publish.at,
            window,
            reply,
        };
        let prepare = |mut request: Request| {
            request.policy.trace = publish.trace;
            self.producer.prepare(request)
        };
        let callback = self.callback(publish).await?;
        let set = self.store.publish_set(&wanted, callback, &self.fits(), prepare).await?;
        let publications = set
            .publications
            .iter()
            .map(|row| Accepted {
                id: row.publication_id,
                connector_id: row.connector_id,
                job_id: row.job.id,
            })
            .collect();
        let set_id = set.id;
        self.producer.dispatch(set.into_jobs());
        Ok(Publications { set_id, publications })
    }

    /// A publication.
    pub async fn publication(&self, id: Uuid) -> Result<Publication, Error> {
        let found = self.store.publication(id).await?;
        found
            .map(Publication::from)
            .ok_or_else(|| Error::NotFound(format!("there is no publication {id}")))
    }
}

/// What a publication is to answer.
fn reply(faults: &mut Vec<FieldError>, publish: &Publish) -> Option<Reply> {
    match (&publish.reply_to, publish.in_reply_to) {
        (None, None) => None,
        (Some(remote_id), None) => {
            Some(Reply::Remote(remote_post(faults, "/reply_to", remote_id).to_owned()))
        }
        (None, Some(publication)) => Some(Reply::Publication(publication)),
        (Some(_), Some(_)) => {
            let words = "says the same as reply_to: give one of them";
            faults.push(FieldError::new("/in_reply_to", words));
            None
        }
    }
}

/// A platform's id of a post, as a person gave it. What is copied from a page comes with white space, and
/// would be another post's id then.
pub(super) fn remote_post<'a>(
    faults: &mut Vec<FieldError>,
    field: &str,
    given: &'a str,
) -> &'a str {
    let id = given.trim();
    text(faults, field, id, REMOTE_ID_BYTES_MAX);
    id
}

pub(super) fn text(faults: &mut Vec<FieldError>, field: &str, text: &str, bytes_max: usize) {
    if text.trim().is_empty() {
        faults.push(FieldError::new(field, "must not be empty"));
    } else if text.len() > bytes_max {
        faults.push(FieldError::new(field, format!("must be at most {bytes_max} bytes")));
    } else if text.contains('\0') {
        faults.push(FieldError::new(field, "must not hold the character U+0000"));
    }
}

pub(super) fn base_url(text: &str) -> Result<Url, String> {
    const FORM: &str = "must be an address such as https://bsky.social";
    let url = Url::parse(text).map_err(|_| FORM.to_owned())?;
    if !matches!(url.scheme(), "http" | "https")
        || !url.has_host()
        || text.len() > BASE_URL_BYTES_MAX
    {
        return Err(FORM.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{FORM}, with no user or password in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{FORM}, with no query or fragment"));
    }
    Ok(url)
}

impl From<store::Connector> for Connector {
    fn from(row: store::Connector) -> Self {
        Self {
            id: row.id,
            platform: row.platform,
            base_url: row.base_url.to_string(),
            identifier: row.identifier,
            target: row.target,
            state: row.state.to_string(),
            state_reason: row.state_reason,
            waiting: 0,
            failing: Vec::new(),
            created_at: row.created_at,
        }
    }
}

impl From<store::FailingStream> for FailingStream {
    fn from(failing: store::FailingStream) -> Self {
        let store::FailingStream { stream, failures, failed_at, last_error } = failing;
        Self { stream, failures, failed_at, last_error }
    }
}

impl From<store::Publication> for Publication {
    fn from(row: store::Publication) -> Self {
        Self {
            id: row.id,
            state: row.state.to_string(),
            remote_id: row.remote_id.clone(),
            remote_url: row.remote_url.clone(),
            post_id: row.post_id,
            connector_id: row.connector_id,
            job_id: JobId::from_uuid(row.job_id),
            at: row.scheduled_at,
            not_after: row.window.map(|window| window.not_after),
            late: row.window.map(|window| window.late),
            missed: MissedView::of(&row),
            reply_to: row.reply_to.clone(),
            in_reply_to: row.in_reply_to,
            revision: row.revision.filter(|revision| *revision > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_of_a_post_to_be_answered_is_taken_without_the_white_space_it_was_copied_with() {
        let asked = json!({"post_id": Uuid::nil(), "connector_ids": [], "reply_to": " 17\n"});
        let mut faults = Vec::new();
        let reply = reply(&mut faults, &serde_json::from_value(asked).unwrap());
        assert_eq!(reply, Some(Reply::Remote("17".to_owned())));
        assert!(faults.is_empty(), "{faults:?}");
    }
}
