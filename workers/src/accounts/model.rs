//! Three processes, one account, a platform with strict rotation, and everything that can come in
//! between: a model of who does what when, on the real rows, leases and looks.
//!
//! Time is simulated. What a process does is what `Holder` does, in its order.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postworks::clock::Clock;
use postworks::job::Timestamp;
use postworks::ledger::Db;
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::keep::LONGEST_GAP;
use super::lease::Lease;
use super::takeover::{EVERY, Looks};
use crate::platforms::http::Timeouts;
use crate::secrets::KeyRing;
use crate::store::{Access, ConnectorState, CoolDown, NewConnector, Renewed, Store};

const KEYS: &str = "test:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const PROCESSES: usize = 3;
const EVENTS: usize = 320;
/// Tokens are to be renewed so often.
const LIFE: Duration = Duration::from_secs(90);

struct Simulated(AtomicI64);

impl Clock for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Choices; the first of each once there are no more.
struct Dice(std::vec::IntoIter<u8>);

impl Dice {
    fn number(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.number()) % from.len()]
    }

    fn millis(&mut self, from: &[u64]) -> Duration {
        Duration::from_millis(self.pick(from))
    }
}

/// What a process is about to do.
enum Doing {
    LookAtTheRow,
    TakeOver { seen: Access, owner: Uuid, looks: Looks },
    Send { seen: Access, owner: Uuid, token: String, lease: Lease },
    Hear { seen: Access, owner: Uuid, answer: Option<u32> },
    Keep { seen: Access, owner: Uuid, answer: u32, maybe_kept: bool },
}

struct Process {
    doing: Doing,
    due: Timestamp,
}

struct World {
    store: Store,
    clock: Arc<Simulated>,
    began: (Timestamp, Instant),
    account: Uuid,
    dice: Dice,
    processes: Vec<Process>,
    down_until: Timestamp,
    /// The platform's newest refresh token, by its number; zero is what a person entered.
    newest: u32,
    /// When the request that it answers now is over.
    busy_until: Timestamp,
    /// Answers whose holder died, stood still or did not get them: they may be lost.
    lost: HashSet<u32>,
    /// An account was revoked, and that could not be helped.
    revoked: bool,
    refreshes: u32,
    /// Answers that were kept though somebody else had the lease by then.
    saved: u32,
}

fn name(number: u32) -> String {
    format!("refresh-{number}")
}

impl World {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The monotonic clock that belongs to a time.
    fn instant(&self) -> Instant {
        self.began.1 + self.now().since(self.began.0)
    }

    fn is_down(&self) -> bool {
        self.now() < self.down_until
    }

    fn lease(&self) -> Lease {
        Lease::from(self.now(), self.instant())
    }

    /// An answer that this process has, or waits for, may be lost.
    fn lose(&mut self, process: usize) {
        match self.processes[process].doing {
            Doing::Hear { answer: Some(answer), .. } | Doing::Keep { answer, .. } => {
                self.lost.insert(answer);
            }
            _ => {}
        }
    }

    /// What fate does before the next event.
    fn meddle(&mut self) {
        let who = self.dice.pick(&[0, 1, 2]);
        let seconds = Duration::from_secs;
        match self.dice.number() % 64 {
            1 => {
                let span = self.dice.pick(&[seconds(2), seconds(6), seconds(46), seconds(90)]);
                self.lose(who);
                self.processes[who].due = self.processes[who].due.max(self.now()).after(span);
            }
            2 => {
                self.lose(who);
                let due = self.now().after(self.dice.pick(&[Duration::ZERO, seconds(5)]));
                self.processes[who] = Process { doing: Doing::LookAtTheRow, due };
            }
            // Long enough for a look to notice.
            3..=6 if !self.is_down() => {
                let spans = [EVERY, seconds(3), seconds(44), seconds(50), seconds(80)];
                self.down_until = self.now().after(self.dice.pick(&spans));
            }
            _ => {}
        }
    }

