//! Random stories of one job, told to a ledger and to a model of a dozen lines: whatever zombies,
//! repeated answers and people do in whatever order, both must agree.

use std::time::Duration;

use postworks::job::{Category, JobId, Reason, State, Timestamp, Token};
use postworks::ledger::{
    Cancel, DeadFilter, Ledger, Next, PutBack, Settled, SqlLedger, Standing, Unpark, Verdict,
};
use postworks::testing::ledger::{NOW, at, job, token};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::stories::{live_through, on_postgresql, on_sqlite};

/// One thing that happens; the numbers are tokens.
#[derive(Debug, Clone, Copy)]
enum Event {
    Stamp(u64),
    Complete(u64),
    Wait(u64),
    Die(u64),
    Park(u64),
    Crash(u64),
    Absolve(u64),
    Cancel,
    Redrive,
    Release,
}

fn event() -> impl Strategy<Value = Event> {
    let token = || 1_u64..5;
    prop_oneof![
        4 => token().prop_map(Event::Stamp),
        1 => token().prop_map(Event::Complete),
        3 => token().prop_map(Event::Wait),
        2 => token().prop_map(Event::Die),
        2 => token().prop_map(Event::Park),
        4 => token().prop_map(Event::Crash),
        2 => token().prop_map(Event::Absolve),
        1 => Just(Event::Cancel),
        3 => Just(Event::Redrive),
        3 => Just(Event::Release),
    ]
}

/// What the ledger promises, said as simply as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Model {
    state: State,
    token: Option<Token>,
    settled: bool,
    failed: u32,
    crashes: u32,
    crashed: Option<Token>,
    withdrawn: bool,
}

impl Model {
    fn live(&self) -> bool {
        !self.state.has_ended()
    }

    fn crash(&mut self, token: Token) {
        let latest = self.token < Some(token) || self.token == Some(token) && !self.settled;
        if self.state == State::Ready && latest && self.crashed < Some(token) {
            let (crashes, crashed) = (self.crashes + 1, Some(token));
            *self = Self { crashes, crashed, withdrawn: false, ..*self };
        }
    }

    fn absolve(&mut self, token: Token) {
        if self.crashed == Some(token) && !self.withdrawn && self.crashes > 0 {
            *self = Self { crashes: self.crashes - 1, withdrawn: true, ..*self };
        }
    }

    fn settle(&mut self, token: Token, state: State) -> Settled {
        let mine = self.token == Some(token);
        if mine && self.settled {
            return Settled::Done;
        }
        if self.live() && (self.token.is_none() || mine) {
            *self = Self { state, token: Some(token), settled: true, crashes: 0, ..*self };
            return Settled::Done;
        }
        if self.state == State::Cancelled { Settled::Cancelled } else { Settled::Stale }
    }
}

fn verdict(id: JobId, event: Event) -> Option<(Verdict, State)> {
    let reason = Reason {
        category: Category::PlatformApi,
        class: "transient".into(),
        message: "no answer".into(),
    };
    let until = NOW;
    let (n, then, state) = match event {
        Event::Complete(n) => (n, Next::Completed { at: at(1) }, State::Completed),
        Event::Wait(n) => (n, Next::Waits { until, failed_attempts: 1 }, State::Ready),
        Event::Die(n) => {
            (n, Next::Dead { at: at(1), reason, failed_attempts: 2, job: None }, State::Dead)
        }
        Event::Park(n) => {
            (n, Next::Parked { until, why: "needs_reauth", kept_until: None }, State::Parked)
        }
        _ => return None,
    };
    Some((Verdict { id, token: token(n), then, failed: None }, state))
}

async fn tell(ledger: &SqlLedger, id: JobId, model: &mut Model, event: Event, now: Timestamp) {
    if let Some((verdict, state)) = verdict(id, event) {
        let before = *model;
        let expected = model.settle(verdict.token, state);
        if *model != before {
            model.failed = match event {
                Event::Wait(_) => 1,
                Event::Die(_) => 2,
                _ => model.failed,
            };
        }
        assert_eq!(ledger.settle(&[verdict]).await.unwrap(), [expected], "{event:?}");
        return;
    }
    let letters = DeadFilter { ids: vec![id], limit: 1, ..DeadFilter::default() };
    match event {
        Event::Stamp(n) => {
            let standing = ledger.stamp(&[(id, token(n))], now).await.unwrap().remove(0);
            if model.state == State::Ready && model.token < Some(token(n)) {
                *model = Model { token: Some(token(n)), settled: false, ..*model };
            }
            if let Standing::Yours { crashes, .. } = standing {
                assert_eq!(crashes, model.crashes);
            }
        }
        Event::Crash(n) => {
            ledger.crashed(&[(id, token(n))]).await.unwrap();
            model.crash(token(n));
        }
        Event::Absolve(n) => {
            ledger.absolve(&[(id, token(n))]).await.unwrap();
            model.absolve(token(n));
        }
        Event::Cancel => {
            let marked = ledger.cancel(id, now, None).await.unwrap();
            assert_eq!(matches!(marked, Cancel::Marked { .. }), model.live());
            if model.live() {
                model.state = State::Cancelled;
            }
        }
        Event::Redrive => {
            let renewed_for = Duration::from_secs(60);
            let how = PutBack { now, renewed_for, note: None, redrive: None, edited: None };
            let back = ledger.redrive(&letters, how).await.unwrap();
            assert_eq!(back.jobs.len(), usize::from(model.state == State::Dead));
            if model.state == State::Dead {
                *model = Model { state: State::Ready, failed: 0, crashes: 0, ..*model };
            }
        }
        _ => {
            let released = ledger.unpark(Unpark::Due, now).await.unwrap();
            assert_eq!(released, u64::from(model.state == State::Parked));
            if model.state == State::Parked {
                model.state = State::Ready;
            }
        }
    }
}

async fn story(ledger: &SqlLedger, events: &[Event]) {
    let job = job();
    let id = job.id;
    ledger.enqueue(&[job]).await.unwrap();
    let mut model = Model {
        state: State::Ready,
        token: None,
        settled: false,
        failed: 0,
        crashes: 0,
        crashed: None,
        withdrawn: false,
    };
    for event in events {
        tell(ledger, id, &mut model, *event, at(5)).await;
        let row = ledger.job(id).await.unwrap().unwrap();
        assert_eq!((row.state, row.job.failed_attempts), (model.state, model.failed), "{event:?}");
        assert_eq!(row.reason.is_some(), model.state == State::Dead);
        assert_eq!(row.finished_at.is_some(), !model.live());
        assert_eq!(row.parked_for.is_some(), model.state == State::Parked);
    }
    // Out of the next story's way.
    ledger.cancel(id, at(5), None).await.unwrap();
}

fn stories(ledger: &SqlLedger, runtime: &Runtime) {
    live_through(60, prop::collection::vec(event(), 1..25), |events| {
        runtime.block_on(story(ledger, &events));
    });
}

#[test]
fn sqlite_agrees_with_the_model_whatever_happens() {
    on_sqlite(stories);
}

#[test]
fn postgresql_agrees_with_the_model_whatever_happens() {
    on_postgresql(stories);
}
