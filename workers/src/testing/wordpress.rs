//! A real WordPress with a database of its own, private to a test, on loopback.

mod running;
mod template;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use url::Url;

use self::running::{Place, Running};
use super::pds::{free_port, reserve};
use super::script::{self, answer, text};
use crate::platforms::http::{Http, RequestBuilder};

/// How they are called.
const ADMIN: &str = "admin";
/// Posts in a page: the most that WordPress gives.
const PAGE_POSTS: usize = 100;

/// A running blog. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct WordPressServer {
    running: Option<Running>,
    place: Place,
    // While the blog is down, nobody else gets its port: connections to it are refused.
    reserved: Option<TcpSocket>,
    admin: SecretString,
    http: Http,
    // After the processes have ended: nothing writes into a folder that is being removed.
    _data: TempDir,
}

/// Somebody who writes on the blog.
#[derive(Debug, Clone)]
pub struct WordPressAccount {
    /// The blog's number of them.
    pub id: u64,
    /// The name they log in with.
    pub login: String,
    /// A password for applications.
    pub password: SecretString,
}

/// A post as the blog holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordPressPost {
    /// Its number.
    pub id: u64,
    /// `publish`, `draft` and the like.
    pub status: String,
    /// The last part of its address.
    pub slug: String,
    /// Its title, as it was written.
    pub title: String,
    /// Its HTML, as it was written.
    pub content: String,
    /// Where people see it.
    pub link: String,
    /// The number of the picture that stands for it; 0 for none.
    pub featured: u64,
}

/// A picture as the blog holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordPressMedia {
    /// Its number.
    pub id: u64,
    /// What it shows, in words.
    pub alt: String,
    /// Where its file is.
    pub url: String,
}

