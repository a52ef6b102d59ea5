//! The jobs of the reference mix, enqueued as a product does it: by the producers' library.

use std::sync::Arc;

use anyhow::Context as _;
use postworks::job::{
    CleanupScope, ConnectorSync, DataCleanup, Job, JobId, NewJob, PostPublication, Queue, Request,
    TokenRefresh,
};
use postworks::ledger::BATCH_MAX;
use postworks_workers::node::Node;
use postworks_workers::store::Publish;
use rand::RngExt as _;
use uuid::Uuid;

use crate::loadtest::mix::{Mix, dice};

/// Posts that publications are of.
const POSTS: usize = 100;
/// Accounts that one request may name.
const ACCOUNTS_MAX: usize = 100;
/// As long as people's posts, so that what is stored and sent is.
const TEXT: &str = "Two hundred bytes, more or less, of what people write when they have something \
    to say to everybody who follows them: where they were, what they saw, and what they think of it.";

/// The four kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Sync,
    Publication,
    Refresh,
    Cleanup,
}

/// All of them, in the order to show.
pub(crate) const KINDS: [Kind; 4] = [Kind::Sync, Kind::Publication, Kind::Refresh, Kind::Cleanup];

/// How they come.
const MIX: Mix<Kind> =
    Mix::of(&[(Kind::Sync, 40), (Kind::Publication, 35), (Kind::Refresh, 20), (Kind::Cleanup, 5)]);

impl Kind {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sync => ConnectorSync::KIND,
            Self::Publication => PostPublication::KIND,
            Self::Refresh => TokenRefresh::KIND,
            Self::Cleanup => DataCleanup::KIND,
        }
    }
}

/// Makes jobs about these accounts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Work {
    node: Arc<Node>,
    accounts: Arc<[Uuid]>,
    posts: Arc<[Uuid]>,
    seed: u64,
}

impl Work {
    /// Writes the posts that publications will be of.
    ///
    /// # Errors
    /// The stores refuse.
    pub(crate) async fn prepare(
        node: &Arc<Node>,
        accounts: Vec<Uuid>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!accounts.is_empty(), "jobs are about accounts, and there are none");
        let mut posts = Vec::with_capacity(POSTS);
        for n in 0..POSTS {
            posts.push(node.store.add_post(&format!("{n}: {TEXT}")).await?);
        }
        Ok(Self { node: Arc::clone(node), accounts: accounts.into(), posts: posts.into(), seed })
    }

    /// The queue of such jobs about accounts.
    ///
    /// # Errors
    /// None that can be met.
    pub(crate) fn queue_of(kind: Kind) -> anyhow::Result<Queue> {
        let kind = postworks::job::Kind::parse(kind.as_str())?;
        Queue::of_platform(&kind, "sandbox").context("a queue of the sandbox")
    }

    /// How many accounts there are.
    pub(crate) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// The kind of the `n`th job.
    pub(crate) fn kind_of(&self, n: u64) -> Kind {
        MIX.draw(&mut dice(self.seed, n))
    }

    /// Enqueues the `n`th job, of this kind; `known` is told its id before anybody can start it.
    ///
    /// # Errors
    /// The stores refuse.
    pub(crate) async fn enqueue(
        &self,
        n: u64,
        kind: Kind,
        known: impl Fn(JobId) + Send + Sync,
    ) -> anyhow::Result<()> {
        let dice = &mut dice(self.seed, n);
        // In turn, so that two walks over an account's posts seldom meet: who comes second waits, at
        // no attempt's cost, but it would wait for us and not for what is measured.
        let turn = usize::try_from(n % self.accounts.len() as u64).unwrap_or(0);
        let account = self.accounts[turn];
        let job = match kind {
            Kind::Publication => {
                let post = self.posts[dice.random_range(0..self.posts.len())];
                return self.publish(post, vec![account], known).await;
            }
            Kind::Sync => self.about(account, &ConnectorSync::of(account))?,
            Kind::Refresh => self.about(account, &TokenRefresh { connector_id: account })?,
            Kind::Cleanup => {
                let scope = Some(CleanupScope::Jobs);
                let request = Request::of(&DataCleanup { scope, dry_run: false })?;
                self.node.producer.prepare(request)?
            }
        };
        known(job.id);
        self.node.producer.enqueue(vec![job]).await?;
        Ok(())
    }

    /// A token refresh of every account, all in few transactions.
    ///
    /// # Errors
    /// The stores refuse.
    pub(crate) async fn refresh_all(&self, known: impl Fn(JobId)) -> anyhow::Result<()> {
        for some in self.accounts.chunks(BATCH_MAX) {
            let job =
                |account: &Uuid| self.about(*account, &TokenRefresh { connector_id: *account });
            let jobs = some.iter().map(job).collect::<anyhow::Result<Vec<_>>>()?;
            jobs.iter().for_each(|job| known(job.id));
            self.node.producer.enqueue(jobs).await?;
        }
        Ok(())
    }

    /// So many publications, in few transactions: they come all at once.
    ///
    /// # Errors
    /// The stores refuse.
    pub(crate) async fn publish_many(
        &self,
        count: usize,
        known: impl Fn(JobId) + Send + Sync,
    ) -> anyhow::Result<()> {
        let (mut left, mut posts) = (count, self.posts.iter().cycle());
        while let (1.., Some(post)) = (left, posts.next()) {
            for some in self.accounts.chunks(ACCOUNTS_MAX) {
                let some = &some[..some.len().min(left)];
                if !some.is_empty() {
                    self.publish(*post, some.to_vec(), &known).await?;
                }
                left -= some.len();
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        post_id: Uuid,
        connector_ids: Vec<Uuid>,
        known: impl Fn(JobId) + Send + Sync,
    ) -> anyhow::Result<()> {
        let publish = Publish { post_id, connector_ids, at: None, window: None, reply: None };
        let prepare = |request: Request| {
            let job = self.node.producer.prepare(request)?;
            known(job.id);
            Ok(job)
        };
        let scheduled = self.node.store.publish(&publish, prepare).await?;
        self.node.producer.dispatch(scheduled.into_iter().map(|row| row.job).collect());
        Ok(())
    }

    fn about<J: Job>(&self, account: Uuid, job: &J) -> anyhow::Result<NewJob> {
        let job = self.node.producer.prepare(Request::of(job)?)?;
        let queue = Queue::of_platform(&job.kind, "sandbox").context("a queue of the sandbox")?;
        Ok(NewJob { queue, account: Some(account), ..job })
    }
}
