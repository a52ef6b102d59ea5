//! The tables this program expects: makes them, or says which are missing.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Db, Error};

static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| tolerant(sqlx::migrate!("migrations/postgres")));
static SQLITE: LazyLock<Migrator> = LazyLock::new(|| tolerant(sqlx::migrate!("migrations/sqlite")));

/// How long applying migrations waits for the server to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The session of a migration.
const UNHURRIED: &str = "SET statement_timeout = 0; SET lock_timeout = '60s'; \
     SET idle_in_transaction_session_timeout = 0";

/// Migrations that leave those of a newer program alone.
fn tolerant(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

impl Db {
    /// Applies the migrations that are missing. Several processes may do so at once.
    ///
    /// Migrations of a newer program are left alone: they only ever add, so that old and new
    /// workers can run side by side.
    pub async fn migrate(&self) -> Result<(), Error> {
        match self {
            Self::Postgres(pool) => {
                // A connection of its own: a migration may take longer than any statement of
                // ours, and a second process waits for the first one's lock.
                let connect = PgConnectOptions::clone(&pool.connections().connect_options());
                let own = PgPoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(CONNECT_MAX)
                    .after_connect(|connection, _| {
                        Box::pin(async move {
                            sqlx::raw_sql(UNHURRIED).execute(connection).await.map(drop)
                        })
                    })
                    .connect_with(connect)
                    .await?;
                let applied = POSTGRES.run(&own).await;
                own.close().await;
                applied?;
            }
            Self::Sqlite(file) => {
                SQLITE.run(file.writer()).await?;
            }
        }
        Ok(())
    }

    /// Whether the database answers and has this program's tables.
    ///
    /// # Errors
    /// [`Error::Migrations`] names the migrations that are missing, changed or half applied.
    pub async fn check(&self) -> Result<(), Error> {
        let (migrator, applied) = match self {
            Self::Postgres(_) => (&*POSTGRES, self.applied().await),
            Self::Sqlite(_) => (&*SQLITE, self.applied().await),
        };
        let applied = match applied {
            // No such table: nothing was ever applied.
            Err(Error::Migrations(_)) => Vec::new(),
            other => other?,
        };
        let mut wrong = Vec::new();
        for migration in migrator.iter() {
            let name = format!("{:04} {}", migration.version, migration.description);
            match applied.iter().find(|(version, ..)| *version == migration.version) {
                None => wrong.push(format!("{name} is missing")),
                Some((_, checksum, _)) if **checksum != *migration.checksum => {
                    wrong.push(format!("{name} was applied with other contents"));
                }
                Some((_, _, false)) => wrong.push(format!("{name} is half applied")),
                Some(_) => {}
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Migrations(wrong.join(", "))) }
    }

    async fn applied(&self) -> Result<Vec<(i64, Vec<u8>, bool)>, Error> {
        const SQL: &str = "SELECT version, checksum, success FROM _sqlx_migrations";
        Ok(crate::on_db!(self, pool => sqlx::query_as(SQL).fetch_all(pool).await)?)
    }
}

/// PostgreSQL's migrations, for whoever caches a database that has them.
#[cfg(feature = "servers")]
pub(crate) fn postgres_migrations() -> impl Iterator<Item = &'static sqlx::migrate::Migration> {
    POSTGRES.iter()
}
