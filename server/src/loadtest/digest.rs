//! Names what a file says, so that two load tests can be seen to have gone by the same.

use sha2::{Digest as _, Sha256};

/// SHA-256 of a table written anew, in hexadecimal: comments, order and blanks change nothing.
pub(crate) fn digest(table: &toml::Table) -> String {
    let hash = Sha256::digest(table.to_string());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_has_one_digest_however_it_is_written() {
        let of = |text: &str| digest(&text.parse().unwrap());
        let one = of("[queue]\nrate = 3\nsustain = '1s'");
        assert_eq!(one.len(), 64);
        assert_eq!(one, of("# ours\n[queue]\nsustain = \"1s\"\nrate   = 3"));
        assert_ne!(one, of("[queue]\nrate = 4\nsustain = '1s'"));
    }
}
