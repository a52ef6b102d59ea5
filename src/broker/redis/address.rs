//! Reads `REDIS_URL`: one server, sentinels that know which server it is now, or nodes of a Cluster.
//!
//! The form for sentinels is the one that other tools take:
//! `redis+sentinel://[user:password@]host[:port][,host[:port]…]/master[/db]`, where the user and
//! the password are those of the Redis servers. Sentinels that ask for a password of their own get
//! `?sentinel_username=…&sentinel_password=…`.
//!
//! That for a Cluster is `redis+cluster://[user:password@]host[:port][,host[:port]…]`. Any of its
//! nodes will do, and the others are learnt from it; several are named since one may be away.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

/// What an address of one server starts with.
const SERVER_SCHEMES: [&str; 3] = ["redis", "valkey", "unix"];
/// What an address of sentinels starts with.
const SENTINEL_SCHEMES: [&str; 2] = ["redis+sentinel", "valkey+sentinel"];
/// What an address of a Cluster starts with.
const CLUSTER_SCHEMES: [&str; 2] = ["redis+cluster", "valkey+cluster"];
/// What asks for TLS, which this build has not.
const TLS_SCHEMES: [&str; 6] = [
    "rediss",
    "valkeys",
    "rediss+sentinel",
    "valkeys+sentinel",
    "rediss+cluster",
    "valkeys+cluster",
];
/// Where a server listens unless told otherwise.
const SERVER_PORT: u16 = 6_379;
/// Where a sentinel listens unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;
/// Most hosts in one address; three or five are usual.
const HOSTS_MAX: usize = 16;
/// A sentinel's form, for messages.
const SENTINEL_FORM: &str = "redis+sentinel://host:26379,host:26379,host:26379/master-name";
/// A Cluster's form, for messages.
const CLUSTER_FORM: &str = "redis+cluster://host:6379,host:6379,host:6379";

/// Where Redis is, and who we are there.
#[derive(Clone)]
pub struct RedisAddress {
    pub(super) place: Place,
    /// User, password and database.
    pub(super) login: RedisConnectionInfo,
}

/// Where Redis is.
#[derive(Clone)]
pub(super) enum Place {
    /// Always there.
    Server(ConnectionAddr),
    /// Where the sentinels say.
    Sentinels {
        /// Where they are, and who we are to them.
        sentinels: Vec<ConnectionInfo>,
        /// What they call the master.
        master: String,
    },
    /// On the nodes of a Cluster, of which these are some.
    Cluster(Vec<ConnectionAddr>),
}

/// What is wrong with an address, and what would be right. It never holds a part of the address
/// that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl RedisAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none; the message says what would be.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(no_scheme(text));
        };
        if SENTINEL_SCHEMES.contains(&scheme) {
            return Self::of_sentinels(rest);
        }
        if CLUSTER_SCHEMES.contains(&scheme) {
            return Self::of_cluster(rest);
        }
        if TLS_SCHEMES.contains(&scheme) {
            return Err(wrong(
                "asks for TLS, which this build does not have: use redis:// on a network of your \
                 own, or a TLS tunnel beside each process",
            ));
        }
        if !SERVER_SCHEMES.contains(&scheme) {
            return Err(unknown_scheme(scheme));
        }
        let (hosts, _) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains(',') {
            return Err(wrong(format!(
                "names several hosts; did you mean {SENTINEL_FORM}, or {CLUSTER_FORM}?"
            )));
        }
        let info = text.into_connection_info().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { place: Place::Server(info.addr().clone()), login: login(&info) })
    }

    fn of_sentinels(rest: &str) -> Result<Self, AddressError> {
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (master, db) = path.trim_end_matches('/').split_once('/').unwrap_or((path, ""));
        let master = master.trim_end_matches('/');
        if master.is_empty() || master.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong(format!("names no master: the form is {SENTINEL_FORM}")));
        }
        let login = login(&read(user, "localhost", db)?);
        let own = sentinel_login(query)?;
        let sentinels = each_host(hosts, SENTINEL_PORT)?
            .into_iter()
            .map(|info| info.set_redis_settings(own.clone()))
            .collect();
        Ok(Self { place: Place::Sentinels { sentinels, master: master.to_owned() }, login })
    }

    fn of_cluster(rest: &str) -> Result<Self, AddressError> {
        if rest.contains('?') {
            return Err(wrong(format!("takes nothing after ?: the form is {CLUSTER_FORM}")));
        }
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(db.trim_end_matches('/'), "" | "0") {
            return Err(wrong(
                "names a database: a Cluster has database 0 only, so leave out what follows /; \
                 installations that share it differ in broker.prefix",
            ));
        }
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if hosts.is_empty() {
            return Err(wrong(format!("names no host: the form is {CLUSTER_FORM}")));
        }
        let login = login(&read(user, "localhost", "")?);
        let nodes = each_host(hosts, SERVER_PORT)?;
        let nodes = nodes.iter().map(|info| info.addr().clone()).collect();
        Ok(Self { place: Place::Cluster(nodes), login })
    }
}

