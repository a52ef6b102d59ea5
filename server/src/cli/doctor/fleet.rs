//! Queues that nobody serves, or that somebody holds back.

use postworks::finding::Finding;
use postworks::job::Queue;

use super::{Look, PATIENCE};
use crate::app::App;
use crate::app::types::{AutoscaleQuery, GateView, HolderView, QueueView};
use crate::cli::Target;
use crate::cli::failure::{Exit, Failure};

const WORKERS: &str = "workers";
const HELD: &str = "queues";

/// Whether the queues are served, and not held back.
pub(super) async fn of_stores(app: &App) -> Look {
    let (served, held) = tokio::join!(served(app), held(app));
    let mut look = served.unwrap_or_else(|failure| Look::failed(WORKERS, failure));
    look.findings.extend(held.findings);
    look
}

async fn served(app: &App) -> Result<Look, Failure> {
    let mut queues = app.queues().await?.items;
    queues.retain(|queue| app.node().config.serves(&queue.queue));
    let names: Vec<Queue> = queues.iter().map(|queue| queue.queue.clone()).collect();
    let asked = tokio::time::timeout(PATIENCE, app.node().broker.served(&names)).await;
    let late = |_| Failure::new(Exit::Unavailable, "Redis does not answer");
    let served = asked.map_err(late)?.map_err(super::of_broker)?;
    let workers = app.autoscale(&AutoscaleQuery::default()).await?.workers;
    Ok(Look::at(vec![of_served(workers, &queues, &served)]))
}

fn of_served(workers: u32, queues: &[QueueView], served: &[usize]) -> Finding {
    let all = queues.iter().zip(served);
    let unserved: Vec<&QueueView> =
        all.filter(|(_, by)| **by == 0).map(|(queue, _)| queue).collect();
    let count = queues.len();
    if unserved.is_empty() {
        let fewest = served.iter().min().copied().unwrap_or(0);
        let detail = format!("{workers} serve {count} queues, each of these has {fewest} or more");
        return Finding::ok(WORKERS, detail);
    }
    let due: u64 = unserved.iter().filter_map(|queue| queue.ready).sum();
    if unserved.len() == count {
        let detail = format!("none is connected: nothing runs, and {due} due jobs wait");
        return Finding::warn(WORKERS, detail, "start some: `postworks worker`");
    }
    let names: Vec<&str> = unserved.iter().map(|queue| queue.queue.as_str()).collect();
    let detail =
        format!("of {workers} none serves {}, where {due} due jobs wait", names.join(", "));
    let advice = format!("start some: `postworks worker --queues '{}'`", names.join(","));
    Finding::warn(WORKERS, detail, advice)
}

/// What people, or platforms in trouble, hold back.
pub(super) async fn held(target: &dyn Target) -> Look {
    match tokio::time::timeout(PATIENCE, target.gates()).await {
        Ok(Ok(gates)) => Look::at(of_gates(&gates.items)),
        Ok(Err(failure)) => Look::failed(HELD, failure),
        Err(_late) => Look::failed(HELD, Failure::new(Exit::Unavailable, "no answer about queues")),
    }
}

fn of_gates(gates: &[GateView]) -> Vec<Finding> {
    let found: Vec<Finding> = gates.iter().flat_map(of_gate).collect();
    if found.is_empty() {
        return vec![Finding::ok(HELD, "none is paused, all breakers are closed")];
    }
    found
}

fn of_gate(gate: &GateView) -> Vec<Finding> {
    let name = &gate.name;
    let mut found = Vec::new();
    if let Some(holder) = &gate.paused {
        let detail = format!("{name} is paused {}", by(holder));
        found.push(Finding::warn(HELD, detail, format!("`postworks queue resume {name}`")));
    }
    if let Some(holder) = &gate.forced_by {
        let detail = format!("the breaker of {name} is held open {}", by(holder));
        found.push(Finding::warn(HELD, detail, format!("`postworks breaker close {name}`")));
    } else if gate.state.as_deref().is_some_and(|state| state != "closed") {
        let detail = format!("the breaker of {name} is open: calls fail or are slow");
        let advice = "look at the platform; it closes by itself once calls succeed";
        found.push(Finding::warn(HELD, detail, advice));
    }
    found
}

fn by(holder: &HolderView) -> String {
    let why = holder.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("since {} by {}{why}", holder.at, holder.by)
}

#[cfg(test)]
mod tests {
    use postworks::finding::Status;
    use serde_json::json;

    use super::*;

    fn queue(name: &str, ready: u64) -> QueueView {
        let queue = json!({ "queue": name, "ready": ready, "delayed": 0, "running": 0, "dead": 0,
            "oldest_ready_age_seconds": 0.0, "paused": null });
        serde_json::from_value(queue).unwrap()
    }

    #[test]
    fn queues_that_nobody_serves_are_named_with_what_waits() {
        let queues = [queue("token_refresh.x", 4), queue("data_cleanup", 3)];
        assert_eq!(
            of_served(2, &queues, &[2, 1]),
            Finding::ok(WORKERS, "2 serve 2 queues, each of these has 1 or more")
        );
        let one = of_served(1, &queues, &[0, 1]);
        assert_eq!(one.status, Status::Warn);
        assert_eq!(one.detail, "of 1 none serves token_refresh.x, where 4 due jobs wait");
        assert!(one.advice.unwrap().contains("--queues 'token_refresh.x'"));
        let none = of_served(0, &queues, &[0, 0]);
        assert_eq!(none.detail, "none is connected: nothing runs, and 7 due jobs wait");
    }

    #[test]
    fn what_is_held_back_is_named_with_who_did_it() {
        let gate = |paused: bool, forced: bool, state: &str| -> GateView {
            let holder = json!({ "at": "2026-01-01T00:00:00Z", "by": "cli:ann@desk", "why": "w" });
            let gate = json!({ "name": "data_cleanup", "state": state, "until": null, "calls": 1,
                "paused": paused.then_some(&holder), "forced_by": forced.then_some(&holder),
                "bad": 0, "applied": true });
            serde_json::from_value(gate).unwrap()
        };
        assert_eq!(of_gates(&[gate(false, false, "closed")])[0].status, Status::Ok);
        let both = of_gates(&[gate(true, true, "open")]);
        let advice: Vec<&str> = both.iter().filter_map(|found| found.advice.as_deref()).collect();
        let expected =
            ["`postworks queue resume data_cleanup`", "`postworks breaker close data_cleanup`"];
        assert_eq!(advice, expected);
        assert!(both[0].detail.ends_with("by cli:ann@desk (w)"), "{both:?}");
        let tripped = of_gates(&[gate(false, false, "half_open")]);
        assert_eq!((tripped.len(), tripped[0].status), (1, Status::Warn));
    }
}
