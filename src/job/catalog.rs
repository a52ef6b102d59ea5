//! The kinds a program knows.

use std::collections::HashMap;

use super::{InvalidName, Job, Kind, KindSpec};

/// The kinds a program knows, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    specs: Vec<KindSpec>,
    names: HashMap<Kind, usize>,
}

/// A kind that cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The name does not fit.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The name or alias is taken.
    #[error("kind {0} is registered twice")]
    Twice(Kind),
}

impl Catalog {
    /// The four built-in kinds.
    pub fn builtin() -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        catalog.add::<super::ConnectorSync>()?;
        catalog.add::<super::PostPublication>()?;
        catalog.add::<super::TokenRefresh>()?;
        catalog.add::<super::DataCleanup>()?;
        Ok(catalog)
    }

    /// Adds a kind.
    pub fn add<J: Job>(&mut self) -> Result<(), CatalogError> {
        let spec = KindSpec::of::<J>()?;
        let mut names = vec![spec.kind.clone()];
        for alias in spec.aliases {
            names.push(Kind::parse(alias)?);
        }
        for name in names {
            if self.names.insert(name.clone(), self.specs.len()).is_some() {
                return Err(CatalogError::Twice(name));
            }
        }
        self.specs.push(spec);
        Ok(())
    }

    /// The kind of that name or alias; `PascalCase` is accepted.
    pub fn get(&self, name: &str) -> Option<&KindSpec> {
        let kind = Kind::parse(name).ok()?;
        self.names.get(&kind).and_then(|&at| self.specs.get(at))
    }

    /// Changes a kind's constants, as the configuration does.
    pub fn get_mut(&mut self, kind: &Kind) -> Option<&mut KindSpec> {
        let at = *self.names.get(kind)?;
        self.specs.get_mut(at)
    }

    /// Every kind, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &KindSpec> {
        self.specs.iter()
    }

    /// The names of the kinds whose jobs do not wait for their accounts' windows.
    pub(crate) fn heedless(&self) -> impl Iterator<Item = &Kind> {
        let heedless = |at: usize| self.specs.get(at).is_some_and(|spec| !spec.heeds_windows);
        self.names.iter().filter(move |&(_, &at)| heedless(at)).map(|(name, _)| name)
    }

    /// "unknown kind …", with the nearest name or all of them.
    pub fn unknown(&self, name: &str) -> String {
        let shown: String = name.chars().take(60).collect();
        let near = self
            .names
            .keys()
            .map(|kind| (strsim::jaro_winkler(kind.as_str(), &shown.to_lowercase()), kind))
            .filter(|(score, _)| *score > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, kind)) = near {
            return format!("unknown kind {shown:?}; did you mean {kind}?");
        }
        let all: Vec<&str> = self.specs.iter().map(|spec| spec.kind.as_str()).collect();
        format!("unknown kind {shown:?}; the kinds are {}", all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_answered_with_the_nearest_name() {
        let catalog = Catalog::builtin().unwrap();
        assert!(catalog.get("PostPublication").is_some());
        let hint = catalog.unknown("post_publicaton");
        assert!(hint.ends_with("did you mean post_publication?"), "{hint}");
        assert!(catalog.unknown("🙂").contains("connector_sync, post_publication"));
    }

    #[test]
    fn a_kind_cannot_be_registered_twice() {
        let mut catalog = Catalog::builtin().unwrap();
        assert!(matches!(catalog.add::<crate::job::DataCleanup>(), Err(CatalogError::Twice(_))));
    }
}
