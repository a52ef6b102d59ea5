//! Checks passwords: argon2id, on threads that give way, with few waiting.
//!
//! A check takes tens of milliseconds of a processor and 19 MiB, by design. So there is a thread for
//! each processor, of a low priority: logins get what the other routes leave, which is everything
//! when nobody else asks. Whoever finds the line too long is told so at once.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::Error;

/// Checks that may wait or run at the same time: a second or two of one processor.
const LINE_MAX: usize = 64;
/// Shortest password, in characters.
const CHARS_MIN: usize = 12;
/// Longest password, in bytes.
pub(crate) const BYTES_MAX: usize = 1_024;
/// Checked where there is no such user, so that the answer takes as long. It is the hash of random
/// bytes that were thrown away, and what it says is never heeded.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$5QNLCM2aGQueqh3DijLksA\
    $AtWAS1po8VNbLpjSqJNmKz42Z0PxpL4AUx1vuXK//WE";

/// How much the checking threads give way: a tenth of the weight of a thread that serves (`nice`).
const GIVE_WAY: i32 = 10;

/// Checks passwords, a few at a time.
pub(super) struct Passwords {
    line: Semaphore,
    checks: mpsc::Sender<Check>,
}

/// A password, the hash it should have, and who wants to know.
struct Check {
    password: SecretString,
    hash: Option<String>,
    answer: oneshot::Sender<bool>,
}

impl Passwords {
    /// Starts the threads; they end when this is dropped.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn new() -> std::io::Result<Self> {
        let (checks, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("passwords".to_owned()).spawn(move || work(&waiting))?;
        }
        Ok(Self { line: Semaphore::new(LINE_MAX), checks })
    }

    /// A place in line.
    ///
    /// # Errors
    /// [`Error::Busy`], at once, if there is none.
    pub(super) fn place(&self) -> Result<Place<'_>, Error> {
        let line = self.line.try_acquire().map_err(|_| Error::Busy)?;
        Ok(Place { _line: line, checks: &self.checks })
    }
}

/// A place in the line of those whose password is checked.
pub(super) struct Place<'a> {
    _line: SemaphorePermit<'a>,
    checks: &'a mpsc::Sender<Check>,
}

impl Place<'_> {
    /// Whether the password has this hash; false, after the same time, if there is none.
    ///
    /// # Errors
    /// [`Error::Busy`] if nobody checks any more.
    pub(super) async fn check(
        self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        let (answer, answered) = oneshot::channel();
        self.checks.send(Check { password, hash, answer }).map_err(|_| Error::Busy)?;
        answered.await.map_err(|_| Error::Busy)
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Check>>) {
    give_way();
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Check { password, hash, answer }) = next() {
        // Nobody waits for the answer any more.
        if answer.is_closed() {
            continue;
        }
        let known = hash.is_some();
        let right = matches(&password, hash.as_deref().unwrap_or(NOBODY)) && known;
        let _ = answer.send(right);
    }
}

/// On Linux a nice value is the thread's own (setpriority(2), "Bugs"); elsewhere it would be the
/// whole program's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(GIVE_WAY) {
        tracing::debug!(%error, "passwords are checked at the priority of everything else");
    }
}

fn matches(password: &SecretString, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
}

/// The hash of a new password, with a salt of its own. Takes tens of milliseconds.
///
/// # Errors
/// What is wrong with the password.
pub(super) fn hash(password: &SecretString) -> Result<String, String> {
    let text = password.expose_secret();
    let chars = text.chars().count();
    if chars < CHARS_MIN {
        return Err(format!("has {chars} characters; it must have at least {CHARS_MIN}"));
    }
    if text.len() > BYTES_MAX {
        return Err(format!("must have at most {BYTES_MAX} bytes"));
    }
    let hash = Argon2::default().hash_password(text.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| format!("cannot be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn a_password_has_at_least_twelve_characters_and_a_hash_of_its_own() {
        assert!(hash(&secret("hunter2")).unwrap_err().contains("at least 12"));
        assert!(hash(&secret(&"x".repeat(BYTES_MAX + 1))).is_err());
        let (one, two) = (hash(&secret("äöüäöüäöüäöü")).unwrap(), hash(&secret("äöüäöüäöüäöü")));
        assert_ne!(one, two.unwrap());
        assert!(matches(&secret("äöüäöüäöüäöü"), &one));
        assert!(!matches(&secret("äöüäöüäöüäöu"), &one));
        assert!(!matches(&secret("äöüäöüäöüäöü"), "no hash"));
    }

    #[test]
    fn nobodys_password_takes_as_much_work_as_anybodys() {
        let cost = |hash: &str| {
            let parts: Vec<String> = hash.split('$').map(str::to_owned).collect();
            assert_eq!(parts.len(), 6, "{hash}");
            (parts[1..4].to_vec(), parts[4].len(), parts[5].len())
        };
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert_eq!(cost(NOBODY), cost(&hash(&secret("correct horse battery")).unwrap()));
    }

    #[test]
    fn who_finds_the_line_full_is_told_at_once() {
        let passwords = Passwords::new().unwrap();
        let _line: Vec<_> = (0..LINE_MAX).map(|_| passwords.place().unwrap()).collect();
        assert!(matches!(passwords.place(), Err(Error::Busy)));
    }

    #[tokio::test]
    async fn an_unknown_user_has_no_password() {
        let passwords = Passwords::new().unwrap();
        let place = passwords.place().unwrap();
        assert!(!place.check(secret("whatever it is"), None).await.unwrap());
    }
}
