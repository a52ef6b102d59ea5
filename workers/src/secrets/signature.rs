//! Signatures of addresses at which anybody who has them finds an image: platforms fetch images
//! themselves, and prove nothing when they do.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use super::KeyRing;

/// What the keys are derived for.
const PURPOSE: &str = "public addresses of media";

impl KeyRing {
    /// The signature of an image, by the current key; `None` of a ring without keys. Whoever has no
    /// key can tell it of no image.
    pub fn media_signature(&self, id: Uuid) -> Option<String> {
        let mac = self.media_macs(id).next()?;
        Some(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Whether it is that of the image, by any key of the ring.
    pub fn signs_media(&self, id: Uuid, signature: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.media_macs(id).any(|mac| mac.verify_slice(&bytes).is_ok())
    }

    fn media_macs(&self, id: Uuid) -> impl Iterator<Item = Hmac<Sha256>> {
        self.derived(PURPOSE).into_iter().filter_map(move |(_, key)| {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).ok()?;
            Some(mac.chain_update(id.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn a_signature_is_of_one_image_and_of_a_key_of_the_ring() {
        let ring = |text: &str| KeyRing::parse(text).unwrap();
        let (one, both) = (ring(ONE), ring(&format!("{TWO},{ONE}")));
        let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let signature = one.media_signature(id).unwrap();
        assert_eq!(signature.len(), 43);
        assert!(one.signs_media(id, &signature) && both.signs_media(id, &signature));
        assert!(!one.signs_media(other, &signature) && !ring(TWO).signs_media(id, &signature));
        assert_ne!(both.media_signature(id).unwrap(), signature, "by the current key");
        for wrong in ["", "x", &signature[1..], &format!("{signature}A"), &"A".repeat(43)] {
            assert!(!one.signs_media(id, wrong), "{wrong}");
        }
        assert_eq!(KeyRing::none().media_signature(id), None);
        assert!(!KeyRing::none().signs_media(id, &signature));
    }
}