/// The client library reads one host at a time, and with it the percent signs.
fn read(user: &str, host: &str, db: &str) -> Result<ConnectionInfo, AddressError> {
    let at = if user.is_empty() { "" } else { "@" };
    let info = format!("redis://{user}{at}{host}/{db}").into_connection_info();
    info.map_err(|error| wrong(error.to_string()))
}

fn each_host(hosts: &str, port: u16) -> Result<Vec<ConnectionInfo>, AddressError> {
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.len() > HOSTS_MAX {
        return Err(wrong(format!("names more than {HOSTS_MAX} hosts")));
    }
    hosts.into_iter().map(|host| read("", &with_port(host, port), "")).collect()
}

/// As it may be shown: the password, if there is one, is `***`.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (self.login.username(), self.login.password()) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", user.unwrap_or_default()),
            (user, Some(_)) => format!("{}:***@", user.unwrap_or_default()),
        };
        let db = self.login.db();
        match &self.place {
            Place::Server(ConnectionAddr::Unix(path)) => write!(f, "unix://{}", path.display()),
            Place::Server(address) => write!(f, "redis://{user}{address}/{db}"),
            Place::Sentinels { sentinels, master } => {
                let hosts: Vec<String> =
                    sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
                write!(f, "redis+sentinel://{user}{}/{master}/{db}", hosts.join(","))
            }
            Place::Cluster(nodes) => {
                let hosts: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "redis+cluster://{user}{}", hosts.join(","))
            }
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who we are, without what the connection would say by itself: it greets the server in its own
/// words, since the library hides why a password was refused.
fn login(info: &ConnectionInfo) -> RedisConnectionInfo {
    // The answers are the same in both protocols; the older one needs no handshake.
    info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP2)
}

fn sentinel_login(query: &str) -> Result<RedisConnectionInfo, AddressError> {
    let mut own = RedisConnectionInfo::default().set_skip_set_lib_name();
    let names = url::form_urlencoded::parse(query.as_bytes());
    for (name, value) in names {
        own = match name.as_ref() {
            "sentinel_username" => own.set_username(value),
            "sentinel_password" => own.set_password(value),
            _ => {
                return Err(wrong(
                    "after ? there may be sentinel_username and sentinel_password only",
                ));
            }
        };
    }
    Ok(own)
}

