//! Pictures for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use postworks::job::Timestamp;
use serde_json::{Value, json};

use super::model::Model;
use super::picture::Picture;
use crate::app::types::{DeadGroupView, GateView, QueueView};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(super) const NAMES: [&str; 5] = [
    "connector_sync.bluesky",
    "data_cleanup",
    "post_publication.bluesky",
    "post_publication.sandbox_lookup",
    "token_refresh.bluesky",
];

fn ago(seconds: u64) -> Timestamp {
    NOW.before(Duration::from_secs(seconds))
}

/// Nothing waits, nothing is wrong.
pub(super) fn quiet() -> Picture {
    let queue = |name: &&str| -> QueueView {
        let queue = json!({ "queue": name, "ready": 0, "delayed": 0, "running": 0, "dead": 0,
            "oldest_ready_age_seconds": 0.0, "paused": null });
        serde_json::from_value(queue).unwrap()
    };
    let gate = |name: &&str| -> GateView {
        let gate = json!({ "name": name, "paused": null, "state": "closed", "forced_by": null,
            "until": null, "calls": 0, "bad": 0, "applied": true });
        serde_json::from_value(gate).unwrap()
    };
    Picture {
        at: NOW,
        queues: NAMES.iter().map(queue).collect(),
        breakers: NAMES.iter().map(gate).collect(),
        dead_groups_of: None,
        dead_groups: Vec::new(),
        workers: None,
        runs_ended: None,
    }
}

pub(super) fn cause(fingerprint: &str, count: u64, message: &str) -> DeadGroupView {
    let group = json!({ "fingerprint": fingerprint, "count": count, "kind": "post_publication",
        "category": "invalid", "class": "invalid", "message": message,
        "first_died_at": ago(7_300), "last_died_at": ago(45),
        "example": "0198f3a0-0000-7000-8000-000000000001" });
    serde_json::from_value(group).unwrap()
}

fn holder(why: Value) -> Value {
    json!({ "at": ago(180), "by": "cli:ann@desk", "why": why })
}

/// Much waits, a queue is paused, breakers are open, and jobs died.
pub(super) fn busy() -> Picture {
    let mut picture = quiet();
    let set = [(1_234, 12, 100, 7, 3.21), (0, 1, 0, 0, 0.0), (45_678, 0, 0, 0, 754.0)];
    for (queue, (ready, delayed, running, dead, oldest)) in picture.queues.iter_mut().zip(set) {
        (queue.ready, queue.delayed, queue.running) = (Some(ready), Some(delayed), Some(running));
        (queue.dead, queue.oldest_ready_age_seconds) = (dead, Some(oldest));
    }
    let paused = serde_json::from_value(holder(json!("wrong text went out"))).unwrap();
    picture.queues[2].paused = Some(paused);
    let gates = &mut picture.breakers;
    gates[0].calls = Some(240);
    gates[0].bad = Some(3);
    gates[3].state = Some("open".to_owned());
    gates[3].until = Some(NOW.after(Duration::from_secs(12)));
    (gates[3].calls, gates[3].bad) = (Some(20), Some(12));
    gates[4].forced_by = serde_json::from_value(holder(Value::Null)).unwrap();
    let workers = json!({ "ready": 46_912, "oldest_age_seconds": 754.0, "mean_run_seconds": 0.2,
        "busy_slots": 100, "slots": 300, "workers": 3, "desired_workers": 5 });
    picture.workers = Some(serde_json::from_value(workers).unwrap());
    picture.dead_groups = vec![
        cause("4f1c22aa90b3d7e1", 5, "the text is longer than 300 graphemes"),
        cause("90b3d7e14f1c22aa", 2, "the post\u{1b}[2J was refused: no image of this size"),
    ];
    picture
}

/// A second later: 400 jobs of the first queue ended, and 100 came.
pub(super) fn later(before: &Picture) -> Picture {
    let mut picture = before.clone();
    picture.at = picture.at.after(Duration::from_secs(1));
    picture.queues[0].ready = picture.queues[0].ready.map(|ready| ready - 300);
    picture
}

pub(super) fn counting(mut picture: Picture, ended: u64) -> Picture {
    picture.runs_ended = Some(BTreeMap::from([(NAMES[0].to_owned(), ended)]));
    picture
}

pub(super) fn model(picture: Picture) -> Model {
    Model::new("http://127.0.0.1:7000".to_owned(), Duration::from_secs(1), picture)
}
