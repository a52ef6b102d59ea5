//! The numbers of posts, and what accounts say of themselves.
//!
//! A post's newest numbers stand on its row, which also says when they are to be read again; every
//! reading is a row of `post_metrics`, on PostgreSQL in the partition of its month.

use postworks::job::{SyncStream, Timestamp};
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::cadence::next_reading;
use super::{Cursor, Error, Store, time};
use crate::platforms::{Numbers, Profile};

/// A post whose numbers are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNumbers {
    /// The platform's id of it.
    pub remote_id: String,
    /// When it was posted, or first seen if the platform does not say.
    pub created_at: Timestamp,
}

/// What was read of a post.
#[derive(Debug, Clone)]
pub struct NumbersRead {
    /// The post.
    pub post: DueNumbers,
    /// Its numbers; `None` if it is gone from the platform: it is asked for no more.
    pub numbers: Option<Numbers>,
}

impl NumbersRead {
    /// What was counted, if anything was.
    fn counted(&self) -> Option<Numbers> {
        self.numbers.filter(|numbers| *numbers != Numbers::default())
    }
}

fn number(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

impl Store {
    /// Posts of an account whose numbers are to be read until `due`, and were not since `unread`; those
    /// first that are due for longest, at most `limit`.
    pub async fn due_numbers(
        &self,
        connector_id: Uuid,
        due: Timestamp,
        unread: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueNumbers>, Error> {
        const SQL: &str = "SELECT remote_id, COALESCE(created_at, seen_at) FROM remote_posts \
             WHERE connector_id = $1 AND metrics_due_at <= $2 \
             AND (metrics_at IS NULL OR metrics_at < $3) ORDER BY metrics_due_at LIMIT $4";
        let rows: Vec<(String, i64)> = on_db!(&self.db, pool => sqlx::query_as(SQL)
            .bind(connector_id)
            .bind(due.as_millis())
            .bind(unread.as_millis())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await)?;
        let due = |(remote_id, at)| DueNumbers { remote_id, created_at: time(at) };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Keeps readings, when each post is to be read again, and where the stream goes on; `false` as
    /// for [`keep_page`](Self::keep_page).
    pub async fn keep_numbers(
        &self,
        connector_id: Uuid,
        read: &[NumbersRead],
        next: &Cursor,
    ) -> Result<bool, Error> {
        // Whoever keeps a page of posts locks the same row first, so neither waits for the other's posts.
        const LOCK: &str = "UPDATE sync_cursors SET version = version \
             WHERE connector_id = $1 AND stream = $2";
        let now = self.now();
        self.ready_for(now).await?;
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(LOCK)
            .bind(connector_id)
            .bind(SyncStream::Posts.as_str())
            .execute(conn)
            .await
            .map(drop))?;
        if !self.move_on(&mut tx, connector_id, SyncStream::Metrics, next).await? {
            return Ok(false);
        }
        if read.is_empty() {
            tx.commit().await?;
            return Ok(true);
        }
        self.write_newest(&mut tx, connector_id, read, now).await?;
        let counted: Vec<_> = read
            .iter()
            .filter_map(|read| Some((read.post.remote_id.as_str(), read.counted()?)))
            .collect();
        if !counted.is_empty() {
            self.write_readings(&mut tx, connector_id, &counted, now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn write_newest(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        read: &[NumbersRead],
        now: Timestamp,
    ) -> Result<(), Error> {
        // A post that is gone, or of which nothing is counted, keeps the numbers that it had. What a
        // slower reader brings does not count.
        const SET: &str = "UPDATE remote_posts SET metrics_due_at = v.column2, \
             likes = CASE WHEN v.column3 THEN v.column4 ELSE remote_posts.likes END, \
             reposts = CASE WHEN v.column3 THEN v.column5 ELSE remote_posts.reposts END, \
             replies = CASE WHEN v.column3 THEN v.column6 ELSE remote_posts.replies END, \
             views = CASE WHEN v.column3 THEN v.column7 ELSE remote_posts.views END, metrics_at = ";
        Ok(on_tx!(tx, conn => {
            let mut query = sqlx::QueryBuilder::new(SET);
            query.push_bind(now.as_millis()).push(" FROM (");
            query.push_values(read, |mut row, read| {
                let NumbersRead { post, numbers } = read;
                let due = numbers.and_then(|_| next_reading(post.created_at, now));
                let newest = read.counted().unwrap_or_default();
                row.push_bind(&post.remote_id)
                    .push_bind(due.map(Timestamp::as_millis))
                    .push_bind(read.counted().is_some())
                    .push_bind(number(newest.likes))
                    .push_bind(number(newest.reposts))
                    .push_bind(number(newest.replies))
                    .push_bind(number(newest.views));
            });
            query.push(") AS v WHERE remote_posts.remote_id = v.column1 AND connector_id = ");
            query.push_bind(connector_id).push(" AND (metrics_at IS NULL OR metrics_at <= ");
            query.push_bind(now.as_millis()).push(")").build().execute(conn).await.map(drop)
        })?)
    }

    async fn write_readings(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        counted: &[(&str, Numbers)],
        now: Timestamp,
    ) -> Result<(), Error> {
        const TENANT: &str = "SELECT tenant_id FROM connectors WHERE id = $1";
        const COLUMNS: &str = "connector_id, remote_id, read_at, likes, reposts, replies, views";
        // The embedded database has one tenant.
        let tenant: Option<Uuid> = match tx {
            Tx::Postgres(conn) => {
                sqlx::query_scalar(TENANT).bind(connector_id).fetch_optional(&mut **conn).await?
            }
            Tx::Sqlite(_) => None,
        };
        Ok(on_tx!(tx, conn => {
            let mut query = sqlx::QueryBuilder::new("INSERT INTO post_metrics (");
            query.push(COLUMNS).push(if tenant.is_some() { ", tenant_id) " } else { ") " });
            query.push_values(counted, |mut row, (remote_id, numbers)| {
                row.push_bind(connector_id)
                    .push_bind(*remote_id)
                    .push_bind(now.as_millis())
                    .push_bind(number(numbers.likes))
                    .push_bind(number(numbers.reposts))
                    .push_bind(number(numbers.replies))
                    .push_bind(number(numbers.views));
                if let Some(tenant) = tenant {
                    row.push_bind(tenant);
                }
            });
            query.push(" ON CONFLICT DO NOTHING").build().execute(conn).await.map(drop)
        })?)
    }

    /// Every reading of a post's numbers, the oldest first.
    pub async fn readings(
        &self,
        connector_id: Uuid,
        remote_id: &str,
    ) -> Result<Vec<(Timestamp, Numbers)>, Error> {
        const SQL: &str = "SELECT read_at, likes, reposts, replies, views FROM post_metrics \
             WHERE connector_id = $1 AND remote_id = $2 ORDER BY read_at";
        type Row = (i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(connector_id).bind(remote_id).fetch_all(pool).await
        })?;
        let count = |count: Option<i64>| count.map(i64::unsigned_abs);
        let reading = |(at, likes, reposts, replies, views): Row| {
            let [likes, reposts, replies, views] = [likes, reposts, replies, views].map(count);
            (time(at), Numbers { likes, reposts, replies, views })
        };
        Ok(rows.into_iter().map(reading).collect())
    }

    /// Keeps what an account says of itself, and where its stream goes on; `false` as for
    /// [`keep_page`](Self::keep_page).
    pub async fn keep_profile(
        &self,
        connector_id: Uuid,
        profile: &Profile,
        next: &Cursor,
    ) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO remote_profiles \
             (connector_id, display_name, description, followers, seen_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (connector_id) DO UPDATE SET \
             display_name = $2, description = $3, followers = $4, seen_at = $5";
        let plain = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
        let mut tx = self.db.begin().await?;
        if !self.move_on(&mut tx, connector_id, SyncStream::Profile, next).await? {
            return Ok(false);
        }
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(connector_id)
            .bind(plain(&profile.display_name))
            .bind(plain(&profile.description))
            .bind(number(profile.followers))
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        tx.commit().await?;
        Ok(true)
    }

    /// What an account said of itself when it was last asked.
    pub async fn remote_profile(&self, connector_id: Uuid) -> Result<Option<Profile>, Error> {
        const SQL: &str = "SELECT display_name, description, followers FROM remote_profiles \
             WHERE connector_id = $1";
        let row: Option<(Option<String>, Option<String>, Option<i64>)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(connector_id).fetch_optional(pool).await
        })?;
        Ok(row.map(|(display_name, description, followers)| Profile {
            display_name,
            description,
            followers: followers.map(i64::unsigned_abs),
        }))
    }
}
