//! The times of crons over ten years, held against a slow oracle that knows nothing of the search:
//! it goes through the minutes one by one, and looks at the clock on the wall.

use jiff::tz::TimeZone;
use postworks::job::Timestamp;
use postworks::job::schedule::Cron;

/// 2026-01-01T00:00:00Z and 2036-01-01T00:00:00Z, in minutes since 1970.
const TEN_YEARS: std::ops::Range<i64> = 29_454_240..34_712_640;
/// Clocks change at quarters of an hour.
const QUARTER: i64 = 15;

/// Changes at one and at three o'clock, at midnight, by half an hour, by two hours, four times a
/// year, south of the equator, and never.
const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kolkata",
];

const CRONS: &[&str] = &[
    "30 2 * * *",
    "0 3 * * *",
    "15 0 * * *",
    "59 1 * * 0",
    "0 0 1 * *",
    "30 2 13 * 5",
    "*/20 * * * *",
    "0,30 1-3 * * *",
    "45 */2 * 3,10 *",
    "5 2,14 * * 6",
];

/// A cron as the oracle reads it.
struct Fields {
    /// A bit for each value.
    sets: [u64; 5],
    any_day: bool,
    any_weekday: bool,
    time_of_day: bool,
}

impl Fields {
    fn read(cron: &str) -> Self {
        let texts: Vec<&str> = cron.split(' ').collect();
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        let sets = [0, 1, 2, 3, 4].map(|at| set(texts[at], bounds[at]));
        let one = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (any_day, any_weekday) = (texts[2] == "*", texts[4] == "*");
        Self { sets, any_day, any_weekday, time_of_day: one(texts[0]) && one(texts[1]) }
    }

    fn has(&self, wall: &Wall) -> bool {
        let has = |field: usize, value: i64| self.sets[field] >> value & 1 == 1;
        // Most minutes are told by these.
        if !has(0, wall.minute) || !has(1, wall.hour) || !has(3, wall.month) {
            return false;
        }
        let (day, weekday) = (has(2, wall.day), has(4, wall.weekday));
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn set(text: &str, (least, most): (i64, i64)) -> u64 {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match range {
            "*" => (least, most),
            _ => {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                (from.parse().unwrap(), to.parse().unwrap())
            }
        };
        for value in (from..=to).step_by(step.parse().unwrap()) {
            set |= 1 << value;
        }
    }
    set
}

/// What the clock on the wall shows.
struct Wall {
    days: i64,
    minute: i64,
    hour: i64,
    day: i64,
    month: i64,
    weekday: i64,
}

impl Wall {
    /// `minutes` on the wall since its 1970.
    fn show(&mut self, minutes: i64) {
        let days = minutes.div_euclid(1_440);
        (self.hour, self.minute) = (minutes.rem_euclid(1_440) / 60, minutes.rem_euclid(60));
        if days != self.days {
            let date = jiff::civil::date(1970, 1, 1)
                .checked_add(jiff::Span::new().days(days))
                .expect("a date of our time");
            (self.days, self.weekday) = (days, (days + 4).rem_euclid(7));
            (self.day, self.month) = (date.day().into(), date.month().into());
        }
    }
}

/// The times of each cron, in minutes since 1970.
fn oracle(zone: &TimeZone, crons: &[Fields]) -> Vec<Vec<i64>> {
    let mut found = vec![Vec::new(); crons.len()];
    let mut wall = Wall { days: -1, minute: 0, hour: 0, day: 0, month: 0, weekday: 0 };
    let offset = |minute: i64| {
        let at = jiff::Timestamp::from_second(minute * 60).unwrap();
        i64::from(zone.to_offset(at).seconds()) / 60
    };
    let mut shift = offset(TEN_YEARS.start);
    let mut shown_most = TEN_YEARS.start + shift - 1;
    for minute in TEN_YEARS {
        if minute % QUARTER == 0 {
            shift = offset(minute);
        }
        let shown = minute + shift;
        let again = shown <= shown_most;
        // What the wall never showed.
        for skipped in shown_most + 1..shown {
            wall.show(skipped);
            for (cron, found) in crons.iter().zip(&mut found) {
                if cron.time_of_day && cron.has(&wall) {
                    found.push(minute);
                }
            }
        }
        wall.show(shown);
        for (cron, found) in crons.iter().zip(&mut found) {
            let once = cron.time_of_day && again;
            if !once && cron.has(&wall) && found.last() != Some(&minute) {
                found.push(minute);
            }
        }
        shown_most = shown_most.max(shown);
    }
    found
}

#[test]
fn crons_come_as_the_clock_on_the_wall_says_for_ten_years_in_every_kind_of_zone() {
    let crons: Vec<Fields> = CRONS.iter().map(|cron| Fields::read(cron)).collect();
    let check = |zone: &str| {
        let expected = oracle(&TimeZone::get(zone).unwrap(), &crons);
        for (text, expected) in CRONS.iter().zip(expected) {
            let cron = Cron::parse(text, zone).unwrap();
            let before = Timestamp::from_millis(TEN_YEARS.start * 60_000 - 1);
            let times: Vec<i64> =
                std::iter::successors(cron.next_after(before), |at| cron.next_after(*at))
                    .map(|at| at.as_millis() / 60_000)
                    .take_while(|minute| *minute < TEN_YEARS.end)
                    .collect();
            let differs = times.iter().zip(&expected).find(|(a, b)| a != b);
            let say = |minute: &i64| Timestamp::from_millis(minute * 60_000).to_string();
            let differs = differs.map(|(ours, oracles)| (say(ours), say(oracles)));
            assert_eq!(differs, None, "{text} in {zone}: ours, and the oracle's");
            assert_eq!(times.len(), expected.len(), "{text} in {zone}");
            assert!(times.len() > 9, "{text} in {zone} came {} times", times.len());
        }
    };
    std::thread::scope(|scope| {
        for zones in ZONES.chunks(ZONES.len() / 2) {
            scope.spawn(move || zones.iter().for_each(|zone| check(zone)));
        }
    });
}
