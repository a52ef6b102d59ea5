//! A platform in this process: strict rotation, scripted faults, and a count of every call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use postworks::clock::SharedClock;
use postworks::job::{ErrorClass, JobError, Timestamp};
use postworks_workers::platforms::{
    Account, Bearer, Committed, Descriptor, Numbers, Others, Outgoing, Platform, Preparation,
    Prepared, Profile, Published, Reconciled, Secret, Sought, SyncPage, TokenSet,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use uuid::Uuid;

pub(crate) use crate::characters::*;

/// What a person enters.
pub(crate) const SECRET: &str = "first-refresh-token-or-password";
/// How long an access token lives.
pub(crate) const TOKEN_LIFE_S: u64 = 3_600;

/// What happens to a call instead of its usual course.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// It fails and has done nothing.
    Fails(ErrorClass),
    /// It does its work and then fails.
    LosesTheAnswer(ErrorClass),
}

impl Fault {
    pub(crate) const INVALID: Self = Self::Fails(ErrorClass::Invalid);
    pub(crate) const LOST: Self = Self::LosesTheAnswer(ErrorClass::Unknown { repeatable: false });
}

/// What the platform holds and has seen.
pub(crate) struct Server {
    clock: SharedClock,
    refresh: String,
    access: String,
    issued: u32,
    revoked: bool,
    pub(crate) life_s: u64,
    pub(crate) calls: u32,
    pub(crate) refreshes: u32,
    pub(crate) sign_ins: u32,
    /// Every token that was given back, in order.
    pub(crate) revoked_tokens: Vec<String>,
    /// Every post that was sent, in order.
    pub(crate) sent: Vec<Outgoing>,
    /// What people see: keyed repeats show once.
    shown: HashMap<Uuid, String>,
    /// What the next preparations answer; more of them have nothing to do.
    pub(crate) preparations: VecDeque<Preparation>,
    /// What was handed to each preparation, and to each commit.
    pub(crate) prepared_from: Vec<Prepared>,
    pub(crate) committed_with: Vec<Prepared>,
    /// The next commits are refused: the account has such a post, of this id.
    pub(crate) taken: VecDeque<Option<String>>,
    /// The id that each look-up was told.
    pub(crate) named: Vec<Option<String>>,
    /// What each look-up was told of the account's other publications.
    pub(crate) others: Vec<Others>,
    /// The next look-ups are refused.
    pub(crate) refuse_look_ups: usize,
    /// What the next look-ups answer, whatever is there.
    pub(crate) reconciliations: VecDeque<Reconciled>,
    /// The pages of the account's posts, by the cursor they answer to.
    pub(crate) pages: HashMap<Option<String>, SyncPage>,
    pub(crate) pages_read: Vec<Option<String>>,
    /// After so many more pages one is refused, wherever it is, as by a platform that forgot it.
    pub(crate) refuse_page: Option<u32>,
    /// How often posts were liked; those that are not here are gone.
    pub(crate) likes: HashMap<String, Option<u64>>,
    /// Where posts are seen that are asked for.
    pub(crate) addresses: HashMap<String, String>,
    /// The posts of each request for numbers.
    pub(crate) numbers_read: Vec<Vec<String>>,
    pub(crate) numbers_faults: VecDeque<Fault>,
    pub(crate) profile: Profile,
    pub(crate) profiles_read: u32,
    pub(crate) profile_faults: VecDeque<Fault>,
    pub(crate) refresh_faults: VecDeque<Fault>,
    pub(crate) publish_faults: VecDeque<Fault>,
    pub(crate) page_faults: VecDeque<Fault>,
}

/// A place where a test stops whoever comes by.
pub(crate) struct Pause {
    open: Semaphore,
    arrived: Semaphore,
}

/// More calls than a test makes.
const MANY: usize = 1_000_000;

