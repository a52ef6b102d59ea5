//! The README's commands, run as they stand: one shell from top to bottom, with its addresses
//! replaced by private ones and cargo by what cargo would run.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

/// Stands in for cargo: the programs are built already.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
  "run --release -- "*) shift 3; exec postworks "$@" ;;
  "build --release") exit 0 ;;
  "run --example "*) exec "$POSTWORKS_EXAMPLES/$3" ;;
  *) echo "the README calls cargo in a new way: $*" >&2; exit 1 ;;
esac
"#;

fn blocks(readme: &str) -> Vec<&str> {
    let blocks: Vec<&str> =
        readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "the README has lost its commands: {}", blocks.len());
    blocks
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_postworks")).parent().unwrap().to_owned()
}

/// Lines that wait until every server that `block` starts listens.
fn until_it_listens(block: &str, up: u16) -> String {
    let mut lines = String::new();
    for line in block.lines().filter(|line| line.ends_with('&')) {
        let port = line
            .split(&[' ', ':'][..])
            .filter_map(|word| word.parse::<u16>().ok())
            .find(|port| *port > 1_024)
            .or_else(|| line.starts_with("postworks up").then_some(up));
        if let Some(port) = port {
            lines +=
                &format!("until curl -s -o /dev/null 127.0.0.1:{port}/; do kill -0 $!; done\n");
        }
    }
    lines
}

fn script(readme: &str, replacements: &[(String, String)], up: u16, sandbox: u16) -> String {
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n");
    for block in blocks(readme) {
        let block = replacements
            .iter()
            .fold(block.to_owned(), |block, (from, to)| block.replace(from.as_str(), to));
        script += &block;
        script += &until_it_listens(&block, up);
    }
    script
        + &format!(
            "until curl -sS '127.0.0.1:{sandbox}/posts?account=ann' | grep -q hello; do :; done\n\
             echo the README holds\n"
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_works_from_top_to_bottom() {
    let redis = RedisServer::start();
    let postgres = PostgresServer::launch().await;
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("bin/cargo");
    fs::create_dir(cargo.parent().unwrap()).unwrap();
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();

    let ports: Vec<u16> = (0..5).map(|_| free_port()).collect();
    let mut replacements = vec![
        ("postgres://postworks:secret@127.0.0.1/postworks".to_owned(), postgres.database().await),
        ("redis://127.0.0.1:6379".to_owned(), redis.url()),
        ("postworks up &".to_owned(), format!("postworks up --listen 127.0.0.1:{} &", ports[0])),
        ("-- demo".to_owned(), "-- demo --jobs 60".to_owned()),
    ];
    for (port, private) in (7_000..).zip(&ports) {
        replacements.push((format!("127.0.0.1:{port}"), format!("127.0.0.1:{private}")));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let script = script(&readme, &replacements, ports[0], ports[1]);

    let path = format!(
        "{}:{}:{}",
        cargo.parent().unwrap().display(),
        programs().display(),
        std::env::var("PATH").unwrap()
    );
    let output = tokio::task::spawn_blocking({
        let folder = folder.path().to_owned();
        let script = script.clone();
        move || {
            Command::new("timeout")
                .args(["120", "bash", "-c", &script])
                .current_dir(folder)
                .env_clear()
                .env("PATH", path)
                .env("POSTWORKS_EXAMPLES", programs().join("examples"))
                .env("POSTWORKS_SERVER", format!("http://127.0.0.1:{}", ports[0]))
                .output()
                .unwrap()
        }
    })
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("the README holds"),
        "{}\n--- script\n{script}\n--- stdout\n{said}\n--- stderr\n{errors}",
        output.status
    );
}
