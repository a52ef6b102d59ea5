//! Findings without figures that are no numbers: JSON has no words for them, and no sentence could
//! use them.

use crate::loadtest::findings::{Capacity, Findings, Scenario};

/// The same findings; what was no number counts as not measured, and its scenario says so.
pub(super) fn sound(findings: &Findings) -> Findings {
    let mut sound = findings.clone();
    zero(&mut sound.took_s);
    for scenario in &mut sound.scenarios {
        clean(scenario);
    }
    for verdict in &mut sound.verdicts {
        drop_unsound(&mut verdict.measured);
    }
    // A bound that is none cannot be held or missed.
    sound.verdicts.retain(|verdict| verdict.bound.is_finite());
    clean_capacity(&mut sound.capacity);
    sound
}

fn clean(scenario: &mut Scenario) {
    zero(&mut scenario.took_s);
    let mut lost: Vec<String> = Vec::new();
    scenario.phases.retain(|phase| phase.from_s.is_finite() && phase.to_s.is_finite());
    scenario.timings.retain(|timing| {
        let figures = [
            timing.mean_ms,
            timing.p50_ms,
            timing.p95_ms,
            timing.p99_ms,
            timing.p999_ms,
            timing.max_ms,
        ];
        keep(figures.iter().all(|ms| ms.is_finite()), &timing.name, &mut lost)
    });
    for table in &mut scenario.tables {
        table.rows.retain(|row| keep(row.value.is_finite(), &row.name, &mut lost));
    }
    for series in &mut scenario.series {
        series.points.retain(|(at, _)| at.is_finite());
        // It is a gap, and no word is lost about it.
        series.points.iter_mut().for_each(|(_, value)| drop_unsound(value));
    }
    if !lost.is_empty() {
        scenario.notes.push(format!("No figure came out for: {}.", lost.join(", ")));
    }
}

fn keep(sound: bool, name: &str, lost: &mut Vec<String>) -> bool {
    if !sound {
        lost.push(name.to_owned());
    }
    sound
}

fn clean_capacity(capacity: &mut Capacity) {
    let Capacity {
        sustainable_rate,
        slo_p99_ms,
        gave_way,
        workers: _,
        places: _,
        run_mean_ms,
        redis_bytes_queued,
        redis_bytes_left,
        postgres_bytes,
        postgres_wal_bytes,
        cpu_s_per_1000,
        projected_peak,
        monthly_growth,
    } = capacity;
    for figure in [
        sustainable_rate,
        slo_p99_ms,
        run_mean_ms,
        redis_bytes_queued,
        redis_bytes_left,
        postgres_bytes,
        postgres_wal_bytes,
    ] {
        drop_unsound(figure);
    }
    *gave_way = gave_way.take().filter(|(rate, _)| rate.is_finite());
    *cpu_s_per_1000 = cpu_s_per_1000.filter(|each| each.iter().all(|s| s.is_finite()));
    zero(projected_peak);
    zero(monthly_growth);
}

fn drop_unsound(figure: &mut Option<f64>) {
    *figure = figure.filter(|value| value.is_finite());
}

fn zero(figure: &mut f64) {
    if !figure.is_finite() {
        *figure = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn sound_findings_stay_as_they_are() {
        assert_eq!(sound(&fixture::whole()), fixture::whole());
        assert_eq!(sound(&fixture::interrupted()), fixture::interrupted());
    }

    #[test]
    fn what_is_no_number_is_not_measured_and_survives_json() {
        let mut findings = fixture::whole();
        findings.scenarios[0].timings[0].p99_ms = f64::NAN;
        findings.scenarios[0].tables[0].rows[0].value = f64::INFINITY;
        findings.scenarios[0].series[0].points[3].1 = Some(f64::NAN);
        findings.scenarios[0].series[0].points[7].0 = f64::NAN;
        findings.verdicts[0].measured = Some(f64::NAN);
        findings.capacity.sustainable_rate = Some(f64::NAN);
        findings.capacity.cpu_s_per_1000 = Some([1.0, f64::NAN, 1.0]);
        let names = [
            findings.scenarios[0].timings[0].name.clone(),
            findings.scenarios[0].tables[0].rows[0].name.clone(),
        ];
        let sound = sound(&findings);
        let note = sound.scenarios[0].notes.last().unwrap();
        assert_eq!(*note, format!("No figure came out for: {}.", names.join(", ")));
        assert_eq!(sound.verdicts[0].held(), None);
        let points = &sound.scenarios[0].series[0].points;
        assert_eq!((points[3], points.len()), ((3.0, None), 900));
        assert_eq!((sound.capacity.sustainable_rate, sound.capacity.cpu_s_per_1000), (None, None));
        let json = serde_json::to_string(&sound).unwrap();
        assert!(serde_json::from_str::<Findings>(&json).unwrap() == sound);
    }
}
