//! What the server has, as anybody may read it.

use http::Method;
use serde_json::Value;

use super::{PdsServer, endpoint};

impl PdsServer {
    /// The record at an `at://` address, as it was written.
    pub async fn record(&self, uri: &str) -> Value {
        let parts: Vec<&str> = uri.split('/').skip(2).collect();
        let [repo, collection, key] = parts[..] else { panic!("{uri} is no address of a record") };
        let query = [("repo", repo), ("collection", collection), ("rkey", key)];
        self.get("com.atproto.repo.getRecord", &query).await["value"].clone()
    }

    /// The bytes that a record of this account refers to.
    pub async fn blob(&self, did: &str, cid: &str) -> Vec<u8> {
        let url = endpoint(&self.url(), "xrpc/com.atproto.sync.getBlob");
        let request = self.http.request(Method::GET, url).query(&[("did", did), ("cid", cid)]);
        let answer = request.send().await.expect("the server answers");
        assert!(answer.status().is_success(), "no blob {cid}: {}", answer.status());
        answer.bytes().await.expect("a whole answer").to_vec()
    }
}
