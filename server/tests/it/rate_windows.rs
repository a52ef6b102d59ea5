//! A platform that says "too many requests" is not asked again for that account before its time,
//! in whichever way it writes the time.

use std::time::Duration;

use jiff::Timestamp;
use postworks_server::sandbox::Op;
use serde_json::json;

use crate::fleet::{Fleet, LONG, now_ms};

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
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&opens).unwrap(),
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
