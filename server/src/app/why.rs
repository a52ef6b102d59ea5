//! Why a job does not run: one word, one sentence, and when it will.

use std::time::Duration;

use postworks::broker::{Observed, Phase, Place, Room, Tally};
use postworks::job::{JobId, Quota, SnoozeReason, State, Timestamp, WorkerId};
use postworks::ledger::{Holder, JobRow, QueueHold};
use postworks_workers::store::{ConnectorState, Renewal};

use super::types::WhyView;
use super::{App, Error};

/// What the answer is made of, besides the job's row.
struct Facts {
    place: Option<Place>,
    seen: Observed,
    hold: Option<QueueHold>,
    /// Whether its platform is switched off here.
    is_off: bool,
    is_served: bool,
    ahead: Option<u64>,
    /// What keeps the job from its account's token.
    renewal: Option<Renewal>,
    /// Whether its call could be made now.
    room: Room,
    /// The quota that has no room for it: the key that sets it, and what that says.
    quota: Option<(String, Quota)>,
    now: Timestamp,
}

impl App {
    /// Why a job does not run now, or what became of it.
    pub async fn why(&self, id: JobId) -> Result<WhyView, Error> {
        let row = self.row(id).await?;
        if let Some(ended) = ended(&row) {
            return Ok(ended);
        }
        if row.state == State::Parked {
            if let Some(answer) = self.waits_for_parents(&row).await? {
                return Ok(answer);
            }
            return Ok(parked(&row, self.is_disconnected(&row).await?));
        }
        match self.facts(&row).await {
            Ok(facts) => Ok(waits(&row, &facts)),
            Err(Error::Unavailable { what: "the broker", source }) => {
                let detail = format!(
                    "the broker cannot be reached ({source}); the job is recorded, and runs once \
                     the broker is back"
                );
                Ok(answer("broker_unreachable", detail, None))
            }
            Err(error) => Err(error),
        }
    }

    async fn is_disconnected(&self, row: &JobRow) -> Result<bool, Error> {
        let Some(account) = row.job.account else { return Ok(false) };
        let found = self.store.connector(account).await?;
        Ok(found.is_some_and(|found| found.state == ConnectorState::Disconnecting))
    }

    async fn facts(&self, row: &JobRow) -> Result<Facts, Error> {
        let (broker, queue) = (&self.node.broker, &row.job.queue);
        // Who held the queue, and why, is the house's.
        let holds = match self.is_house() {
            true => self.node.ledger.queue_holds().await?,
            false => Vec::new(),
        };
        let queues = std::slice::from_ref(queue);
        let call = self.node.quotas().call(queue, row.job.account, row.job.priority_s);
        let rooms = broker.look_for_room(std::slice::from_ref(&call)).await?;
        let room = rooms.into_iter().next().unwrap_or(Room::Granted);
        let full = match room {
            Room::Full { quota, .. } => call.quotas.get(quota),
            Room::Granted | Room::Blocked(_) => None,
        };
        Ok(Facts {
            place: broker.find(queue, &[row.job.id]).await?.into_iter().next().flatten(),
            seen: broker.observe(queue, Tally::default()).await?,
            hold: holds.into_iter().find(|hold| hold.queue == *queue),
            is_off: !self.node.config.serves(queue),
            is_served: broker.served(queues).await?.into_iter().all(|workers| workers > 0),
            ahead: broker.ahead_of(queue, row.job.id).await?,
            renewal: match row.job.account {
                Some(account) => self.node.accounts.awaited(account).await?,
                None => None,
            },
            quota: full.and_then(|(scope, _)| self.node.config.quota(queue, scope)),
            room,
            now: self.node.clock.now(),
        })
    }
}

pub(super) fn answer(reason: &str, detail: String, eta: Option<Timestamp>) -> WhyView {
    WhyView { reason: reason.to_owned(), detail, eta }
}

fn ended(row: &JobRow) -> Option<WhyView> {
    let at = row.finished_at.map_or_else(String::new, |at| format!(" at {at}"));
    let detail = match (row.state, &row.reason) {
        (State::Completed, _) => format!("it was completed{at}"),
        (State::Cancelled, _) => format!("it was cancelled{at}"),
        (State::Dead, Some(reason)) => format!(
            "it died{at} of {} ({}); `postworks dlq show {}` says more",
            reason.category, reason.message, row.job.id
        ),
        (State::Dead, None) => format!("it died{at}"),
        _ => return None,
    };
    Some(answer(row.state.as_str(), detail, None))
}

fn parked(row: &JobRow, disconnected: bool) -> WhyView {
    let why = row.parked_for.as_deref().unwrap_or("something outside");
    if why == SnoozeReason::NeedsReauth.as_str() && disconnected {
        let detail = "its account is disconnected: it is cancelled within a minute, unless it is not \
             known whether its publication is out (postworks effects list)";
        return answer("disconnected", detail.to_owned(), None);
    }
    if why == SnoozeReason::NeedsReauth.as_str() {
        let account = row.job.account.map_or_else(String::new, |id| format!(" {id}"));
        let detail =
            format!("its account{account} must be connected again: postworks connector add");
        return answer(why, detail, None);
    }
    if why == SnoozeReason::NewerWorker.as_str() {
        let (kind, version) = (&row.job.kind, row.job.kind_version);
        let detail = format!("no worker here knows {kind} in version {version}: start a newer one");
        return answer(why, detail, None);
    }
    answer(why, format!("it waits for {why}"), Some(row.job.run_at))
}

