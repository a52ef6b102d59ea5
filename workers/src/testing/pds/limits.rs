//! Using up what the server grants, as somebody else's program would, until it says 429.

use http::Method;
use postworks::job::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{PdsAccount, PdsServer, answer, endpoint, text};

/// Creating a record costs so many points of the account's hour (`calcPoints` of `applyWrites`).
const CREATED: usize = 3;
/// Records in one `applyWrites`; the server takes 200.
const BATCH: usize = 100;
/// The points of an account's hour (`repo-write-hour` of `@atproto/pds` 0.4.217).
const HOUR: usize = 5_000;
/// More than the server grants of anything that is used up one by one.
const ASKED_MAX: usize = 100;

impl PdsServer {
    /// Writes records that are no posts until the account's hour has so many points left, or up to
    /// two fewer.
    pub async fn leave_points(&self, account: &PdsAccount, left: usize) {
        let session = answer(self.new_session(account)).await;
        let mut records = (HOUR - left).div_ceil(CREATED);
        while records > 0 {
            let batch = records.min(BATCH);
            let note = json!({
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": "com.example.note",
                "value": { "$type": "com.example.note", "text": "spent" },
            });
            let writes = json!({ "repo": account.did, "writes": vec![note; batch] });
            let url = endpoint(&self.url(), "xrpc/com.atproto.repo.applyWrites");
            let request = self.http.request(Method::POST, url).json(&writes);
            answer(request.bearer_auth(text(&session, "accessJwt"))).await;
            records -= batch;
        }
    }

    /// Signs in until the server refuses more of the account; answers until when.
    pub async fn use_up_sign_ins(&self, account: &PdsAccount) -> Timestamp {
        for _ in 0..ASKED_MAX {
            let answer = self.new_session(account).send().await.expect("the server answers");
            if answer.status() == 429 {
                let reset = answer.headers().get("ratelimit-reset").expect("it says until when");
                let seconds: i64 =
                    reset.to_str().ok().and_then(|text| text.parse().ok()).expect("a time");
                return Timestamp::from_millis(seconds * 1000);
            }
        }
        panic!("the server grants more than {ASKED_MAX} sessions");
    }

    fn new_session(&self, account: &PdsAccount) -> super::RequestBuilder {
        let url = endpoint(&self.url(), "xrpc/com.atproto.server.createSession");
        let password = account.password.expose_secret();
        let body: Value = json!({ "identifier": account.handle, "password": password });
        self.http.request(Method::POST, url).json(&body)
    }
}
