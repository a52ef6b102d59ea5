//! Runbooks: there is one for each alert, and its commands are commands.

use std::fs;
use std::process::Command;

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use sqlx::{Connection as _, PgConnection};

use super::rules::alerts;
use crate::prometheus::root;

/// Where rules and dashboards say that runbooks are.
const SERVED_AT: &str = "https://docs.postworks.example/runbooks/";
/// Stands for the ids in them.
const AN_ID: &str = "0198f3a0-0000-7000-8000-000000000001";

fn read(page: &str) -> Option<String> {
    fs::read_to_string(root().join("docs/runbooks").join(page)).ok()
}

/// A heading as it is linked to.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

fn anchors(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// What is wrong with a link to `page.md#anchor`.
pub(super) fn missing(link: &str) -> Option<String> {
    let (page, place) = link.split_once('#').map_or((link, None), |(page, at)| (page, Some(at)));
    let Some(text) = read(page) else { return Some(format!("there is no runbook {page}")) };
    let place = place.filter(|place| !anchors(&text).iter().any(|anchor| anchor == place))?;
    Some(format!("{page} has no section {place}"))
}

fn pages() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    names.map(|name| (name.clone(), read(&name).unwrap())).collect()
}

/// The commands of all runbooks, each with its page.
fn commands() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for (page, text) in pages() {
        for block in text.split("```sh\n").skip(1) {
            let lines = block.split("```").next().unwrap().lines();
            commands.extend(lines.map(|line| (page.clone(), line.to_owned())));
        }
    }
    assert!(commands.len() > 60, "the commands are gone: {}", commands.len());
    commands
}

/// A command's words, as a shell would make them.
fn words(line: &str) -> Vec<String> {
    let script = format!("set -- {line}\nprintf '%s\\0' \"$@\"");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env_remove("REDIS_URL").env_remove("DATABASE_URL");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(ToOwned::to_owned).collect()
}

#[test]
fn every_alert_says_where_its_runbook_is_and_it_is_there() {
    let mut found = Vec::new();
    for file in fs::read_dir(root().join("config/prometheus/rules")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for rule in text.split("- alert: ").skip(1) {
            let alert = rule.lines().next().unwrap();
            let url = rule.lines().find_map(|line| line.trim().strip_prefix("runbook_url: "));
            let link = url.and_then(|url| url.strip_prefix(SERVED_AT));
            let link = link.unwrap_or_else(|| panic!("{alert} has no runbook"));
            assert!(link.ends_with(&format!("#{}", alert.to_lowercase())), "{alert}: {link}");
            assert_eq!(missing(link), None, "{alert}");
            found.push(alert.to_owned());
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, alerts());
}

#[test]
fn every_section_says_what_it_means_what_to_look_at_and_what_to_do() {
    for (page, text) in pages() {
        for section in text.split("\n## ").skip(1) {
            let alert = section.lines().next().unwrap();
            assert!(alerts().iter().any(|known| known == alert), "{page}: {alert} is no alert");
            for part in ["**What it means.**", "**Look at.**", "**Do.**"] {
                assert!(section.contains(part), "{page}: {alert} lacks {part}");
            }
        }
    }
}

#[test]
fn links_between_runbooks_lead_somewhere() {
    for (page, text) in pages() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let link =
                if link.starts_with('#') { format!("{page}{link}") } else { link.to_owned() };
            assert_eq!(missing(&link), None, "{page}: {link}");
        }
    }
}

#[test]
fn every_command_of_ours_in_a_runbook_is_one() {
    let mut ours = 0;
    for (page, line) in commands() {
        let words = words(&line.replace(" ID", &format!(" {AN_ID}")));
        match words[0].as_str() {
            "postworks" => {
                let parsed = postworks_server::cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{page}: {line}\n{}", parsed.unwrap_err());
                ours += 1;
            }
            "redis-cli" | "psql" => {}
            "curl" => assert!(words.last().unwrap().starts_with("http://127.0.0.1:70"), "{line}"),
            other => panic!("{page}: nobody checks {other}"),
        }
    }
    assert!(ours > 40, "only {ours} commands of ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_to_redis_and_postgres_in_a_runbook_is_one() {
    let (redis, postgres) = (RedisServer::start(), PostgresServer::launch().await);
    let mut database = PgConnection::connect(&postgres.database().await).await.unwrap();
    for (page, line) in commands() {
        let words = words(&line);
        match words[0].as_str() {
            "redis-cli" => {
                assert_eq!(&words[1..3], ["-u", ""], "{page}: {line} should name $REDIS_URL");
                let said = redis.command(&words[3..].join(" "));
                assert!(!said.starts_with('-'), "{page}: {line}: {said}");
            }
            "psql" => {
                assert_eq!(&words[1..3], ["", "-c"], "{page}: {line} should name $DATABASE_URL");
                let sql = sqlx::AssertSqlSafe(words[3].clone());
                let done = sqlx::raw_sql(sql).execute(&mut database).await;
                assert!(done.is_ok(), "{page}: {line}: {}", done.unwrap_err());
            }
            _ => {}
        }
    }
}