fn with_port(host: &str, port: u16) -> String {
    // A colon in brackets is part of an IPv6 address.
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if after.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

fn wrong(message: impl Into<String>) -> AddressError {
    AddressError(message.into())
}

/// What has no scheme may be a password, so only what surely is none is repeated.
fn no_scheme(text: &str) -> AddressError {
    let is_host = Url::parse(&format!("redis://{text}")).is_ok_and(|url| {
        url.username().is_empty() && url.password().is_none() && url.port().is_some()
    });
    let meant = if is_host { format!("; did you mean redis://{text}?") } else { String::new() };
    wrong(format!(
        "must be an address that starts with redis://, such as redis://127.0.0.1:6379{meant}"
    ))
}

fn unknown_scheme(scheme: &str) -> AddressError {
    let words = scheme.to_ascii_lowercase();
    let meant = if words.contains("sentinel") {
        SENTINEL_FORM.to_owned()
    } else if words.contains("cluster") {
        CLUSTER_FORM.to_owned()
    } else {
        let near = SERVER_SCHEMES.iter().find(|known| strsim::levenshtein(known, &words) <= 2);
        match near {
            Some(known) => format!("{known}://"),
            None => "redis://127.0.0.1:6379".to_owned(),
        }
    };
    wrong(format!(
        "must be an address that starts with redis://, unix://, redis+sentinel:// or \
         redis+cluster://; did you mean {meant}?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RedisAddress {
        RedisAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn sentinels_are_read_as_other_tools_write_them() {
        let address = read(
            "redis+sentinel://ann:p%40ss@s1,s2:5000,[::1]:5001/main/3\
             ?sentinel_username=bob&sentinel_password=hush%2B",
        );
        let Place::Sentinels { sentinels, master } = &address.place else { panic!("{address:?}") };
        assert_eq!(master, "main");
        let places: Vec<String> = sentinels.iter().map(|one| one.addr().to_string()).collect();
        assert_eq!(places, ["s1:26379", "s2:5000", "::1:5001"]);
        for sentinel in sentinels {
            let own = sentinel.redis_settings();
            assert_eq!((own.username(), own.password()), (Some("bob"), Some("hush+")));
            assert_eq!(own.db(), 0, "a sentinel has no databases");
        }
        let login = &address.login;
        assert_eq!((login.username(), login.password()), (Some("ann"), Some("p@ss")));
        assert_eq!(login.db(), 3);
        let plain = read("redis+sentinel://localhost/main");
        assert_eq!((plain.login.password(), plain.login.db()), (None, 0));
    }

    #[test]
    fn a_cluster_is_read_by_any_of_its_nodes() {
        for text in [
            "redis+cluster://ann:p%40ss@n1,n2:7001,[::1]:7002",
            "valkey+cluster://ann:p%40ss@n1:6379,n2:7001,[::1]:7002/0",
        ] {
            let address = read(text);
            let Place::Cluster(nodes) = &address.place else { panic!("{address:?}") };
            let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            assert_eq!(nodes, ["n1:6379", "n2:7001", "::1:7002"]);
            let login = &address.login;
            assert_eq!((login.username(), login.password()), (Some("ann"), Some("p@ss")));
            assert_eq!(address.to_string(), "redis+cluster://ann:***@n1:6379,n2:7001,::1:7002");
        }
    }

    #[test]
    fn one_server_is_read_with_or_without_a_password() {
        assert_eq!(read("redis://h").to_string(), "redis://h:6379/0");
        assert_eq!(read("valkey://ann:x@h:1/2").to_string(), "redis://ann:***@h:1/2");
        assert_eq!(read("unix:///a/b?pass=x").to_string(), "unix:///a/b");
    }

    #[test]
    fn no_password_is_shown() {
        let text = "redis+sentinel://:hunter2@a,b:7/main?sentinel_password=hunter2";
        let shown = format!("{0} {0:?}", read(text));
        assert!(shown.contains("redis+sentinel://:***@a:26379,b:7/main/0"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_wrong_form_is_answered_with_the_right_one_and_no_secret() {
        for (text, words) in [
            ("localhost:6379", "did you mean redis://localhost:6379?"),
            (":hunter2@localhost:6379", "such as redis://127.0.0.1:6379"),
            ("hunter2", "such as redis://127.0.0.1:6379"),
            ("http://h", "did you mean redis://127.0.0.1:6379?"),
            ("reddis://h", "did you mean redis://?"),
            ("sentinel://:hunter2@a,b/m", "did you mean redis+sentinel://host:26379,"),
            ("redis-sentinel://a,b/m", "did you mean redis+sentinel://host:26379,"),
            ("redis://:hunter2@a:1,b:2/0", "several hosts; did you mean redis+sentinel://"),
            ("rediss://:hunter2@h", "asks for TLS"),
            ("rediss+sentinel://:hunter2@h/m", "asks for TLS"),
            ("rediss+cluster://:hunter2@h", "asks for TLS"),
            ("redis-cluster://:hunter2@a,b", "did you mean redis+cluster://host:6379,"),
            ("redis://:hunter2@a:1,b:2", "or redis+cluster://host:6379,"),
            ("redis+cluster://:hunter2@a,b/1", "a Cluster has database 0 only"),
            ("redis+cluster://:hunter2@a/main", "a Cluster has database 0 only"),
            ("redis+cluster://", "names no host"),
            ("redis+cluster://:hunter2@", "names no host"),
            ("redis+cluster://a,,b", ""),
            ("redis+cluster://a?password=hunter2", "takes nothing after ?"),
            ("redis+sentinel://:hunter2@a,b", "names no master"),
            ("redis+sentinel://a,b/", "names no master"),
            ("redis+sentinel://a,,b/m", ""),
            ("redis+sentinel://a:port/m", ""),
            ("redis+sentinel://:hunter2@a/m/x", ""),
            ("redis+sentinel://a/m?password=hunter2", "sentinel_password only"),
            ("redis://", ""),
            ("redis://:hunter2@h:port", ""),
            ("redis://h/x", ""),
        ] {
            let told = RedisAddress::parse(text).expect_err(text).to_string();
            assert!(told.contains(words), "{text}: {told}");
            assert!(!told.contains("hunter2"), "{text}: {told}");
        }
    }
}
