//! Secrets that come in files, so that they are in no list of processes.

use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};

/// Longest file that can be a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The secret in a file that `flag` names; `-` is stdin. Space around it is no part of it.
pub(super) fn read_secret(path: &Path, flag: &str) -> Result<SecretString, Failure> {
    Ok(SecretString::from(read(path, flag)?.trim()))
}

/// The password in a file that `flag` names; `-` is stdin. The end of its line is no part of it.
pub(super) fn read_password(path: &Path, flag: &str) -> Result<SecretString, Failure> {
    let text = read(path, flag)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line)))
}

fn read(path: &Path, flag: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let message = format!("cannot read the secret from {}: {error}", path.display());
        Failure::new(Exit::Failed, message)
            .advise(format!("{flag} names a file with the secret alone; - reads it from stdin"))
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn only_the_end_of_the_line_is_no_part_of_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        for (text, password, secret) in [
            (" a b \n", " a b ", "a b"),
            ("ab\r\n", "ab", "ab"),
            ("ab\n\n", "ab\n", "ab"),
            ("ab", "ab", "ab"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_password(&file, "--x").unwrap().expose_secret(), password, "{text:?}");
            assert_eq!(read_secret(&file, "--x").unwrap().expose_secret(), secret, "{text:?}");
        }
        let told = read_password(&folder.path().join("none"), "--x").unwrap_err();
        assert!(told.advice.unwrap().contains("--x names a file"));
    }
}
