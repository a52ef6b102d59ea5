//! A platform's own OAuth 2.0 servers, played by a responder.

use std::io::Write as _;

use postworks::clock::SystemClock;
use postworks::config::{Config, Sources};
use tempfile::NamedTempFile;
use url::Url;

use super::{OAuthClient, Profile};
use crate::platforms::http::HttpOptions;
use crate::platforms::responder::Responder;
use crate::platforms::{Descriptor, NetworkPolicy};

/// Our client's secret at these servers.
const OUR_SECRET: &str = "0ur-s3cret";

/// The client that a section of nothing but our id and secret makes; `more` are lines of it. Every
/// address of the platform's keeps its path, on the responder's server.
pub(in crate::platforms) fn played(
    descriptor: &'static Descriptor,
    responder: &Responder,
    more: &str,
) -> OAuthClient {
    let mut profile = configured(descriptor, more);
    let at_responder = |url: &mut Url| {
        let mut here = responder.url.clone();
        here.set_path(url.path());
        *url = here;
    };
    at_responder(&mut profile.authorize_url);
    at_responder(&mut profile.token_url);
    [&mut profile.revoke_url, &mut profile.userinfo_url]
        .into_iter()
        .flatten()
        .for_each(at_responder);
    client(descriptor, profile)
}

/// The same, at the platform's real addresses.
pub(in crate::platforms) fn real(descriptor: &'static Descriptor) -> OAuthClient {
    client(descriptor, configured(descriptor, ""))
}

fn configured(descriptor: &'static Descriptor, more: &str) -> Profile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{OUR_SECRET}").unwrap();
    let (name, path) = (descriptor.name, file.path().display());
    let text = format!(
        "[platforms.{name}.oauth]\nclient_id = \"us\"\nclient_secret_file = \"{path}\"\n{more}\n"
    );
    let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
    let (_, section) = config.oauth().next().unwrap();
    Profile::read(section, descriptor.oauth).unwrap()
}

fn client(descriptor: &'static Descriptor, profile: Profile) -> OAuthClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    OAuthClient::new(descriptor, profile, &options, SystemClock::shared()).unwrap()
}
