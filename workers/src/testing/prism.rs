//! Prism, which checks requests against an OpenAPI document, private to a test, on loopback.

use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Child;
use url::Url;

use super::script::{Runtime, Script};

const SCRIPT: Script = Script {
    folder: "contract/prism",
    runtime: Runtime::Node("@stoplight/prism-cli"),
    args: &["prism.js"],
};

/// A running Prism. Dropping it, or the end of the test's process, ends it.
#[derive(Debug)]
pub struct Prism {
    _child: Child,
    url: Url,
}

impl Prism {
    /// Starts one that has this document.
    pub async fn start(document: &Path) -> Self {
        let env = [("DOCUMENT", document.display().to_string())];
        let (child, url) = SCRIPT.start(&env).await;
        Self { _child: child, url: url.parse().expect("an address") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.url.socket_addrs(|| None).expect("an address and a port")[0]
    }
}
