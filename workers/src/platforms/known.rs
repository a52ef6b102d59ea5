//! The platforms this build knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use postworks::clock::SharedClock;

use super::http::HttpOptions;
use super::sandbox::{self, SandboxClient};
use super::{Descriptor, Platform, bluesky::BlueskyClient};

/// How alike a name must be to be suggested, from 0 to 1; `strsim`'s customary threshold.
const ALIKE_MIN: f64 = 0.75;

/// Every platform of this build.
///
/// # Errors
/// An HTTP client cannot be built.
pub fn all(options: &HttpOptions, clock: &SharedClock) -> Result<Platforms, reqwest::Error> {
    let mut platforms: Vec<Arc<dyn Platform>> = Vec::new();
    for descriptor in [&sandbox::SANDBOX, &sandbox::SANDBOX_LOOKUP, &sandbox::SANDBOX_BLIND] {
        platforms.push(Arc::new(SandboxClient::new(descriptor, options, clock.clone())?));
    }
    platforms.push(Arc::new(BlueskyClient::new(options, clock.clone())?));
    Ok(Platforms::new(platforms))
}

/// Platforms by name.
#[derive(Clone, Default)]
pub struct Platforms(BTreeMap<&'static str, Arc<dyn Platform>>);

impl Platforms {
    /// These platforms, by the names in their descriptors.
    pub fn new(platforms: impl IntoIterator<Item = Arc<dyn Platform>>) -> Self {
        let named = platforms.into_iter().map(|platform| (platform.descriptor().name, platform));
        Self(named.collect())
    }

    /// The platform of that name; the error suggests what was meant.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Platform>, UnknownPlatform> {
        self.0.get(name).ok_or_else(|| self.unknown(name))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// What each platform is like, in the order of their names.
    pub fn descriptors(&self) -> impl Iterator<Item = &'static Descriptor> + '_ {
        self.0.values().map(|platform| platform.descriptor())
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

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_one() {
        let options = HttpOptions::new(NetworkPolicy::default());
        let platforms = all(&options, &SystemClock::shared()).unwrap();
        assert_eq!(platforms.get("bluesky").unwrap().descriptor().name, "bluesky");
        assert_eq!(
            platforms.get("BlueSki").err().unwrap().to_string(),
            "no platform is called \"BlueSki\"; did you mean \"bluesky\"? \
             (there are: bluesky, sandbox, sandbox_blind, sandbox_lookup)"
        );
        assert_eq!(platforms.get("fax").err().unwrap().nearest, None);
    }
}