/// What stands in the way, the strongest first.
fn waits(row: &JobRow, facts: &Facts) -> WhyView {
    let queue = &row.job.queue;
    if let Some(Place::Running(worker)) = &facts.place {
        return match facts.renewal.filter(|renewal| renewal.under_way) {
            Some(renewal) => refreshed(worker, renewal),
            None => answer("running", format!("worker {worker} runs it now"), Some(facts.now)),
        };
    }
    let gate = &facts.seen.gate;
    if gate.hold.paused {
        let holder = facts.hold.as_ref().and_then(|hold| hold.paused.as_ref());
        let detail =
            format!("queue {queue} is paused{}: postworks queue resume {queue}", by(holder));
        return answer("paused", detail, None);
    }
    if gate.hold.forced_open {
        let holder = facts.hold.as_ref().and_then(|hold| hold.forced_open.as_ref());
        let detail =
            format!("breaker {queue} was opened{}: postworks breaker close {queue}", by(holder));
        return answer("breaker_open", detail, None);
    }
    if let Some(platform) = queue.platform().filter(|_| facts.is_off) {
        let detail = format!("{platform} is switched off here: platforms.{platform}.enabled");
        return answer("platform_off", detail, None);
    }
    if !facts.is_served {
        let detail = format!("no worker serves queue {queue}: postworks worker --queues {queue}");
        return answer("no_worker", detail, None);
    }
    let due = row.job.run_at.max(facts.now);
    if let Some(until) = gate.opens_at(facts.seen.now) {
        let shut = gate.shut_until == Some(until);
        let eta = Some(until.max(due));
        return if shut {
            let detail = format!("the platform of {queue} told everybody to wait until {until}");
            answer("rate_window", detail, eta)
        } else {
            let detail = format!("the breaker of {queue} is open until {until}: calls failed");
            answer("breaker_open", detail, eta)
        };
    }
    // Whoever was told so itself comes back at that time.
    if let Room::Blocked(until) = facts.room
        && until >= due
    {
        let detail = format!("the platform told its account to wait until {until}");
        return answer("account_window", detail, Some(until));
    }
    // One that is under way delays nobody who has not started.
    if let Some(renewal) = facts.renewal.filter(|it| !it.under_way && it.until >= due) {
        return not_refreshed(renewal);
    }
    if row.job.run_at > facts.now {
        return delayed(row, facts);
    }
    if let (Room::Full { until, .. }, Some((key, quota))) = (facts.room, &facts.quota) {
        let at = match facts.place {
            Some(Place::Delayed(at)) => at,
            _ => until,
        };
        let detail = format!("the quota of {quota} calls in {key} is used up; its turn is at {at}");
        return answer("quota", detail, Some(at));
    }
    if let Phase::Opened { .. } = gate.breaker.phase {
        let detail = format!("the breaker of {queue} is half-open: only a few calls may try");
        return answer("breaker_half_open", detail, None);
    }
    behind(row, facts)
}

fn delayed(row: &JobRow, facts: &Facts) -> WhyView {
    let run_at = row.job.run_at;
    // A job that met a renewal under way comes back to see.
    if let Some(renewal) = facts.renewal.filter(|it| it.under_way && it.until >= run_at) {
        let detail = format!(
            "its account's token is being refreshed, which takes until {} at most; it looks again \
             at {run_at}",
            renewal.until
        );
        return answer("token_refresh", detail, Some(run_at));
    }
    let again = match row.job.failed_attempts {
        0 => String::new(),
        n => format!(" after {n} failed attempts"),
    };
    answer("delayed", format!("it waits for its time, {run_at}{again}"), Some(run_at))
}

fn refreshed(worker: &WorkerId, renewal: Renewal) -> WhyView {
    let detail = format!(
        "worker {worker} has it, and waits for its account's token, which is being refreshed: that \
         takes until {} at most",
        renewal.until
    );
    answer("token_refresh", detail, Some(renewal.until))
}

fn not_refreshed(renewal: Renewal) -> WhyView {
    let Renewal { until, failures, .. } = renewal;
    let detail = format!(
        "its account's token could not be refreshed; tries that failed in a row: {failures}, the \
         next is at {until}"
    );
    answer("token_refresh", detail, Some(until))
}

fn behind(row: &JobRow, facts: &Facts) -> WhyView {
    let queue = &row.job.queue;
    match (facts.ahead, &facts.place) {
        (Some(0), _) => {
            answer("waiting", format!("it is the next of queue {queue}"), Some(facts.now))
        }
        (Some(ahead), _) => {
            let detail = format!("it waits behind {ahead} jobs of queue {queue}");
            answer("waiting", detail, eta(ahead, facts))
        }
        (None, Some(Place::Delayed(at))) => {
            let detail = format!("a limit put it off until {at}; it comes by itself");
            answer("put_off", detail, Some(*at))
        }
        (None, Some(_)) => {
            let detail = "it ran while workers crashed, and waits to run alone".to_owned();
            answer("quarantined", detail, None)
        }
        (None, None) => {
            let detail = format!(
                "it waits in the ledger behind the jobs of queue {queue} that the broker holds"
            );
            answer("waiting", detail, None)
        }
    }
}

/// As fast as calls ended in the last ten seconds.
fn eta(ahead: u64, facts: &Facts) -> Option<Timestamp> {
    let calls = u64::from(facts.seen.calls);
    let millis = (ahead * 10_000).checked_div(calls)?;
    Some(facts.now.after(Duration::from_millis(millis)))
}

fn by(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else { return String::new() };
    let why = holder.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!(" by {} since {}{why}", holder.by, holder.at)
}
