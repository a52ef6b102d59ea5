//! What the X client sends, against X's own OpenAPI document, which Prism checks it by. The document is
//! not in the project: `make test-x-contract OPENAPI=…` says where it is. The answers are made up from
//! the document: what X does is not tested by this.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks_workers::platforms::http::HttpOptions;
use postworks_workers::platforms::x::XClient;
use postworks_workers::platforms::{
    Account, Image, ImageKind, Link, NetworkPolicy, Outgoing, Platform as _, Prepared, Sought,
};
use postworks_workers::testing::lossy_proxy::LossyProxy;
use postworks_workers::testing::prism::Prism;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

/// What X's guides name so and its document otherwise, since August 2026.
const NAMED_BY_THE_GUIDES: &str = "tweet.fields";

fn document() -> PathBuf {
    let path = std::env::var_os("OPENAPI").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| {
        panic!(
            "no document is given: make test-x-contract OPENAPI=/path/to/openapi.json, which is at \
             https://api.x.com/2/openapi.json"
        )
    });
    let path = PathBuf::from(path);
    assert!(path.is_file(), "OPENAPI: there is no file {}", path.display());
    path
}

/// Whether a path is one of a template such as `/2/users/{id}/tweets`.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(part, given)| part.starts_with('{') || part == given)
}

/// The names in the queries of these requests that the document has not.
fn unknown_names(document: &Value, requests: &[String]) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    let mut unknown = BTreeSet::new();
    for request in requests {
        let (method, address) = request.split_once(' ').unwrap();
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let exact = paths.get(path);
        let found =
            exact.or_else(|| paths.iter().find(|(of, _)| is_of(of, path)).map(|(_, it)| it));
        let found = found.unwrap_or_else(|| panic!("the document has no {path}"));
        let of = &found[method.to_lowercase()]["parameters"];
        let known: Vec<&str> = of
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| {
                let named = parameter["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
                let parameter = named.map_or(parameter, |name| document.pointer(name).unwrap());
                parameter["name"].as_str().unwrap()
            })
            .collect();
        let names = query.split('&').filter_map(|pair| pair.split('=').next());
        unknown.extend(
            names.filter(|name| !name.is_empty() && !known.contains(name)).map(str::to_owned),
        );
    }
    unknown
}

fn image(kind: ImageKind, alt: &str) -> Image {
    Image {
        id: Uuid::now_v7(),
        kind,
        bytes: (&b"an image"[..]).into(),
        width: 1,
        height: 1,
        alt: alt.to_owned(),
        url: None,
    }
}

#[tokio::test]
async fn every_request_is_one_that_xs_own_document_permits() {
    let path = document();
    let prism = Prism::start(&path).await;
    let proxy = LossyProxy::start(prism.address()).await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = XClient::new(&options, SystemClock::shared()).unwrap();
    let account = Account {
        connector_id: Uuid::now_v7(),
        base_url: format!("http://{}", proxy.address()).parse().unwrap(),
        identifier: "alice".to_owned(),
        remote_id: Some("2244994945".to_owned()),
        target: None,
        signed_in_at: None,
    };
    let access = SecretString::from("t0ken");
    let now = SystemClock.now();
    let plain = Outgoing::of_text(Uuid::now_v7(), "Hello".to_owned(), now);
    client.commit(account.with(&access), &plain, &Prepared::NOTHING).await.unwrap();

    let whole = Outgoing {
        images: vec![image(ImageKind::Png, "A chart")],
        link: Some(Link {
            url: "https://example.org/page".parse().unwrap(),
            title: None,
            description: None,
        }),
        reply_to: Some("1346889436626259968".to_owned()),
        ..plain.clone()
    };
    client.prepare(account.with(&access), &whole, Prepared::NOTHING).await.unwrap();
    // Made-up ids are no numbers, as the document has them.
    let upload = |ready: bool, described: bool| {
        let ends = now.after(Duration::from_secs(3_600));
        let upload = json!({ "id": "7", "made_at": now.to_string(), "ends": ends, "ready": ready,
            "described": described });
        Prepared(json!({ "media": [upload] }))
    };
    for so_far in [upload(false, false), upload(true, false)] {
        client.prepare(account.with(&access), &whole, so_far).await.unwrap();
    }
    client.commit(account.with(&access), &whole, &upload(true, true)).await.unwrap();

    let sought = Sought::alone(now, now);
    client.reconcile(account.with(&access), &plain, &Prepared::NOTHING, sought).await.unwrap();
    client.posts(account.with(&access), Some("7140dib")).await.unwrap();
    let ids = ["17", "18"].map(str::to_owned);
    client.numbers(account.with(&access), &ids).await.unwrap();
    client.profile(account.with(&access)).await.unwrap();

    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let requests = proxy.requests();
    assert_eq!(requests.len(), 9, "{requests:?}");
    let unknown = unknown_names(&document, &requests);
    let expected = BTreeSet::from([NAMED_BY_THE_GUIDES.to_owned()]);
    assert!(unknown.is_subset(&expected), "{unknown:?}");
}

#[tokio::test]
async fn a_request_that_breaks_the_document_is_refused() {
    let prism = Prism::start(&document()).await;
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    let client = XClient::new(&options, SystemClock::shared()).unwrap();
    let account = Account {
        connector_id: Uuid::now_v7(),
        base_url: format!("http://{}", prism.address()).parse().unwrap(),
        identifier: "alice".to_owned(),
        remote_id: None,
        target: None,
        signed_in_at: None,
    };
    let post = Outgoing {
        reply_to: Some("no number".to_owned()),
        ..Outgoing::of_text(Uuid::now_v7(), "Hello".to_owned(), SystemClock.now())
    };
    let access = SecretString::from("t0ken");
    let refused =
        client.commit(account.with(&access), &post, &Prepared::NOTHING).await.unwrap_err();
    assert!(refused.to_string().contains("422"), "{refused}");
}
