//! Servers that somebody gave us the addresses of.

use anyhow::Context as _;
use postworks::broker::redis::RedisAddress;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};

use super::{NAME, Unusable, keys};

/// Roles that the migrations make, which belong to the whole server.
const ROLES: [&str; 2] = ["postworks_tenant", "postworks_engine"];

/// Their addresses, and what they had before.
#[derive(Debug)]
pub(crate) struct Given {
    pub(super) database: SecretString,
    pub(super) redis: SecretString,
    /// Roles that were not there.
    missing: Vec<&'static str>,
}

impl Given {
    pub(super) async fn look(database: SecretString, redis: SecretString) -> anyhow::Result<Self> {
        RedisAddress::parse(redis.expose_secret())?;
        if redis.expose_secret().contains("sentinel://") {
            anyhow::bail!("the load test speaks to Redis itself: give it one server's address");
        }
        keys::try_out(&redis).await?;
        let mut session = connect(&database).await?;
        let mut missing = Vec::new();
        for role in ROLES {
            let there = sqlx::query_scalar::<_, bool>("SELECT to_regrole($1) IS NOT NULL");
            let there = there.bind(role).fetch_one(&mut session).await.map_err(without_address)?;
            if !there {
                missing.push(role);
            }
        }
        Ok(Self { database, redis, missing })
    }

    /// Removes the roles that were not there before. Another installation may use them by now: then
    /// the server keeps them, and that is right.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        let mut session = connect(&self.database).await?;
        for role in &self.missing {
            let drop = sqlx::AssertSqlSafe(format!("DROP ROLE IF EXISTS {role}"));
            let _ = sqlx::raw_sql(drop).execute(&mut session).await;
        }
        Ok(())
    }
}

/// A session on a database.
pub(super) async fn connect(database: &SecretString) -> anyhow::Result<PgConnection> {
    let connected = PgConnection::connect(database.expose_secret()).await;
    let fault = Unusable("PostgreSQL cannot be used: check DATABASE_URL");
    connected.map_err(without_address).context(fault)
}

/// An error of the library may name the address, with its password.
pub(super) fn without_address(error: sqlx::Error) -> anyhow::Error {
    match error {
        sqlx::Error::Configuration(_) => anyhow::anyhow!("its address is not right"),
        error => error.into(),
    }
}

/// How many connections the server has for a load test, beside those that others have now.
pub(super) async fn room(database: &SecretString) -> anyhow::Result<u32> {
    const ROOM: &str = "SELECT current_setting('max_connections')::bigint \
         - current_setting('superuser_reserved_connections')::bigint \
         - (SELECT count(*) FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND datname NOT LIKE $1)";
    let mut session = connect(database).await?;
    let ours = format!("{NAME}%");
    let room: i64 = sqlx::query_scalar(ROOM).bind(ours).fetch_one(&mut session).await?;
    Ok(u32::try_from(room).unwrap_or(0))
}

/// The server's version, and what a commit waits for.
pub(super) async fn about(database: &SecretString) -> anyhow::Result<String> {
    let mut session = connect(database).await?;
    let mut facts = Vec::new();
    for name in [
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "shared_buffers",
        "max_wal_size",
        "max_connections",
    ] {
        let show = sqlx::AssertSqlSafe(format!("SHOW {name}"));
        let value: String = sqlx::query_scalar(show).fetch_one(&mut session).await?;
        facts.push(match name {
            "server_version" => value,
            name => format!("{name} {value}"),
        });
    }
    Ok(facts.join(", "))
}
