//! The promises of `[platforms.NAME.oauth]`.

use std::path::Path;

use super::{Config, Sources};

const WHOLE: &str = "[platforms.bluesky.oauth]\n\
    authorize_url = \"https://as.example/authorize?prompt=consent\"\n\
    token_url = \"https://as.example/token\"\nclient_id = \"us\"\nscopes = [\"openid\", \"post\"]\n";

fn env(sources: Sources, vars: &[(&str, &str)]) -> Sources {
    let name = |key: &str| format!("POSTWORKS__PLATFORMS__BLUESKY__OAUTH__{key}");
    sources.env(vars.iter().map(|(key, value)| (name(key), (*value).to_owned())))
}

fn faults(text: &str) -> String {
    let error = Config::load(&Sources::default().file("my.toml", text)).unwrap_err();
    error.0.iter().map(|fault| format!("{fault}\n")).collect()
}

#[test]
fn any_platform_may_have_a_section_of_oauth_and_by_default_none_has() {
    assert_eq!(Config::load(&Sources::default()).unwrap().oauth().count(), 0);
    let sources = env(
        Sources::default().file("my.toml", WHOLE),
        &[
            ("SCOPES", "openid, write"),
            ("CLIENT_SECRET_FILE", "/run/secrets/us"),
            ("PKCE", "false"),
        ],
    );
    let config = Config::load(&sources).unwrap();
    let (name, oauth) = config.oauth().next().unwrap();
    assert_eq!(name, "bluesky");
    assert_eq!(oauth.scopes, ["openid", "write"]);
    assert_eq!(oauth.client_secret_file.as_deref(), Some(Path::new("/run/secrets/us")));
    assert_eq!((oauth.client_auth, oauth.revoke_url.is_none()), (None, true));
    assert_eq!(oauth.pkce, Some(false));
    let printed = config.print();
    assert!(printed.contains("[platforms.bluesky.oauth]\n"), "{printed}");
    assert_eq!(Config::load(&Sources::default().file("p", printed)).unwrap().oauth().count(), 1);
}

#[test]
fn what_is_wrong_with_a_section_of_oauth_is_named() {
    for (line, expected) in [
        ("token_url = \"as.example/token\"", "\"as.example/token\" is no address such as"),
        ("revoke_url = \"ftp://as.example\"", "is no address such as"),
        ("pkce = \"S256\"", "expected a boolean"),
        ("client_auth = \"jwt\"", "unknown variant `jwt`, expected `basic` or `post`"),
        // It would be printed with the rest.
        ("client_secret = \"x\"", "unknown key; did you mean client_secret_file?"),
    ] {
        let key = line.split(' ').next().unwrap();
        let rest = WHOLE.lines().filter(|line| !line.starts_with(&format!("{key} ")));
        let text = rest.chain([line]).collect::<Vec<_>>().join("\n");
        let all = faults(&text);
        assert!(all.contains(expected), "{all}");
    }
    let url = "\"https://as.example/\"";
    for (there, missing) in [
        (format!("authorize_url = {url}\nclient_id = \"us\""), "token_url"),
        (format!("token_url = {url}\nclient_id = \"us\""), "authorize_url"),
        (format!("authorize_url = {url}\ntoken_url = {url}"), "client_id"),
        ("scopes = [\"openid\"]".to_owned(), "client_id"),
    ] {
        let all = faults(&format!("[platforms.bluesky.oauth]\n{there}\n"));
        let expected = format!("platforms.bluesky.oauth.{missing}");
        assert!(all.contains(&expected) && all.lines().count() == 1, "{there}: {all}");
    }
}

#[test]
fn browsers_find_an_api_by_https_or_on_this_machine() {
    let load = |url: &str| {
        let text = format!("[api]\npublic_url = \"{url}\"");
        Config::load(&Sources::default().file("my.toml", text))
    };
    for url in ["https://app.example/jobs", "http://localhost:7000", "http://[::1]:7000", ""] {
        let found = load(url).unwrap().api.public_url;
        assert_eq!(found.is_some(), !url.is_empty(), "{url}");
    }
    for (url, words) in [
        ("http://app.example", "must be https, or on loopback"),
        ("http://127.0.0.1.evil.example", "must be https, or on loopback"),
        ("https://ann@app.example", "without a user and a query"),
        ("https://:secret@app.example", "is no address"),
        ("https://app.example/?a=b", "without a user and a query"),
        ("https://app.example/#top", "is no address"),
        ("app.example", "is no address"),
        ("ftp://app.example", "is no address"),
    ] {
        let said = load(url).unwrap_err().to_string();
        assert!(said.contains("api.public_url") && said.contains(words), "{url}: {said}");
    }
}