impl WordPressServer {
    /// Starts a blog with no posts, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_below("").await
    }

    /// The same, with the blog in a folder of its site, such as `/news/blog`.
    pub async fn start_below(path: &str) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let place =
            Place { data: data.path().to_owned(), path: path.to_owned(), port: free_port() };
        let template = template::ready().await;
        template::copy(&template, &place.database());
        fs::create_dir_all(place.content().join("mu-plugins")).expect("a folder of our own");
        let admin = fs::read_to_string(template.join(template::PASSWORD));
        let admin = admin.expect("the template has a password").into();
        let http = script::http();
        let (running, reserved) = (None, None);
        let mut server = Self { running, place, reserved, admin, http, _data: data };
        server.restart().await;
        server
    }

    /// Where the blog listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.place.port).into()
    }

    /// The blog's address as an account's `base_url`.
    pub fn url(&self) -> Url {
        self.place.url().parse().expect("an address is a URL")
    }

    /// Ends the blog and its database at once, as `kill -9` does. What they have stays.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
            self.reserved = Some(reserve(self.address()));
        }
    }

    /// Starts the blog again on the same data and port.
    pub async fn restart(&mut self) {
        self.kill();
        self.reserved = None;
        self.running = Some(Running::start(&self.place).await);
    }

    /// Has somebody write on the blog, who may do what most writers may.
    pub async fn create_account(&self, login: &str) -> WordPressAccount {
        self.create_account_as(login, "author").await
    }

    /// The same in another role, such as `contributor`.
    pub async fn create_account_as(&self, login: &str, role: &str) -> WordPressAccount {
        let user = json!({
            "username": login,
            "name": format!("{login} of the blog"),
            "description": format!("Writes as {login}"),
            "email": format!("{login}@example.invalid"),
            "password": "nobody logs in with it",
            "roles": [role],
        });
        let user = answer(self.request(Method::POST, "users").json(&user)).await;
        let id = number(&user, "id");
        WordPressAccount { id, login: login.to_owned(), password: self.new_password(id).await }
    }

    /// Another password for applications, for the user of this number.
    pub async fn new_password(&self, user: u64) -> SecretString {
        let place = format!("users/{user}/application-passwords");
        let made = answer(self.request(Method::POST, &place).json(&json!({ "name": "us" }))).await;
        text(&made, "password").into()
    }

    /// Who may do everything on the blog.
    pub fn admin(&self) -> WordPressAccount {
        let (login, password) = (ADMIN.to_owned(), self.admin.clone());
        WordPressAccount { id: 1, login, password }
    }

    /// Ends all passwords for applications that somebody has.
    pub async fn end_passwords(&self, account: &WordPressAccount) {
        let place = format!("users/{}/application-passwords", account.id);
        answer(self.request(Method::DELETE, &place)).await;
    }

    /// All posts of everybody in any state but the trash, newest first.
    pub async fn posts(&self) -> Vec<WordPressPost> {
        let query = [("status", "any"), ("context", "edit"), ("orderby", "id")];
        let posts = self.list("posts", &query).await;
        let posts = posts.iter().map(|post| WordPressPost {
            id: number(post, "id"),
            status: text(post, "status"),
            slug: text(post, "slug"),
            title: text(&post["title"], "raw"),
            content: text(&post["content"], "raw"),
            link: text(post, "link"),
            featured: number(post, "featured_media"),
        });
        posts.collect()
    }

    /// All pictures, newest first.
    pub async fn media(&self) -> Vec<WordPressMedia> {
        let media = self.list("media", &[("orderby", "id")]).await;
        let media = media.iter().map(|one| WordPressMedia {
            id: number(one, "id"),
            alt: text(one, "alt_text"),
            url: text(one, "source_url"),
        });
        media.collect()
    }

    /// The HTML of a post as people get it.
    pub async fn rendered(&self, post: u64) -> String {
        let post = answer(self.request(Method::GET, &format!("posts/{post}"))).await;
        text(&post["content"], "rendered")
    }

    /// Changes a post, as its writer does in the editor.
    pub async fn edit(&self, post: u64, changes: &Value) {
        answer(self.request(Method::POST, &format!("posts/{post}")).json(changes)).await;
    }

    /// Writes posts in the name of somebody, in one go: 25 in a request.
    pub async fn write_posts(&self, account: &WordPressAccount, posts: &[Value]) {
        for posts in posts.chunks(25) {
            let requests: Vec<Value> = posts
                .iter()
                .map(|post| {
                    let mut body = post.clone();
                    body["author"] = account.id.into();
                    json!({ "method": "POST", "path": "/wp/v2/posts", "body": body })
                })
                .collect();
            let batch = self.request_at(Method::POST, "batch/v1");
            let made = answer(batch.json(&json!({ "requests": requests }))).await;
            let made = made["responses"].as_array().expect("a list of answers");
            assert!(made.iter().all(|one| one["status"] == 201), "the blog refused: {made:?}");
        }
    }

    /// Adds code that changes how the blog behaves, as its owner can. It is asked from now on.
    pub fn add_plugin(&self, name: &str, php: &str) {
        let file = self.place.content().join("mu-plugins").join(name).with_extension("php");
        fs::write(file, format!("<?php\n{php}\n")).expect("a file of our own");
    }

    /// What a file of the blog, or a page, answers to everybody: its status and its bytes.
    pub async fn look_at(&self, url: &str) -> (u16, Vec<u8>) {
        let url = url.parse().expect("an address");
        let seen = self.http.request(Method::GET, url).send().await.expect("the blog answers");
        let status = seen.status().as_u16();
        (status, seen.bytes().await.expect("a whole answer").to_vec())
    }

    async fn list(&self, of: &str, query: &[(&str, &str)]) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            // By places and not by pages: a page after the last one is refused.
            let (size, offset) = (PAGE_POSTS.to_string(), all.len().to_string());
            let place = [("per_page", size.as_str()), ("offset", offset.as_str())];
            let request = self.request(Method::GET, of).query(query).query(&place);
            let answered = answer(request).await;
            let page = answered.as_array().expect("a list");
            all.extend_from_slice(page);
            if page.len() < PAGE_POSTS {
                return all;
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_at(method, &format!("wp/v2/{path}"))
    }

    /// A request of the administrator's.
    fn request_at(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/wp-json/{path}", self.place.url());
        let url = url.parse().expect("an address");
        self.http.request(method, url).basic_auth(ADMIN, Some(self.admin.expose_secret()))
    }
}

impl Drop for WordPressServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl WordPressAccount {
    /// The password in the clear, for configuration files of tests.
    pub fn exposed_password(&self) -> &str {
        self.password.expose_secret()
    }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

/// Where the scripts are.
fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/servers/wordpress")
}
