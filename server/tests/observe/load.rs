//! What a product does all day: publishes, syncs, looks. Answers may be refusals; load goes on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::Http;

/// Between two posts; with two accounts each this is twenty publications a second.
const POST_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at a list or a health page.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two requests to fetch an account's posts.
const SYNC_EVERY: Duration = Duration::from_millis(500);
const PAGES: [&str; 6] =
    ["/api/jobs?limit=20", "/api/dlq", "/api/queues", "/health", "/api/connectors", "/api/posts"];

/// Load that goes on until this value is dropped.
pub(crate) struct Load(Vec<JoinHandle<()>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Load {
    /// Publishes and syncs on these accounts by one API, and looks at another.
    pub(crate) fn start(api: &str, other: &str, accounts: &[String]) -> Self {
        let accounts: Arc<[String]> = accounts.into();
        let (publishing, syncing, looking) = (Http::new(api), Http::new(api), Http::new(other));
        let all = Arc::clone(&accounts);
        Self(vec![
            tokio::spawn(async move {
                let mut ticks = ticks(POST_EVERY);
                for n in 0_usize.. {
                    ticks.tick().await;
                    let pair = [&all[n % all.len()], &all[(n + 1) % all.len()]];
                    let post = json!({ "text": format!("post {n}") });
                    let Ok(post) = publishing.try_post("/api/posts", &post).await else { continue };
                    let publish = json!({ "post_id": post.body["id"], "connector_ids": pair });
                    let _ = publishing.try_post("/api/publish", &publish).await;
                }
            }),
            tokio::spawn(async move {
                let mut ticks = ticks(SYNC_EVERY);
                for n in 0_usize.. {
                    ticks.tick().await;
                    let path = format!("/api/connectors/{}/sync", accounts[n % accounts.len()]);
                    let _ = syncing.try_post(&path, &json!({})).await;
                }
            }),
            tokio::spawn(async move {
                let mut ticks = ticks(LOOK_EVERY);
                for n in 0_usize.. {
                    ticks.tick().await;
                    let _ = looking.try_get(PAGES[n % PAGES.len()]).await;
                }
            }),
        ])
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
