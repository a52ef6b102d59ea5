//! Accounts whose tokens are to be renewed ahead of their end, and those for which that is late.

use std::time::Duration;

use postworks::job::NewJob;
use postworks::ledger::Tx;
use postworks::on_tx;

use super::due_accounts::{Due, DueAccounts, TakenDue, due_accounts, record_due};
use super::{Error, Store};

const ENDING: DueAccounts = due_accounts!(
    "t.connector_id",
    "c.platform",
    "c.tenant_id",
    "t.refresh_due_at",
    "connector_tokens t JOIN connectors c ON c.id = t.connector_id WHERE c.state = 'active'",
    "FOR UPDATE OF t SKIP LOCKED"
);

impl Store {
    /// Takes accounts of these platforms that are due within `ahead`, those first that are so for
    /// longest, and records the job that `make` makes for each. None of them is due again before
    /// `again_after` has passed, whatever becomes of the job; new tokens make a plan of their own. No other caller
    /// gets the same accounts, and none waits for another.
    pub async fn take_due(
        &self,
        platforms: &[&str],
        ahead: Duration,
        again_after: Duration,
        make: impl Fn(&Due) -> Result<NewJob, Error>,
    ) -> Result<TakenDue, Error> {
        let until = self.now().after(ahead);
        let (mut tx, due) = self.lock_due(&ENDING, platforms, until).await?;
        if due.is_empty() {
            return Ok(TakenDue::default());
        }
        self.put_off_due(&mut tx, &due, again_after).await?;
        record_due(tx, &due, make).await
    }

    async fn put_off_due(&self, tx: &mut Tx, due: &[Due], span: Duration) -> Result<(), Error> {
        let until = self.now().after(span).as_millis();
        on_tx!(tx, conn => {
            let mut query =
                sqlx::QueryBuilder::new("UPDATE connector_tokens SET refresh_due_at = ");
            query.push_bind(until).push(" WHERE connector_id IN (");
            let mut list = query.separated(", ");
            for account in due {
                list.push_bind(account.connector_id);
            }
            query.push(")").build().execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// How many accounts of each platform that work have tokens which end soon, or have ended, and
    /// should have been renewed by now.
    pub async fn late_tokens(&self) -> Result<Vec<(String, u64)>, Error> {
        const SQL: &str = "SELECT c.platform, count(*) FROM connector_tokens t \
             JOIN connectors c ON c.id = t.connector_id \
             WHERE t.refresh_late_at <= $1 AND c.state = 'active' GROUP BY c.platform";
        self.count_due(SQL, self.now()).await
    }
}