impl Pause {
    fn new() -> Self {
        Self { open: Semaphore::new(MANY), arrived: Semaphore::new(0) }
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Nobody passes from now on.
    pub(crate) fn close(&self) {
        self.open.forget_permits(usize::MAX >> 4);
        self.arrived.forget_permits(usize::MAX >> 4);
    }

    /// Everybody passes from now on, also who waits.
    pub(crate) fn open_wide(&self) {
        self.open.add_permits(MANY);
    }

    /// Returns once one more has come.
    pub(crate) async fn until_reached(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }
}

/// One account's platform, shared by all workers of a test.
pub(crate) struct Scripted {
    descriptor: &'static Descriptor,
    server: Mutex<Server>,
    /// A refresh takes one of these before it answers.
    pub(crate) gate: Semaphore,
    /// Released once for each refresh that has arrived at the gate.
    pub(crate) at_gate: Semaphore,
    /// Released once for each refresh that the platform has answered.
    pub(crate) refreshed: Semaphore,
    /// Where a refresh is before the platform has it.
    pub(crate) refreshing: Pause,
    /// Where a publish is before the platform has it.
    pub(crate) publishing: Pause,
    /// Where the answer to a preparation is before it arrives.
    pub(crate) preparing: Pause,
    /// Where the answer to a look-up is before it arrives.
    pub(crate) looked_up: Pause,
    /// Where the question for a post's address is before the platform has it.
    pub(crate) locating: Pause,
    /// Where the question for a page of posts is before the platform has it.
    pub(crate) listing: Pause,
}

impl Scripted {
    pub(crate) fn new(descriptor: &'static Descriptor, clock: SharedClock) -> Arc<Self> {
        let server = Server {
            clock,
            refresh: SECRET.to_owned(),
            access: String::new(),
            issued: 0,
            revoked: false,
            life_s: TOKEN_LIFE_S,
            calls: 0,
            refreshes: 0,
            sign_ins: 0,
            revoked_tokens: Vec::new(),
            sent: Vec::new(),
            shown: HashMap::new(),
            preparations: VecDeque::new(),
            prepared_from: Vec::new(),
            committed_with: Vec::new(),
            taken: VecDeque::new(),
            named: Vec::new(),
            others: Vec::new(),
            refuse_look_ups: 0,
            reconciliations: VecDeque::new(),
            pages: HashMap::new(),
            pages_read: Vec::new(),
            refuse_page: None,
            likes: HashMap::new(),
            numbers_read: Vec::new(),
            addresses: HashMap::new(),
            numbers_faults: VecDeque::new(),
            profile: Profile::default(),
            profiles_read: 0,
            profile_faults: VecDeque::new(),
            refresh_faults: VecDeque::new(),
            publish_faults: VecDeque::new(),
            page_faults: VecDeque::new(),
        };
        Arc::new(Self {
            descriptor,
            server: Mutex::new(server),
            gate: Semaphore::new(1_000),
            at_gate: Semaphore::new(0),
            refreshed: Semaphore::new(0),
            refreshing: Pause::new(),
            publishing: Pause::new(),
            preparing: Pause::new(),
            looked_up: Pause::new(),
            locating: Pause::new(),
            listing: Pause::new(),
        })
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// Ends the access token on the platform's side.
    pub(crate) fn forget_access(&self) {
        self.server().access.clear();
    }

    /// Ends the whole grant, as a person does in the platform's settings.
    pub(crate) fn forget_grant(&self) {
        let mut server = self.server();
        server.access.clear();
        server.refresh.clear();
    }

    /// A person made a new secret in the platform's settings.
    pub(crate) fn new_secret(&self, secret: &str) {
        let mut server = self.server();
        server.revoked = false;
        server.refresh = secret.to_owned();
    }

    fn check(&self, access: &SecretString) -> Result<MutexGuard<'_, Server>, JobError> {
        let mut server = self.server();
        server.calls += 1;
        if server.access.is_empty() || server.access != access.expose_secret() {
            return Err(JobError::new(ErrorClass::AuthExpired, "invalid_token"));
        }
        Ok(server)
    }
}

impl Server {
    /// The next tokens for the present one; using an old one ends the grant.
    fn rotate(&mut self, token: &str) -> Result<TokenSet, JobError> {
        if self.revoked || token != self.refresh || token.is_empty() {
            self.revoked = true;
            self.access.clear();
            return Err(JobError::new(ErrorClass::AuthRevoked, "invalid_grant"));
        }
        self.issued += 1;
        self.refresh = format!("refresh-token-{}", self.issued);
        self.access = format!("access-token-{}", self.issued);
        let life = std::time::Duration::from_secs(self.life_s);
        Ok(TokenSet {
            access: SecretString::from(self.access.clone()),
            refresh: Some(SecretString::from(self.refresh.clone())),
            expires_at: Some(self.clock.now().after(life)),
            remote_id: Some("remote-7".to_owned()),
        })
    }
}

fn failure(class: ErrorClass) -> JobError {
    JobError::new(class, "scripted")
}

#[async_trait]
impl Platform for Scripted {
    fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    async fn sign_in(
        &self,
        account: &Account,
        secret: &SecretString,
    ) -> Result<TokenSet, JobError> {
        self.server().sign_ins += 1;
        if self.descriptor.secret == Secret::RefreshToken {
            return self.refresh(account, secret).await;
        }
        let mut server = self.server();
        if secret.expose_secret() != SECRET {
            return Err(JobError::new(ErrorClass::AuthRevoked, "wrong password"));
        }
        server.revoked = false;
        let present = format!("session-{}", server.issued);
        server.refresh.clone_from(&present);
        server.rotate(&present)
    }

