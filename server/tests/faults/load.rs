//! A client that writes down what it asked for, and what it was told.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::fleet::{Client, now_ms};
use crate::history::{Asked, Told};
use crate::world::Account;

/// Requests under way at once.
const AT_ONCE: usize = 8;

/// Asks an API, and keeps a journal of it.
pub(crate) struct Journal {
    client: Client,
    asked: Mutex<Vec<Asked>>,
    file: Mutex<File>,
}

impl Journal {
    /// A client of the API at `url`, with its journal in `folder`.
    pub(crate) fn new(url: &str, folder: &Path) -> Self {
        let file = File::create(folder.join("client.jsonl")).expect("a file for a journal");
        Self { client: Client::new(url), asked: Mutex::default(), file: Mutex::new(file) }
    }

    /// Publishes a new text on accounts; answers what the client was told.
    pub(crate) async fn publish(&self, text: &str, accounts: &[Account]) -> Told {
        let post = match self.ask("/api/posts", &json!({ "text": text }), 201).await {
            Ok(post) => post,
            // A post alone is nothing that runs.
            Err(told) => return told,
        };
        let connectors: Vec<&str> = accounts.iter().map(|one| one.connector.as_str()).collect();
        let body = json!({ "post_id": post["id"], "connector_ids": connectors });
        match self.ask("/api/publish", &body, 202).await {
            Ok(answer) => {
                let rows = answer["publications"].as_array().cloned().unwrap_or_default();
                let jobs = rows.iter().map(|row| (words(&row["job_id"]), Some(words(&row["id"]))));
                self.note(Told::Accepted, text, jobs.collect())
            }
            Err(told) => self.note(told, text, Vec::new()),
        }
    }

    /// Publishes `posts` texts on every account, several at once.
    pub(crate) async fn publish_many(&self, name: &str, posts: usize, accounts: &[Account]) {
        let each = (0..posts).map(|n| async move {
            self.publish(&format!("{name} {n}"), accounts).await;
        });
        stream::iter(each).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// Enqueues a job that the database is known to refuse: whatever the answer says, if it is not
    /// "accepted", nothing may come of it.
    pub(crate) async fn enqueue_refused(&self, body: &Value, mark: &str) -> Told {
        match self.ask("/api/jobs", body, 202).await {
            Ok(_) => self.note(Told::Accepted, mark, Vec::new()),
            Err(_) => self.note(Told::Refused, mark, Vec::new()),
        }
    }

    /// Enqueues a job as the body says; `mark` is what it can be recognised by.
    pub(crate) async fn enqueue_as(&self, body: &Value, mark: &str) -> Told {
        match self.ask("/api/jobs", body, 202).await {
            Ok(answer) => self.note(Told::Accepted, mark, vec![(words(&answer["id"]), None)]),
            Err(told) => self.note(told, mark, Vec::new()),
        }
    }

    /// Enqueues jobs, all or none.
    pub(crate) async fn enqueue_bulk(&self, jobs: &[Value], mark: &str) -> Told {
        match self.ask("/api/jobs/bulk", &json!({ "jobs": jobs }), 202).await {
            Ok(answer) => {
                let rows = answer["jobs"].as_array().cloned().unwrap_or_default();
                let jobs = rows.iter().map(|row| (words(&row["id"]), None));
                self.note(Told::Accepted, mark, jobs.collect())
            }
            Err(told) => self.note(told, mark, Vec::new()),
        }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics in here").clone()
    }

    /// How many jobs were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.asked().iter().map(|asked| asked.jobs.len()).sum()
    }

    async fn ask(&self, path: &str, body: &Value, good: u16) -> Result<Value, Told> {
        match self.client.http.try_post(path, body).await {
            Ok(answer) if answer.status == good => Ok(answer.body),
            // Only these say that nothing was done; a broken commit may have been one.
            Ok(answer) if (400..500).contains(&answer.status) => Err(Told::Refused),
            Ok(_) | Err(_) => Err(Told::Unknown),
        }
    }

    fn note(&self, told: Told, mark: &str, jobs: Vec<(String, Option<String>)>) -> Told {
        let asked = Asked { at_ms: now_ms(), told, mark: mark.to_owned(), jobs };
        let line = serde_json::to_string(&asked).expect("plain data");
        let mut file = self.file.lock().expect("nobody panics in here");
        writeln!(file, "{line}").expect("a journal that can be written");
        self.asked.lock().expect("nobody panics in here").push(asked);
        told
    }
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
