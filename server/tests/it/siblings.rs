//! An answer with new tokens that is lost, on a platform whose refresh tokens live until what came of
//! them is used.

use std::slice::from_ref;

use postworks_server::sandbox::Op;
use serde_json::json;

use crate::fleet::{Fleet, LONG, Process};

const JOBS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_made_up_for_where_a_refresh_token_lives_until_the_new_ones_are_used() {
    let fleet = Fleet::start().await;
    let account = json!({ "handle": "ada", "rotation": "sibling" });
    let connector = json!({
        "platform": "sandbox",
        "base_url": fleet.sandbox.url(),
        "identifier": "ada",
        "secret": fleet.sandbox.account_as(&account).await,
    });
    let connector = fleet.client.http.post("/api/connectors", &connector).await.expect(201);
    let id = connector["id"].as_str().unwrap().to_owned();
    let lost = json!([{ "op": "refresh", "action": "drop_after", "times": 1 }]);
    fleet.sandbox.faults(lost).await;
    let publications = fleet.client.publish_many(JOBS, from_ref(&id)).await;
    let mut workers = fleet.workers(2, &[]).await;
    fleet.client.until_published(&publications, LONG).await;

    let journal = fleet.sandbox.journal();
    let copies = journal.copies();
    assert_eq!(copies.len(), JOBS);
    assert!(copies.values().all(|copies| *copies == 1), "{copies:?}");
    let refreshes = journal.0.iter().filter(|entry| entry.op == Op::Refresh).count();
    assert_eq!(refreshes, 2, "the lost one, and one with the same token");
    workers.iter_mut().for_each(Process::must_run);
}
