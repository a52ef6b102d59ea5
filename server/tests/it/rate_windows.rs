//! A platform that says "too many requests" is not asked again for that account before its time,
//! in whichever way it writes the time.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use postworks_server::sandbox::Op;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Journal, LONG, Publication, now_ms, until};

/// How far in the future the windows open: longer than the first calls need on a busy machine.
const WINDOW: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_left_alone_inside_its_window_and_its_posts_come_out_afterwards() {
    let fleet = Fleet::start().await;
    // One place, so that nothing else is on its way to the platform when it says no.
    let _worker = fleet.worker(&["--concurrency", "1"]).await;
    let accounts = fleet.connect("sandbox", 6).await;
    // Each account has published once: the journal names them as the platform does.
    let first = fleet.sandbox.journal().0;
    let first = first.iter().filter(|entry| entry.op == Op::Publish);
    let handles: Vec<String> = first.map(|entry| entry.account.clone()).collect();
    assert_eq!(handles.len(), accounts.len());
    let before = fleet.sandbox.journal().0.len();
    let now = Timestamp::from_millisecond(now_ms()).unwrap();
    let opens = Timestamp::from_second((now + WINDOW).as_second()).unwrap();
    let forms = [
        WINDOW.as_secs().to_string(),
        http_date(opens),
        opens.to_string(),
        opens.as_second().to_string(),
        opens.as_millisecond().to_string(),
    ];
    let rules = forms.iter().zip(&handles).map(|(form, handle)| {
        json!({
            "op": "publish", "account": handle, "action": "rate_limit", "times": 1,
            "headers": { "retry-after": form },
        })
    });
    fleet.sandbox.faults(rules.collect()).await;
    let publications = fleet.client.publish_many(3, &accounts).await;
    fleet.client.until_published(&publications, LONG).await;
    let journal = fleet.sandbox.journal();
    journal.must_have_each_once(&publications);
    let (mut limited, mut free) = (0, 0);
    for entry in journal.0[before..].iter().filter(|entry| entry.op == Op::Publish) {
        let at: Timestamp = entry.ts.parse().unwrap();
        if handles[..forms.len()].contains(&entry.account) {
            limited += 1;
            assert!(at >= opens, "{} was called at {at}, before {opens}", entry.account);
        } else {
            free += 1;
            assert!(at < opens, "{} waited until {at}", entry.account);
        }
    }
    assert_eq!((limited, free), (15, 3));
    for publication in &publications {
        let job = fleet.client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "to be told to wait is no failure: {job}");
    }
}

fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap()
}

/// How long an account is left alone if the platform says nothing that can be read.
const UNSAID: Duration = Duration::from_secs(30);
/// The shortest time, also if the platform names one that is over.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest time, whatever the platform says.
const LONGEST: Duration = Duration::from_secs(25 * 3_600);

/// What the platform says to an account each, and for how long that is left alone then.
fn forms(opens: Timestamp) -> [(Option<String>, Duration); 8] {
    let in_years = Timestamp::from_second(opens.as_second() + 315_360_000).unwrap();
    let said = |text: &str, window| (Some(text.to_owned()), window);
    [
        (None, UNSAID),
        said("soon", UNSAID),
        said("-5", UNSAID),
        said("Sun, 06 Nov 1994 08:49:37 GMT", SHORTEST),
        // So many seconds are no span but a time since 1970, and long past.
        said("315360000", SHORTEST),
        said(&WINDOW.as_secs().to_string(), WINDOW),
        said(&http_date(opens), WINDOW),
        said(&http_date(in_years), LONGEST),
    ]
}

/// Lets the platform say so once, to an account each.
fn rules(forms: &[(Option<String>, Duration)]) -> Value {
    let rule = |(n, (said, _)): (usize, &(Option<String>, Duration))| {
        let said = said.iter().map(|said| ("retry-after".to_owned(), json!(said)));
        json!({
            "op": "publish", "account": format!("sandbox-{n}"), "action": "error", "status": 429,
            "times": 1, "headers": said.collect::<Value>(),
        })
    };
    forms.iter().enumerate().map(rule).collect()
}

/// Fails the test if one of these posts came before its account's window was over.
fn must_keep_out<'a>(
    journal: &Journal,
    posts: impl Iterator<Item = &'a (usize, &'a Publication)>,
    ends: &[Timestamp],
) {
    let of: HashMap<&str, usize> = posts.map(|(n, post)| (post.id.as_str(), *n)).collect();
    for entry in &journal.0 {
        let account = entry.client_ref.as_deref().and_then(|id| of.get(id));
        let Some(end) = account.and_then(|n| ends.get(*n)) else { continue };
        let at: Timestamp = entry.ts.parse().unwrap();
        assert!(at >= *end, "{} was called at {at}, before {end}", entry.account);
    }
}