    async fn step(&mut self) {
        self.meddle();
        let next = (0..PROCESSES).min_by_key(|&n| self.processes[n].due).unwrap();
        let due = self.processes[next].due.max(self.now());
        self.clock.0.store(due.as_millis(), Ordering::SeqCst);
        let doing = std::mem::replace(&mut self.processes[next].doing, Doing::LookAtTheRow);
        let (doing, wait) = match doing {
            Doing::LookAtTheRow => self.look().await,
            Doing::TakeOver { seen, owner, looks } => self.take_over(seen, owner, looks).await,
            Doing::Send { seen, owner, token, lease } => self.send(seen, owner, token, lease).await,
            Doing::Hear { seen, owner, answer } => self.hear(seen, owner, answer).await,
            Doing::Keep { seen, owner, answer, maybe_kept } => {
                self.keep(seen, owner, answer, maybe_kept).await
            }
        };
        self.processes[next] = Process { doing, due: self.now().after(wait) };
    }

    async fn look(&mut self) -> (Doing, Duration) {
        let later = self.dice.millis(&[20, 500, 1_000]);
        if self.is_down() {
            return (Doing::LookAtTheRow, self.down_until.since(self.now()) + later);
        }
        let seen = self.store.access(self.account).await.unwrap().unwrap();
        let stale_at = seen.refreshed_at.map_or(self.now(), |at| at.after(LIFE));
        let free_at = seen.lease_until.map_or(self.now(), |until| until.max(stale_at));
        if stale_at.max(free_at) > self.now() {
            // It comes too early, mostly, and is told the same.
            let early = self.dice.pick(&[1, 1, 3]);
            let wait = stale_at.max(free_at).since(self.now()) / early;
            return (Doing::LookAtTheRow, wait + later);
        }
        let owner = Uuid::new_v4();
        if seen.lease_owner.is_some() {
            return (Doing::TakeOver { seen, owner, looks: Looks::default() }, Duration::ZERO);
        }
        self.acquire(seen, owner, None).await
    }

    async fn take_over(&mut self, seen: Access, owner: Uuid, looks: Looks) -> (Doing, Duration) {
        if self.is_down() {
            let mut looks = looks;
            looks.count(false);
            return (Doing::TakeOver { seen, owner, looks }, EVERY);
        }
        self.acquire(seen, owner, Some(looks)).await
    }

    async fn acquire(
        &mut self,
        seen: Access,
        owner: Uuid,
        looks: Option<Looks>,
    ) -> (Doing, Duration) {
        let lease = self.lease();
        let held = self.store.acquire_refresh(&seen, owner, lease.until()).await.unwrap();
        let Some(held) = held else { return (Doing::LookAtTheRow, Duration::ZERO) };
        if let Some(mut looks) = looks
            && !looks.count(true)
        {
            return (Doing::TakeOver { seen, owner, looks }, EVERY);
        }
        let token = held.refresh.or(held.secret).unwrap().expose_secret().to_owned();
        // The answer to COMMIT may be long in coming.
        let wait = self.dice.millis(&[1, 1, 1_000, 4_900, 5_100, 20_000]);
        (Doing::Send { seen, owner, token, lease }, wait)
    }

    async fn send(
        &mut self,
        seen: Access,
        owner: Uuid,
        token: String,
        lease: Lease,
    ) -> (Doing, Duration) {
        if !lease.lets_send(self.now(), self.instant()) {
            return self.cool_down(seen, owner, false).await;
        }
        assert!(self.busy_until <= self.now(), "two requests at a time");
        let took = self.dice.millis(&[50, 5_000, 29_999]);
        assert!(took < Timeouts::default().total);
        self.busy_until = self.now().after(took);
        let answer = if token == name(self.newest) {
            self.newest += 1;
            self.refreshes += 1;
            if self.dice.pick(&[0, 0, 0, 0, 1]) == 1 {
                self.lost.insert(self.newest);
                None
            } else {
                Some(self.newest)
            }
        } else {
            assert!(
                self.lost.contains(&self.newest),
                "sent {token} though {} was obtained and could be kept",
                name(self.newest)
            );
            self.revoked = true;
            None
        };
        (Doing::Hear { seen, owner, answer }, took)
    }

    async fn hear(&mut self, seen: Access, owner: Uuid, answer: Option<u32>) -> (Doing, Duration) {
        match answer {
            Some(answer) => {
                (Doing::Keep { seen, owner, answer, maybe_kept: false }, Duration::ZERO)
            }
            None => self.cool_down(seen, owner, true).await,
        }
    }

