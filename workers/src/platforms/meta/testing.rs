//! What the tests of the clients of Meta and of LinkedIn send, and who they say they are.

use std::io::Write as _;

use postworks::clock::{Clock as _, SystemClock};
use postworks::config::{Config, Sources};
use postworks::job::JobError;
use secrecy::SecretString;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::platforms::http::HttpOptions;
use crate::platforms::oauth::{OAuthClient, Profile};
use crate::platforms::responder::Responder;
use crate::platforms::{
    Account, Descriptor, Image, ImageKind, Link, NetworkPolicy, Outgoing, Platform, Preparation,
    Prepared,
};

/// An image whose bytes nobody looks at.
pub(in crate::platforms) fn image(kind: ImageKind, alt: &str) -> Image {
    let url = format!("https://post.example/media/{}", kind.extension()).parse().unwrap();
    Image {
        id: Uuid::nil(),
        kind,
        bytes: "not looked at".into(),
        width: 1080,
        height: 1080,
        alt: alt.to_owned(),
        url: Some(url),
    }
}

pub(in crate::platforms) fn link() -> Link {
    Link {
        url: "https://example.org/page".parse().unwrap(),
        title: Some("A page".to_owned()),
        description: Some("About it".to_owned()),
    }
}

/// The requests since the last call, with one empty line between any two parts.
pub(in crate::platforms) fn sent(responder: &Responder) -> String {
    let mut sent = responder.take_requests();
    while sent.contains("\n\n\n") {
        sent = sent.replace("\n\n\n", "\n\n");
    }
    sent.trim_end().to_owned()
}

/// Prepares a post for as long as the platform needs no time for it.
pub(in crate::platforms) async fn prepare(
    platform: &dyn Platform,
    account: &Account,
    access: &SecretString,
    post: &Outgoing,
    mut so_far: Prepared,
) -> Result<Preparation, JobError> {
    loop {
        match platform.prepare(account.with(access), post, so_far).await? {
            Preparation::Waits { so_far: kept, until } if until <= SystemClock.now() => {
                so_far = kept;
            }
            other => return Ok(other),
        }
    }
}

/// What is ready to be committed.
pub(in crate::platforms) fn ready(preparation: Preparation) -> Prepared {
    match preparation {
        Preparation::Ready(prepared) => prepared,
        other => panic!("it is not ready: {other:?}"),
    }
}

/// The platform's OAuth 2.0 servers, played by `responder` at `/token`.
pub(in crate::platforms) fn oauth(
    descriptor: &'static Descriptor,
    responder: &Responder,
) -> OAuthClient {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "0ur-s3cret").unwrap();
    let (base, path, name) = (&responder.url, file.path().display(), descriptor.name);
    let text = format!(
        "[platforms.{name}.oauth]\nauthorize_url = \"{base}authorize\"\n\
         token_url = \"{base}token\"\nclient_id = \"us\"\nclient_auth = \"post\"\n\
         client_secret_file = \"{path}\"\n"
    );
    let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
    let (_, oauth) = config.oauth().next().unwrap();
    let profile = Profile::read(oauth, descriptor.oauth).unwrap();
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    OAuthClient::new(descriptor, profile, &options, SystemClock::shared()).unwrap()
}
