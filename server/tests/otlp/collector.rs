//! A real collector of OpenTelemetry: Rotel, which tells on its stdout of every span that it gets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::fleet::{ANY, LONG, until};

/// Where `make setup-otlp` puts it.
const PROGRAM: &str = "../.tools/bin/rotel-agent";

/// A collector that ends with this value.
pub(crate) struct Collector {
    url: String,
    told: PathBuf,
    _process: Child,
    _folder: TempDir,
}

/// A span as the collector tells it: the parts that it names, its attributes and its links.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// `Name`, `Kind`, `Trace ID`, `Parent ID`, `Status code` and so on.
    pub(crate) parts: BTreeMap<String, String>,
    /// As `Str(words)` or `Int(1)`, by name.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The trace and the span of each.
    pub(crate) links: Vec<(String, String)>,
    /// What it is a span of.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a collector");
        let told = folder.path().join("told");
        // It does not say which port it was given, so it is told a free one.
        let free = TcpListener::bind(ANY).expect("a free port");
        let address = free.local_addr().expect("its address").to_string();
        drop(free);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(PROGRAM);
        let process = Command::new(program)
            .args(["start", "--otlp-http-endpoint", &address, "--otlp-grpc-endpoint", ANY])
            .args(["--exporter", "blackhole", "--disable-batching"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .env_clear()
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(File::create(&told).expect("a file for what it tells"))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Rotel starts; `make setup-otlp` installs it");
        until("the collector does not listen", LONG, async || {
            TcpStream::connect(&address).await.is_ok()
        })
        .await;
        Self { url: format!("http://{address}"), told, _process: process, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for a job's span of this name.
    pub(crate) async fn span(&self, name: &str, job: &str) -> Span {
        let mut found = None;
        let is_it = |span: &Span| {
            span.parts.get("Name").is_some_and(|told| told == name)
                && span.attributes.get("messaging.message.id") == Some(&format!("Str({job})"))
        };
        until(&format!("the span {name} of job {job}"), LONG, async || {
            found = self.spans().into_iter().find(is_it);
            found.is_some()
        })
        .await;
        found.expect("a span")
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        spans(&fs::read_to_string(&self.told).expect("what it told"))
    }
}

/// Reads what the collector tells. It writes each request at once, so no span is told by half.
fn spans(told: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut resource = BTreeMap::new();
    let mut of_resource = false;
    for line in told.lines() {
        if line.starts_with("ResourceSpans #") {
            resource = BTreeMap::new();
            of_resource = true;
        } else if line.starts_with("Span #") {
            of_resource = false;
            spans.push(Span { resource: resource.clone(), ..Span::default() });
        }
        let attribute = line.strip_prefix("     -> ").and_then(|rest| rest.split_once(": "));
        let part = line.strip_prefix("    ").and_then(|rest| rest.split_once(": "));
        match (attribute, spans.last_mut()) {
            (Some((name, value)), _) if of_resource => {
                resource.insert(name.to_owned(), value.to_owned());
            }
            (Some(("Trace ID", id)), Some(span)) => {
                span.links.push((id.to_owned(), String::new()));
            }
            (Some(("ID", id)), Some(span)) => {
                span.links.last_mut().expect("a link's trace comes first").1 = id.to_owned();
            }
            (Some((name, value)), Some(span)) => {
                span.attributes.insert(name.to_owned(), value.to_owned());
            }
            (None, Some(span)) if !of_resource => {
                if let Some((name, value)) = part {
                    span.parts.insert(name.trim_end().to_owned(), value.to_owned());
                }
            }
            _ => {}
        }
    }
    spans
}
