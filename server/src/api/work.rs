//! Which work a request would make, for the API to refuse what is too much.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::problem::Problem;
use crate::admission::Asked;
use crate::app::App;

/// The work that a route makes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// None that runs.
    Nothing,
    /// A job.
    Job,
    /// Jobs, all or none.
    Jobs,
    /// Publications of a post.
    Publications,
}

impl Work {
    /// Refuses what is too much now. What its body holds is looked at only if that matters.
    pub(super) fn must_be_taken(self, app: &App, body: &[u8]) -> Result<(), Problem> {
        let admission = app.admission();
        if matches!(self, Self::Nothing) || admission.takes_all() {
            return Ok(());
        }
        let busy = admission.refuses(self.asked(body));
        busy.map_or(Ok(()), |busy| Err(Problem::busy(busy.to_string())))
    }

    /// A body that makes no sense asks for nothing urgent.
    fn asked(self, body: &[u8]) -> Asked {
        match self {
            Self::Nothing | Self::Publications => Asked::One { urgent: false },
            Self::Job => {
                let job = serde_json::from_slice::<Job>(body);
                Asked::One { urgent: job.is_ok_and(|job| job.priority > Some(0)) }
            }
            Self::Jobs => {
                let jobs = serde_json::from_slice::<Jobs>(body).map(|bulk| bulk.jobs.len());
                Asked::Many(jobs.unwrap_or(1))
            }
        }
    }
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    priority: Option<u32>,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_job_with_a_head_start_is_urgent() {
        let asked = |work: Work, body: &str| work.asked(body.as_bytes());
        let (urgent, plain) = (Asked::One { urgent: true }, Asked::One { urgent: false });
        assert_eq!(asked(Work::Job, r#"{"kind":"x","args":{},"priority":1}"#), urgent);
        for body in [r#"{"kind":"x"}"#, r#"{"priority":0}"#, r#"{"priority":null}"#, "{"] {
            assert_eq!(asked(Work::Job, body), plain, "{body}");
        }
        assert_eq!(asked(Work::Publications, r#"{"priority":1}"#), plain);
        assert_eq!(asked(Work::Jobs, r#"{"jobs":[{"priority":9},{}]}"#), Asked::Many(2));
        assert_eq!(asked(Work::Jobs, "nonsense"), Asked::Many(1));
    }
}
