//! What happened to accounts, for whoever wants to be told.

use postworks_workers::store;

use super::types::{EventFeed, EventView, EventsQuery};
use super::{App, Error};
use crate::app::paging::Wanted;

impl App {
    /// What happened, oldest first, after an event that the caller has.
    pub async fn events(&self, query: &EventsQuery) -> Result<EventFeed, Error> {
        let wanted = Wanted::read(query.limit, None)?;
        let mut found = self.store.events(query.after, wanted.probe()).await?;
        let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|event| event.id).or(query.after);
        Ok(EventFeed { items: found.into_iter().map(EventView::from).collect(), next, more })
    }
}

impl From<store::Event> for EventView {
    fn from(event: store::Event) -> Self {
        let store::Event { id, kind, subject, at, detail } = event;
        Self { id, kind, subject, at, detail }
    }
}
