//! Servers that cannot start: the exit code, the reason, the way out.

use std::net::TcpListener;

use crate::cli::{Ran, postworks};

#[track_caller]
fn assert_refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "", "nothing listens");
    let said = ran.stderr.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>();
    let said = said.join("\n");
    for words in words {
        assert!(said.contains(words), "{words:?} is missing in {said}");
    }
}

/// Stores that are named but not there: roles start without them.
const AWAY: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://u@127.0.0.1:1/d"),
    ("REDIS_URL", "redis://127.0.0.1:1"),
    ("POSTWORKS_KEYS", "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ("POSTWORKS__LEDGER__ACQUIRE_TIMEOUT", "100ms"),
];

#[tokio::test]
async fn an_address_that_another_process_has_is_a_conflict() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = ("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap());
    for (args, vars) in [
        (&["up", "--listen", &address][..], &[data][..]),
        (&["api", "--listen", &address], &AWAY),
        (&["worker", "--metrics-listen", &address], &AWAY),
        (&["sandbox", "--listen", &address], &[]),
    ] {
        let words = [format!("{address} is in use"), "choose another address".to_owned()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_refused(&postworks(args, vars).await, 4, &words);
    }
}

#[tokio::test]
async fn without_authentication_the_api_listens_for_this_machine_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7000"] {
        for role in ["up", "api"] {
            let vars = [AWAY.as_slice(), &[("POSTWORKS_AUTH", "off")]].concat();
            let ran = postworks(&[role, "--listen", address], &vars).await;
            assert_refused(&ran, 78, &[address, "POSTWORKS_AUTH=on", "loopback", "127.0.0.1"]);
        }
    }
    let ran = postworks(&["up"], &[("POSTWORKS__API__LISTEN", "0.0.0.0:7000")]).await;
    assert_refused(&ran, 78, &["loopback"]);
    let ran = postworks(&["up", "--listen", "7000"], &[]).await;
    assert_refused(&ran, 2, &["no address and port such as 127.0.0.1:7000"]);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let broken = folder.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(
        broken.join("postworks.db"),
        "this is no database, whatever its name".repeat(90),
    )
    .unwrap();
    for folder in [&file, &file.join("below"), &broken] {
        let folder = folder.to_str().unwrap();
        let ran = postworks(&["up"], &[("POSTWORKS_DATA_DIR", folder)]).await;
        assert_refused(&ran, 78, &[folder, "POSTWORKS_DATA_DIR"]);
    }
    let bytes = std::fs::read(broken.join("postworks.db")).unwrap();
    assert!(bytes.starts_with(b"this is no database"), "what was there is left alone");
}

#[tokio::test]
async fn a_data_folder_that_is_in_use_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let db = postworks::ledger::Db::open_sqlite(&folder.path().join("postworks.db")).await.unwrap();
    let data = [("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap())];
    let ran = postworks(&["up", "--listen", "127.0.0.1:0"], &data).await;
    assert_refused(&ran, 4, &["another process", "POSTWORKS_DATA_DIR"]);
    drop(db);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("none/journal.ndjson");
    for path in [folder.path(), &below] {
        let path = path.to_str().unwrap();
        let ran = postworks(&["sandbox", "--listen", "127.0.0.1:0", "--journal", path], &[]).await;
        assert_refused(&ran, 1, &[path, "--journal"]);
    }
}

#[tokio::test]
async fn a_pattern_that_chooses_no_queue_is_refused_with_the_queues_there_are() {
    for pattern in ["post_publicaton.*", "data_cleanup,nothing", "connector_sync.blusky"] {
        for args in [&["worker", "--queues", pattern][..], &["worker"]] {
            let mut vars = AWAY.to_vec();
            if args.len() == 1 {
                vars.push(("POSTWORKS__WORKER__QUEUES", pattern));
            }
            let ran = postworks(args, &vars).await;
            let wrong = pattern.rsplit(',').next().unwrap();
            assert_refused(&ran, 78, &[wrong, "chooses no queue", "post_publication.bluesky"]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let data = ("POSTWORKS_DATA_DIR", folder.path().to_str().unwrap());
    let vars = [data, ("POSTWORKS__WORKER__QUEUES", "nothing")];
    assert_refused(&postworks(&["up"], &vars).await, 78, &["chooses no queue"]);
    for pattern in ["", ",", "A B", "*.bluesky", "a:{b}"] {
        let ran = postworks(&["worker", "--queues", pattern], &AWAY).await;
        assert_refused(&ran, 78, &["worker.queues"]);
    }
}
