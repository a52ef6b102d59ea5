//! `postworks tenant`, and the commands that name a tenant.

use crate::cli::postworks;
use crate::fleet::{Fleet, run};

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_made_and_listed_and_named_by_the_command_line() {
    let fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let made = run(&["tenant", "create", "acme"], fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let again = run(&["tenant", "create", "acme"], fleet.vars()).await;
    assert_eq!((again.code, again.stderr.contains("acme already")), (4, true), "{}", again.stderr);
    for name in ["", "Acme", "1acme", "a b", &"a".repeat(61)] {
        let wrong = run(&["tenant", "create", name], fleet.vars()).await;
        assert_eq!(wrong.code, 2, "{name:?}: {}", wrong.stderr);
        assert!(wrong.stderr.contains("start with a letter"), "{}", wrong.stderr);
    }
    let listed = run(&["tenant", "list", "-o", "json"], fleet.vars()).await.json();
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["default", "acme"]);
    assert_eq!(listed["items"][1]["id"], made.stdout.trim());

    let unknown = ["apikey", "create", "--role", "admin", "--tenant", "acne"];
    let unknown = run(&unknown, fleet.vars()).await;
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("did you mean acme?"), "{}", unknown.stderr);
    let made =
        run(&["apikey", "create", "--role", "admin", "--tenant", "acme"], fleet.vars()).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let password = file("password.txt", "correct horse battery");
    let args = ["user", "create", "--email", "ann@acme.example", "--role", "producer"];
    let args = [&args[..], &["--password-file", &password, "--tenant", "acme"]].concat();
    assert_eq!(run(&args, fleet.vars()).await.code, 0);
    for (verb, expected) in [("apikey", "acme"), ("user", "acme")] {
        let listed = run(&[verb, "list", "-o", "json"], fleet.vars()).await.json();
        assert_eq!(listed["items"][0]["tenant"], expected, "{listed}");
    }

    // Straight to the stores, a command acts for the house or for whom it names.
    let secret = file("secret.txt", "hush");
    let add = ["connector", "add", "--platform", "sandbox", "--base-url", "http://127.0.0.1:1"];
    let add = [&add[..], &["--identifier", "ann", "--secret-file", &secret]].concat();
    let added = run(&[&add[..], &["--tenant", "acme"]].concat(), fleet.vars()).await;
    assert_eq!(added.code, 0, "{}", added.stderr);
    let count = async |args: &[&str]| {
        let args = [args, &["connector", "list", "-o", "json"]].concat();
        run(&args, fleet.vars()).await.json()["items"].as_array().unwrap().len()
    };
    assert_eq!((count(&["--tenant", "acme"]).await, count(&[]).await), (1, 0));
    let retention =
        async |args: &[&str]| run(&[&["tenant", "retention"], args].concat(), fleet.vars()).await;
    let set = retention(&["set", "acme", "metrics", "2d", "--reason", "as agreed"]).await;
    assert_eq!((set.code, set.stdout.trim()), (0, "acme keeps metrics 2d"), "{}", set.stderr);
    for (of, kept) in [("acme", "2d"), ("default", "95d")] {
        let listed = retention(&["list", of, "-o", "json"]).await.json();
        assert_eq!(listed["items"][1]["keep"], kept, "{listed}");
    }
    assert_eq!(retention(&["clear", "acme", "metrics"]).await.code, 0);
    for wrong in [["set", "acme", "jobs", "2d"], ["set", "acme", "metrics", "2h"]] {
        assert_eq!(retention(&wrong).await.code, 2, "{wrong:?}");
    }
    assert_eq!(retention(&["set", "acne", "metrics", "2d"]).await.code, 3);
    let nothing = uuid::Uuid::nil().to_string();
    for verb in [["set", "show"], ["publication", "show"]] {
        let args = [&verb[..], &[&nothing, "--tenant", "acme"]].concat();
        let shown = run(&args, fleet.vars()).await;
        assert_eq!(
            shown.code, 3,
            "{verb:?} takes the tenant, and has no such row: {}",
            shown.stderr
        );
    }
    let queues = run(&["queue", "list", "--tenant", "acme"], fleet.vars()).await;
    assert_eq!((queues.code, queues.stderr.contains("tenant default")), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_tenant_cannot_be_named_the_command_line_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = [("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap())];
    let made = postworks(&["tenant", "create", "acme"], &data).await;
    assert_eq!((made.code, made.stderr.contains("set DATABASE_URL")), (4, true), "{}", made.stderr);
    let listed = postworks(&["tenant", "list", "-o", "json"], &data).await.json();
    assert_eq!(listed["items"][0]["name"], "default");
    let own = ["apikey", "create", "--role", "admin", "--tenant", "default"];
    assert_eq!(postworks(&own, &data).await.code, 0);
    let other =
        postworks(&["apikey", "create", "--role", "admin", "--tenant", "acme"], &data).await;
    assert_eq!((other.code, other.stderr.contains("there are default")), (3, true));
    for args in [&["up", "--tenant", "acme"][..], &["user", "list", "--tenant", "default"]] {
        let told = postworks(args, &data).await;
        assert_eq!((told.code, told.stderr.contains("leave it out")), (2, true), "{}", told.stderr);
    }
    let server = ["job", "list", "--server", "http://127.0.0.1:1", "--tenant", "acme"];
    let told = postworks(&server, &[]).await;
    assert_eq!(
        (told.code, told.stderr.contains("POSTWORKS_API_KEY")),
        (2, true),
        "{}",
        told.stderr
    );
}
