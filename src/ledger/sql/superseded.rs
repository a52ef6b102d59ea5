//! Finds what made dead jobs needless since.

use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::stored::nonsense;
use crate::job::{JobId, Kind};
use crate::ledger::{Db, DeadSubject, Error};
use crate::on_db;

/// What each dead job was about. The conditions on other kinds are those of the indexes: what a
/// publication's job was to do, its own row says.
const SUBJECTS: &str = "SELECT j.id, j.kind, j.args, coalesce(j.unique_key, j.freed_key) AS unique_key, j.account, \
         (SELECT k.id FROM jobs k WHERE k.tenant_id = j.tenant_id AND k.kind = j.kind \
             AND k.unique_key = coalesce(j.unique_key, j.freed_key) \
             AND NOT (k.key_until_start IS NOT NULL AND k.token IS NOT NULL) \
             AND k.unique_key IS NOT NULL AND k.state IN ('open', 'parked')) AS key_holder, \
         (SELECT k.id FROM jobs k WHERE k.tenant_id = j.tenant_id AND k.kind = j.kind \
             AND k.unique_key = coalesce(j.unique_key, j.freed_key) \
             AND k.unique_key IS NOT NULL AND k.state = 'completed' \
             AND k.kind <> 'post_publication' AND k.finished_at >= d.died_at LIMIT 1) AS key_done, \
         (SELECT k.id FROM jobs k WHERE k.account = j.account AND k.kind = j.kind \
             AND k.account IS NOT NULL AND k.kind <> 'post_publication' \
             AND k.finished_at >= d.died_at AND k.state = 'completed' LIMIT 1) AS account_done, \
         (SELECT k.id FROM jobs k WHERE k.account = j.account AND k.kind = j.kind \
             AND k.account IS NOT NULL AND k.kind <> 'post_publication' \
             AND k.finished_at IS NULL AND k.state IN ('open', 'parked') LIMIT 1) AS account_live \
     FROM dead_letters d JOIN jobs j ON j.id = d.job_id WHERE d.job_id IN (";

#[derive(Debug, FromRow)]
struct StoredSubject {
    id: Uuid,
    kind: String,
    args: String,
    unique_key: Option<String>,
    account: Option<Uuid>,
    key_holder: Option<Uuid>,
    key_done: Option<Uuid>,
    account_done: Option<Uuid>,
    account_live: Option<Uuid>,
}

/// What dead jobs were about, and what has been done about that since. `catching_up` are the kinds
/// of which any job for an account does what an earlier one left.
pub(super) async fn subjects(
    db: &Db,
    ids: &[JobId],
    catching_up: &[Kind],
) -> Result<Vec<DeadSubject>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<StoredSubject> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(SUBJECTS);
        let mut places = query.separated(", ");
        for id in ids {
            places.push_bind(id.as_uuid());
        }
        query.push(")");
        query.build_query_as().fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| row.read(catching_up)).collect()
}

impl StoredSubject {
    fn read(self, catching_up: &[Kind]) -> Result<DeadSubject, Error> {
        let kind = Kind::parse(&self.kind).map_err(nonsense)?;
        let of_account = self.account_done.or(self.account_live);
        let caught_up = of_account.filter(|_| catching_up.contains(&kind));
        Ok(DeadSubject {
            id: JobId::from_uuid(self.id),
            account: self.account.filter(|_| catching_up.contains(&kind)),
            kind,
            args: self.args,
            unique_key: self.unique_key,
            key_holder: self.key_holder.map(JobId::from_uuid),
            superseded_by: self.key_holder.or(self.key_done).or(caught_up).map(JobId::from_uuid),
        })
    }
}
