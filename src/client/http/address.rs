//! Where the API is, checked once: a key must not leave for where others can read it.

use url::{Host, Url};

use super::Error;

/// The API's address, without what could hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(String);

impl Address {
    /// Reads an address. Plain HTTP is for this machine, or where `plain_http` says so.
    pub(super) fn parse(text: &str, plain_http: bool) -> Result<Self, Error> {
        // Its words never hold the text, which may hold a password.
        let wrong = |words: &str| Error::Setup(format!("the API's address {words}"));
        let url = Url::parse(text).map_err(|error| wrong(&format!("is none: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must start with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must hold no name and no password: the API takes a key"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must end with its path: no ? and no #"));
        }
        if url.scheme() == "http" && !plain_http && !is_local(&url) {
            return Err(wrong(
                "must start with https://, since anybody on the way could read the key and the \
                 jobs; `HttpOptions::plain_http` allows it for a network of your own",
            ));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The whole address of a path of the API.
    pub(super) fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_unless_it_is_allowed() {
        for local in
            ["http://127.0.0.1:7000", "http://localhost", "http://[::1]:1/", "http://api.localhost"]
        {
            assert!(Address::parse(local, false).is_ok(), "{local}");
        }
        for far in ["http://10.0.0.1:7000", "http://jobs.example", "http://127.0.0.1.example"] {
            assert!(Address::parse(far, false).is_err(), "{far}");
            assert!(Address::parse(far, true).is_ok(), "{far}");
        }
        assert!(Address::parse("https://jobs.example", false).is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_what_may_be_a_secret() {
        for wrong in [
            "hush",
            "ftp://jobs.example",
            "https://ann:hush@jobs.example",
            "https://hush@jobs.example",
            "https://jobs.example?key=hush",
            "https://jobs.example#hush",
            "https://hush:hush:hush",
        ] {
            let error = Address::parse(wrong, true).unwrap_err();
            assert!(matches!(error, Error::Setup(_)), "{wrong}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_api_may_live_below_a_path() {
        let below = Address::parse("https://example.org/jobs/", false).unwrap();
        assert_eq!(below.of("/api/jobs"), "https://example.org/jobs/api/jobs");
        let top = Address::parse("https://example.org", false).unwrap();
        assert_eq!(top.of("/api/jobs"), "https://example.org/api/jobs");
    }
}
