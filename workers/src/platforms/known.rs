//! The platforms this build knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use postworks::clock::SharedClock;
use postworks::config::OAuth;

use super::bluesky::BlueskyClient;
use super::facebook::{self, FacebookClient};
use super::http::HttpOptions;
use super::instagram::{self, InstagramClient};
use super::linkedin::{self, LinkedInClient};
use super::mastodon::{self, MastodonClient};
use super::matrix::MatrixClient;
use super::oauth::{OAuthClient, Profile, ProfileError};
use super::sandbox::{self, SandboxClient};
use super::threads::{self, ThreadsClient};
use super::wordpress::WordPressClient;
use super::x::{self, XClient};
use super::{Descriptor, Platform};

/// How alike a name must be to be suggested, from 0 to 1; `strsim`'s customary threshold.
const ALIKE_MIN: f64 = 0.75;

/// Why the platforms cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An HTTP client.
    #[error("cannot set up the HTTP client")]
    Http(#[from] reqwest::Error),
    /// A platform's profile.
    #[error("platforms.{platform}.oauth: {source}")]
    OAuth {
        /// The platform.
        platform: String,
        /// What is wrong with it.
        source: ProfileError,
    },
    /// A profile of a platform whose client has no use for it.
    #[error(
        "platforms.{0}.oauth: accounts of {0} are not connected with OAuth 2.0: remove the section"
    )]
    NoOAuth(String),
}

/// Every platform of this build, with the profiles of those that have OAuth 2.0.
///
/// # Errors
/// An HTTP client cannot be built, or a profile cannot be used.
pub fn all<'a>(
    options: &HttpOptions,
    clock: &SharedClock,
    profiles: impl IntoIterator<Item = (&'a str, &'a OAuth)>,
) -> Result<Platforms, SetupError> {
    let mut profiles: BTreeMap<&str, &OAuth> = profiles.into_iter().collect();
    let mut oauth = BTreeMap::new();
    let mut servers_of = |descriptor: &'static Descriptor| {
        let Some(config) = profiles.remove(descriptor.name) else { return Ok(None) };
        let fault = |source| SetupError::OAuth { platform: descriptor.name.to_owned(), source };
        let profile = Profile::read(config, descriptor.oauth).map_err(fault)?;
        let server = OAuthClient::new(descriptor, profile, options, clock.clone());
        let server = Arc::new(server.map_err(fault)?);
        oauth.insert(descriptor.name, Arc::clone(&server));
        Ok::<_, SetupError>(Some(server))
    };
    let mut platforms: Vec<Arc<dyn Platform>> = Vec::new();
    for descriptor in [&sandbox::SANDBOX, &sandbox::SANDBOX_LOOKUP, &sandbox::SANDBOX_BLIND] {
        let mut client = SandboxClient::new(descriptor, options, clock.clone())?;
        if let Some(server) = servers_of(descriptor)? {
            client = client.with_oauth(server);
        }
        platforms.push(Arc::new(client));
    }
    platforms.push(Arc::new(BlueskyClient::new(options, clock.clone())?));
    platforms.push(Arc::new(MatrixClient::new(options, clock.clone())?));
    platforms.push(Arc::new(WordPressClient::new(options, clock.clone())?));
    // These renew their tokens themselves, or not at all: nothing is asked of their servers but the
    // first one.
    for descriptor in
        [&facebook::DESCRIPTOR, &instagram::DESCRIPTOR, &mastodon::DESCRIPTOR, &threads::DESCRIPTOR]
    {
        servers_of(descriptor)?;
    }
    platforms.push(Arc::new(FacebookClient::new(options, clock.clone())?));
    platforms.push(Arc::new(InstagramClient::new(options, clock.clone())?));
    platforms.push(Arc::new(MastodonClient::new(options, clock.clone())?));
    platforms.push(Arc::new(ThreadsClient::new(options, clock.clone())?));
    let mut linkedin = LinkedInClient::new(options, clock.clone())?;
    if let Some(server) = servers_of(&linkedin::DESCRIPTOR)? {
        linkedin = linkedin.with_oauth(server);
    }
    platforms.push(Arc::new(linkedin));
    let mut x = XClient::new(options, clock.clone())?;
    if let Some(server) = servers_of(&x::DESCRIPTOR)? {
        x = x.with_oauth(server);
    }
    platforms.push(Arc::new(x));
    match profiles.keys().next() {
        Some(name) => Err(SetupError::NoOAuth((*name).to_owned())),
        None => Ok(Platforms { oauth, ..Platforms::new(platforms) }),
    }
}

/// Platforms by name.
#[derive(Clone, Default)]
pub struct Platforms {
    clients: BTreeMap<&'static str, Arc<dyn Platform>>,
    oauth: BTreeMap<&'static str, Arc<OAuthClient>>,
}

impl Platforms {
    /// These platforms, by the names in their descriptors.
    pub fn new(platforms: impl IntoIterator<Item = Arc<dyn Platform>>) -> Self {
        let named = platforms.into_iter().map(|platform| (platform.descriptor().name, platform));
        Self { clients: named.collect(), oauth: BTreeMap::new() }
    }

