//! Random families with random ends, told to a ledger and to a model of a dozen lines.

use postworks::job::family::{OnFailure, Waits};
use postworks::job::{Category, JobId, NewJob, Reason, State};
use postworks::ledger::{Families, Ledger as _, Next, Settled, SqlLedger, Verdict};
use postworks::testing::ledger::{at, job, token};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::stories;

/// Most jobs of a family.
const MEMBERS: usize = 12;

/// A job of a family: the places of those before it that it waits for, and what it does if one fails.
#[derive(Debug, Clone)]
struct Member {
    parents: Vec<usize>,
    on_failure: OnFailure,
}

/// What happens, to whom.
#[derive(Debug, Clone, Copy)]
enum Event {
    Completes(usize),
    Dies(usize),
    Cancelled(usize),
    Told(u32),
}

/// Where a job stands, as simply as it can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Waits,
    Open,
    Ended(State),
}

struct Model {
    members: Vec<Member>,
    stand: Vec<Stands>,
}

impl Model {
    fn of(members: Vec<Member>) -> Self {
        let stand = |member: &Member| match member.parents.is_empty() {
            true => Stands::Open,
            false => Stands::Waits,
        };
        Self { stand: members.iter().map(stand).collect(), members }
    }

    /// Everybody knows of every end. Parents come before their children.
    fn told(&mut self) {
        for (at, member) in self.members.iter().enumerate() {
            if self.stand[at] != Stands::Waits {
                continue;
            }
            let ends: Vec<Stands> = member.parents.iter().map(|one| self.stand[*one]).collect();
            let bad = |end: &Stands| {
                matches!(end, Stands::Ended(State::Dead | State::Cancelled))
                    && member.on_failure == OnFailure::Fail
            };
            if ends.iter().any(bad) {
                self.stand[at] = Stands::Ended(State::Dead);
            } else if ends.iter().all(|end| matches!(end, Stands::Ended(_))) {
                self.stand[at] = Stands::Open;
            }
        }
    }
}

fn story() -> impl Strategy<Value = (Vec<Member>, Vec<Event>)> {
    let member = (prop::collection::vec(any::<prop::sample::Index>(), 0..4), any::<bool>());
    let members = prop::collection::vec(member, 2..MEMBERS).prop_map(|drawn| {
        let member = |(at, (picks, fails)): (usize, (Vec<prop::sample::Index>, bool))| {
            let mut parents: Vec<usize> = match at {
                0 => Vec::new(),
                at => picks.iter().map(|pick| pick.index(at)).collect(),
            };
            parents.sort_unstable();
            parents.dedup();
            let on_failure = if fails { OnFailure::Fail } else { OnFailure::Continue };
            Member { parents, on_failure }
        };
        drawn.into_iter().enumerate().map(member).collect::<Vec<_>>()
    });
    let event = prop_oneof![
        4 => (0..MEMBERS).prop_map(Event::Completes),
        2 => (0..MEMBERS).prop_map(Event::Dies),
        1 => (0..MEMBERS).prop_map(Event::Cancelled),
        3 => (1_u32..4).prop_map(Event::Told),
    ];
    (members, prop::collection::vec(event, 0..40))
}

async fn tell_all(families: &Families, limit: u32) {
    while families.tell(at(5), limit).await.unwrap().found > 0 {}
}

async fn live_through(ledger: &SqlLedger, members: Vec<Member>, events: &[Event]) {
    let families = Families::new(ledger.db().clone());
    let mut jobs: Vec<NewJob> = Vec::new();
    for member in &members {
        let parents: Vec<JobId> = member.parents.iter().map(|one| jobs[*one].id).collect();
        let (on_failure, keeps_expiry) = (member.on_failure, false);
        let waits = Waits { parents, on_failure, keeps_expiry };
        let waits = (!member.parents.is_empty()).then(|| Box::new(waits));
        jobs.push(NewJob { waits, ..job() });
    }
    ledger.enqueue(&jobs).await.unwrap();
    let mut model = Model::of(members);
    for event in events {
        match *event {
            Event::Completes(n) | Event::Dies(n) if n < jobs.len() => {
                if model.stand[n] != Stands::Open {
                    continue;
                }
                let (then, state) = match event {
                    Event::Completes(_) => (Next::Completed { at: at(1) }, State::Completed),
                    _ => {
                        let reason = Reason {
                            category: Category::Invalid,
                            class: "invalid".into(),
                            message: "no".into(),
                        };
                        let next = Next::Dead { at: at(1), reason, failed_attempts: 1, job: None };
                        (next, State::Dead)
                    }
                };
                let verdict = Verdict { id: jobs[n].id, token: token(1), then, failed: None };
                assert_eq!(ledger.settle(&[verdict]).await.unwrap(), [Settled::Done]);
                model.stand[n] = Stands::Ended(state);
            }
            Event::Cancelled(n) if n < jobs.len() => {
                ledger.cancel(jobs[n].id, at(1), None).await.unwrap();
                if !matches!(model.stand[n], Stands::Ended(_)) {
                    model.stand[n] = Stands::Ended(State::Cancelled);
                }
            }
            Event::Told(limit) => {
                tell_all(&families, limit).await;
                model.told();
            }
            _ => {}
        }
        agree(ledger, &jobs, &model).await;
    }
    tell_all(&families, 100).await;
    model.told();
    agree(ledger, &jobs, &model).await;
}

async fn agree(ledger: &SqlLedger, jobs: &[NewJob], model: &Model) {
    for (job, stands) in jobs.iter().zip(&model.stand) {
        let row = ledger.job(job.id).await.unwrap().unwrap();
        let found = match row.state {
            State::Parked => Stands::Waits,
            state if state.has_ended() => Stands::Ended(state),
            _ => Stands::Open,
        };
        assert_eq!(found, *stands, "{}", job.id);
    }
}

fn told(cases: u32, ledger: &SqlLedger, runtime: &Runtime) {
    stories::live_through(cases, story(), |(members, events)| {
        runtime.block_on(live_through(ledger, members, &events));
    });
}

#[test]
fn random_families_end_as_the_model_says_on_sqlite() {
    stories::on_sqlite(|ledger, runtime| told(48, ledger, runtime));
}

#[test]
fn random_families_end_as_the_model_says_on_postgres() {
    stories::on_postgresql(|ledger, runtime| told(32, ledger, runtime));
}
