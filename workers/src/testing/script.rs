//! Servers from the npm registry and PyPI: each is a script in a folder of `tests`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use postworks::clock::SystemClock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::platforms::NetworkPolicy;
use crate::platforms::http::{Http, HttpOptions, RequestBuilder};
use crate::platforms::sandbox::SANDBOX;

/// Starting takes about a second; this is for machines under load.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A script, and what it needs to be installed.
pub(super) struct Script {
    /// Its folder in `tests`.
    pub(super) folder: &'static str,
    /// What runs it.
    pub(super) runtime: Runtime,
    /// What that is told.
    pub(super) args: &'static [&'static str],
}

/// What runs a script, and what must be installed for it.
pub(super) enum Runtime {
    /// Node, with this package in the script's folder.
    Node(&'static str),
    /// The Python of this environment in `.tools`.
    Python(&'static str),
}

impl Script {
    /// Starts it and waits until it says that it listens; answers where, if it says that too.
    pub(super) async fn start(&self, env: &[(&str, String)]) -> (Child, String) {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let folder = here.join("tests").join(self.folder);
        let (program, needed) = match self.runtime {
            Runtime::Node(package) => ("node".into(), folder.join("node_modules").join(package)),
            Runtime::Python(name) => {
                let tools = here.join("../.tools").join(name);
                (tools.join("bin/python"), tools.join(".installed"))
            }
        };
        assert!(needed.exists(), "{} is not there: run `make setup-platforms`", needed.display());
        let mut child = Command::new(program)
            .args(self.args)
            .current_dir(folder)
            .envs(env.iter().map(|(name, value)| (name, value)))
            // Its end tells the script to end, should we be killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node or Python is installed");
        let stdout = child.stdout.take().expect("a piped stdout");
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("read what the script says") {
                if let Some(place) = line.strip_prefix("listening") {
                    return Some(place.trim().to_owned());
                }
            }
            None
        };
        let place = tokio::time::timeout(START_LIMIT, ready).await.ok().flatten();
        let place = place.unwrap_or_else(|| panic!("{:?} did not start", self.args));
        // Read on: a script that writes to a closed pipe ends.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (child, place)
    }
}

/// Asks servers of this machine.
pub(super) fn http() -> Http {
    let options = HttpOptions::new(NetworkPolicy::default());
    Http::new(&SANDBOX, &options, SystemClock::shared()).expect("an HTTP client")
}

/// The JSON that a server of ours answers with success.
pub(super) async fn answer(request: RequestBuilder) -> Value {
    let answer = request.send().await.expect("the server answers");
    let (status, body) = (answer.status(), answer.text().await.expect("a whole answer"));
    assert!(status.is_success(), "the server refused: {status} {body}");
    serde_json::from_str(&body).expect("an answer in JSON")
}

/// A text in it, or nothing.
pub(super) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
