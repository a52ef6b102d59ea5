//! What jobs cost that are posts on platforms that charge for them.

use std::collections::HashMap;

use postworks::job::{JobId, Queue};
use postworks::ledger::DeadLetter;
use postworks_workers::platforms::Price;
use uuid::Uuid;

use super::types::Cost;
use super::{App, Error};

impl App {
    /// What these jobs cost if they run; `None` if nothing.
    pub(super) async fn cost_of(&self, letters: &[&DeadLetter]) -> Result<Option<Cost>, Error> {
        let prices =
            letters.iter().filter_map(|letter| Some((letter.id, self.price(&letter.queue)?)));
        let prices: HashMap<JobId, Price> = prices.collect();
        if prices.is_empty() {
            return Ok(None);
        }
        let ids: Vec<JobId> = prices.keys().copied().collect();
        let subjects = self.ledger.dead_subjects(&ids, &[]).await?;
        let publications = subjects.iter().filter_map(|subject| {
            let publication = self.store.publication_of(&subject.kind, &subject.args)?;
            Some((publication, *prices.get(&subject.id)?))
        });
        let publications: HashMap<Uuid, Price> = publications.collect();
        let ids: Vec<Uuid> = publications.keys().copied().collect();
        let mut cost = Cost::default();
        for (id, content) in self.store.contents_of(&ids).await? {
            let Some(price) = publications.get(&id) else { continue };
            let alt_texts = content.images.iter().filter(|image| !image.alt.is_empty()).count();
            cost.posts += 1;
            cost.usd_micros += price.of(&content.text, content.link.is_some(), alt_texts);
        }
        Ok((cost.posts > 0).then_some(cost))
    }

    fn price(&self, queue: &Queue) -> Option<Price> {
        self.node.platforms.get(queue.platform()?).ok()?.descriptor().price
    }
}