    /// The platform of that name; the error suggests what was meant.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Platform>, UnknownPlatform> {
        self.clients.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The OAuth 2.0 client of the platform of that name, if accounts are connected with it.
    pub fn oauth(&self, name: &str) -> Option<&OAuthClient> {
        self.oauth.get(name).map(Arc::as_ref)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.clients.keys().copied()
    }

    /// What each platform is like, in the order of their names.
    pub fn descriptors(&self) -> impl Iterator<Item = &'static Descriptor> + '_ {
        self.clients.values().map(|platform| platform.descriptor())
    }

    fn unknown(&self, name: &str) -> UnknownPlatform {
        let lower = name.to_lowercase();
        let nearest = self
            .names()
            .map(|known| (strsim::jaro_winkler(&lower, known), known))
            .filter(|(alike, _)| *alike >= ALIKE_MIN)
            .max_by(|left, right| left.0.total_cmp(&right.0));
        UnknownPlatform {
            name: name.chars().take(64).collect(),
            nearest: nearest.map(|(_, known)| known),
            known: self.names().collect(),
        }
    }
}

impl fmt::Debug for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A name that no platform has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlatform {
    /// The name that was asked for.
    pub name: String,
    /// The name that was probably meant.
    pub nearest: Option<&'static str>,
    /// All names there are.
    pub known: Vec<&'static str>,
}

impl fmt::Display for UnknownPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no platform is called {:?}", self.name)?;
        if let Some(nearest) = self.nearest {
            write!(f, "; did you mean {nearest:?}?")?;
        }
        write!(f, " (there are: {})", self.known.join(", "))
    }
}

impl std::error::Error for UnknownPlatform {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::NetworkPolicy;
    use postworks::clock::SystemClock;
    use postworks::config::{Config, Sources};

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_one() {
        let options = HttpOptions::new(NetworkPolicy::default());
        let platforms = all(&options, &SystemClock::shared(), []).unwrap();
        assert_eq!(platforms.get("bluesky").unwrap().descriptor().name, "bluesky");
        assert_eq!(
            platforms.get("BlueSki").err().unwrap().to_string(),
            "no platform is called \"BlueSki\"; did you mean \"bluesky\"? \
             (there are: bluesky, facebook, instagram, linkedin, mastodon, matrix, sandbox, \
             sandbox_blind, sandbox_lookup, threads, wordpress, x)"
        );
        assert_eq!(platforms.get("fax").err().unwrap().nearest, None);
    }

    #[test]
    fn a_platform_that_is_one_place_is_connected_with_a_client_id_alone() {
        let options = HttpOptions::new(NetworkPolicy::default());
        let known = all(&options, &SystemClock::shared(), []).unwrap();
        let places = known.descriptors().filter_map(|one| Some((one.name, one.oauth?)));
        let mut found = 0;
        for (name, place) in places {
            let text = format!("[platforms.{name}.oauth]\nclient_id = \"us\"\n");
            let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
            let platforms = all(&options, &SystemClock::shared(), config.oauth()).unwrap();
            let client = platforms.oauth(name).unwrap();
            let url = client.authorize_url("s", "c", "https://app.example/callback");
            assert!(url.as_str().starts_with(&format!("{}?", place.authorize_url)), "{url}");
            let scopes = format!("&scope={}&", place.scopes.join("+"));
            assert!(url.as_str().contains(&scopes), "{url}");
            assert_eq!(client.servers().next(), Some(&place.api_url.parse().unwrap()));
            found += 1;
        }
        assert!(found >= 4, "only {found} platforms are one place");
    }

    #[test]
    fn a_profile_that_cannot_be_used_is_found_at_start() {
        let servers = |base: &str| {
            format!("authorize_url = \"{base}/a\"\ntoken_url = \"{base}/t\"\nclient_id = \"us\"\n")
        };
        let (here, there) = (servers("http://127.0.0.1:9"), servers("https://as.example"));
        let all_with = |name: &str, lines: &str| {
            let text = format!("[platforms.{name}.oauth]\n{lines}");
            let config = Config::load(&Sources::default().file("test.toml", text)).unwrap();
            let options = HttpOptions::new(NetworkPolicy::default());
            all(&options, &SystemClock::shared(), config.oauth())
        };
        let platforms = all_with("sandbox_blind", &here).unwrap();
        assert!(platforms.oauth("sandbox_blind").is_some());
        assert!(platforms.oauth("sandbox").is_none());
        let missing = format!("{here}client_secret_file = \"/no/such/file\"\n");
        let empty = format!("{here}client_secret_file = \"/dev/null\"\n");
        for (name, lines, words) in [
            ("bluesky", &here, "accounts of bluesky are not connected with OAuth 2.0"),
            ("sandbox", &there, "platforms.sandbox.oauth: authorize_url: as.example is not this"),
            ("sandbox", &missing, "client_secret_file: the file \"/no/such/file\" cannot be read"),
            ("sandbox", &empty, "client_secret_file: the file \"/dev/null\" is empty"),
        ] {
            let error = all_with(name, lines).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
