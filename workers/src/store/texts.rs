//! The texts that publications send.

use postworks::on_db;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Error, Store};

impl Store {
    /// The texts of these publications that are there: as they were sent, or as they would be now.
    pub async fn texts_of(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on_db!(&self.db, pool => {
            let mut query = QueryBuilder::new(
                "SELECT publications.id, COALESCE(publications.frozen_text, posts.text) \
                 FROM publications JOIN posts ON posts.id = publications.post_id \
                 WHERE publications.id IN (",
            );
            let mut places = query.separated(", ");
            for id in ids {
                places.push_bind(*id);
            }
            query.push(")");
            query.build_query_as().fetch_all(pool).await
        })?)
    }
}
