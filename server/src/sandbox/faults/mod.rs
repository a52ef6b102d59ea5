//! Faults on demand: which rule hits a request, and what then becomes of it.
//!
//! Only requests the sandbox would accept meet the rules; what it refuses itself (a dead token, a
//! bad field) it refuses whatever the rules say, and uses up none of their `times`.

mod latency;
mod rules;

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

use super::{accounts::Account, error::ApiError};
pub use rules::Action;
use rules::Armed;
pub(super) use rules::{FaultsIn, Rule};

/// What a client is doing, as far as the rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Publish,
    Refresh,
    List,
    Numbers,
    Profile,
}

/// An answer that a rule gives in the sandbox's stead.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) message: Option<String>,
}

/// What happens once a request has been applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    Answer,
    Wait(Duration),
    Hang,
    Cut,
}

/// What becomes of a request.
#[derive(Debug)]
enum Fate {
    Refuse(Refusal),
    CutBefore,
    Apply { fault: Option<Action>, then: Then },
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Refused(Refusal),
    Cut,
    Applied(T, Then),
}

/// The rules in force and the dice they are thrown with.
#[derive(Debug)]
pub(super) struct Faults {
    seed: u64,
    dice: StdRng,
    rules: Vec<Armed>,
}

/// The rules as the control verbs show them; `times` is what is left.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    seed: u64,
    rules: Vec<Rule>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(rules::DEFAULT_SEED, Vec::new())
    }
}

impl Faults {
    fn new(seed: u64, rules: Vec<Armed>) -> Self {
        Self { seed, dice: StdRng::seed_from_u64(seed), rules }
    }

    /// Replaces all rules and starts the dice anew, or leaves all as it was.
    pub(super) fn replace(&mut self, input: FaultsIn) -> Result<(), ApiError> {
        let (seed, rules) = input.check()?;
        *self = Self::new(seed, rules);
        Ok(())
    }

    /// Shows the rules.
    pub(super) fn show(&self) -> Shown {
        Shown {
            seed: self.seed,
            rules: self.rules.iter().map(|armed| armed.rule.clone()).collect(),
        }
    }

    /// Draws a request's fate, and applies the request if that is its fate. `apply` learns the
    /// fault that will spoil the answer, for the journal.
    pub(super) fn meet<T>(
        &mut self,
        call: Call,
        account: &Account,
        apply: impl FnOnce(Option<Action>) -> Result<T, ApiError>,
    ) -> Result<Outcome<T>, ApiError> {
        Ok(match self.draw(call, account) {
            Fate::Refuse(refusal) => Outcome::Refused(refusal),
            Fate::CutBefore => Outcome::Cut,
            Fate::Apply { fault, then } => Outcome::Applied(apply(fault)?, then),
        })
    }

    fn draw(&mut self, call: Call, account: &Account) -> Fate {
        for armed in &mut self.rules {
            if armed.rule.concerns(call, account)
                && armed.rule.times != Some(0)
                && self.dice.random_bool(armed.rule.p)
            {
                armed.rule.times = armed.rule.times.map(|times| times - 1);
                return fate(armed, &mut self.dice);
            }
        }
        Fate::Apply { fault: None, then: Then::Answer }
    }
}

fn fate(armed: &Armed, dice: &mut StdRng) -> Fate {
    let rule = &armed.rule;
    let message = rule.message.clone();
    let then = match rule.action {
        Action::Error => {
            let headers = armed.headers.clone();
            let (status, code) = (armed.status, "injected");
            return Fate::Refuse(Refusal { status, code, headers, message });
        }
        Action::RateLimit => {
            let mut headers = armed.headers.clone();
            headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
            let status = StatusCode::TOO_MANY_REQUESTS;
            let code = "rate_limited";
            return Fate::Refuse(Refusal { status, code, headers, message });
        }
        Action::DropBefore => return Fate::CutBefore,
        Action::DropAfter => Then::Cut,
        Action::Hang => Then::Hang,
        Action::Latency => Then::Wait(rule.latency_ms.sample(dice)),
    };
    Fate::Apply { fault: Some(rule.action), then }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Account, Call, Faults, FaultsIn, Outcome};

    fn faults(plan: Value) -> Faults {
        let mut faults = Faults::default();
        faults.replace(serde_json::from_value::<FaultsIn>(plan).unwrap()).unwrap();
        faults
    }

    fn account() -> Account {
        Account { id: "acct_1".to_owned(), handle: "ann".to_owned() }
    }

    /// The fault a publish meets: an action's name, a refusal's code, or "none".
    fn meet(faults: &mut Faults, call: Call) -> String {
        match faults.meet(call, &account(), Ok).unwrap() {
            Outcome::Refused(refusal) => refusal.code.to_owned(),
            Outcome::Cut => "cut".to_owned(),
            Outcome::Applied(fault, _) => match fault {
                Some(action) => serde_json::to_value(action).unwrap().as_str().unwrap().to_owned(),
                None => "none".to_owned(),
            },
        }
    }

    #[test]
    fn the_first_rule_that_hits_wins_and_a_used_up_rule_lets_the_next_one_have_it() {
        let mut faults = faults(json!({"rules": [
            {"op": "publish", "action": "error", "times": 1},
            {"op": "*", "action": "hang", "times": 1},
        ]}));
        assert_eq!(meet(&mut faults, Call::Publish), "injected");
        assert_eq!(meet(&mut faults, Call::Publish), "hang");
        assert_eq!(meet(&mut faults, Call::Publish), "none");
    }

    #[test]
    fn a_rule_hits_only_its_op_and_its_account_by_id_or_handle() {
        let rule =
            |account| json!({"rules": [{"op": "list", "account": account, "action": "hang"}]});
        for (name, met) in [("acct_1", "hang"), ("ann", "hang"), ("*", "hang"), ("bob", "none")] {
            assert_eq!(meet(&mut faults(rule(name)), Call::List), met, "{name}");
            assert_eq!(meet(&mut faults(rule(name)), Call::Refresh), "none", "{name}");
        }
    }

    #[test]
    fn the_same_seed_throws_the_same_faults_about_as_often_as_asked() {
        let plan = json!({"seed": 7, "rules": [{"op": "*", "p": 0.25, "action": "drop_before"}]});
        let run = |mut faults: Faults| -> Vec<bool> {
            (0..1_000).map(|_| meet(&mut faults, Call::Publish) == "cut").collect()
        };
        let first = run(faults(plan.clone()));
        assert_eq!(first, run(faults(plan)));
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((180..320).contains(&hits), "{hits} of 1000 at p 0.25");
    }
}