/// Waits until the ledger and the broker know of each account's window; answers when they end.
async fn until_told(fleet: &Fleet, accounts: &[String], heard: &[Publication]) -> Vec<Timestamp> {
    let mut ends = Vec::new();
    for (account, publication) in accounts.iter().zip(heard) {
        let mut job = Value::Null;
        until("nobody was told", LONG, async || {
            job = fleet.client.job(&publication.job).await;
            job["run_at"] != job["created_at"]
        })
        .await;
        let end: Timestamp = job["run_at"].as_str().unwrap().parse().unwrap();
        let key = format!("postworks:{{accounts}}:{}", account.replace('-', ""));
        until("the broker was not told", LONG, async || {
            let over = end.as_millisecond() <= now_ms();
            over || fleet
                .redis
                .command(&format!("GET {key}"))
                .contains(&end.as_millisecond().to_string())
        })
        .await;
        ends.push(end);
    }
    ends
}

/// Three workers, and of each account's window one of them is told. By then nothing of the account
/// is under way but the one post that heard it, and the storm begins when the broker knows of every
/// window. So there are no calls to be excused: inside a window there must be none at all.
#[tokio::test(flavor = "multi_thread")]
async fn three_workers_make_no_call_inside_a_window_that_one_of_them_was_told_of() {
    // What waits for the longest window must live longer.
    let expiry = ("POSTWORKS__KINDS__POST_PUBLICATION__EXPIRES_AFTER", "48h");
    let fleet = Fleet::start_with(&[expiry]).await;
    let flags = ["--concurrency", "8"];
    let _workers =
        [fleet.worker(&flags).await, fleet.worker(&flags).await, fleet.worker(&flags).await];
    let soon = || Timestamp::from_second(now_ms() / 1_000).unwrap() + WINDOW;
    let limited = forms(soon()).len();
    // The last one is free, and the one before it for tomorrow.
    let accounts = fleet.connect("sandbox", limited + 1).await;
    let forms = forms(soon());
    fleet.sandbox.faults(rules(&forms)).await;
    let before = Timestamp::from_millisecond(now_ms()).unwrap();
    let heard = fleet.client.publish("who hears it", &accounts[..limited]).await;
    let ends = until_told(&fleet, &accounts, &heard).await;
    let now = Timestamp::from_millisecond(now_ms()).unwrap();
    for ((said, window), end) in forms.iter().zip(&ends) {
        // A date was written down before, and has no parts of a second.
        let from = before + *window - Duration::from_secs(2);
        assert!((from..=now + *window).contains(end), "{said:?} gave a window until {end}");
    }

    let storm = fleet.client.publish_many(5, &accounts).await;
    let syncs = sync(&fleet, &accounts[..limited]).await;
    let account_of = |n: usize| n % accounts.len();
    let all: Vec<(usize, &Publication)> = heard
        .iter()
        .enumerate()
        .chain(storm.iter().enumerate().map(|(n, publication)| (account_of(n), publication)))
        .collect();
    let (tomorrow, today): (Vec<_>, Vec<_>) = all.into_iter().partition(|(n, _)| n + 1 == limited);
    let posts: Vec<Publication> =
        today.iter().map(|(_, publication)| (*publication).clone()).collect();
    fleet.client.until_published(&posts, LONG).await;
    let journal = fleet.sandbox.journal();
    journal.must_have_each_once(&posts);
    must_keep_out(&journal, today.iter().chain(&tomorrow), &ends);
    for (_, publication) in &today {
        let job = fleet.client.until_job(&publication.job, "completed", LONG).await;
        assert_eq!(job["attempt"], 1, "to be told to wait is no failure: {job}");
    }
    for (sync, end) in syncs.iter().zip(&ends[..limited - 1]) {
        let job = fleet.client.until_job(sync, "completed", LONG).await;
        let at: Timestamp = job["finished_at"].as_str().unwrap().parse().unwrap();
        assert!(at >= *end, "the account was read at {at}, before {end}");
    }
    for job in tomorrow.iter().map(|(_, publication)| &publication.job).chain(&syncs[limited - 1..])
    {
        let told = fleet.client.why(job).await;
        // As times: one that ends in a zero is written in two ways.
        let eta: Timestamp = told["eta"].as_str().unwrap().parse().unwrap();
        assert_eq!(eta, ends[limited - 1], "{told}");
        assert_eq!(fleet.client.job(job).await["attempt"], 0);
    }
}

async fn sync(fleet: &Fleet, accounts: &[String]) -> Vec<String> {
    let mut jobs = Vec::new();
    for account in accounts {
        let sync = json!({"kind": "connector_sync", "args": {"connector_id": account}});
        let accepted = fleet.client.http.post("/api/jobs", &sync).await.expect(202);
        jobs.push(accepted["id"].as_str().unwrap().to_owned());
    }
    jobs
}
