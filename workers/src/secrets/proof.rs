//! What a key shows of itself, so that another key of the same id is told from it.

use super::KeyRing;

/// What proofs are derived for.
const PURPOSE: &str = "proof of a sealing key";

/// A key's proof: whoever has the key makes the same one, and nobody learns the key from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProof {
    /// The key's id.
    pub id: String,
    /// The proof.
    pub proof: [u8; 32],
}

impl KeyRing {
    /// A proof of each key, the current one's first.
    pub fn proofs(&self) -> Vec<KeyProof> {
        let derived = self.derived(PURPOSE).into_iter();
        derived.map(|(id, proof)| KeyProof { id, proof: *proof }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_the_keys_own_and_not_the_key() {
        let ring = |text: &str| KeyRing::parse(text).unwrap();
        let (one, other) = ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "a".repeat(42) + "A=");
        let both = ring(&format!("k2:{other},k1:{one}")).proofs();
        assert_eq!(both[1], ring(&format!("k1:{one}")).proofs()[0], "in any ring");
        assert_ne!(both[0].proof, both[1].proof);
        assert_ne!(both[1].proof, [1; 32]);
    }
}
