//! A client of the API, and what tests do through it.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::sandbox::Sandbox;
use super::wait::until;

/// Longer than any answer takes on a busy machine, shorter than a test's patience.
const REQUEST_MAX: Duration = Duration::from_secs(20);
/// Requests under way at once when a test has many to make.
const AT_ONCE: usize = 8;

/// JSON over HTTP with one server.
pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
}

/// A status and a JSON body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, if this is the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Http {
    pub(crate) fn new(base: &str) -> Self {
        let client = reqwest::Client::builder().timeout(REQUEST_MAX).no_proxy().build();
        Self { client: client.expect("an HTTP client"), base: base.to_owned() }
    }

    /// The same, with a key.
    pub(crate) fn with_key(base: &str, key: &str) -> Self {
        let mut value = HeaderValue::try_from(format!("Bearer {key}")).expect("a key of ours");
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let client = reqwest::Client::builder().default_headers(headers);
        let client = client.timeout(REQUEST_MAX).no_proxy().build();
        Self { client: client.expect("an HTTP client"), base: base.to_owned() }
    }

    /// Where the server listens.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("an answer")
    }

    /// Asks a server that may be down.
    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        answer(self.client.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        answer(request).await.expect("an answer")
    }

    /// Posts an image.
    pub(crate) async fn post_image(&self, mime: &'static str, bytes: Vec<u8>) -> Answer {
        let request = self.client.post(format!("{}/api/media", self.base)).body(bytes);
        answer(request.header(CONTENT_TYPE, mime)).await.expect("an answer")
    }

    /// Posts JSON, for who wants to see what else it says.
    pub(crate) async fn post_for_headers(&self, path: &str, body: &Value) -> (Answer, HeaderMap) {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (Answer { status, body: response.json().await.expect("JSON") }, headers)
    }

    /// Posts to a server that may be down, or out of reach.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        answer(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// Posts with an Idempotency-Key; answers also whether the answer had been given before.
    pub(crate) async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> (Answer, bool) {
        self.try_post_keyed(path, key, body).await.expect("an answer")
    }

    /// The same with a server that may be down.
    pub(crate) async fn try_post_keyed(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> reqwest::Result<(Answer, bool)> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.header("idempotency-key", key).send().await?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((Answer { status, body: serde_json::from_str(&text).expect("JSON") }, replayed))
    }

    /// Moves a publication.
    pub(crate) async fn patch(&self, publication: &str, body: &Value) -> Answer {
        let path = format!("{}/api/publications/{publication}", self.base);
        answer(self.client.patch(path).json(body)).await.expect("an answer")
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.client.put(format!("{}{path}", self.base)).json(body);
        answer(request).await.expect("an answer")
    }

    /// A metric's value now, over all its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.expect(200);
        let lines = page.as_str().expect("a page of text").lines();
        let values = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let found = series.split('{').next()?;
            (found == name).then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

/// A publication that the API has accepted.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    /// Its id, which is also its reference on the platform.
    pub(crate) id: String,
    /// The job that publishes it.
    pub(crate) job: String,
}

/// Talks to an API.
pub(crate) struct Client {
    /// For what has no verb here.
    pub(crate) http: Http,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        Self { http: Http::new(url) }
    }

    /// Connects `count` new accounts of a sandbox, in one of its characters; answers their ids.
    pub(crate) async fn connect(
        &self,
        sandbox: &Sandbox,
        platform: &str,
        count: usize,
    ) -> Vec<String> {
        let mut connectors = Vec::with_capacity(count);
        for n in 0..count {
            let handle = format!("{platform}-{n}");
            let secret = sandbox.account(&handle).await;
            let connector = json!({
                "platform": platform,
                "base_url": sandbox.url(),
                "identifier": handle,
                "secret": secret,
            });
            let created = self.http.post("/api/connectors", &connector).await.expect(201);
            connectors.push(text(&created["id"]));
        }
        connectors
    }

    /// Publishes one text on accounts.
    pub(crate) async fn publish(&self, words: &str, connectors: &[String]) -> Vec<Publication> {
        self.publish_post(&json!({ "text": words }), connectors).await
    }

    /// Publishes a post on accounts.
    pub(crate) async fn publish_post(
        &self,
        post: &Value,
        connectors: &[String],
    ) -> Vec<Publication> {
        let post = self.http.post("/api/posts", post).await.expect(201);
        let publish = json!({ "post_id": post["id"], "connector_ids": connectors });
        let accepted = self.http.post("/api/publish", &publish).await.expect(202);
        let publications = accepted["publications"].as_array().expect("a list").iter();
        publications
            .map(|row| Publication { id: text(&row["id"]), job: text(&row["job_id"]) })
            .collect()
    }

    /// Publishes `posts` different texts on every account.
    pub(crate) async fn publish_many(
        &self,
        posts: usize,
        connectors: &[String],
    ) -> Vec<Publication> {
        let each =
            (0..posts).map(|n| async move { self.publish(&format!("post {n}"), connectors).await });
        let accepted: Vec<Vec<Publication>> =
            stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
        accepted.concat()
    }

    /// Lets nothing be claimed from a queue (`pause`), or again (`resume`).
    pub(crate) async fn gate(&self, queue: &str, act: &str) {
        let path = format!("/api/queues/{queue}/{act}");
        let why = json!({ "reason": "all jobs at once" });
        let gate = self.http.post(&path, &why).await.expect(200);
        assert_eq!(gate["applied"], true, "{gate}");
    }

    /// Waits until every publication is out.
    pub(crate) async fn until_published(&self, publications: &[Publication], within: Duration) {
        let mut open: Vec<&Publication> = publications.iter().collect();
        until("publications that are not out", within, async || {
            // One look at what is out already is enough.
            while let Some(publication) = open.last() {
                let path = format!("/api/publications/{}", publication.id);
                match self.http.try_get(&path).await {
                    Ok(answer) if answer.status == 200 => {
                        match text(&answer.body["state"]).as_str() {
                            "published" => drop(open.pop()),
                            "failed" => panic!("a publication failed: {}", answer.body),
                            _ => return false,
                        }
                    }
                    // The API may be waiting for a store; a test says so where it must not.
                    _ => return false,
                }
            }
            true
        })
        .await;
    }

    /// A job as the API shows it.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.http.get(&format!("/api/jobs/{id}")).await.expect(200)
    }

    /// What a job waits for.
    pub(crate) async fn why(&self, id: &str) -> Value {
        self.http.get(&format!("/api/jobs/{id}/why")).await.expect(200)
    }

    /// Waits until a job is in a state; answers the job.
    pub(crate) async fn until_job(&self, id: &str, state: &str, within: Duration) -> Value {
        let mut job = Value::Null;
        until(&format!("job {id} is not {state}"), within, async || {
            job = self.job(id).await;
            job["state"] == state
        })
        .await;
        job
    }

    /// Jobs in a state.
    pub(crate) async fn jobs(&self, state: &str) -> Vec<Value> {
        let mut jobs = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/jobs?state={state}&limit=100{cursor}");
            let page = self.http.get(&path).await.expect(200);
            jobs.extend(page["items"].as_array().expect("a list").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return jobs,
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
