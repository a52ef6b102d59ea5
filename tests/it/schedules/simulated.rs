//! Days of schedules on two nodes whose clocks differ, minute by minute: each time is had once, and none
//! is left out.

use postworks::ledger::PostgresOptions;

use super::*;

/// How many schedules there are over the three days, if somebody says so: 532 have 505 times a minute
/// and more, and take a quarter of an hour or more. Runs that have a time limit are ended before that:
/// `POSTWORKS_SCHEDULES=532 cargo test --workspace --test it two_nodes_have`.
const SCHEDULES: &str = "POSTWORKS_SCHEDULES";
/// Enough to meet every cron in every zone.
const SCHEDULES_USUALLY: u32 = 40;

const CRONS: [&str; 8] = [
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "17 * * * *",
    "30 2 * * *",
    "0,30 1-3 * * *",
    "45 23 * * *",
    "0 3 * * 0",
];
/// The clocks of Europe change on the 28th of March 2027, that of Lord Howe on the 4th of April.
const ZONES: [&str; 4] = ["Europe/Berlin", "Europe/Lisbon", "UTC", "Australia/Lord_Howe"];

/// Each cron in each zone, and whatever there are more come every minute.
fn timetable(number: u32) -> (&'static str, &'static str) {
    let (cron, zone) = (number as usize % CRONS.len(), number as usize / CRONS.len());
    ZONES.get(zone).map_or((CRONS[0], ZONES[0]), |zone| (CRONS[cron], zone))
}

async fn each_time_is_had_once(one: &Db, other: &Db, schedules: u32, minutes: u32) {
    let start = time("2027-03-27T00:00:30Z");
    let ((first, ahead), (second, behind)) = (node(one), node(other));
    let mut expected = Vec::new();
    let end = start.after(MINUTE * minutes);
    for number in 0..schedules {
        let (cron, zone) = timetable(number);
        let new = schedule(number, cron, zone, start);
        add(&first.schedules, &new).await;
        let cron = Cron::parse(cron, zone).unwrap();
        let times = std::iter::successors(cron.next_after(start), |at| cron.next_after(*at));
        expected.extend(times.take_while(|at| *at <= end).map(|at| (number, at)));
    }
    assert!(expected.len() > schedules as usize * 100);
    for minute in 1..=minutes {
        let now = start.after(MINUTE * minute);
        ahead.set(now);
        behind.set(now.before(Duration::from_secs(20)));
        let looks = [&first, &second].map(|node| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                // What others have under their hands is looked at again, as by a node that runs.
                while node.look().await.unwrap() < Duration::from_secs(1) {}
            })
        });
        for look in looks {
            look.await.unwrap();
        }
    }
    let made = jobs(one).await;
    let differs = made.iter().zip(&expected).find(|(made, expected)| made != expected);
    assert_eq!(differs, None, "what was made, and what was expected");
    assert_eq!(made.len(), expected.len());
    println!("{schedules} schedules had {} times in {minutes} minutes", made.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_have_each_time_once_over_three_days_with_a_change_of_the_clock() {
    let schedules = std::env::var(SCHEDULES).map(|number| number.parse().expect("a number"));
    let server = PostgresServer::launch().await;
    let url = server.database().await;
    let connect = || Db::connect_postgres(&url, &PostgresOptions::default()).unwrap();
    let schedules = schedules.unwrap_or(SCHEDULES_USUALLY);
    each_time_is_had_once(&connect(), &connect(), schedules, 3 * 24 * 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_on_the_embedded_ledger_have_each_time_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
    db.migrate().await.unwrap();
    each_time_is_had_once(&db, &db, 32, 2 * 24 * 60).await;
}
