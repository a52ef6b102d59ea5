//! The master keys, by id; the first is the current one.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use postworks::config::{Environment, MasterKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SealError;

/// Keeps derived keys apart from those of sealed values.
const DERIVED: &[u8] = b"postworks derived keys 1";

/// Master keys by id. New values are sealed under the first; all of them open old ones. A ring
/// without keys is for programs that handle no secrets.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[MasterKey]>,
    /// Shared by all copies.
    held_back: Arc<AtomicBool>,
}

/// A key ring that cannot be used. The texts hold no key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// It does not hold keys.
    #[error("the key ring is wrong: {}", .0.join("; "))]
    Malformed(Vec<String>),
    /// Others may read the file.
    #[error("others may read the key ring {0}: run `chmod 600` on it")]
    Open(PathBuf),
    /// The file cannot be read or made.
    #[error("cannot use the key ring {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyRing {
    /// The keys that the environment gives, if it gives any.
    pub fn of(environment: &Environment) -> Option<Self> {
        (!environment.keys.is_empty()).then(|| Self::new(environment.keys.clone()))
    }

    /// A ring that seals and opens nothing.
    pub fn none() -> Self {
        Self::new(Vec::new())
    }

    fn new(keys: Vec<MasterKey>) -> Self {
        Self { keys: keys.into(), held_back: Arc::default() }
    }

    /// Lets this ring and its copies open and seal nothing, until it is known whether they are the
    /// right keys.
    pub(crate) fn hold_back(&self) {
        self.held_back.store(true, Ordering::SeqCst);
    }

    /// Lets it be used: it has proved to be the right one.
    pub(crate) fn let_go(&self) {
        self.held_back.store(false, Ordering::SeqCst);
    }

    /// Whether it is held back.
    pub(crate) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::SeqCst)
    }

    pub(super) fn may_be_used(&self) -> Result<(), SealError> {
        if self.is_held_back() { Err(SealError::Unproved) } else { Ok(()) }
    }

    /// Reads `id:base64,id:base64,…`.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        // Never empty: a text without a key has a fault.
        Ok(Self::new(MasterKey::parse_all(text).map_err(KeyRingError::Malformed)?))
    }

    /// Reads the key ring in `path`, or makes one with a random key that only this user can read.
    ///
    /// For the embedded set-up, where nobody hands keys in. Who loses the file loses the accounts'
    /// tokens: a new ring has a key of another id and opens none of them.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyRingError> {
        let fault = |source| KeyRingError::File { path: path.to_owned(), source };
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                let mode = std::fs::metadata(path).map_err(fault)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(KeyRingError::Open(path.to_owned()));
                }
                Self::parse(text.trim())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match create(path) {
                    // Another process was faster; its ring is the one.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other.map_err(fault)?,
                }
                let text = Zeroizing::new(std::fs::read_to_string(path).map_err(fault)?);
                Self::parse(text.trim())
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// A key for another purpose from each of these keys, the current one first: none of them tells
    /// anything of the others, or of the key it comes from.
    pub fn derived(&self, purpose: &str) -> Vec<(String, Zeroizing<[u8; 32]>)> {
        let derive = |key: &MasterKey| {
            let mut derived = Zeroizing::new([0; 32]);
            // 32 bytes are never too many to ask for.
            let kept = Hkdf::<Sha256>::new(Some(DERIVED), key.bytes.as_slice())
                .expand(purpose.as_bytes(), derived.as_mut_slice());
            kept.ok().map(|()| (key.id.clone(), derived))
        };
        self.keys.iter().filter_map(derive).collect()
    }

    /// The ids of its keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that seals new values; empty if there is none.
    pub fn current_id(&self) -> &str {
        self.current().map_or("", |(id, _)| id)
    }

    pub(super) fn current(&self) -> Option<(&str, &[u8; 32])> {
        self.keys.first().map(|key| (key.id.as_str(), &*key.bytes))
    }

    pub(super) fn get(&self, id: &str) -> Option<&[u8; 32]> {
        self.keys.iter().find(|key| key.id == id).map(|key| &*key.bytes)
    }
}

/// Writes a new ring so that the file is there whole or not at all, and never replaces one.
fn create(path: &Path) -> io::Result<()> {
    let id: u32 = rand::random();
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let encoded = Zeroizing::new(STANDARD.encode(key.as_slice()));
    let ring = Zeroizing::new(format!("k{id:08x}:{}\n", *encoded));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".keys-{id:08x}"));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file
        .write_all(ring.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    written?;
    std::fs::File::open(folder)?.sync_all()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn a_fault_names_the_entry_and_never_the_key() {
        for (text, fault) in [
            (String::new(), "key 1 must be"),
            (format!("a:{KEY},b"), "key 2 "),
            ("a:c2hvcnQ=".to_owned(), "key 1 "),
            (format!("a b:{KEY}"), "the id is"),
            (format!("a:{KEY},a:{KEY}"), "key 2 (\"a\") is there twice"),
        ] {
            let error = KeyRing::parse(&text).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
            assert!(!error.contains(KEY) && !error.contains("c2hvcnQ"), "{error}");
        }
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own_from_each_key() {
        let other = KEY.replace("AQ", "Ag");
        let ring = KeyRing::parse(&format!("new:{KEY},old:{other}")).unwrap();
        let (one, two) = (ring.derived("one"), ring.derived("two"));
        assert_eq!((one[0].0.as_str(), one[1].0.as_str()), ("new", "old"));
        let all: std::collections::HashSet<_> = one.iter().chain(&two).map(|key| *key.1).collect();
        assert_eq!(all.len(), 4);
        assert!(!all.contains(ring.current().unwrap().1));
        assert_eq!(one[0].1, KeyRing::parse(&format!("x:{KEY}")).unwrap().derived("one")[0].1);
    }

    #[test]
    fn debug_shows_ids_only() {
        let ring = KeyRing::parse(&format!("new:{KEY}, old:{KEY}")).unwrap();
        assert_eq!(format!("{ring:?}"), r#"["new", "old"]"#);
    }

    #[test]
    fn a_made_ring_is_private_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/keys");
        let made = KeyRing::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = KeyRing::load_or_create(&path).unwrap();
        assert_eq!(made.current(), found.current());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft left");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyRing::load_or_create(&path), Err(KeyRingError::Open(_))));
    }
}
