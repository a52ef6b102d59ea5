//! Deletes tenants' own rows that are older than each tenant keeps them, a small batch a transaction.
//!
//! On PostgreSQL a batch skips rows that somebody works on; they go with a later run. The embedded
//! database has one tenant, and its tables do not name it.

use postworks::job::{CleanupScope, JobId, Tenant, Timestamp};
use postworks::ledger::{Db, Tx};
use postworks::on_tx;
use uuid::Uuid;

use super::{Error, Store, Swept, time};

/// Rows that are too old.
#[derive(Debug, Clone)]
pub struct Expired {
    /// What.
    pub scope: CleanupScope,
    /// Older than this.
    pub before: Timestamp,
    /// As old as this at most: what is older was seen to.
    pub from: Timestamp,
    /// Whose: those of these tenants, or of all but these.
    pub whose: Whose,
}

/// Whose rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// These tenants'.
    Of(Vec<Tenant>),
    /// All others'.
    AllBut(Vec<Tenant>),
}

impl Whose {
    /// Ids, and whether it is those.
    fn parts(&self) -> (Vec<Uuid>, bool) {
        let (tenants, these) = match self {
            Self::Of(tenants) => (tenants, true),
            Self::AllBut(tenants) => (tenants, false),
        };
        (tenants.iter().map(|tenant| tenant.as_uuid()).collect(), these)
    }
}

/// Where rows of an age are.
macro_rules! aged {
    ($table:literal, $at:literal) => {
        concat!($table, " WHERE ", $at, " < $1 AND ", $at, " >= $2")
    };
}

/// The rows of a scope: the table, its key, when a row counts from, what else must hold of it, whose it
/// is, and the post that may have lost its last publication.
macro_rules! scope {
    ($table:literal, $key:literal, $at:literal, $if:literal, $tenant:literal,
        $post:literal or $post_alone:literal) => {
        Texts {
            // The age twice: so the database knows which partitions to look into.
            #[rustfmt::skip]
            delete: concat!(
                "DELETE FROM ", aged!($table, $at), " AND (", $key, ") IN (SELECT ", $key,
                " FROM ", aged!($table, $at), $if, " AND (", $tenant, " = ANY($4)) = $5 ORDER BY ",
                $at, " LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING ", $tenant, ", ", $at, ", ", $post
            ),
            #[rustfmt::skip]
            delete_alone: concat!(
                "DELETE FROM ", $table, " WHERE (", $key, ") IN (SELECT ", $key, " FROM ",
                aged!($table, $at), $if, " ORDER BY ", $at, " LIMIT $3) \
                 RETURNING x'00000000000000000000000000000001', ", $at, ", ", $post_alone
            ),
            #[rustfmt::skip]
            count: concat!(
                "SELECT ", $tenant, ", COUNT(*) FROM ", aged!($table, $at), $if,
                " AND (", $tenant, " = ANY($3)) = $4 GROUP BY 1"
            ),
            #[rustfmt::skip]
            count_alone: concat!(
                "SELECT x'00000000000000000000000000000001', COUNT(*) FROM ",
                aged!($table, $at), $if
            ),
        }
    };
}

/// A scope's statements: on PostgreSQL, and on the embedded database.
struct Texts {
    delete: &'static str,
    delete_alone: &'static str,
    count: &'static str,
    count_alone: &'static str,
}

const REMOTE_POSTS: Texts = scope!(
    "remote_posts",
    "remote_posts.connector_id, remote_posts.remote_id",
    "seen_at",
    "",
    "(SELECT c.tenant_id FROM connectors c WHERE c.id = remote_posts.connector_id)",
    "NULL::uuid" or "NULL"
);
const METRICS: Texts = scope!(
    "post_metrics",
    "post_metrics.connector_id, post_metrics.remote_id, post_metrics.read_at",
    "read_at",
    "",
    "tenant_id",
    "NULL::uuid" or "NULL"
);
const PUBLICATIONS: Texts = scope!(
    "publications",
    "publications.id",
    "finished_at",
    // What is still to be answered stays, for its id on the platform.
    " AND state IN ('published', 'failed') AND NOT EXISTS (SELECT 1 FROM publications answers \
     WHERE answers.in_reply_to = publications.id AND answers.reply_to IS NULL \
     AND answers.state IN ('scheduled', 'sending'))",
    "tenant_id",
    "post_id" or "post_id"
);
const EVENTS: Texts = scope!("events", "events.id", "at", "", "tenant_id", "NULL::uuid" or "NULL");

