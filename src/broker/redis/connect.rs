//! Opens connections: finds the server, greets it, and says who we are.
//!
//! A worker whose connection has no name counts as dead, so every connection is named in the round
//! trip that opens it. Behind sentinels each connection asks them anew, and is used only if the
//! server itself says that it is the master.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    Pipeline, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value,
};

use super::address::{Place, RedisAddress};
use super::error::refused;
use super::slots::Node;
use crate::broker::Error;
use crate::job::{Queue, WorkerId};

/// Longest wait for a connection. The ledger carries on meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the answer to a greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a sentinel, which has little else to do; the others are asked meanwhile.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a worker's connections are named, before its id.
const NAME_PREFIX: &str = "postworks:";
/// Between a worker's id and the queues it serves. In no id, and in no queue's name.
const SERVING: char = ';';

/// Makes connections.
pub(super) struct Connector {
    address: RedisAddress,
    name: String,
    /// The queues whose jobs this process runs: the end of the names of later connections.
    served: OnceLock<String>,
}

/// The address hides its password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("address", &self.address)
            .field("name", &self.name)
            .finish()
    }
}

impl Connector {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Error::Refused`] if the URL is malformed, or the worker's id is no name.
    pub(super) fn new(url: &str, worker: &WorkerId) -> Result<Self, Error> {
        let name = format!("{NAME_PREFIX}{worker}");
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Refused("a worker's id must be plain characters".into()));
        }
        let address = RedisAddress::parse(url).map_err(|error| Error::Refused(Box::new(error)))?;
        Ok(Self { address, name, served: OnceLock::new() })
    }

    /// Says which queues' jobs this process runs. Once; what was said first holds.
    pub(super) fn serves(&self, queues: &[Queue]) {
        let queues: Vec<&str> = queues.iter().map(Queue::as_str).collect();
        let _ = self.served.set(queues.join(","));
    }

    fn full_name(&self) -> String {
        match self.served.get() {
            Some(queues) => format!("{}{SERVING}{queues}", self.name),
            None => self.name.clone(),
        }
    }

    /// The nodes that the address of a Cluster names; none if it is no Cluster's.
    pub(super) fn seeds(&self) -> Option<Vec<Node>> {
        match &self.address.place {
            Place::Cluster(seeds) => Some(seeds.iter().filter_map(Node::named).collect()),
            Place::Server(_) | Place::Sentinels { .. } => None,
        }
    }

    /// Opens a connection whose commands are given up when no answer came within `answer`.
    pub(super) async fn open(
        &self,
        node: &Node,
        answer: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        let mut connection = match (node, &self.address.place) {
            (Node::At { host, port }, _) => {
                self.greet(&ConnectionAddr::Tcp(host.to_string(), *port), false).await?
            }
            (Node::Only, Place::Server(address)) => self.greet(address, false).await?,
            (Node::Only, Place::Sentinels { sentinels, master }) => {
                self.find(sentinels, master).await?
            }
            (Node::Only, Place::Cluster(_)) => {
                let kind = ErrorKind::InvalidClientConfig;
                return Err(RedisError::from((kind, "a Cluster has several nodes")));
            }
        };
        connection.set_response_timeout(answer);
        Ok(connection)
    }

    /// Asks all sentinels at once, and connects to the first master named that is one.
    async fn find(
        &self,
        sentinels: &[ConnectionInfo],
        master: &str,
    ) -> RedisResult<MultiplexedConnection> {
        let mut asked: FuturesUnordered<_> =
            sentinels.iter().map(|sentinel| ask(sentinel, master)).collect();
        let (mut tried, mut failure) = (Vec::new(), None);
        while let Some(answer) = asked.next().await {
            let found = match answer {
                Ok(address) if tried.contains(&address) => continue,
                Ok(address) => {
                    let greeted = self.greet(&address, true).await;
                    tried.push(address);
                    greeted
                }
                Err(error) => Err(error),
            };
            match found {
                Ok(connection) => return Ok(connection),
                // What the named master says explains more than a sentinel that is away.
                Err(error) if failure.is_none() || !error.is_io_error() => failure = Some(error),
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| nobody_knows(master)))
    }

    /// Connects, and says in one round trip who we are; answers an error in the server's words.
    async fn greet(
        &self,
        address: &ConnectionAddr,
        must_be_master: bool,
    ) -> RedisResult<MultiplexedConnection> {
        // A master that hangs is about to be replaced: the next attempt may find its successor.
        let patience = if must_be_master { SENTINEL_TIMEOUT } else { GREETING_TIMEOUT };
        let mut connection = connect(address, CONNECT_TIMEOUT, patience).await?;
        let mut greeting = self.greeting();
        greeting.cmd("CLIENT").arg("SETNAME").arg(self.full_name());
        if must_be_master {
            greeting.cmd("ROLE");
        }
        let mut answers = send_all(&mut connection, &greeting).await?;
        if must_be_master && !answers.pop().is_some_and(|role| is_master(&role)) {
            let kind = ErrorKind::Server(ServerErrorKind::ReadOnly);
            return Err(RedisError::from((
                kind,
                "the sentinels name a server that is no master",
                address.to_string(),
            )));
        }
        Ok(connection)
    }

    /// What the library would say by itself. It turns every answer to AUTH into "wrong password",
    /// also that there are too many connections; so it is left to us.
    fn greeting(&self) -> Pipeline {
        let login = &self.address.login;
        let mut greeting = authenticate(login);
        if login.db() != 0 {
            greeting.cmd("SELECT").arg(login.db());
        }
        greeting
    }
}

/// Asks one sentinel where the master is.
async fn ask(sentinel: &ConnectionInfo, master: &str) -> RedisResult<ConnectionAddr> {
    let mut connection = connect(sentinel.addr(), SENTINEL_TIMEOUT, SENTINEL_TIMEOUT).await?;
    let mut question = authenticate(sentinel.redis_settings());
    question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = send_all(&mut connection, &question).await.map_err(|error| {
        if refused(&error) { of_sentinel(sentinel.addr(), &error) } else { error }
    })?;
    let Some(Value::Array(place)) = answer.last() else { return Err(nobody_knows(master)) };
    match place.as_slice() {
        [Value::BulkString(host), Value::BulkString(port)] => {
            let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
            let host = String::from_utf8_lossy(host).into_owned();
            port.map(|port| ConnectionAddr::Tcp(host, port)).ok_or_else(|| nobody_knows(master))
        }
        _ => Err(nobody_knows(master)),
    }
}

async fn connect(
    address: &ConnectionAddr,
    connect: Duration,
    answer: Duration,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect))
        .set_response_timeout(Some(answer));
    // Nothing is said but what we say: not even the library's name, which takes a permission.
    let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
    let info = address.clone().into_connection_info()?.set_redis_settings(silent);
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Sends commands in one round trip; the first error is answered as if it had come alone.
///
/// The library's own error for several commands has lost the server's words.
pub(super) async fn send_all(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> RedisResult<Vec<Value>> {
    let answers = connection.send_packed_commands(commands, 0, commands.len()).await?;
    answers.into_iter().map(Value::extract_error).collect()
}

fn authenticate(login: &RedisConnectionInfo) -> Pipeline {
    let mut greeting = redis::pipe();
    if let Some(password) = login.password() {
        greeting.cmd("AUTH").arg(login.username()).arg(password);
    }
    greeting
}

fn is_master(role: &Value) -> bool {
    let Value::Array(role) = role else { return false };
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
}

fn nobody_knows(master: &str) -> RedisError {
    let kind = ErrorKind::MasterNameNotFoundBySentinel;
    RedisError::from((kind, "the sentinels know no master of this name", master.to_owned()))
}

fn of_sentinel(address: &ConnectionAddr, error: &RedisError) -> RedisError {
    let detail = format!("{address}: {error}");
    RedisError::from((ErrorKind::AuthenticationFailed, "a sentinel refuses us", detail))
}

/// The workers in the answer to `CLIENT LIST`.
pub(super) fn workers(list: &str) -> impl Iterator<Item = WorkerId> {
    names(list).map(|name| WorkerId::from_text(name.split(SERVING).next().unwrap_or(name)))
}

/// The queues that workers in the answer to `CLIENT LIST` serve, and which workers those are. A
/// worker has several connections.
pub(super) fn served(list: &str) -> HashMap<&str, HashSet<&str>> {
    let mut served: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (worker, queues) in names(list).filter_map(|name| name.split_once(SERVING)) {
        for queue in queues.split(',') {
            served.entry(queue).or_default().insert(worker);
        }
    }
    served
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split_ascii_whitespace()
        .filter_map(|field| field.strip_prefix("name="))
        .filter_map(|name| name.strip_prefix(NAME_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_read_from_the_names_of_connections() {
        let list = "id=3 addr=127.0.0.1:5 name=postworks:host:7:0123456789ab;a,b.c db=0 cmd=blpop\n\
                    id=4 addr=127.0.0.1:6 name= db=0\nid=5 name=other:x db=0\n";
        let found: Vec<WorkerId> = workers(list).collect();
        assert_eq!(found, [WorkerId::from_text("host:7:0123456789ab")]);
        let worker = HashSet::from(["host:7:0123456789ab"]);
        assert_eq!(served(list), HashMap::from([("a", worker.clone()), ("b.c", worker)]));
    }
}
