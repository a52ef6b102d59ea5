//! What it costs to act for a tenant: the same calls with and without, in turn, on the same
//! connections.

use std::time::{Duration, Instant};

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Catalog, JobId, Request, Tenant};
use postworks_workers::store::{Publish, Store};
use uuid::Uuid;

use crate::Plan;
use crate::report::{Report, median};
use crate::target::Target;

/// Calls of each sort before any is measured.
const WARM: usize = 20;
/// Rows of a page.
const PAGE: u32 = 50;

pub(crate) async fn measure(plan: &Plan, target: &Target, report: &mut Report) {
    let engine = target.fleet.store();
    let tenant = engine.for_tenant(Tenant::DEFAULT);
    let post = engine.posts(None, 1).await.unwrap()[0].id;
    let account = engine.connectors(None, None, 1).await.unwrap()[0].id;
    let lists = compared(plan.span, &engine, &tenant, list).await;
    say(report, "list", lists);
    let publishes = compared(plan.span, &engine, &tenant, async |store: &Store| {
        publish(store, post, account).await;
    });
    say(report, "publish", publishes.await);
}

fn say(report: &mut Report, what: &str, (without, with): (f64, f64)) {
    report.figure("tenants", &format!("{what} as the engine, median"), without, "ms");
    let name = format!("{what} for a tenant takes longer by");
    report.at_most("tenants", &name, with - without, "ms", 1.0);
}

/// The medians of a call by either, in milliseconds.
async fn compared(
    span: Duration,
    engine: &Store,
    tenant: &Store,
    call: impl AsyncFn(&Store),
) -> (f64, f64) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..WARM {
        call(engine).await;
        call(tenant).await;
    }
    let started = Instant::now();
    while started.elapsed() < span {
        for (store, times) in [(engine, &mut without), (tenant, &mut with)] {
            let asked = Instant::now();
            call(store).await;
            times.push(asked.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    (median(without), median(with))
}

async fn list(store: &Store) {
    assert!(!store.posts(None, PAGE).await.unwrap().is_empty());
}

async fn publish(store: &Store, post_id: Uuid, account: Uuid) {
    let catalog = Catalog::builtin().unwrap();
    let now = SystemClock.now();
    let publish = Publish {
        post_id,
        connector_ids: vec![account],
        // Nobody runs it.
        at: Some(now.after(Duration::from_secs(86_400))),
        window: None,
        reply: None,
    };
    let prepare =
        |request: Request| request.into_job(&catalog, JobId::at(now, rand::random()), now);
    assert_eq!(store.publish(&publish, prepare).await.unwrap().len(), 1);
}
