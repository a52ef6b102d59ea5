//! Jobs that lie in somebody else's queue: recorded once, however often they are brought.

use std::sync::Arc;

use postworks::job::{Durability, FieldError, IdSource, NewJob};

use super::types::EnqueueJob;
use super::{App, Error};

/// A job from another queue.
#[derive(Debug)]
pub struct Foreign {
    /// Makes the same id whenever this job is brought.
    pub ids: IdSource,
    /// Whether it was brought before, and may have been recorded, and have run.
    pub again: bool,
    /// The job.
    pub job: EnqueueJob,
}

impl App {
    /// Whether this is the name of a kind.
    pub fn known_kind(&self, name: &str) -> Result<(), Error> {
        let catalog = self.producer.catalog();
        match catalog.get(name) {
            Some(_) => Ok(()),
            None => Err(Error::field("kind", catalog.unknown(name))),
        }
    }

    /// Records jobs, each by itself; answers for each, in order, whether it is recorded, or every
    /// fault that was found in it. They are recorded in the ledger whatever their kind says, since
    /// they are about to be forgotten where they come from.
    pub async fn take_over(
        &self,
        brought: Vec<Foreign>,
    ) -> Result<Vec<Result<(), Vec<FieldError>>>, Error> {
        let mut answers: Vec<_> = brought.iter().map(|_| Ok(())).collect();
        let (mut jobs, mut places) = (Vec::new(), Vec::new());
        for (place, Foreign { ids, again, job }) in brought.into_iter().enumerate() {
            let producer = self.producer.repeating(Arc::new(ids), again);
            match (Self { producer, ..self.clone() }).prepare_one(job) {
                Ok(job) => {
                    jobs.push(NewJob { durability: Durability::Ledger, ..job });
                    places.push((place, again));
                }
                Err(faults) => answers[place] = Err(faults),
            }
        }
        for (at, fault) in self.store.route_jobs(&mut jobs).await? {
            answers[places[at].0] = Err(vec![fault]);
        }
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for (job, (place, before)) in jobs.into_iter().zip(places) {
            if answers[place].is_ok() {
                if before { again.push(job) } else { first.push(job) }
            }
        }
        self.producer.enqueue(first).await?;
        // Those may have run already, so they are left to the relay.
        self.producer.repeating(Arc::clone(&self.ids), true).enqueue(again).await?;
        Ok(answers)
    }
}
