//! A queue of apalis-redis 1.0, as its Lua scripts leave it in Redis.
//!
//! A push writes the arguments to the hash `QUEUE:data`, what is known of the task to the hash
//! `QUEUE:meta:ID`, and its id to the sorted set `QUEUE:scheduled` (its score is when it is due, in
//! seconds); a worker moves due ids to the list `QUEUE:active`. Source: `lua/batch_push.lua` and
//! `lua/fetch_next.lua` of the released crate.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Script};

/// Longest wait for a connection, and for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A task that was taken out of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StockTask {
    /// The id its producer gave it, or apalis did: a ULID.
    pub(super) id: String,
    /// Its arguments as the producer's codec wrote them; none if they are gone.
    pub(super) data: Option<Vec<u8>>,
    /// When it is due, in seconds since 1970; none if it waits in the list of those that are.
    pub(super) due_s: Option<i64>,
    /// Whether it was taken before, and may have been recorded.
    pub(super) again: bool,
}

/// The same as `take.lua` answers it.
type Row = (String, Option<Vec<u8>>, Option<f64>, bool);

/// A stock queue.
pub(super) struct StockQueue {
    client: Client,
    connection: Option<MultiplexedConnection>,
    name: String,
    take: Script,
    give_up: Script,
}

impl StockQueue {
    /// The queue of this name on a server; connects when it is first asked.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn new(url: &str, name: &str) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(url)?,
            connection: None,
            name: name.to_owned(),
            take: Script::new(include_str!("take.lua")),
            give_up: Script::new(include_str!("give_up.lua")),
        })
    }

    /// Takes up to `most` tasks: those that were taken `abandoned` ago and are still there, then
    /// whatever waits, however late it is due.
    ///
    /// # Errors
    /// Redis is away, or refuses.
    pub(super) async fn take(
        &mut self,
        most: usize,
        abandoned: Duration,
    ) -> RedisResult<Vec<StockTask>> {
        let [scheduled, active, data] = ["scheduled", "active", "data"].map(|part| self.key(part));
        let (taken, meta) = (self.taken(), self.key("meta"));
        let mut call = self.take.key(scheduled);
        call.key(active).key(data).key(taken);
        call.arg(most).arg(u64::try_from(abandoned.as_millis()).unwrap_or(u64::MAX)).arg(meta);
        let invoked = call.invoke_async(self.connection.insert(self.connected().await?)).await;
        let rows: Vec<Row> = self.heard(invoked)?;
        let task = |(id, data, due_s, again): Row| StockTask {
            id,
            data,
            due_s: due_s.map(|due_s| due_s as i64),
            again,
        };
        Ok(rows.into_iter().map(task).collect())
    }

    /// Lets go of tasks that were taken: they are recorded, or refused for a reason.
    ///
    /// # Errors
    /// Redis is away, or refuses.
    pub(super) async fn give_up(
        &mut self,
        recorded: &[String],
        refused: &[(String, String)],
    ) -> RedisResult<()> {
        let mut call = self.give_up.key(self.taken());
        call.key(self.key("data")).key(self.refused()).arg(self.key("meta")).arg(recorded.len());
        call.arg(recorded);
        for (id, why) in refused {
            call.arg(id).arg(why);
        }
        let invoked = call.invoke_async(self.connection.insert(self.connected().await?)).await;
        self.heard(invoked)
    }

    /// Puts refused tasks back, to be taken like others; answers how many.
    ///
    /// # Errors
    /// Redis is away, or refuses.
    pub(super) async fn put_refused_back(&mut self) -> RedisResult<usize> {
        let back = "local ids = redis.call('HKEYS', KEYS[1])
            for _, id in ipairs(ids) do redis.call('RPUSH', KEYS[2], id) end
            redis.call('DEL', KEYS[1])
            return #ids";
        let script = Script::new(back);
        let mut call = script.key(self.refused());
        call.key(self.key("active"));
        let invoked = call.invoke_async(self.connection.insert(self.connected().await?)).await;
        self.heard(invoked)
    }

    /// Where the reasons of refused tasks are.
    pub(super) fn refused(&self) -> String {
        self.key("postworks:refused")
    }

    fn taken(&self) -> String {
        self.key("postworks:taken")
    }

    fn key(&self, part: &str) -> String {
        format!("{}:{part}", self.name)
    }

    async fn connected(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection that failed is not used again.
    fn heard<T>(&mut self, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}
