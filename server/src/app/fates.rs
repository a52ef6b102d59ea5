//! What becomes of dead letters that somebody wants to put back.

use std::collections::{HashMap, HashSet};

use postworks::job::{Category, JobId, Kind};
use postworks::ledger::{DeadLetter, DeadSubject};
use uuid::Uuid;

use super::effects::Prospect;
use super::{App, Error};

/// What is done with a dead letter that is to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is completed: this publication is out.
    Done(Uuid),
    /// It runs.
    Runs,
    /// It is left alone: perhaps it is done.
    Left,
    /// It is left alone: something newer made it needless.
    Superseded,
}

/// What the letters looked at so far run for, so that of two that are about the same thing one
/// runs: the younger, which comes first.
#[derive(Debug, Default)]
pub(super) struct Underway(HashSet<(Kind, String)>);

impl Underway {
    /// Whether none so far is about the same thing.
    fn takes(&mut self, subject: &DeadSubject, named: bool) -> bool {
        // Two with one key cannot both live; two for one account may, if somebody wants both.
        let account = || subject.account.filter(|_| !named).map(|id| id.to_string());
        match subject.unique_key.clone().or_else(account) {
            Some(about) => self.0.insert((subject.kind.clone(), about)),
            None => true,
        }
    }
}

impl App {
    /// What becomes of letters, in order. Those that are `named` run also if they are needless, or
    /// would find out themselves what became of them; but never beside a live job of their key.
    pub(super) async fn fates(
        &self,
        letters: &[DeadLetter],
        named: bool,
        underway: &mut Underway,
    ) -> Result<Vec<Fate>, Error> {
        let subjects = self.subjects(letters).await?;
        let publications = subjects.values().filter_map(|subject| self.publication_of(subject));
        let published = self.store.published_of(publications.collect()).await?;
        let mut fates = Vec::with_capacity(letters.len());
        for letter in letters {
            let Some(subject) = subjects.get(&letter.id) else {
                // Somebody put it back just now, or it was deleted: nothing is done with it.
                fates.push(Fate::Superseded);
                continue;
            };
            let out = self.publication_of(subject).filter(|id| published.contains(id));
            let needless = match named {
                true => subject.key_holder.is_some(),
                false => subject.superseded_by.is_some(),
            };
            fates.push(match (out, needless) {
                (Some(publication), _) => Fate::Done(publication),
                (None, true) => Fate::Superseded,
                (None, false) => match self.unless_unknown(letter, named).await? {
                    Fate::Runs if !underway.takes(subject, named) => Fate::Superseded,
                    fate => fate,
                },
            });
        }
        Ok(fates)
    }

    /// What dead jobs were about, and what made them needless.
    pub(super) async fn subjects(
        &self,
        letters: &[DeadLetter],
    ) -> Result<HashMap<JobId, DeadSubject>, Error> {
        let ids: Vec<JobId> = letters.iter().map(|letter| letter.id).collect();
        let specs = self.node.registry.catalog().iter();
        let catching_up: Vec<Kind> =
            specs.filter(|spec| spec.catches_up).map(|spec| spec.kind.clone()).collect();
        let found = self.ledger.dead_subjects(&ids, &catching_up).await?;
        Ok(found.into_iter().map(|subject| (subject.id, subject)).collect())
    }

    fn publication_of(&self, subject: &DeadSubject) -> Option<Uuid> {
        self.store.publication_of(&subject.kind, &subject.args)
    }

    async fn unless_unknown(&self, letter: &DeadLetter, named: bool) -> Result<Fate, Error> {
        if letter.reason.category != Category::UnknownOutcome {
            return Ok(Fate::Runs);
        }
        Ok(match self.prospect(letter.id).await? {
            Prospect::Done(publication) => Fate::Done(publication),
            Prospect::Clear => Fate::Runs,
            Prospect::Unclear if named => Fate::Runs,
            Prospect::Unclear | Prospect::Hopeless => Fate::Left,
        })
    }
}
