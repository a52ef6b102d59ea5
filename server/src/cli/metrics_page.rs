//! What client commands read from an API's metrics page.

use std::collections::BTreeMap;

use postworks::telemetry::metrics::JOB_ATTEMPTS;

/// How many runs have ended by queue; nothing if none has, as where the API's process has no
/// workers in it.
pub(super) fn runs_ended(page: &str) -> Option<BTreeMap<String, u64>> {
    let mut ended: BTreeMap<String, u64> = BTreeMap::new();
    for line in page.lines() {
        let Some(labels) = line.strip_prefix(JOB_ATTEMPTS.name).and_then(|l| l.strip_prefix('{'))
        else {
            continue;
        };
        let Some((labels, count)) = labels.rsplit_once("} ") else { continue };
        let queue = labels.split_once("queue=\"").and_then(|(_, rest)| rest.split_once('"'));
        if let (Some((queue, _)), Ok(count)) = (queue, count.parse::<u64>()) {
            *ended.entry(queue.to_owned()).or_default() += count;
        }
    }
    ended.values().any(|count| *count > 0).then_some(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_summed_by_queue_whatever_came_of_them() {
        let page = "# TYPE postworks_job_attempts_total counter\n\
            postworks_job_attempts_total{queue=\"a.x\",kind=\"a\",outcome=\"completed\"} 40\n\
            postworks_job_attempts_total{queue=\"a.x\",kind=\"a\",outcome=\"retry\"} 2\n\
            postworks_job_attempts_total{kind=\"b\",queue=\"b\",outcome=\"completed\"} 1\n\
            postworks_job_wait_seconds_count{queue=\"a.x\"} 9\n";
        let ended = runs_ended(page).unwrap();
        assert_eq!(ended, BTreeMap::from([("a.x".to_owned(), 42), ("b".to_owned(), 1)]));
    }

    #[test]
    fn a_process_that_runs_nothing_knows_nothing() {
        let zero = "postworks_job_attempts_total{queue=\"a\",kind=\"a\",outcome=\"retry\"} 0\n";
        assert_eq!(runs_ended(zero), None);
        assert_eq!(runs_ended(""), None);
    }
}
