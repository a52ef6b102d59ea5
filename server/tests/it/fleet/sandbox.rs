//! The platform of a fleet: a process of its own whose journal says what was really published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use postworks_server::sandbox::{Entry, Op};
use serde_json::{Value, json};

use super::client::{Http, Publication};
use super::process::Process;
use super::{ANY, POSTWORKS};

/// A sandbox platform.
pub(crate) struct Sandbox {
    http: Http,
    journal: PathBuf,
    _process: Process,
}

/// What the platform has accepted.
pub(crate) struct Journal(pub(crate) Vec<Entry>);

impl Sandbox {
    /// Starts one that keeps its journal in `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        let journal = folder.join("journal.ndjson");
        let path = journal.to_str().expect("a folder with a plain name");
        let args = ["sandbox", "--listen", ANY, "--journal", path];
        let mut process = Process::start("sandbox", POSTWORKS, &args, &[], folder);
        let http = Http::new(&process.listening("sandbox").await);
        Self { http, journal, _process: process }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        self.http.base()
    }

    /// Makes an account whose access tokens live for longer than any test; answers its first refresh
    /// token.
    pub(crate) async fn account(&self, handle: &str) -> String {
        self.account_living(handle, 24 * 3_600).await
    }

    /// Makes an account whose access tokens live for so many seconds; answers its first refresh
    /// token.
    pub(crate) async fn account_living(&self, handle: &str, token_ttl_s: u32) -> String {
        self.account_as(&json!({ "handle": handle, "token_ttl_s": token_ttl_s })).await
    }

    /// The same, of an account that is like this.
    pub(crate) async fn account_as(&self, account: &Value) -> String {
        let account = self.http.post("/accounts", account).await;
        account.expect(201)["refresh_token"].as_str().expect("a token").to_owned()
    }

    /// Puts fault rules in force, in place of those before.
    pub(crate) async fn faults(&self, rules: Value) {
        self.http.put("/_control/faults", &json!({ "rules": rules })).await.expect(200);
    }

    /// Lets every publish take this long, after it was accepted.
    pub(crate) async fn slow_down(&self, ms: u32) {
        let latency = json!({ "p50": ms, "p99": ms });
        self.faults(json!([{ "op": "publish", "action": "latency", "latency_ms": latency }])).await;
    }

    /// What it has accepted so far.
    pub(crate) fn journal(&self) -> Journal {
        let text = std::fs::read_to_string(&self.journal).expect("a journal");
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let entry = |line| serde_json::from_str(line).expect("a line of the journal");
        Journal(whole.lines().map(entry).collect())
    }
}

impl Journal {
    /// How often each reference was published.
    pub(crate) fn copies(&self) -> BTreeMap<&str, u32> {
        let mut copies = BTreeMap::new();
        for entry in self.0.iter().filter(|entry| entry.op == Op::Publish) {
            let reference = entry.client_ref.as_deref().expect("we send a reference");
            *copies.entry(reference).or_default() += 1;
        }
        copies
    }

    /// How many posts it has accepted, also on a platform that is sent no references.
    pub(crate) fn posts(&self) -> usize {
        self.0.iter().filter(|entry| entry.op == Op::Publish).count()
    }

    /// How many of these publications the platform has.
    pub(crate) fn count(&self, publications: &[Publication]) -> usize {
        let copies = self.copies();
        publications.iter().filter(|wanted| copies.contains_key(wanted.id.as_str())).count()
    }

    /// Fails the test unless each of these publications is there exactly once, and nothing else
    /// is there twice.
    #[track_caller]
    pub(crate) fn must_have_each_once(&self, publications: &[Publication]) {
        let copies = self.copies();
        let twice: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
        assert!(twice.is_empty(), "published more than once: {twice:?}");
        let wanted: BTreeSet<&str> = publications.iter().map(|wanted| wanted.id.as_str()).collect();
        let missing: Vec<_> = wanted.iter().filter(|id| !copies.contains_key(*id)).collect();
        assert!(missing.is_empty(), "never published: {missing:?}");
    }
}
