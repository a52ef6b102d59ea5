//! Sends commands to the servers that they are for.
//!
//! Where their keys lie is known from `nodes.rs`. A node that points elsewhere has not carried the
//! command out, so it is sent there; any other error goes back to the caller.
//!
//! What spans several nodes of a Cluster is sent to all of them at once, and each answers for
//! itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use super::connection::Line;
use super::error::{classify, is_unknown_script};
use super::meter::Meter;
use super::nodes::{Elsewhere, Nodes};
use super::script::Script;
use super::slots::{Node, slot_of};
use crate::broker::{Error, Operation};

/// How often a command is sent on, at most. A slot that moves takes two times; more often, and the
/// Cluster is being changed.
const SENT_ON_MAX: usize = 16;
/// Before a command is sent again whose keys are on their way: moving a queue takes milliseconds.
const ON_ITS_WAY: Duration = Duration::from_millis(10);

/// What became of a command on each node.
pub(super) type Answers = Vec<(Node, Result<Value, Error>)>;

/// Sends commands.
#[derive(Debug)]
pub(super) struct Commands {
    nodes: Arc<Nodes>,
    meter: Meter,
    lines: Mutex<HashMap<Node, Arc<Line>>>,
}

impl Commands {
    pub(super) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, meter: Meter::new(), lines: Mutex::default() }
    }

    /// Sends one command.
    pub(super) async fn query(&self, of: Operation, command: &Cmd) -> Result<Value, Error> {
        let sent = self.meter.measure(of, self.send(command)).await;
        sent.map_err(|error| self.sorted(error))
    }

    /// Calls a script; sends it as a whole where the server does not know it.
    pub(super) async fn call(&self, script: &Script, call: &Cmd) -> Result<Value, Error> {
        let sent = async {
            match self.send(call).await {
                Err(unknown) if is_unknown_script(&unknown) => self.send(&script.whole(call)).await,
                answer => answer,
            }
        };
        let sent = self.meter.measure(script.operation, sent).await;
        sent.map_err(|error| self.sorted(error))
    }

    /// Sends several commands in one round trip.
    pub(super) async fn query_all(
        &self,
        of: Operation,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Error> {
        self.query_each(of, commands).await.into_iter().collect()
    }

    /// Sends several commands in one round trip; answers what became of each.
    pub(super) async fn query_each(
        &self,
        of: Operation,
        commands: &Pipeline,
    ) -> Vec<Result<Value, Error>> {
        self.measured(of, self.send_all(commands)).await
    }

    /// Calls a script several times in one round trip; answers what became of each call.
    pub(super) async fn call_each(
        &self,
        script: &Script,
        calls: &Pipeline,
    ) -> Vec<Result<Value, Error>> {
        let sent = async {
            let mut answers = self.send_all(calls).await;
            let (mut whole, mut places) = (redis::pipe(), Vec::new());
            for (call, (place, answer)) in calls.cmd_iter().zip(answers.iter().enumerate()) {
                if answer.as_ref().is_err_and(is_unknown_script) {
                    whole.add_command(script.whole(call));
                    places.push(place);
                }
            }
            if !places.is_empty() {
                put(&mut answers, places, self.send_all(&whole).await);
            }
            answers
        };
        self.measured(script.operation, sent).await
    }

    /// Sends a command to every node that holds keys; answers what became of it on each.
    ///
    /// # Errors
    /// It is not known which nodes there are.
    pub(super) async fn query_nodes(&self, of: Operation, command: &Cmd) -> Result<Answers, Error> {
        let nodes = self.nodes.all().await.map_err(classify)?;
        let sent = nodes.into_iter().map(|node| async move {
            let answer = self.query_at(&node, of, command).await;
            (node, answer)
        });
        Ok(join_all(sent).await)
    }

    /// Sends a command without keys to one node.
    pub(super) async fn query_at(
        &self,
        node: &Node,
        of: Operation,
        command: &Cmd,
    ) -> Result<Value, Error> {
        let sent = self.meter.measure(of, self.line(node).send(command)).await;
        sent.map_err(|error| self.sorted(error))
    }

    /// Calls a script without keys on one node.
    pub(super) async fn call_at(
        &self,
        node: &Node,
        script: &Script,
        call: &Cmd,
    ) -> Result<Value, Error> {
        self.query_at(node, script.operation, &script.whole(call)).await
    }

    /// For how long the connection to a node has held; for ever if none ever broke.
    pub(super) fn unbroken(&self, node: &Node) -> Duration {
        self.line(node).unbroken()
    }

    async fn measured(
        &self,
        of: Operation,
        sent: impl Future<Output = Vec<RedisResult<Value>>>,
    ) -> Vec<Result<Value, Error>> {
        let sent = async {
            let answers = sent.await;
            if answers.iter().any(Result::is_err) { Err(answers) } else { Ok(answers) }
        };
        let answers = self.meter.measure(of, sent).await.unwrap_or_else(|answers| answers);
        let sorted = |answer: RedisResult<Value>| answer.map_err(|error| self.sorted(error));
        answers.into_iter().map(sorted).collect()
    }

    /// Sends a command to the node that its keys lie on, and on to where that points.
    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        if !self.nodes.are_several() {
            return self.line(&Node::Only).send(command).await;
        }
        Box::pin(self.send_on(command)).await
    }

    async fn send_on(&self, command: &Cmd) -> RedisResult<Value> {
        let slot = slot_of(command);
        let mut node = self.nodes.of(slot).await?;
        let mut asks = false;
        for _ in 0..SENT_ON_MAX {
            let line = self.line(&node);
            let answer =
                if asks { Box::pin(ask(&line, command)).await } else { line.send(command).await };
            let Err(error) = answer else { return answer };
            let Some(elsewhere) = Elsewhere::of(&error, &node) else { return Err(error) };
            asks = false;
            match (elsewhere, slot) {
                (Elsewhere::Moved(to), Some(slot)) => {
                    self.nodes.moved(slot, to.clone());
                    node = to;
                }
                (Elsewhere::Ask(to), _) => {
                    node = to;
                    asks = true;
                }
                (Elsewhere::Later | Elsewhere::Moved(_), slot) => {
                    // Other processes give no signal: the answer decides, this only spaces them.
                    tokio::time::sleep(ON_ITS_WAY).await;
                    node = self.nodes.of(slot).await?;
                }
            }
        }
        let kind = ErrorKind::Server(ServerErrorKind::TryAgain);
        Err(RedisError::from((kind, "the Cluster is moving these keys", node.to_string())))
    }

    /// Sends commands in one round trip, on a Cluster one to each of their nodes.
    async fn send_all(&self, commands: &Pipeline) -> Vec<RedisResult<Value>> {
        if !self.nodes.are_several() {
            return each(commands.len(), self.line(&Node::Only).send_all(commands).await);
        }
        Box::pin(self.send_to_each(commands)).await
    }

    async fn send_to_each(&self, commands: &Pipeline) -> Vec<RedisResult<Value>> {
        let commands: Vec<&Cmd> = commands.cmd_iter().collect();
        // What has no key goes along with what has.
        let first = commands.iter().find_map(|command| slot_of(command));
        let mut answers: Vec<RedisResult<Value>> =
            commands.iter().map(|_| Ok(Value::Nil)).collect();
        let mut parts: HashMap<Node, Vec<usize>> = HashMap::new();
        for (place, command) in commands.iter().enumerate() {
            match self.nodes.of(slot_of(command).or(first)).await {
                Ok(node) => parts.entry(node).or_default().push(place),
                Err(error) => put(&mut answers, vec![place], vec![Err(error)]),
            }
        }
        let sent = parts.into_iter().map(|(node, places)| {
            let mut part = redis::pipe();
            for command in places.iter().filter_map(|place| commands.get(*place)) {
                part.add_command(Cmd::clone(command));
            }
            async move {
                let sent = self.line(&node).send_all(&part).await;
                (node, each(places.len(), sent), places)
            }
        });
        for (node, sent, places) in join_all(sent).await {
            for (place, answer) in places.into_iter().zip(sent) {
                let Some(command) = commands.get(place) else { continue };
                let points_elsewhere = |error: &RedisError| Elsewhere::of(error, &node).is_some();
                let answer = if answer.as_ref().is_err_and(points_elsewhere) {
                    self.send(command).await
                } else {
                    answer
                };
                put(&mut answers, vec![place], vec![answer]);
            }
        }
        answers
    }

    fn line(&self, node: &Node) -> Arc<Line> {
        let mut lines = self.lock();
        if let Some(line) = lines.get(node) {
            return Arc::clone(line);
        }
        // Nodes come and go.
        lines.retain(|node, _| self.nodes.has(node));
        let line = Arc::new(Line::new(Arc::clone(&self.nodes), node.clone()));
        lines.insert(node.clone(), Arc::clone(&line));
        line
    }

    /// Sorts an error. What a node of several cannot do, others can.
    fn sorted(&self, error: RedisError) -> Error {
        match classify(error) {
            Error::Unavailable(error) if self.is_served() => Error::NodeAway(error),
            error => error,
        }
    }

    fn is_served(&self) -> bool {
        self.nodes.are_several() && self.lock().values().any(|line| line.is_connected())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Node, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a command to the node that its keys are on their way to.
async fn ask(line: &Arc<Line>, command: &Cmd) -> RedisResult<Value> {
    let mut asking = redis::pipe();
    asking.cmd("ASKING");
    asking.add_command(command.clone());
    let answer = line.send_all(&asking).await?.pop();
    answer.unwrap_or_else(|| Err(RedisError::from((ErrorKind::Parse, "an answer is too short"))))
}

/// What became of each of `count` commands that were sent together.
fn each(count: usize, sent: RedisResult<Vec<RedisResult<Value>>>) -> Vec<RedisResult<Value>> {
    match sent {
        Ok(answers) => answers,
        Err(error) => std::iter::repeat_with(|| Err(error.clone())).take(count).collect(),
    }
}

fn put(answers: &mut [RedisResult<Value>], places: Vec<usize>, new: Vec<RedisResult<Value>>) {
    for (place, answer) in places.into_iter().zip(new) {
        if let Some(place) = answers.get_mut(place) {
            *place = answer;
        }
    }
}

/// Whether an error says no more than that a server cannot be asked now.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(error, Error::NodeAway(_) | Error::Unavailable(_))
}

/// What those say that can be asked. A node that is away takes no other along.
///
/// # Errors
/// None can be asked, or one answers with another error.
pub(super) fn as_far_as_known(
    answers: Vec<Result<Value, Error>>,
) -> Result<Vec<Option<Value>>, Error> {
    let (mut known, mut away) = (Vec::with_capacity(answers.len()), None);
    for answer in answers {
        match answer {
            Ok(answer) => known.push(Some(answer)),
            Err(error) if is_away(&error) => {
                away.get_or_insert(error);
                known.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    match away {
        Some(error) if known.iter().all(Option::is_none) => Err(error),
        _ => Ok(known),
    }
}
