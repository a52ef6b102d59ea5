//! What Postworks is deployed with names only what there is: variables, settings, commands and flags.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use postworks::config::DEFAULTS;
use postworks_server::cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that deploys, by its name.
fn files() -> Vec<(String, String)> {
    let mut places = vec![root().join("compose.yaml"), root().join("Dockerfile")];
    for folder in ["compose", "container", "kubernetes", "systemd"] {
        let entries = fs::read_dir(root().join("config").join(folder)).unwrap();
        places.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    assert!(places.len() > 12, "files are missing: {places:?}");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(&path).unwrap())
    };
    places.into_iter().map(read).collect()
}

/// The names in a text that start so.
fn names<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let ends =
        |from: usize| text[from..].find(|c| !is_part(c)).map_or(text.len(), |length| from + length);
    let found = text.match_indices(start).filter(|(at, _)| !text[..*at].ends_with(is_part));
    found.map(|(at, _)| text[at..ends(at)].trim_end_matches('_')).collect()
}

/// The commands of our own in a file: lists in YAML, and lines in units and scripts.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("# ");
        let list = ["command: ", "args: ", "CMD "].iter().find_map(|key| line.strip_prefix(key));
        if let Some(list) = list.and_then(|list| serde_json::from_str::<Vec<String>>(list).ok())
            && !["redis-server"].contains(&list[0].as_str())
        {
            commands.push(list);
            continue;
        }
        for place in ["ExecStart=/usr/local/bin/postworks ", "postworks apikey ", "run --rm cli "] {
            if let Some((_, rest)) = line.split_once(place) {
                let rest = rest.split(['>', ')', '|', ';']).next().unwrap();
                let verb = if place.contains("apikey") { "apikey " } else { "" };
                let words = format!("{verb}{rest}");
                commands.push(words.split_whitespace().map(str::to_owned).collect());
            }
        }
    }
    commands
}

#[test]
fn every_variable_and_setting_that_is_named_exists() {
    let sources =
        ["src/config/environment.rs", "server/src/cli/mod.rs", "workers/src/telemetry.rs"];
    let known: String =
        sources.iter().map(|file| fs::read_to_string(root().join(file)).unwrap()).collect();
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let mut seen = 0;
    for (file, text) in files() {
        for name in names(&text, "POSTWORKS_").union(&names(&text, "DATABASE_URL")) {
            seen += 1;
            let Some(setting) = name.strip_prefix("POSTWORKS__") else {
                let variable = name.strip_suffix("_FILE").unwrap_or(name);
                assert!(known.contains(&format!("\"{variable}\"")), "{file}: {name}");
                continue;
            };
            // How a setting is written, in a comment.
            if setting == "SECTION__KEY" {
                continue;
            }
            let lower = setting.to_lowercase();
            let mut table = Some(&defaults);
            let (section, key) = lower.rsplit_once("__").unwrap();
            for part in section.split("__") {
                table = table.and_then(|table| table.get(part)?.as_table());
            }
            assert!(table.is_some_and(|table| table.contains_key(key)), "{file}: {name}");
        }
    }
    assert!(seen >= 15, "the files have lost their settings: {seen}");
}

#[test]
fn platforms_for_demos_and_tests_are_off_where_it_is_deployed() {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let platforms = defaults["platforms"].as_table().unwrap().keys();
    let sandboxes: Vec<&String> = platforms.filter(|name| name.starts_with("sandbox")).collect();
    assert_eq!(sandboxes.len(), 3, "{sandboxes:?}");
    let deployed = [
        "compose.yaml",
        "config/kubernetes/settings.yaml",
        "config/systemd/postworks-api.service",
        "config/systemd/postworks-worker@.service",
    ];
    for file in deployed {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for name in &sandboxes {
            let setting = format!("POSTWORKS__PLATFORMS__{}__ENABLED", name.to_uppercase());
            let value = text.lines().find_map(|line| line.split_once(&setting)).unwrap().1;
            let value = value.trim_matches([':', '=', ' ', '"']);
            assert_eq!(value, "false", "{file}: {name}");
        }
    }
}

#[test]
fn every_command_and_flag_that_is_named_exists() {
    let mut seen = 0;
    for (file, text) in files() {
        for words in commands(&text) {
            seen += 1;
            let line = std::iter::once("postworks".to_owned()).chain(words.clone());
            match cli::command().try_get_matches_from(line) {
                Ok(_) => {}
                Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {}
                Err(error) => panic!("{file}: {words:?}: {error}"),
            }
        }
    }
    assert!(seen >= 12, "the files have lost their commands: {seen}");
}

#[test]
fn whoever_ends_a_worker_gives_it_longer_than_its_grace() {
    let seconds = |text: &str, before: &str, unit: &str| -> Vec<u64> {
        let rest = text.split(before).skip(1);
        rest.map(|rest| rest.split(unit).next().unwrap().trim().parse().unwrap()).collect()
    };
    for (file, limit, unit) in [
        ("compose.yaml", "stop_grace_period: ", "s"),
        ("config/kubernetes/worker.yaml", "terminationGracePeriodSeconds: ", "\n"),
        ("config/systemd/postworks-worker@.service", "TimeoutStopSec=", "s"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let grace = text.split("--grace").nth(1).unwrap();
        let grace: String = grace
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        let grace: u64 = grace.parse().unwrap();
        // What lets go after the grace, and what is recorded then, takes seven seconds at most.
        let limits = seconds(&text, limit, unit);
        assert!(!limits.is_empty() && limits.iter().all(|limit| *limit >= grace + 10), "{file}");
    }
}

#[test]
fn a_container_is_asked_whether_it_is_ready() {
    let probe = root().join("config/container/probe");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let answers = ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n"];
    let serving = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            // To its end, or what is left unread would cost the answer.
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") {
                std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /readyz HTTP/1."));
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    let asked = || std::process::Command::new(&probe).arg(&port).status().unwrap().success();
    assert!(asked());
    assert!(!asked());
    serving.join().unwrap();
    assert!(!asked(), "nobody listens any more");
}
