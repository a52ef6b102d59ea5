//! Requests with a key of their client's: done once, however often they are sent.

use std::sync::Arc;
use std::time::Duration;

use postworks_workers::store::{Answered, Holding, Keyed, Taken};

use super::{App, Error};

impl App {
    /// Takes a client's key for as long as `hold`, unless somebody has it, or the request was done.
    pub async fn take_request(&self, key: &RequestKey, hold: Duration) -> Result<Taken, Error> {
        Ok(self.store.take_request(key.of(&self.actor), hold).await?)
    }

    /// The application for a request whose key is held: done again, it makes nothing twice.
    #[must_use]
    pub fn repeating(&self, holding: &Holding) -> Self {
        let ids = Arc::new(holding.ids());
        Self {
            producer: self.producer.repeating(Arc::clone(&ids), !holding.first),
            store: self.store.with_ids(ids),
            ..self.clone()
        }
    }

    /// Keeps what a request came to: an answer for whoever sends it again, or, if it was not done,
    /// nothing. That nothing was changed is certain only of the first to try.
    pub async fn end_request(
        &self,
        key: &RequestKey,
        holding: Holding,
        ended: &Ended,
    ) -> Result<(), Error> {
        let (store, keyed) = (&self.store, key.of(&self.actor));
        match ended {
            Ended::Answered(answered) => store.keep_answer(keyed, holding, answered).await?,
            Ended::Refused if holding.first => store.forget_request(keyed, holding).await?,
            Ended::Refused | Ended::Failed => store.let_go(keyed, holding).await?,
        }
        Ok(())
    }
}

/// A client's key, and what came with it.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The key, at most 255 bytes.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub asked: [u8; 32],
}

impl RequestKey {
    fn of<'a>(&'a self, actor: &'a str) -> Keyed<'a> {
        Keyed { actor, key: &self.key, asked: self.asked }
    }
}

/// What a request came to.
#[derive(Debug, Clone)]
pub enum Ended {
    /// It was done.
    Answered(Answered),
    /// It was wrong, and changed nothing.
    Refused,
    /// Something was not there; perhaps it was done.
    Failed,
}
