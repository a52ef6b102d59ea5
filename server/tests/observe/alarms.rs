//! Which alerts the steps provoke, and what became of each.

use std::fmt;

use crate::prometheus::Prometheus;

/// Alerts that must fire, and end before the run does.
const FIRE_AND_END: &[&str] = &[
    "PostworksDeadLettersGrow",
    "PostworksDeadLettersFlood",
    "PostworksJobsFail",
    "PostworksQueuesDeep",
    "PostworksQueueUnserved",
    "PostworksJobsStartLate",
    "PostworksTargetDown",
    "PostworksLeasesLost",
    "PostworksWorkersCrash",
    "PostworksBreakerOpen",
    "PostworksEffectsUnknown",
    "PostworksAccountsNeedReauth",
    "PostworksRedisMemory",
    "PostworksRedisMemoryFull",
    "PostworksRedisEvicts",
    "PostworksDatabaseSlow",
    "PostworksDatabaseVerySlow",
    "PostworksApiRefusesWork",
];
/// Alerts that must fire, and look back over so long a time that they outlast the run.
const FIRE_AND_LAST: &[&str] =
    &["PostworksJobsBurnBudget", "PostworksStartsBurnBudget", "PostworksApiBurnsBudget"];
/// What else the same steps may set off, by how fast the machine is.
const MAY_FIRE: &[&str] =
    &["PostworksApiSlow", "PostworksPoolBusy", "PostworksPoolFull", "PostworksStoresFail"];

/// Whether the run waits for the end of this alert.
pub(crate) fn ends(name: &str) -> bool {
    FIRE_AND_END.contains(&name)
}

/// When an alert fired, in seconds from the beginning.
struct Alarm {
    name: String,
    first: f64,
    last: f64,
}

/// What became of all of them.
pub(crate) struct Alarms {
    fired: Vec<Alarm>,
    span: f64,
}

impl Alarms {
    /// Reads what fired when.
    pub(crate) async fn read(prometheus: &Prometheus, (from, to): (f64, f64)) -> Self {
        let asked = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
        let series = prometheus.over(asked, (from, to), 1.0).await.expect("a sound expression");
        let alarm = |series: &crate::prometheus::Series| {
            let at = |point: Option<&(f64, f64)>| point.map_or(0.0, |(time, _)| time - from);
            Alarm {
                name: series.labels["alertname"].as_str().expect("a name").to_owned(),
                first: at(series.points.first()),
                last: at(series.points.last()),
            }
        };
        let mut fired: Vec<Alarm> = series.iter().map(alarm).collect();
        fired.sort_by(|one, other| one.first.total_cmp(&other.first));
        Self { fired, span: to - from }
    }

    fn of(&self, name: &str) -> Option<&Alarm> {
        self.fired.iter().find(|alarm| alarm.name == name)
    }

    fn has_ended(&self, alarm: &Alarm) -> bool {
        alarm.last < self.span - 2.0
    }

    fn count(&self, names: &[&str], good: impl Fn(&Alarm) -> bool) -> usize {
        names.iter().filter(|name| self.of(name).is_some_and(&good)).count()
    }

    fn unexpected(&self) -> Vec<&Alarm> {
        let known = |name: &str| {
            [FIRE_AND_END, FIRE_AND_LAST, MAY_FIRE].iter().any(|names| names.contains(&name))
        };
        self.fired.iter().filter(|alarm| !known(&alarm.name)).collect()
    }

    /// Whether every alert did what it was to do, and no other fired.
    pub(crate) fn are_good(&self) -> bool {
        self.count(FIRE_AND_END, |alarm| self.has_ended(alarm)) == FIRE_AND_END.len()
            && self.count(FIRE_AND_LAST, |_| true) == FIRE_AND_LAST.len()
            && self.unexpected().is_empty()
    }
}

impl fmt::Display for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<30} {:>10} {:>10}", "alert", "fired at s", "ended at s")?;
        for alarm in &self.fired {
            let end = if self.has_ended(alarm) { format!("{:.0}", alarm.last) } else { "-".into() };
            writeln!(f, "{:<30} {:>10.0} {end:>10}", alarm.name, alarm.first)?;
        }
        let expected = FIRE_AND_END.len() + FIRE_AND_LAST.len();
        let fired = self.count(FIRE_AND_END, |_| true) + self.count(FIRE_AND_LAST, |_| true);
        let ended = self.count(FIRE_AND_END, |alarm| self.has_ended(alarm));
        writeln!(f, "alerts fired as expected {fired}/{expected}")?;
        writeln!(f, "ended before the run did {ended}/{} that can", FIRE_AND_END.len())?;
        for name in FIRE_AND_END.iter().chain(FIRE_AND_LAST) {
            match self.of(name) {
                None => writeln!(f, "    {name} did not fire")?,
                Some(alarm) if ends(name) && !self.has_ended(alarm) => {
                    writeln!(f, "    {name} did not end")?;
                }
                Some(_) => {}
            }
        }
        for alarm in self.unexpected() {
            writeln!(f, "    {} was not expected", alarm.name)?;
        }
        Ok(())
    }
}
