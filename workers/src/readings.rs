//! What the collector reads of the product's rows: accounts and their tokens, and publications whose
//! outcome is not recorded.

use std::collections::HashMap;

use async_trait::async_trait;
use postworks::chore::{Source, SourceError};
use postworks::telemetry::metrics::{ACCOUNTS, EFFECTS, Reading, SYNCS_LATE, TOKENS_LATE};

use crate::platforms::{Platforms, Recourse};
use crate::store::{ConnectorState, Over, Store};

/// Counts accounts, late tokens and unrecorded outcomes of all tenants.
pub struct Product {
    /// The rows.
    pub store: Store,
    /// The platforms there are.
    pub platforms: Platforms,
    /// Those that are switched on: nobody renews the tokens of others.
    pub switched_on: Vec<&'static str>,
    /// Whether accounts are synchronised by themselves.
    pub syncs: bool,
}

#[async_trait]
impl Source for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    async fn read(&self) -> Result<Vec<Reading>, SourceError> {
        let mut readings = self.accounts().await?;
        readings.extend(self.late_tokens().await?);
        readings.extend(self.late_syncs().await?);
        readings.extend(self.effects().await?);
        Ok(readings)
    }
}

impl Product {
    async fn accounts(&self) -> Result<Vec<Reading>, SourceError> {
        let counts = self.store.account_counts().await?.into_iter();
        let counts: HashMap<(String, ConnectorState), u64> =
            counts.map(|(platform, state, count)| ((platform, state), count)).collect();
        let mut readings = Vec::new();
        for platform in self.platforms.names() {
            for state in ConnectorState::ALL {
                let count = counts.get(&(platform.to_owned(), state)).copied().unwrap_or(0);
                readings.push(Reading::count(ACCOUNTS, &[platform, state.as_str()], count));
            }
        }
        Ok(readings)
    }

    async fn late_tokens(&self) -> Result<Vec<Reading>, SourceError> {
        let late: HashMap<String, u64> = self.store.late_tokens().await?.into_iter().collect();
        let readings = self.platforms.names().map(|platform| {
            let renewed = self.switched_on.contains(&platform);
            let count = late.get(platform).copied().filter(|_| renewed).unwrap_or(0);
            Reading::count(TOKENS_LATE, &[platform], count)
        });
        Ok(readings.collect())
    }

    async fn late_syncs(&self) -> Result<Vec<Reading>, SourceError> {
        let late: HashMap<String, u64> = self.store.late_syncs().await?.into_iter().collect();
        let readings = self.platforms.names().map(|platform| {
            let looked_after = self.syncs && self.switched_on.contains(&platform);
            let count = late.get(platform).copied().filter(|_| looked_after).unwrap_or(0);
            Reading::count(SYNCS_LATE, &[platform], count)
        });
        Ok(readings.collect())
    }

    async fn effects(&self) -> Result<Vec<Reading>, SourceError> {
        let unrecorded = self.store.unrecorded().await?;
        let (alone, needing) =
            unrecorded.over.iter().partition::<Vec<_>, _>(|over| self.goes_on_alone(over));
        let states = [
            ("under_way", unrecorded.under_way),
            ("unsure", alone.len() as u64),
            ("needs_person", needing.len() as u64),
        ];
        Ok(states.map(|(state, count)| Reading::count(EFFECTS, &[state], count)).into())
    }

    /// Whether its job lives, and can find out or repeat it.
    fn goes_on_alone(&self, over: &Over) -> bool {
        let platform = self.platforms.get(&over.platform);
        // As if the account had been signed in since: what may have to be looked up can be.
        let recourse = platform.map_or(Recourse::Person, |known| {
            known.descriptor().recourse(over.age_on_arrival, true)
        });
        over.goes_on && recourse != Recourse::Person
    }
}
