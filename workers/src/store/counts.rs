//! What is counted over all tenants' rows, for metrics.

use std::time::Duration;

use postworks::job::Timestamp;
use postworks::on_db;

use super::connectors::{ConnectorState, state};
use super::effects::age_on_arrival;
use super::{Error, Store};

/// Most unrecorded outcomes that are looked at singly. So many need a person's attention anyhow.
const LOOKED_AT: i64 = 10_000;

/// Publications that were sent and whose outcome is not recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unrecorded {
    /// So many whose requests may still be under way.
    pub under_way: u64,
    /// The others, at most 10,000.
    pub over: Vec<Over>,
}

/// A publication whose request is over and whose outcome is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The account's platform.
    pub platform: String,
    /// How long its first request will be past when one that is begun now arrives, at the latest.
    pub age_on_arrival: Duration,
    /// Whether its job goes on by itself.
    pub goes_on: bool,
}

impl Store {
    /// How many accounts there are, by platform and state.
    pub async fn account_counts(&self) -> Result<Vec<(String, ConnectorState, u64)>, Error> {
        const SQL: &str =
            concat!("SELECT platform, ", state!(), ", count(*) FROM connectors GROUP BY 1, 2");
        let rows: Vec<(String, String, i64)> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
        let count = |(platform, state, count): (String, String, i64)| {
            Some((platform, ConnectorState::parse(&state)?, u64::try_from(count).unwrap_or(0)))
        };
        Ok(rows.into_iter().filter_map(count).collect())
    }

    /// Publications that were sent and whose outcome is not recorded.
    pub async fn unrecorded(&self) -> Result<Unrecorded, Error> {
        const UNDER_WAY: &str =
            "SELECT count(*) FROM publications WHERE state = 'sending' AND send_by > $1";
        const OVER: &str = "SELECT c.platform, p.begun_at, j.state FROM publications p \
             JOIN connectors c ON c.id = p.connector_id LEFT JOIN jobs j ON j.id = p.job_id \
             WHERE p.state = 'sending' AND (p.send_by IS NULL OR p.send_by <= $1) LIMIT $2";
        let (now, sent_before) = (self.now(), self.settled_before().as_millis());
        let under_way: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(UNDER_WAY).bind(sent_before).fetch_one(pool).await
        })?;
        let over: Vec<(String, Option<i64>, Option<String>)> = on_db!(&self.db, pool => {
            sqlx::query_as(OVER).bind(sent_before).bind(LOOKED_AT).fetch_all(pool).await
        })?;
        let over = over.into_iter().map(|(platform, begun_at, job)| Over {
            platform,
            age_on_arrival: age_on_arrival(begun_at.map(Timestamp::from_millis), now),
            goes_on: matches!(job.as_deref(), Some("open" | "parked")),
        });
        let under_way = u64::try_from(under_way).unwrap_or(0);
        Ok(Unrecorded { under_way, over: over.collect() })
    }
}
