//! `postworks loadtest`: puts load on Postworks as it runs in production, measures, and reports.
//!
//! The load comes from this process; the system under test is processes of their own, on servers of
//! their own. `scenarios` does, `system` is what it is done to, `findings` is what was found, and
//! `report` shows it.

mod digest;
pub(crate) mod findings;
mod machine;
mod mix;
mod moment;
mod openloop;
mod profile;
pub(crate) mod report;
mod runs;
mod scenarios;
mod schedule;
mod screen;
mod stores;
mod system;
mod tally;
mod targets;
mod watch;
mod witness;

use anyhow::Context as _;
use postworks::clock::{Clock as _, SystemClock};
use postworks::worker::Stop;
use secrecy::SecretString;

use findings::{Capacity, FORM, Findings};
use moment::Moment;
use scenarios::Ground;
use screen::Screen;
use stores::Stores;

pub(crate) use profile::{Invalid, Profile, read as read_profile};
pub(crate) use scenarios::Name;
pub(crate) use stores::{NotInstalled, Unusable};
pub(crate) use targets::Targets;
pub(crate) use witness::install as install_witness;

/// A load test, as it was asked for.
pub(crate) struct Order {
    /// What to do; all that the profile holds if empty.
    pub(crate) scenarios: Vec<Name>,
    pub(crate) profile: Profile,
    pub(crate) targets: Targets,
    pub(crate) seed: u64,
    /// PostgreSQL and Redis; private ones if absent.
    pub(crate) stores: Option<(SecretString, SecretString)>,
    /// Whether to say nothing on the way.
    pub(crate) quiet: bool,
}

impl Order {
    /// The scenarios to run, in the order in which they run.
    fn chosen(&self) -> Vec<Name> {
        let wanted = |name: &Name| self.scenarios.is_empty() || self.scenarios.contains(name);
        let all = Name::ALL.into_iter().filter(wanted);
        all.filter(|name| name.is_in(&self.profile)).collect()
    }
}

/// Carries an order out, until `stop`; answers what was found until then.
///
/// # Errors
/// The servers cannot be used. What breaks off on the way is in the findings.
pub(crate) async fn run(order: &Order, stop: &Stop) -> anyhow::Result<Findings> {
    let screen = Screen::new(order.quiet);
    let chosen = order.chosen();
    anyhow::ensure!(!chosen.is_empty(), "the profile says nothing of what was asked for");
    let servers = match order.stores {
        Some(_) => "the servers given: everything else on them will feel it",
        None => "servers of its own",
    };
    screen.say(&format!("profile {}, seed {}, on {servers}", order.profile.name, order.seed));
    let (started_at, begun) = (SystemClock.now(), Moment::now());
    let stores = match &order.stores {
        None => Stores::launch().await?,
        Some((database, redis)) => Stores::given(database.clone(), redis.clone()).await?,
    };
    for name in &chosen {
        stores.must_have_room(name.as_str(), name.connections(&order.profile)).await?;
    }
    let mut facts = machine::facts();
    facts.extend(stores.facts().await.context("the servers tell nothing of themselves")?);
    let ground = Ground {
        stores: &stores,
        profile: &order.profile,
        seed: order.seed,
        screen,
        stop: stop.drain.clone(),
        now: stop.now.clone(),
    };
    let plan = order.profile.plan;
    let mut capacity = Capacity {
        projected_peak: plan.projected_peak,
        monthly_growth: plan.monthly_growth_percent / 100.0,
        ..Capacity::default()
    };
    let mut scenarios = Vec::new();
    for name in chosen {
        if stop.drain.is_cancelled() {
            break;
        }
        let scenario = ground.run(name, &mut capacity).await;
        screen.say(&said_of(&scenario));
        scenarios.push(scenario);
    }
    // What was found is worth more than a server that is as it was.
    if let Err(error) = stores.end().await {
        screen.warn(&format!("the servers could not be left as they were: {error:#}"));
    }
    Ok(Findings {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: order.profile.name.clone(),
        profile_digest: order.profile.digest.clone(),
        targets: order.targets.file().map(str::to_owned),
        targets_digest: order.targets.digest().to_owned(),
        chosen: order.scenarios.iter().map(|name| name.as_str().to_owned()).collect(),
        seed: order.seed,
        started_at: started_at.to_string(),
        took_s: Moment::now().since(begun).as_secs_f64(),
        interrupted: stop.drain.is_cancelled(),
        facts,
        verdicts: order.targets.judge(&scenarios),
        scenarios,
        capacity,
    })
}

fn said_of(scenario: &findings::Scenario) -> String {
    let how = match &scenario.broke_off {
        Some(why) => format!("broke off: {why}"),
        None => "done".to_owned(),
    };
    format!("  {:15} {how} ({:.0} s)", scenario.name, scenario.took_s)
}
