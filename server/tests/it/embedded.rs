//! `postworks up` with nothing but a folder.

use std::path::Path;
use std::time::Instant;

use crate::fleet::{ANY, Client, LONG, POSTWORKS, Process, Sandbox, run, seconds, until};

const ACCOUNTS: usize = 20;
const POSTS: usize = 20;
/// How long a publish takes, in milliseconds.
const LATENCY_MS: u32 = 50;

fn vars(folder: &Path) -> [(&'static str, String); 1] {
    [("POSTWORKS_DATA_DIR", folder.join("data").display().to_string())]
}

async fn up(folder: &Path) -> (Process, Client) {
    let args = ["up", "--listen", ANY, "--workers", "1", "--concurrency", "20"];
    let mut up = Process::start("up", POSTWORKS, &args, &vars(folder), folder);
    let client = Client::new(&up.listening("api").await);
    (up, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn up_killed_with_9_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(folder.path()).await;
    let (mut process, client) = up(folder.path()).await;
    let accounts = client.connect(&sandbox, "sandbox", ACCOUNTS).await;
    client.until_published(&client.publish("a first post", &accounts).await, LONG).await;
    sandbox.slow_down(LATENCY_MS).await;
    let publications = client.publish_many(POSTS, &accounts).await;
    let out = || sandbox.journal().count(&publications);
    until("half of the posts are not out", LONG, async || out() >= publications.len() / 2).await;
    process.kill9().await;
    let left = publications.len() - out();
    assert!(left > 0, "nothing was left to do: the test proves nothing");

    let start = Instant::now();
    let (mut process, client) = up(folder.path()).await;
    let listens = start.elapsed();
    client.until_published(&publications, LONG).await;
    println!(
        "up listened again after {}; the last of {left} posts was out after {}",
        seconds(listens),
        seconds(start.elapsed())
    );
    sandbox.journal().must_have_each_once(&publications);
    process.must_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_the_same_folder_says_that_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, client) = up(folder.path()).await;
    let second = run(&["up", "--listen", ANY], &vars(folder.path())).await;
    assert_eq!((second.code, second.stdout.as_str()), (4, ""), "{}", second.stderr);
    for words in ["another process has the ledger", "POSTWORKS_DATA_DIR"] {
        assert!(second.stderr.contains(words), "{words} is missing in: {}", second.stderr);
    }
    first.must_run();
    client.http.get("/readyz").await.expect(200);
}
