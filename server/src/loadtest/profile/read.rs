//! Reads a profile: names, files, and everything that is wrong with one, at once.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use postworks::job::did_you_mean;
use toml::{Table, Value};

use super::Profile;
use crate::loadtest::digest::digest;

const SMOKE: &str = include_str!("../../../../config/loadtest/smoke.toml");
const REFERENCE: &str = include_str!("../../../../config/loadtest/reference.toml");
/// No stretch of a load test is longer.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What every profile has, also if it does not say so.
const ALWAYS: [&str; 3] = ["system", "platform", "plan"];
/// The profiles that are always there.
const NAMES: [&str; 2] = ["smoke", "reference"];

/// What is wrong with a file of the load test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) file: String,
    pub(crate) faults: Vec<String>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not right", self.file)?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl Invalid {
    pub(crate) fn of(file: &str, fault: impl Into<String>) -> Self {
        Self { file: file.to_owned(), faults: vec![fault.into()] }
    }
}

/// The profile of that name, or in that file.
///
/// # Errors
/// Every fault of the file.
pub(crate) fn read(name: &str) -> Result<Profile, Invalid> {
    match name {
        "smoke" => parse(name, SMOKE),
        "reference" => parse(name, REFERENCE),
        file if Path::new(file).extension().is_some() => {
            let text = std::fs::read_to_string(file);
            let text =
                text.map_err(|error| Invalid::of(file, format!("cannot be read: {error}")))?;
            parse(file, &text)
        }
        other => {
            let near = did_you_mean(other, NAMES);
            Err(Invalid::of(other, format!("is no profile and no TOML file{near}")))
        }
    }
}

/// Reads a profile's text; what it leaves out of a section is that of `smoke`.
pub(super) fn parse(name: &str, text: &str) -> Result<Profile, Invalid> {
    let template: Table = SMOKE.parse().map_err(|error| of_toml("smoke", &error))?;
    let given: Table = text.parse().map_err(|error| of_toml(name, &error))?;
    let mut faults = Vec::new();
    let mut whole = Table::new();
    for (section, value) in &given {
        match (template.get(section), value) {
            (None, _) => {
                let near = did_you_mean(section, template.keys().map(String::as_str));
                faults.push(format!("[{section}] is no section{near}"));
            }
            (Some(Value::Table(defaults)), Value::Table(own)) => {
                faults.extend(unknown(section, defaults, own));
                let mut laid = defaults.clone();
                laid.extend(own.clone());
                whole.insert(section.clone(), Value::Table(laid));
            }
            (Some(_), _) => faults.push(format!("{section} is a section, not a value")),
        }
    }
    for section in ALWAYS {
        if let (false, Some(defaults)) = (whole.contains_key(section), template.get(section)) {
            whole.insert(section.to_owned(), defaults.clone());
        }
    }
    let failed = |faults| Invalid { file: name.to_owned(), faults };
    if !faults.is_empty() {
        return Err(failed(faults));
    }
    let digest = digest(&whole);
    let read: Result<Profile, _> = serde_path_to_error::deserialize(Value::Table(whole));
    let mut profile =
        read.map_err(|error| failed(vec![format!("{}: {}", error.path(), error.inner())]))?;
    name.clone_into(&mut profile.name);
    profile.digest = digest;
    let faults = impossible(&profile);
    if faults.is_empty() { Ok(profile) } else { Err(failed(faults)) }
}

pub(crate) fn of_toml(name: &str, error: &toml::de::Error) -> Invalid {
    Invalid::of(name, format!("is no TOML: {}", error.to_string().trim_end()))
}

fn unknown<'a>(
    section: &'a str,
    defaults: &'a Table,
    own: &'a Table,
) -> impl Iterator<Item = String> + 'a {
    own.keys().filter(|key| !defaults.contains_key(*key)).map(move |key| {
        let near = did_you_mean(key, defaults.keys().map(String::as_str));
        format!("{section}.{key} is no setting{near}")
    })
}

