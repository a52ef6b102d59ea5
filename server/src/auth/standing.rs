//! Whether a key or a login is still good: asked of the ledger, and remembered for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postworks::job::Timestamp;
use postworks_workers::store;
use uuid::Uuid;

use super::secret::{hash, id_of_key, same};
use super::{Auth, Caller, Error, Role};

/// What was revoked is good for so long at most.
pub(super) const STANDING_KEPT: Duration = Duration::from_secs(5);
/// Keys, and as many logins, that are remembered; the ledger is asked about others each time.
const REMEMBERED_MAX: usize = 10_000;
/// What API keys begin with, and no access token does.
const KEY_PREFIX: &str = "pw_";

/// What the ledger said a moment ago.
#[derive(Default)]
pub(super) struct Standings {
    keys: Memory<(Caller, [u8; 32])>,
    sessions: Memory<Caller>,
}

impl Standings {
    /// Forgets a login that was ended here.
    pub(super) fn forget(&self, session: Uuid) {
        self.sessions.forget(session);
    }
}

/// Values that are true for [`STANDING_KEPT`].
struct Memory<T>(Mutex<HashMap<Uuid, (Timestamp, T)>>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Memory<T> {
    fn get(&self, id: Uuid, now: Timestamp) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, value) = known.get(&id)?;
        is_fresh(*asked, now).then(|| value.clone())
    }

    /// Remembers what was asked at `now`.
    fn put(&self, id: Uuid, now: Timestamp, value: T) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&id) {
            known.retain(|_, (asked, _)| is_fresh(*asked, now));
        }
        if known.len() < REMEMBERED_MAX || known.contains_key(&id) {
            known.insert(id, (now, value));
        }
    }

    fn forget(&self, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// A clock that was set back makes everything old.
fn is_fresh(asked: Timestamp, now: Timestamp) -> bool {
    asked <= now && now < asked.after(STANDING_KEPT)
}

impl Auth {
    /// Who brings this API key or access token.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no good, [`Error::App`] if the ledger cannot be asked.
    pub async fn identify(&self, bearer: &str) -> Result<Caller, Error> {
        if bearer.starts_with(KEY_PREFIX) {
            self.of_key(bearer).await
        } else {
            self.of_token(bearer).await
        }
    }

    async fn of_key(&self, key: &str) -> Result<Caller, Error> {
        const WRONG: Error = Error::Refused("the API key is wrong or revoked");
        let id = id_of_key(key).ok_or(WRONG)?;
        let now = self.0.clock.now();
        let known = match self.0.standings.keys.get(id, now) {
            Some(known) => known,
            None => {
                let found = self.0.store.api_key(id).await?;
                let row = found.filter(|row| row.revoked_at.is_none()).ok_or(WRONG)?;
                let actor = format!("apikey:{id}").into();
                let known = {
                    let (tenant, role) = (row.tenant, role(&row.role)?);
                    (Caller { actor, tenant, role, session: None }, row.hash)
                };
                self.0.standings.keys.put(id, now, known.clone());
                known
            }
        };
        if same(&hash(key), &known.1) { Ok(known.0) } else { Err(WRONG) }
    }

    async fn of_token(&self, token: &str) -> Result<Caller, Error> {
        const WRONG: Error = Error::Refused("the access token is wrong, too old or revoked");
        let now = self.0.clock.now();
        let session = self.0.tokens.session(token, now).ok_or(WRONG)?;
        if let Some(caller) = self.0.standings.sessions.get(session, now) {
            return Ok(caller);
        }
        let user = self.0.store.session_user(session).await?.ok_or(WRONG)?;
        let actor: Arc<str> = format!("user:{}", user.email).into();
        // What the user may do now, not when the token was signed.
        let caller =
            Caller { actor, tenant: user.tenant, role: role(&user.role)?, session: Some(session) };
        self.0.standings.sessions.put(session, now, caller.clone());
        Ok(caller)
    }

    /// Ends a login, here at once.
    ///
    /// # Errors
    /// The ledger cannot be asked.
    pub async fn logout(&self, session: Uuid) -> Result<(), Error> {
        self.0.store.end_session(session).await?;
        self.0.standings.forget(session);
        Ok(())
    }
}

pub(super) fn role(text: &str) -> Result<Role, Error> {
    let corrupt = |_| store::Error::Corrupt(format!("the role {text:?}"));
    Ok(text.parse().map_err(corrupt)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn what_was_said_is_true_for_five_seconds() {
        let memory = Memory::default();
        let id = Uuid::from_u128(1);
        memory.put(id, NOW, 7);
        let last = NOW.after(STANDING_KEPT).before(Duration::from_millis(1));
        assert_eq!(memory.get(id, last), Some(7));
        assert_eq!(memory.get(id, NOW.after(STANDING_KEPT)), None);
        assert_eq!(memory.get(id, NOW.before(Duration::from_millis(1))), None);
        memory.forget(id);
        assert_eq!(memory.get(id, NOW), None);
    }

    #[test]
    fn no_more_than_so_many_are_remembered_and_old_ones_make_room() {
        let memory = Memory::default();
        for n in 0..=REMEMBERED_MAX {
            memory.put(Uuid::from_u128(n as u128), NOW, n);
        }
        let last = Uuid::from_u128(REMEMBERED_MAX as u128);
        assert_eq!(memory.get(last, NOW), None);
        memory.put(last, NOW.after(STANDING_KEPT), 1);
        assert_eq!(memory.get(last, NOW.after(STANDING_KEPT)), Some(1));
        assert_eq!(memory.0.lock().unwrap().len(), 1);
    }
}
