//! What holds a queue's jobs back, in a word and in a sentence.

use postworks::job::Timestamp;

use super::words::{count, span};
use crate::app::types::{GateView, HolderView, QueueView};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::top) enum Weight {
    None,
    Some,
    Much,
}

/// What holds a queue's jobs back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::top) struct State {
    /// At most eight characters, none if nothing does.
    pub(in crate::cli::top) word: String,
    pub(in crate::cli::top) sentence: String,
    pub(in crate::cli::top) weight: Weight,
}

impl State {
    pub(in crate::cli::top) fn of(
        queue: &QueueView,
        gate: Option<&GateView>,
        now: Timestamp,
    ) -> Self {
        let (mut word, mut sentence, mut weight) = breaker(gate, now);
        if let Some(holder) = &queue.paused {
            word = "paused".to_owned();
            sentence = format!("paused {}; {sentence}", held(holder, now));
            weight = Weight::Some.max(weight);
        }
        if gate.is_some_and(|gate| !gate.applied) {
            sentence.push_str("; workers learn of it once the broker is back");
        }
        Self { word, sentence, weight }
    }
}

impl Weight {
    fn max(self, other: Self) -> Self {
        if self == Self::Much || other == Self::None { self } else { other }
    }
}

fn breaker(gate: Option<&GateView>, now: Timestamp) -> (String, String, Weight) {
    let unknown = ("?".to_owned(), "the broker cannot be asked".to_owned(), Weight::Some);
    let Some(gate) = gate else { return unknown };
    if let Some(holder) = &gate.forced_by {
        let sentence = format!("breaker held open {}", held(holder, now));
        return ("held".to_owned(), sentence, Weight::Much);
    }
    let Some(state) = gate.state.as_deref() else { return unknown };
    let calls = match (gate.calls, gate.bad) {
        (Some(calls), Some(bad)) if calls > 0 => {
            format!(", {} of {} calls bad", count(bad.into()), count(calls.into()))
        }
        _ => String::new(),
    };
    let left = gate.until.filter(|until| *until > now).map(|until| span(until.since(now)));
    match (state, left) {
        ("closed", None) => (String::new(), format!("breaker closed{calls}"), Weight::None),
        ("closed", Some(left)) => {
            let sentence = format!("the platform's window: nothing is claimed for {left}{calls}");
            (format!("wait {left}"), sentence, Weight::Some)
        }
        ("half_open", _) => (
            "trying".to_owned(),
            format!("breaker half open: a few calls try{calls}"),
            Weight::Some,
        ),
        (_, Some(left)) => {
            (format!("open {left}"), format!("breaker open for {left} more{calls}"), Weight::Much)
        }
        (_, None) => ("open".to_owned(), format!("breaker open{calls}"), Weight::Much),
    }
}

fn held(holder: &HolderView, now: Timestamp) -> String {
    let why = holder.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} ago by {}{why}", span(now.since(holder.at)), holder.by)
}
