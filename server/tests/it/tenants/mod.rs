//! Tenants: each caller's rows are theirs, on every route, and the fleet is the house's.

mod commands;
mod described;
mod jobs;
mod retention;
mod routes;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Category, JobId, Reason, Token};
use postworks::ledger::{Next, Settled, Verdict};
use postworks::testing::postgres_server::PostgresServer;
use postworks_server::auth::Role;
use postworks_workers::testing::pictures;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::oauth::SETTINGS;
use crate::world::{Answer, World};

/// An API over PostgreSQL whose callers must prove who they are, and some tenants.
struct House {
    world: World,
    url: String,
    // After the world: who uses it goes first.
    _server: PostgresServer,
}

/// A tenant, as an admin of it asks.
struct Tenant {
    key: String,
}

/// What a tenant has.
struct Rows {
    /// For who gives one up.
    spare: Uuid,
    connector: Uuid,
    post: Uuid,
    media: Uuid,
    publication: Uuid,
    job: Uuid,
    /// A dead job.
    dead: Uuid,
    redrive: Uuid,
    /// A publication of which nobody knows what became of it.
    effect: Uuid,
    schedule: Uuid,
    set: Uuid,
}

fn id_of(answer: &Value) -> Uuid {
    serde_json::from_value(answer["id"].clone()).unwrap_or_else(|_| panic!("{answer}"))
}

/// A move to then.
fn in_an_hour() -> Value {
    json!({"at": SystemClock.now().after(std::time::Duration::from_secs(3_600))})
}

impl House {
    async fn open() -> Self {
        let server = PostgresServer::launch().await;
        let url = server.database().await;
        let options = postworks::ledger::PostgresOptions::default();
        let db = postworks::ledger::Db::connect_postgres(&url, &options).unwrap();
        let world = World::guarded_with(db, SystemClock::shared(), SETTINGS);
        Self { world, url, _server: server }
    }

    /// An admin of the tenant with this name, which is made unless it is the house.
    async fn admin_of(&self, name: &str) -> Tenant {
        if name != "default" {
            self.world.app.create_tenant(name).await.unwrap();
        }
        let app = self.world.app.for_tenant_named(name).await.unwrap();
        let key = app.create_api_key(Role::Admin, None).await.unwrap().key;
        Tenant { key: format!("Bearer {key}") }
    }

    async fn ask(&self, by: &Tenant, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(by, method, path, body, &[]).await
    }

    async fn ask_with(
        &self,
        by: &Tenant,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let headers = [&[("authorization", by.key.as_str())], headers].concat();
        self.world.ask_with(method, path, &headers, body).await
    }

    /// Asks for what must be done, and answers with the body.
    async fn done(&self, by: &Tenant, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(by, method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
        answer.body
    }

    /// The ids on a page of a list.
    async fn ids(&self, by: &Tenant, path: &str, field: &str) -> Vec<Uuid> {
        let page = self.done(by, "GET", path, Value::Null).await;
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
        items.iter().map(|item| item[field].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Connects the same account for whoever asks.
    async fn connector(&self, by: &Tenant) -> Uuid {
        let connector = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
            "identifier": "ann", "secret": "hush"});
        id_of(&self.done(by, "POST", "/api/connectors", connector).await)
    }

    /// Uploads the same image for whoever asks.
    async fn media(&self, by: &Tenant) -> Uuid {
        let request = Request::builder().method("POST").uri("/api/media");
        let request = request.header(header::AUTHORIZATION, &by.key);
        let request = request.header(header::CONTENT_TYPE, "image/png");
        let image = Body::from(pictures::png(2, 2));
        let added = self.world.send(request.body(image).unwrap()).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        id_of(&added.body)
    }

    /// A job that fetches an account's posts.
    async fn sync(&self, by: &Tenant, connector: Uuid) -> Uuid {
        let job = json!({"kind": "connector_sync", "args": {"connector_id": connector}});
        id_of(&self.done(by, "POST", "/api/jobs", job).await)
    }

    /// A dead job.
    async fn dead(&self, by: &Tenant, connector: Uuid) -> Uuid {
        let id = self.sync(by, connector).await;
        let reason =
            Reason { category: Category::Invalid, class: "invalid".into(), message: "no".into() };
        let then = Next::Dead { at: SystemClock.now(), reason, failed_attempts: 1, job: None };
        let token = Token { generation: 1, sequence: 1 };
        let verdict = Verdict { id: JobId::from_uuid(id), token, then, failed: None };
        let settled = self.world.node.ledger.settle(&[verdict]).await.unwrap();
        assert_eq!(settled, [Settled::Done]);
        id
    }

    async fn sql(&self, sql: &str) {
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// One of everything.
    async fn furnish(&self, by: &Tenant) -> Rows {
        let connector = self.connector(by).await;
        let post = json!({"text": "hello"});
        let post = id_of(&self.done(by, "POST", "/api/posts", post).await);
        let (mut published, mut set) = (Vec::new(), Uuid::nil());
        for _ in 0..2 {
            let publish = json!({"post_id": post, "connector_ids": [connector]});
            let answer = self.done(by, "POST", "/api/publish", publish).await;
            published.push(id_of(&answer["publications"][0]));
            set = answer["set_id"].as_str().unwrap().parse().unwrap();
        }
        let job = self.sync(by, connector).await;
        let dead = self.dead(by, connector).await;
        // With a rate it goes on in the background, and nothing carries it on here.
        let retry = json!({"filter": {"ids": [dead]}, "rate": 1});
        let retry = self.done(by, "POST", "/api/dlq/retry", retry).await;
        let (publication, effect) = (published[0], published[1]);
        let sending = "UPDATE publications SET state = 'sending', begun_at = 1, send_by = 1";
        self.sql(&format!("{sending} WHERE id = '{effect}'")).await;
        let redrive = id_of(&retry["redrive"]);
        let spare = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
            "identifier": "spare", "secret": "hush"});
        let spare = id_of(&self.done(by, "POST", "/api/connectors", spare).await);
        let schedule = json!({"name": "hourly", "cron": "0 * * * *", "kind": "connector_sync",
            "args": {"connector_id": connector}});
        let schedule = id_of(&self.done(by, "POST", "/api/schedules", schedule).await);
        let media = self.media(by).await;
        Rows {
            connector,
            spare,
            post,
            media,
            publication,
            job,
            dead,
            redrive,
            effect,
            schedule,
            set,
        }
    }
}
