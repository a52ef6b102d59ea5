//! How much of everything a rate of jobs needs: pure arithmetic on what was measured.

/// What may be busy of what there is: above this, queues grow faster than the load.
pub(super) const BUSY_MAX: f64 = 0.7;

/// Of 100 jobs, so many may start later than the bound says: it is on p99.
const LATE_MAX: f64 = 0.01;

/// No fleet has more places.
const PLACES_MAX: f64 = 1e6;

/// Places that a rate needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Places {
    /// Busy at the same time, in the mean.
    pub(super) busy: f64,
    /// To have.
    pub(super) wanted: f64,
}

/// Places for `rate` jobs a second that run `run_ms` each.
///
/// Little's law: a rate times the time that each takes is how many run at the same time. No more
/// than [`BUSY_MAX`] of the places may be busy. Where there are few places that is not enough,
/// since chance fills them all now and then: with a bound on the wait, so many that 99 of 100 jobs
/// start within it (Erlang's C; arrivals by chance, runs of changing length). `None`: no figures to
/// go by, or too many places for any fleet.
pub(super) fn places(rate: f64, run_ms: f64, slo_ms: Option<f64>) -> Option<Places> {
    let busy = rate * run_ms / 1000.0;
    if !(busy > 0.0 && busy < PLACES_MAX) {
        return None;
    }
    let by_share = (busy / BUSY_MAX).ceil();
    let wanted = match slo_ms {
        Some(slo_ms) if slo_ms >= 0.0 => by_share.max(by_wait(busy, slo_ms / run_ms)),
        _ => by_share,
    };
    Some(Places { busy, wanted })
}

/// The fewest places of which `busy` are busy in the mean, so that at most [`LATE_MAX`] of the jobs
/// wait longer than `wait` runs.
fn by_wait(busy: f64, wait: f64) -> f64 {
    // Erlang's B, one place more at a time.
    let (mut all_busy, mut places) = (1.0, 0.0);
    while places < PLACES_MAX {
        places += 1.0;
        all_busy = busy * all_busy / (places + busy * all_busy);
        if places > busy {
            let waits = all_busy / (1.0 - busy / places * (1.0 - all_busy));
            if waits * (-(places - busy) * wait).exp() <= LATE_MAX {
                break;
            }
        }
    }
    places
}

/// Workers of so many places each.
pub(super) fn workers(places: f64, each: u32) -> Option<f64> {
    (each > 0).then(|| (places / f64::from(each)).ceil())
}

/// The highest rate that places carry at [`BUSY_MAX`].
pub(super) fn rate_of_places(places: f64, run_ms: f64) -> Option<f64> {
    (run_ms > 0.0).then(|| places * BUSY_MAX / (run_ms / 1000.0))
}

/// Processors that `rate` keeps busy, at so many processor seconds for 1,000 jobs.
pub(super) fn processors(rate: f64, s_per_1000: f64) -> f64 {
    rate / 1000.0 * s_per_1000
}

/// The highest rate that one processor carries at [`BUSY_MAX`].
pub(super) fn rate_of_processor(s_per_1000: f64) -> Option<f64> {
    (s_per_1000 > 0.0).then(|| BUSY_MAX * 1000.0 / s_per_1000)
}

/// Jobs of a day at a rate.
pub(super) fn jobs_a_day(rate: f64) -> f64 {
    rate * 86_400.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thousand_jobs_of_half_a_second_keep_five_hundred_places_busy() {
        let found = places(1_000.0, 500.0, None).unwrap();
        assert_eq!(found, Places { busy: 500.0, wanted: 715.0 });
        assert_eq!(workers(found.wanted, 100), Some(8.0));
        assert_eq!(workers(found.wanted, 0), None);
        assert_eq!(rate_of_places(100.0, 500.0), Some(140.0));
    }

    #[test]
    fn few_places_need_more_room_than_many() {
        // Erlang's C of 2 busy: with 6 places 1.8 of 100 jobs wait, with 7 places 0.48.
        let few = places(2.0, 1_000.0, Some(0.0)).unwrap();
        assert_eq!(few.wanted, 7.0);
        let many = places(2_000.0, 1_000.0, Some(0.0)).unwrap();
        assert_eq!(many.wanted, 2_858.0, "the share decides");
        let patient = places(2.0, 1_000.0, Some(10_000.0)).unwrap();
        assert_eq!(patient.wanted, 3.0, "who may wait needs no more than the share");
    }

    #[test]
    fn nothing_is_said_of_figures_that_are_none() {
        for (rate, run) in
            [(0.0, 500.0), (10.0, 0.0), (f64::NAN, 1.0), (10.0, f64::INFINITY), (1e9, 1e9)]
        {
            assert_eq!(places(rate, run, Some(50.0)), None, "{rate} {run}");
        }
        assert_eq!(rate_of_processor(0.0), None);
    }

    #[test]
    fn processors_follow_the_rate() {
        assert_eq!(processors(2_000.0, 0.4), 0.8);
        assert_eq!(rate_of_processor(0.5), Some(1_400.0));
        assert_eq!(jobs_a_day(10.0), 864_000.0);
    }

    proptest! {
        #[test]
        fn more_load_and_a_tighter_bound_never_need_fewer_places(
            rate in 0.1..2_000.0_f64,
            more in 1.0..3.0_f64,
            run in 1.0..2_000.0_f64,
            slo in 0.0..1_000.0_f64,
        ) {
            let few = places(rate, run, Some(slo)).unwrap();
            let many = places(rate * more, run, Some(slo)).unwrap();
            let tight = places(rate, run, Some(slo / 2.0)).unwrap();
            prop_assert!(many.wanted >= few.wanted && tight.wanted >= few.wanted);
            prop_assert!(few.wanted >= few.busy / BUSY_MAX);
        }
    }
}