    async fn cool_down(&mut self, seen: Access, owner: Uuid, unknown: bool) -> (Doing, Duration) {
        if !self.is_down() {
            let until = self.now().after(Duration::from_secs(1));
            let unknown = unknown || seen.refresh_started_at.is_some();
            let failure = CoolDown { until, unknown, error: "none".to_owned() };
            self.store.cool_down(self.account, owner, seen.version, &failure).await.unwrap();
        }
        (Doing::LookAtTheRow, Duration::from_secs(1))
    }

    async fn keep(
        &mut self,
        seen: Access,
        owner: Uuid,
        answer: u32,
        maybe_kept: bool,
    ) -> (Doing, Duration) {
        let gap = self.dice.pick(&[Duration::from_millis(50), LONGEST_GAP / 2, LONGEST_GAP]);
        if self.is_down() {
            return (Doing::Keep { seen, owner, answer, maybe_kept }, gap);
        }
        let renewed = Renewed {
            access: SecretString::from(format!("access-{answer}")),
            refresh: Some(SecretString::from(name(answer))),
            secret: None,
            expires_at: None,
            remote_id: None,
            signed_in: false,
        };
        let holder = self.store.access(self.account).await.unwrap().unwrap().lease_owner;
        let kept = self.store.commit_refresh(self.account, seen.version, &renewed).await.unwrap();
        self.saved += u32::from(kept && holder != Some(owner));
        if kept && self.dice.pick(&[0, 0, 0, 1]) == 1 {
            // It does not hear of it.
            return (Doing::Keep { seen, owner, answer, maybe_kept: true }, gap);
        }
        assert!(kept || maybe_kept || self.lost.contains(&answer), "{} was not kept", name(answer));
        (Doing::LookAtTheRow, Duration::from_millis(50))
    }
}

async fn account(store: &Store) -> Uuid {
    let new = NewConnector {
        platform: "strict".to_owned(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        identifier: Uuid::new_v4().to_string(),
        target: None,
        secret: SecretString::from(name(0)),
    };
    store.add_connector(new).await.unwrap().id
}

/// Lets things happen by these choices. Answers how often tokens were renewed, and how often a
/// successor would have cost the account.
async fn live(db: Db, choices: Vec<u8>) -> (u32, u32) {
    let clock = Arc::new(Simulated(AtomicI64::new(1_800_000_000_000)));
    let store = Store::new(db, KeyRing::parse(KEYS).unwrap(), clock.clone());
    let account = account(&store).await;
    let now = clock.now();
    let idle = |n| Process { doing: Doing::LookAtTheRow, due: now.after(Duration::from_millis(n)) };
    let mut world = World {
        store,
        began: (now, Instant::now()),
        clock,
        account,
        dice: Dice(choices.into_iter()),
        processes: (0..PROCESSES as u64).map(idle).collect(),
        down_until: Timestamp::default(),
        newest: 0,
        busy_until: Timestamp::default(),
        lost: HashSet::new(),
        revoked: false,
        refreshes: 0,
        saved: 0,
    };
    for _ in 0..EVENTS {
        world.step().await;
        if world.revoked {
            break;
        }
    }
    let state = world.store.connector(account).await.unwrap().unwrap().state;
    assert_eq!(state, ConnectorState::Active);
    (world.refreshes, world.saved)
}

#[test]
fn no_old_token_is_sent_while_a_newer_one_can_be_kept_and_no_two_at_a_time() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let db = runtime.block_on(async {
        let db = Db::open_sqlite(&folder.path().join("model.db")).await.unwrap();
        db.migrate().await.unwrap();
        db
    });
    let (renewed, saved) = (AtomicU32::new(0), AtomicU32::new(0));
    let cases = ProptestConfig { cases: 96, ..ProptestConfig::default() };
    proptest!(cases, |(choices in proptest::collection::vec(any::<u8>(), 1_200))| {
        let (renewals, rescues) = runtime.block_on(live(db.clone(), choices));
        renewed.fetch_add(renewals, Ordering::SeqCst);
        saved.fetch_add(rescues, Ordering::SeqCst);
    });
    let (renewed, saved) = (renewed.into_inner(), saved.into_inner());
    eprintln!("{renewed} renewals, {saved} of them kept though another had the lease");
    assert!(renewed > 96 && saved > 0, "{renewed} renewals, {saved} saved");
}