const MEDIA: Texts = scope!(
    "media",
    "media.id",
    "added_at",
    " AND NOT EXISTS (SELECT 1 FROM post_media WHERE post_media.media_id = media.id)",
    "tenant_id",
    "NULL::uuid" or "NULL"
);

fn texts(scope: CleanupScope) -> Option<&'static Texts> {
    match scope {
        CleanupScope::RemotePosts => Some(&REMOTE_POSTS),
        CleanupScope::Metrics => Some(&METRICS),
        CleanupScope::Publications => Some(&PUBLICATIONS),
        CleanupScope::Events => Some(&EVENTS),
        CleanupScope::Media => Some(&MEDIA),
        _ => None,
    }
}

/// Whose row it was, when it counted from, and the post it was about.
type Row = (Uuid, i64, Option<Uuid>);

impl Store {
    /// Deletes at most `limit` rows, the oldest first, and notes it as that job's progress; answers what
    /// went, and where the next batch begins, if there may be one. With publications go posts that have
    /// no others; open publications stay whatever their age, and so do posts that were never
    /// published: they are drafts.
    pub async fn expire(
        &self,
        expired: &Expired,
        limit: u32,
        job: JobId,
    ) -> Result<(Swept, Option<Timestamp>), Error> {
        let Some(texts) = texts(expired.scope) else { return Ok((Swept::default(), None)) };
        let (tenants, these) = expired.whose.parts();
        let (before, from) = (expired.before.as_millis(), expired.from.as_millis());
        let mut tx = self.db.begin().await?;
        let rows: Vec<Row> = match &mut tx {
            Tx::Postgres(conn) => {
                sqlx::query_as(texts.delete)
                    .bind(before)
                    .bind(from)
                    .bind(i64::from(limit))
                    .bind(tenants)
                    .bind(these)
                    .fetch_all(&mut **conn)
                    .await?
            }
            Tx::Sqlite(conn) => {
                sqlx::query_as(texts.delete_alone)
                    .bind(before)
                    .bind(from)
                    .bind(i64::from(limit))
                    .fetch_all(&mut **conn)
                    .await?
            }
        };
        let posts: Vec<Uuid> = rows.iter().filter_map(|row| row.2).collect();
        if !posts.is_empty() {
            delete_orphans(&mut tx, &posts).await?;
        }
        let mut swept = Swept::of(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        for (tenant, ..) in &rows {
            *swept.tenants.entry(Tenant::from_uuid(*tenant)).or_default() += 1;
        }
        if swept.rows > 0 {
            self.note_swept_in(&mut tx, job, expired.scope, &swept, false).await?;
        }
        tx.commit().await?;
        let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let newest = rows.iter().map(|row| row.1).max().filter(|_| is_full);
        Ok((swept, newest.map(time)))
    }

    /// What would go.
    pub async fn count_expired(&self, expired: &Expired) -> Result<Swept, Error> {
        let Some(texts) = texts(expired.scope) else { return Ok(Swept::default()) };
        let (tenants, these) = expired.whose.parts();
        let (before, from) = (expired.before.as_millis(), expired.from.as_millis());
        let rows: Vec<(Uuid, i64)> = match &self.db {
            Db::Postgres(pool) => {
                let reads = async {
                    let mut reading = pool.reading().await?;
                    sqlx::query_as(texts.count)
                        .bind(before)
                        .bind(from)
                        .bind(tenants)
                        .bind(these)
                        .fetch_all(&mut *reading)
                        .await
                };
                pool.call(reads).await?
            }
            Db::Sqlite(file) => {
                sqlx::query_as(texts.count_alone)
                    .bind(before)
                    .bind(from)
                    .fetch_all(file.readers())
                    .await?
            }
        };
        let mut swept = Swept::default();
        for (tenant, count) in rows.into_iter().filter(|row| row.1 > 0) {
            swept.rows += count.unsigned_abs();
            swept.tenants.insert(Tenant::from_uuid(tenant), count.unsigned_abs());
        }
        Ok(swept)
    }
}

/// Deletes those of these posts that have no publication left.
async fn delete_orphans(tx: &mut Tx, posts: &[Uuid]) -> Result<(), Error> {
    const HEAD: &str = "DELETE FROM posts WHERE NOT EXISTS \
         (SELECT 1 FROM publications WHERE publications.post_id = posts.id) AND id IN (";
    Ok(on_tx!(tx, conn => {
        let mut query = sqlx::QueryBuilder::new(HEAD);
        let mut list = query.separated(", ");
        for id in posts {
            list.push_bind(*id);
        }
        query.push(")").build().execute(conn).await.map(drop)
    })?)
}
