//! The master keys, as people write them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Longest id of a key, in bytes: its length takes one byte of a sealed value.
const ID_BYTES_MAX: usize = 32;

/// A key that stored tokens are encrypted with.
#[derive(Clone)]
pub struct MasterKey {
    /// Names the key in stored rows.
    pub id: String,
    /// The key.
    pub bytes: Zeroizing<[u8; 32]>,
}

/// The id alone.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// Reads `id:base64,id:base64,…`; the first is the current one.
    ///
    /// # Errors
    /// Every fault found. The messages name the key by its place and id, never the key itself.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Vec<String>> {
        let mut keys: Vec<Self> = Vec::new();
        let mut faults = Vec::new();
        for (n, part) in (1..).zip(text.split(',').map(str::trim)) {
            match parse(part) {
                Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                    faults.push(format!("key {n} ({:?}) is there twice", key.id));
                }
                Ok(key) => keys.push(key),
                Err(message) => faults.push(format!("key {n} {message}")),
            }
        }
        if faults.is_empty() { Ok(keys) } else { Err(faults) }
    }
}

fn parse(text: &str) -> Result<MasterKey, String> {
    const FORM: &str = "must be id:base64 of 32 bytes, as in k1:$(openssl rand -base64 32)";
    let (id, encoded) = text.split_once(':').ok_or_else(|| FORM.to_owned())?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !(1..=ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(plain) {
        return Err(format!("{FORM}; the id is 1 to {ID_BYTES_MAX} letters, digits, '_' or '-'"));
    }
    let decoded = Zeroizing::new(
        STANDARD.decode(encoded).map_err(|_| format!("({id:?}) is no base64; it {FORM}"))?,
    );
    let bytes: [u8; 32] = decoded
        .as_slice()
        .try_into()
        .map_err(|_| format!("({id:?}) has {} bytes; it {FORM}", decoded.len()))?;
    Ok(MasterKey { id: id.to_owned(), bytes: Zeroizing::new(bytes) })
}
