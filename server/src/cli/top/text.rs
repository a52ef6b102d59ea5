//! One picture as plain text, for scripts and logs.

use super::picture::{Picture, Totals, oldest};
use super::view::State;
use super::view::words::{count, span};
use crate::cli::output::{table, told};

/// The queues, and the causes of dead letters.
pub(super) fn of(picture: &Picture) -> String {
    let totals = Totals::of(picture);
    let sums = format!(
        "{}  {} ready, {} later, {} running, {} dead, {} paused, {} breakers not closed",
        picture.at,
        totals.ready,
        totals.delayed,
        totals.running,
        totals.dead,
        totals.paused,
        totals.open,
    );
    let workers = picture.workers.as_ref().map(|seen| {
        format!(", {} workers with {} of {} slots busy", seen.workers, seen.busy_slots, seen.slots)
    });
    let sums = format!("{sums}{}", workers.unwrap_or_default());
    let queues = picture.queues.iter().map(|queue| {
        let state = State::of(queue, picture.breaker(&queue.queue), picture.at);
        vec![
            queue.queue.to_string(),
            told(queue.ready),
            told(queue.delayed),
            told(queue.running),
            queue.dead.to_string(),
            oldest(queue).map_or_else(|| "-".to_owned(), span),
            state.sentence,
        ]
    });
    let header = ["QUEUE", "READY", "LATER", "RUN", "DEAD", "OLDEST", "STATE"];
    let queues = table(&header, queues, "no queues");
    let causes = picture.dead_groups.iter().map(|cause| {
        vec![
            count(cause.count),
            span(picture.at.since(cause.last_died_at)),
            cause.category.to_string(),
            cause.kind.to_string(),
            cause.fingerprint.clone(),
            cause.message.clone(),
        ]
    });
    let header = ["DEAD", "LAST", "CATEGORY", "KIND", "FINGERPRINT", "WORDS OF THE YOUNGEST"];
    let causes = table(&header, causes, "no dead letters");
    format!("{sums}\n\n{queues}\n\n{causes}")
}