    async fn refresh(&self, _: &Account, token: &SecretString) -> Result<TokenSet, JobError> {
        self.server().refreshes += 1;
        self.at_gate.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.refreshing.pass().await;
        self.refreshed.add_permits(1);
        let mut server = self.server();
        match server.refresh_faults.pop_front() {
            Some(Fault::Fails(class)) => Err(failure(class)),
            Some(Fault::LosesTheAnswer(class)) => {
                server.rotate(token.expose_secret())?;
                Err(failure(class))
            }
            None => server.rotate(token.expose_secret()),
        }
    }

    async fn revoke(&self, _: &Account, token: &SecretString) -> Result<bool, JobError> {
        self.server().revoked_tokens.push(token.expose_secret().to_owned());
        Ok(true)
    }

    async fn prepare(
        &self,
        by: Bearer<'_>,
        _: &Outgoing,
        so_far: Prepared,
    ) -> Result<Preparation, JobError> {
        let next = {
            let mut server = self.check(by.access)?;
            server.prepared_from.push(so_far.clone());
            server.preparations.pop_front()
        };
        self.preparing.pass().await;
        Ok(next.unwrap_or(Preparation::Ready(so_far)))
    }

    async fn commit(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        self.publishing.pass().await;
        let mut server = self.check(by.access)?;
        server.committed_with.push(prepared.clone());
        if let Some(remote_id) = server.taken.pop_front() {
            return Ok(Committed::AlreadyThere { remote_id });
        }
        let fault = server.publish_faults.pop_front();
        if let Some(Fault::Fails(class)) = fault {
            return Err(failure(class));
        }
        server.sent.push(post.clone());
        let shown = format!("post-{}", server.shown.len());
        let remote_id = if self.descriptor.idempotency.repeatable() {
            server.shown.entry(post.publication_id).or_insert(shown).clone()
        } else {
            server.shown.insert(post.publication_id, shown.clone());
            shown
        };
        if let Some(Fault::LosesTheAnswer(class)) = fault {
            return Err(failure(class));
        }
        Ok(Committed::Published(Published { remote_id, remote_url: None }))
    }

    async fn address(&self, by: Bearer<'_>, remote_id: &str) -> Result<Option<String>, JobError> {
        self.locating.pass().await;
        Ok(self.check(by.access)?.addresses.get(remote_id).cloned())
    }

    async fn posts(&self, by: Bearer<'_>, cursor: Option<&str>) -> Result<SyncPage, JobError> {
        self.listing.pass().await;
        let mut server = self.check(by.access)?;
        if let Some(Fault::Fails(class) | Fault::LosesTheAnswer(class)) =
            server.page_faults.pop_front()
        {
            return Err(failure(class));
        }
        match server.refuse_page {
            Some(0) => {
                server.refuse_page = None;
                return Err(JobError::new(ErrorClass::Invalid, "no such cursor any more"));
            }
            left => server.refuse_page = left.map(|left| left - 1),
        }
        let cursor = cursor.map(str::to_owned);
        server.pages_read.push(cursor.clone());
        let page = server.pages.get(&cursor).cloned();
        page.ok_or_else(|| JobError::new(ErrorClass::Invalid, "no such cursor"))
    }

    async fn numbers(
        &self,
        by: Bearer<'_>,
        posts: &[String],
    ) -> Result<Vec<(String, Numbers)>, JobError> {
        let mut server = self.check(by.access)?;
        server.numbers_read.push(posts.to_vec());
        if let Some(Fault::Fails(class) | Fault::LosesTheAnswer(class)) =
            server.numbers_faults.pop_front()
        {
            return Err(failure(class));
        }
        let of = |id: &String| {
            let likes = server.likes.get(id).copied()?;
            Some((id.clone(), Numbers { likes, ..Numbers::default() }))
        };
        Ok(posts.iter().filter_map(of).collect())
    }

    async fn profile(&self, by: Bearer<'_>) -> Result<Profile, JobError> {
        let mut server = self.check(by.access)?;
        server.profiles_read += 1;
        match server.profile_faults.pop_front() {
            Some(Fault::Fails(class) | Fault::LosesTheAnswer(class)) => Err(failure(class)),
            None => Ok(server.profile.clone()),
        }
    }

    async fn reconcile(
        &self,
        by: Bearer<'_>,
        post: &Outgoing,
        _: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let (found, told) = {
            let mut server = self.check(by.access)?;
            server.named.push(sought.named.map(str::to_owned));
            server.others.push(sought.others.clone());
            if server.refuse_look_ups > 0 {
                server.refuse_look_ups -= 1;
                return Err(failure(ErrorClass::Invalid));
            }
            let found = server.shown.get(&post.publication_id).cloned();
            (found, server.reconciliations.pop_front())
        };
        self.looked_up.pass().await;
        if let Some(told) = told {
            return Ok(told);
        }
        Ok(found.map_or(Reconciled::Absent, |remote_id| {
            Reconciled::There(Published { remote_id, remote_url: None })
        }))
    }
}

/// A time that no test reaches.
pub(crate) const FAR: Timestamp = Timestamp::from_millis(i64::MAX);
