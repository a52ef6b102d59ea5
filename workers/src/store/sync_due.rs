//! Whose synchronising is due: planned in the account's row, had by one caller at a time.

use std::time::Duration;

use postworks::job::{NewJob, Timestamp};
use postworks::ledger::{Db, Tx};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::due_accounts::{DUE_MAX, Due, DueAccounts, TakenDue, due_accounts, record_due};
use super::{Error, Store, time};

/// Synchronising that is due for so long is late.
const LATE: Duration = Duration::from_secs(5 * 60);

const DUE: DueAccounts = due_accounts!(
    "id",
    "platform",
    "tenant_id",
    "sync_due_at",
    "connectors WHERE state = 'active' AND disconnected_at IS NULL",
    "FOR UPDATE SKIP LOCKED"
);

impl Store {
    /// Plans accounts that nobody has planned yet, at most [`DUE_MAX`]: each is due some time in the
    /// period after the next, so that those that came together do not come together again; answers how
    /// many.
    pub async fn plan_syncs(&self, every: Duration) -> Result<usize, Error> {
        macro_rules! select {
            ($lock:literal) => {
                concat!(
                    "SELECT id FROM connectors WHERE sync_due_at IS NULL AND state = 'active' \
                     AND disconnected_at IS NULL ORDER BY id LIMIT $1",
                    $lock
                )
            };
        }
        let sql = match &self.db {
            Db::Postgres(_) => select!(" FOR UPDATE SKIP LOCKED"),
            Db::Sqlite(_) => select!(""),
        };
        let mut tx = self.db.begin().await?;
        let ids: Vec<Uuid> = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(sql).bind(i64::from(DUE_MAX)).fetch_all(conn).await
        })?;
        if ids.is_empty() {
            return Ok(0);
        }
        let first = self.now().after(every);
        let spread = || first.after(every.mul_f64(rand::random_range(0.0..1.0)));
        let plan: Vec<(Uuid, Timestamp)> = ids.iter().map(|id| (*id, spread())).collect();
        write_plan(&mut tx, &plan).await?;
        tx.commit().await?;
        Ok(ids.len())
    }

    /// Takes accounts of these platforms that are due within `ahead`, those first that are so for
    /// longest, and records the job that `make` makes for each; each is due again after about `every`.
    /// No other caller gets the same accounts, and none waits for another.
    pub async fn take_syncs(
        &self,
        platforms: &[&str],
        ahead: Duration,
        every: Duration,
        make: impl Fn(&Due) -> Result<NewJob, Error>,
    ) -> Result<TakenDue, Error> {
        let now = self.now();
        let (mut tx, due) = self.lock_due(&DUE, platforms, now.after(ahead)).await?;
        if due.is_empty() {
            return Ok(TakenDue::default());
        }
        let next = |at: Timestamp| at.max(now).after(every.mul_f64(rand::random_range(0.9..=1.1)));
        let plan: Vec<(Uuid, Timestamp)> =
            due.iter().map(|due| (due.connector_id, next(due.at))).collect();
        write_plan(&mut tx, &plan).await?;
        record_due(tx, &due, make).await
    }

    /// When an account is to be synchronised next, if that is planned.
    pub async fn sync_due_at(&self, connector_id: Uuid) -> Result<Option<Timestamp>, Error> {
        const SQL: &str = "SELECT sync_due_at FROM connectors WHERE id = $1";
        let at: Option<Option<i64>> = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(connector_id).fetch_optional(pool).await
        })?;
        Ok(at.flatten().map(time))
    }

    /// How many accounts of each platform that work have been due for five minutes and more.
    pub async fn late_syncs(&self) -> Result<Vec<(String, u64)>, Error> {
        const SQL: &str = "SELECT platform, count(*) FROM connectors WHERE sync_due_at <= $1 \
             AND state = 'active' AND disconnected_at IS NULL GROUP BY platform";
        self.count_due(SQL, self.now().before(LATE)).await
    }
}

async fn write_plan(tx: &mut Tx, plan: &[(Uuid, Timestamp)]) -> Result<(), Error> {
    Ok(on_tx!(tx, conn => {
        let mut query =
            sqlx::QueryBuilder::new("UPDATE connectors SET sync_due_at = v.column2 FROM (");
        query.push_values(plan, |mut row, (id, at)| {
            row.push_bind(*id).push_bind(at.as_millis());
        });
        query.push(") AS v WHERE connectors.id = v.column1").build().execute(conn).await.map(drop)
    })?)
}
