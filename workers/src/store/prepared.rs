//! What platforms hold ready for posts that are not published yet: uploads, drafts, containers.

use postworks::on_tx;
use uuid::Uuid;

use super::{Error, Store};
use crate::platforms::Prepared;

/// What a row says is held ready.
pub(super) fn read(text: Option<&str>) -> Result<Prepared, Error> {
    let Some(text) = text else { return Ok(Prepared::NOTHING) };
    let corrupt = |_| Error::Corrupt("what is prepared of a publication".to_owned());
    serde_json::from_str(text).map(Prepared).map_err(corrupt)
}

impl Store {
    /// Keeps what the platform holds ready, if the row is as the run has `seen` it: what was committed,
    /// or is about to be, is never hidden by what an overtaken run has prepared. Answers the row's
    /// version now.
    pub async fn keep_prepared(
        &self,
        id: Uuid,
        seen: i64,
        prepared: &Prepared,
    ) -> Result<Option<i64>, Error> {
        const SQL: &str = "UPDATE publications SET prepared = $2, version = version + 1 \
             WHERE id = $1 AND version = $3 AND state <> 'published' RETURNING version";
        let mut tx = self.db.begin().await?;
        let version: Option<i64> = on_tx!(&mut tx, conn => sqlx::query_scalar(SQL)
            .bind(id)
            .bind(prepared.0.to_string())
            .bind(seen)
            .fetch_optional(conn)
            .await)?;
        tx.commit().await?;
        Ok(version)
    }
}
