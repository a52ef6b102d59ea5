//! The least that an at-least-once queue can do in Redis: push, claim under a lease, settle by the lease,
//! in scripts of a few commands each. No retries, delays, wake-ups, limits or recovery: the limit that
//! a queue with all of those can come near to.

use std::sync::Arc;

use anyhow::{Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Script, ScriptInvocation};

use super::seen::Seen;
use super::{Consumer, Producer, Role, serve};
use crate::protocol::{Args, Setup, now_us};

/// Jobs of one claim.
const CLAIM: usize = 256;
/// Claims that are under way at the same time, so that Redis never waits for the worker.
const LOOPS: usize = 2;

const PUSH: &str = include_str!("../../../least/push.lua");
const CLAIM_SCRIPT: &str = include_str!("../../../least/claim.lua");
const SETTLE: &str = include_str!("../../../least/settle.lua");

pub(super) async fn play(role: Role, setup: Setup) -> Result<()> {
    let client = redis::Client::open(format!("unix://{}", setup.redis.display()))?;
    let connection = client.get_multiplexed_async_connection().await?;
    let scripts = Arc::new(Scripts {
        push: Script::new(PUSH),
        claim: Script::new(CLAIM_SCRIPT),
        settle: Script::new(SETTLE),
    });
    let system = Minimal { connection, scripts, jobs: setup.jobs };
    let producer = (role == Role::Produce).then(|| system.clone());
    let consumer = (role == Role::Work).then_some(system);
    serve(setup, producer, consumer).await
}

struct Scripts {
    push: Script,
    claim: Script,
    settle: Script,
}

#[derive(Clone)]
struct Minimal {
    connection: MultiplexedConnection,
    scripts: Arc<Scripts>,
    jobs: usize,
}

fn with_keys(script: &Script) -> ScriptInvocation<'_> {
    let mut call = script.prepare_invoke();
    call.key("{m}:jobs").key("{m}:ready").key("{m}:leases").key("{m}:seq");
    call
}

impl Producer for Minimal {
    async fn one(&mut self, job: Args, _: usize) -> Result<()> {
        self.bulk(vec![job]).await
    }

    async fn bulk(&mut self, jobs: Vec<Args>) -> Result<()> {
        let mut call = with_keys(&self.scripts.push);
        call.arg(now_us() / 1_000);
        for job in &jobs {
            call.arg(uuid::Uuid::now_v7().as_bytes().as_slice()).arg(serde_json::to_vec(job)?);
        }
        let added: usize = call.invoke_async(&mut self.connection).await?;
        ensure!(added == jobs.len(), "{added} of {} jobs were added", jobs.len());
        Ok(())
    }
}

type Claimed = (i64, Vec<Vec<u8>>, Vec<Vec<u8>>);

impl Minimal {
    /// Claims, runs and settles until nothing is left.
    async fn drain(mut self, seen: Arc<Seen>) -> Result<()> {
        loop {
            let mut claim = with_keys(&self.scripts.claim);
            claim.arg(CLAIM).arg(now_us() / 1_000 + 10_000);
            let (token, ids, jobs): Claimed = claim.invoke_async(&mut self.connection).await?;
            if ids.is_empty() {
                return Ok(());
            }
            for job in &jobs {
                seen.run(&serde_json::from_slice(job)?).await;
            }
            let mut settle = with_keys(&self.scripts.settle);
            settle.arg(token).arg(&ids);
            let mine: usize = settle.invoke_async(&mut self.connection).await?;
            ensure!(mine == ids.len(), "{mine} of {} jobs were settled", ids.len());
        }
    }
}

impl Consumer for Minimal {
    async fn run(self, seen: Arc<Seen>) -> Result<()> {
        ensure!(self.jobs > 0, "it waits for nothing");
        let draining: Vec<_> =
            (0..LOOPS).map(|_| tokio::spawn(self.clone().drain(Arc::clone(&seen)))).collect();
        for drained in draining {
            drained.await??;
        }
        seen.until_all().await;
        seen.tell_all();
        Ok(())
    }
}