/// What no load test can do.
fn impossible(profile: &Profile) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, words: &str| {
        if !holds {
            faults.push(words.to_owned());
        }
    };
    let rate = |rate: f64| (1.0..=100_000.0).contains(&rate);
    let connections = |count: u32| (1..=1_000).contains(&count);
    let percent = |percent: f64| (0.0..=50.0).contains(&percent);
    let super::System { workers, concurrency, accounts } = profile.system;
    must((1..=64).contains(&workers), "system.workers must be 1 to 64");
    must((1..=10_000).contains(&concurrency), "system.concurrency must be 1 to 10000");
    must((1..=100_000).contains(&accounts), "system.accounts must be 1 to 100000");
    let platform = &profile.platform;
    for (op, p50, p99) in [
        ("publish", platform.publish_p50, platform.publish_p99),
        ("refresh", platform.refresh_p50, platform.refresh_p99),
        ("list", platform.list_p50, platform.list_p99),
    ] {
        let fits = p50 > Duration::ZERO && p50 <= p99 && p99 <= Duration::from_secs(30);
        must(fits, &format!("platform.{op}_p50 must be above 0 and at most {op}_p99, that 30s"));
    }
    for (name, share) in [
        ("transient", platform.transient_percent),
        ("limited", platform.limited_percent),
        ("permanent", platform.permanent_percent),
    ] {
        must(percent(share), &format!("platform.{name}_percent must be 0 to 50"));
    }
    must(rate(profile.plan.projected_peak), "plan.projected_peak must be 1 to 100000");
    let growth = (0.0..=1_000.0).contains(&profile.plan.monthly_growth_percent);
    must(growth, "plan.monthly_growth_percent must be 0 to 1000");
    for (setting, span) in profile.spans() {
        must(span <= SPAN_MAX, &format!("{setting} must be at most 24h"));
    }
    if let Some(database) = &profile.database {
        must(rate(database.rate), "database.rate must be 1 to 100000");
        must(connections(database.connections), "database.connections must be 1 to 1000");
    }
    if let Some(queue) = &profile.queue {
        must(rate(queue.rate), "queue.rate must be 1 to 100000");
    }
    for (name, calls) in [("redis", &profile.redis), ("api", &profile.api)] {
        if let Some(calls) = calls {
            must(rate(calls.rate), &format!("{name}.rate must be 1 to 100000"));
            let words = format!("{name}.connections must be 1 to 1000");
            must(connections(calls.connections), &words);
        }
    }
    if let Some(failover) = &profile.failover {
        must(rate(failover.rate), "failover.rate must be 1 to 100000");
        must(connections(failover.pool_connections), "failover.pool_connections must be 1 to 1000");
        must(
            (1..=10_000).contains(&failover.pool_callers),
            "failover.pool_callers must be 1 to 10000",
        );
        must((1..=100_000).contains(&failover.pending), "failover.pending must be 1 to 100000");
    }
    if let Some(point) = &profile.breaking_point {
        let fits = rate(point.from) && rate(point.to) && point.from <= point.to;
        must(fits, "breaking_point.from must be 1 to 100000 and at most breaking_point.to");
        let fits = (1.0..=50.0).contains(&point.precision_percent);
        must(fits, "breaking_point.precision_percent must be 1 to 50");
        must(
            point.step >= Duration::from_millis(200),
            "breaking_point.step must be at least 200ms",
        );
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_that_are_always_there_are_right() {
        for name in NAMES {
            let profile = read(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.failover.is_some() && profile.breaking_point.is_some());
        }
        let reference = read("reference").unwrap().queue.unwrap().shape();
        assert_eq!((reference.rate, reference.sustain), (1_050.0, Duration::from_secs(1_500)));
    }

    #[test]
    fn a_profile_of_ones_own_runs_what_it_names_and_needs_only_what_it_changes() {
        let profile = parse("small.toml", "[queue]\nrate = 3\nsustain = '1s'").unwrap();
        assert_eq!(profile.name, "small.toml");
        let queue = profile.queue.unwrap().shape();
        assert_eq!((queue.rate, queue.sustain), (3.0, Duration::from_secs(1)));
        assert_eq!(queue.ramp, read("smoke").unwrap().queue.unwrap().shape().ramp);
        assert_eq!((profile.database, profile.api), (None, None));
        assert_eq!(profile.system, read("smoke").unwrap().system);
        let edited = parse("small.toml", "[queue]\nrate = 4\nsustain = '1s'").unwrap();
        assert_ne!(profile.digest, edited.digest);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "[que]\nrate = 1\n[queue]\nrat = 2\nsustain = '1s'\n[plan]\ngrowth = 1";
        let faults = parse("x.toml", text).unwrap_err().faults;
        assert_eq!(
            faults,
            [
                "plan.growth is no setting; there are monthly_growth_percent, projected_peak",
                "[que] is no section; did you mean queue?",
                "queue.rat is no setting; did you mean rate?",
            ]
        );
    }

    #[test]
    fn no_number_of_a_profile_is_beyond_reckoning() {
        let faults = |text| parse("x.toml", text).unwrap_err().faults.join("\n");
        for (text, fault) in [
            ("[queue]\nrate = nan", "queue.rate must be 1 to 100000"),
            ("[plan]\nprojected_peak = inf", "plan.projected_peak must be 1 to 100000"),
            ("[plan]\nmonthly_growth_percent = nan", "plan.monthly_growth_percent must be 0 to"),
            ("[platform]\ntransient_percent = nan", "platform.transient_percent must be 0 to 50"),
            ("[queue]\nsustain = '25h'", "queue.sustain must be at most 24h"),
            ("[database]\nramp = '500000000000d'", "database.ramp must be at most 24h"),
            ("[failover]\napart = '25h'", "failover.apart must be at most 24h"),
            ("[failover]\npool_callers = 4000000000", "failover.pool_callers must be 1 to 10000"),
            ("[breaking_point]\nslo_p99 = '25h'", "breaking_point.slo_p99 must be at most 24h"),
        ] {
            let said = faults(text);
            assert!(said.starts_with(fault) && !said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let faults = |text| parse("x.toml", text).unwrap_err().faults.join("\n");
        let said = faults("[queue]\nsustain = 'soon'");
        assert!(said.contains("queue.sustain") && said.contains("is no duration"), "{said}");
        assert_eq!(
            faults("[queue]\nrate = 0\n[platform]\npublish_p50 = '2s'\npublish_p99 = '1s'"),
            "platform.publish_p50 must be above 0 and at most publish_p99, that 30s\n\
             queue.rate must be 1 to 100000"
        );
        assert!(faults("[queue").contains("is no TOML"));
        assert!(faults("queue = 3").contains("queue is a section"));
        let said = read("smok").unwrap_err().to_string();
        assert_eq!(said, "smok is not right\nis no profile and no TOML file; did you mean smoke?");
    }
}
