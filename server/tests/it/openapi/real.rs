//! The served document and the API behind it, asked by schemathesis: everything that the document
//! allows, much that it does not, one request after the other, with a key and without.
//!
//! `make test-openapi` runs it. `SEED` and `EXAMPLES` in the environment make it another run, or a
//! longer one.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::fleet::{Client, Fleet, Http, LONG, run, until};

/// As fixed as any other.
const SEED: &str = "20260301";
/// Requests made for each route and each way of making them; about a minute and a half in all.
const EXAMPLES: &str = "12";

/// A program of the tests' own Python.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/openapi/bin").join(name);
    assert!(path.exists(), "{} is not there: .ci/setup openapi installs it", path.display());
    path
}

/// Runs it in a folder where it may leave things; fails the test, with what it said, if it fails.
async fn succeeds(folder: &Path, name: &str, args: &[&str]) {
    let output = Command::new(program(name))
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// Some of everything: posts that are out, some that are dead, some that wait, and a person.
async fn furnish(fleet: &Fleet, client: &Client, folder: &Path) {
    let connectors = client.connect(&fleet.sandbox, "sandbox", 2).await;
    let out = client.publish_many(2, &connectors).await;
    client.until_published(&out, LONG).await;
    let refuses = json!([{ "op": "publish", "action": "error", "status": 400 }]);
    fleet.sandbox.faults(refuses).await;
    let dead = client.publish_many(3, &connectors).await;
    for publication in &dead {
        client.until_job(&publication.job, "dead", LONG).await;
    }
    fleet.sandbox.faults(json!([])).await;
    let later = json!({ "kind": "data_cleanup", "delay_ms": 3_600_000 });
    client.http.post("/api/jobs", &later).await.expect(202);
    let password = folder.join("password");
    std::fs::write(&password, "correct horse battery").unwrap();
    let password = password.to_str().unwrap();
    let user = ["user", "create", "--email", "ann@example.org", "--role", "admin"];
    let made = run(&[&user[..], &["--password-file", password]].concat(), fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_real_requests_find_nothing_that_the_document_does_not_say() {
    let fleet = Fleet::start_with(&[("POSTWORKS_AUTH", "on")]).await;
    let made = run(&["apikey", "create", "--role", "admin"], fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim();
    let client = Client { http: Http::with_key(fleet.client.http.base(), key) };
    let folder = tempfile::tempdir().unwrap();
    let worker = fleet.worker(&[]).await;
    furnish(&fleet, &client, folder.path()).await;
    // Accounts that are made up from here on have addresses that are made up: nobody calls them.
    drop(worker);

    let document: Value = fleet.client.http.get("/api/openapi.json").await.expect(200);
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let file = file.to_str().unwrap();
    succeeds(folder.path(), "openapi-spec-validator", &["--errors", "all", file]).await;

    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/openapi/schemathesis.toml");
    let url = format!("{}/api/openapi.json", fleet.client.http.base());
    let (seed, examples) = (setting("SEED", SEED), setting("EXAMPLES", EXAMPLES));
    println!("SEED={seed} EXAMPLES={examples}");
    let authorization = format!("Authorization: Bearer {key}");
    let args = ["--config-file", config, "run", &url, "--seed", &seed, "--max-examples", &examples];
    let more = ["--checks", "all", "--continue-on-failure", "--header", &authorization];
    succeeds(folder.path(), "schemathesis", &[&args[..], &more[..]].concat()).await;

    // Whatever it did, the service is well.
    let ready = async || fleet.client.http.get("/readyz").await.status == 200;
    until("the API is not ready afterwards", LONG, ready).await;
}
