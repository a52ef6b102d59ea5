//! The servers that a load test works on, and the place on them that is its own.
//!
//! Without addresses it starts its own servers, which end with it. On given servers it makes a
//! database and uses keys of a name that nobody else has, and removes both: other data is neither
//! read nor touched, and such servers are neither stopped nor wiped.

mod given;
pub(crate) mod keys;
mod private;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use private::{NotInstalled, Private};

use given::Given;

/// What databases and keys of load tests are called by.
const NAME: &str = "postworks_loadtest";

/// A server that cannot be used; why follows.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) &'static str);

/// The servers.
#[derive(Debug)]
pub(crate) enum Stores {
    /// Started for this load test.
    Private(Box<Private>),
    /// Somebody's.
    Given(Given),
}

/// A database and a key prefix for one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The database's address.
    pub(crate) database: SecretString,
    /// Redis' address.
    pub(crate) redis: SecretString,
    /// What its keys start with.
    pub(crate) prefix: String,
    name: String,
}

impl Stores {
    /// Starts private ones.
    ///
    /// # Errors
    /// What is missing on this machine, or did not start.
    pub(crate) async fn launch() -> anyhow::Result<Self> {
        Ok(Self::Private(Box::new(Private::launch().await?)))
    }

    /// Uses those that are there.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) async fn given(database: SecretString, redis: SecretString) -> anyhow::Result<Self> {
        Ok(Self::Given(Given::look(database, redis).await?))
    }

    /// Those started for this load test: the others are not to be stopped.
    pub(crate) fn private(&self) -> Option<&Private> {
        match self {
            Self::Private(servers) => Some(servers),
            Self::Given(_) => None,
        }
    }

    /// Makes a place for a scenario.
    ///
    /// # Errors
    /// The servers refuse.
    pub(crate) async fn place(&self) -> anyhow::Result<Place> {
        let name = format!("{NAME}_{:016x}", rand::random::<u64>());
        let (admin, redis) = self.addresses();
        let create = format!("CREATE DATABASE {name}");
        execute(&admin, &create).await.with_context(|| {
            "the load test works in a database of its own, which it could not make: let this login \
             create databases"
        })?;
        let database = of_database(&admin, &name)?;
        Ok(Place { database, redis, prefix: name.clone(), name })
    }

    /// Removes a place and everything in it.
    ///
    /// # Errors
    /// The servers refuse; the message says what is left.
    pub(crate) async fn clear(&self, place: &Place) -> anyhow::Result<()> {
        let (admin, _) = self.addresses();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", place.name);
        let dropped = execute(&admin, &drop).await;
        let unlinked = keys::remove(place).await;
        let dropped =
            dropped.with_context(|| format!("the database {} is left behind", place.name));
        let unlinked =
            unlinked.with_context(|| format!("keys {}:* are left behind in Redis", place.prefix));
        match (dropped, unlinked) {
            (Err(database), Err(keys)) => Err(database.context(format!("{keys:#}"))),
            (database, keys) => database.and(keys),
        }
    }

    /// Removes what belongs to no place; private servers end when this value is dropped.
    ///
    /// # Errors
    /// The servers refuse.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        match self {
            Self::Private(_) => Ok(()),
            Self::Given(servers) => servers.end().await,
        }
    }

    /// Names and facts of the servers, in the order to show.
    ///
    /// # Errors
    /// They do not answer.
    pub(crate) async fn facts(&self) -> anyhow::Result<Vec<(String, String)>> {
        let (admin, redis) = self.addresses();
        let whose = match self {
            Self::Private(_) => "started for this test, on this machine",
            Self::Given(_) => "given",
        };
        let mut facts = vec![("servers".to_owned(), whose.to_owned())];
        facts.push(("Redis".to_owned(), keys::about(&redis).await?));
        facts.push(("PostgreSQL".to_owned(), given::about(&admin).await?));
        Ok(facts)
    }

    /// How many connections to PostgreSQL a scenario may have.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn room(&self) -> anyhow::Result<u32> {
        given::room(&self.addresses().0).await
    }

    /// Sees that a scenario can have so many connections to PostgreSQL.
    ///
    /// # Errors
    /// There is not so much room, or no answer.
    pub(crate) async fn must_have_room(&self, scenario: &str, needed: u32) -> anyhow::Result<()> {
        let room = self.room().await?;
        if needed <= room {
            return Ok(());
        }
        let words = format!(
            "the scenario {scenario} opens up to {needed} connections, and there is room for {room}: \
             ask for fewer in the profile, or raise max_connections"
        );
        Err(anyhow::anyhow!(words).context(Unusable("PostgreSQL has too little room")))
    }

    fn addresses(&self) -> (SecretString, SecretString) {
        match self {
            Self::Private(servers) => (servers.database().into(), servers.redis_url().into()),
            Self::Given(servers) => (servers.database.clone(), servers.redis.clone()),
        }
    }
}

async fn execute(database: &SecretString, sql: &str) -> anyhow::Result<()> {
    let mut session = given::connect(database).await?;
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut session).await.map_err(given::without_address)?;
    Ok(())
}

/// The address of another database on the same server.
fn of_database(address: &SecretString, name: &str) -> anyhow::Result<SecretString> {
    let url = url::Url::parse(address.expose_secret());
    let mut url = url.map_err(|_| anyhow::anyhow!("DATABASE_URL is no address"))?;
    url.set_path(name);
    Ok(SecretString::from(url.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_on_the_same_server_with_the_same_login() {
        for (address, expected) in [
            (
                "postgres://ann:s%2Fx@db:5433/app?sslmode=prefer",
                "postgres://ann:s%2Fx@db:5433/lt?sslmode=prefer",
            ),
            (
                "postgres://pw@localhost/postgres?host=/tmp/x",
                "postgres://pw@localhost/lt?host=/tmp/x",
            ),
            ("postgres://db", "postgres://db/lt"),
        ] {
            let place = of_database(&SecretString::from(address), "lt").unwrap();
            assert_eq!(place.expose_secret(), expected);
        }
    }
}
