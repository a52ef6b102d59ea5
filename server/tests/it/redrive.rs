//! Ten thousand dead letters in the night: what an operator sees and does, and what the platform
//! sees of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{
    Category, ConnectorSync, Job, JobId, NewJob, PostPublication, Reason, Request, Token,
};
use postworks::ledger::{BATCH_MAX, Next, RedriveState, Settled, Verdict};
use postworks::worker::Stop;
use postworks_server::app::App;
use postworks_server::app::types::{
    DeadChoice, DeadDiscard, DeadEdit, DeadQuery, DeadRetry, RedriveView, Why,
};
use postworks_server::sandbox::{Op, Options, Running, serve};
use postworks_workers::store::{NewConnector, Publish};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::fleet::{LONG, until};
use crate::world::World;

const CAUSES: [&str; 4] =
    ["the platform is closed", "the night is dark", "no route to it", "it said no"];
/// A night of ten thousand letters is over within this.
const NIGHT: Duration = Duration::from_secs(120);

/// A platform, accounts on it, and an operator.
struct Night {
    world: World,
    app: App,
    platform: Running,
    accounts: Vec<Uuid>,
    client: reqwest::Client,
}

impl Night {
    async fn begin(accounts: usize) -> Self {
        let world = World::start().await;
        let platform = serve(Options::default()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let app = App::new(Arc::clone(&world.node));
        let mut night = Self { world, app, platform, accounts: Vec::new(), client };
        for n in 0..accounts {
            let account = json!({"handle": format!("a{n}"), "token_ttl_s": 3_600});
            let url = format!("{}/accounts", night.platform.url());
            let made = night.client.post(url).json(&account).send().await.unwrap();
            let made: Value = made.json().await.unwrap();
            let connector = NewConnector {
                platform: "sandbox".to_owned(),
                base_url: night.platform.url().parse().unwrap(),
                identifier: format!("a{n}"),
                target: None,
                secret: SecretString::from(made["refresh_token"].as_str().unwrap()),
            };
            let connected = night.world.node.store.add_connector(connector).await.unwrap();
            night.accounts.push(connected.id);
        }
        night
    }

    /// From now on the platform refuses what these accounts publish.
    async fn refuse(&self, accounts: std::ops::Range<usize>) {
        let rules: Vec<Value> = accounts
            .map(|n| {
                json!({"op": "publish", "account": format!("a{n}"), "action": "error",
                "status": 422})
            })
            .collect();
        let url = format!("{}/_control/faults", self.platform.url());
        let set = self.client.put(url).json(&json!({"rules": rules})).send().await.unwrap();
        assert!(set.status().is_success(), "{}", set.text().await.unwrap());
    }

    /// Publishes so many posts on each account, which nobody learns of but the ledger.
    async fn publish(&self, posts: usize, accounts: &[Uuid]) -> Vec<NewJob> {
        let node = &self.world.node;
        let mut jobs = Vec::new();
        for n in 0..posts {
            let post_id = node.store.add_post(&format!("post {n} of the night")).await.unwrap();
            let wanted = Publish {
                post_id,
                connector_ids: accounts.to_vec(),
                at: None,
                window: None,
                reply: None,
            };
            let prepare = |request: Request| node.producer.prepare(request);
            let scheduled = node.store.publish(&wanted, prepare).await.unwrap();
            jobs.extend(scheduled.into_iter().map(|row| row.job));
        }
        jobs
    }

    /// A job, which nobody learns of but the ledger.
    async fn made(&self, job: &impl Job) -> NewJob {
        let request = Request::of(job).unwrap();
        let mut jobs = [self.world.node.producer.prepare(request).unwrap()];
        assert!(self.world.node.store.route_jobs(&mut jobs).await.unwrap().is_empty());
        self.world.node.ledger.enqueue(&jobs).await.unwrap();
        let [job] = jobs;
        job
    }

    /// These jobs die without having run, each of the reason that is made of it.
    async fn die(&self, jobs: &[NewJob], reason: impl Fn(&NewJob) -> Reason) {
        let at = SystemClock.now();
        for batch in jobs.chunks(BATCH_MAX) {
            let verdicts: Vec<Verdict> = batch
                .iter()
                .map(|job| {
                    let (reason, failed_attempts) = (reason(job), 1);
                    let then = Next::Dead { at, reason, failed_attempts, job: None };
                    let token = Token { generation: 0, sequence: 1 };
                    Verdict { id: job.id, token, then, failed: None }
                })
                .collect();
            let settled = self.world.node.ledger.settle(&verdicts).await.unwrap();
            assert!(settled.iter().all(|settled| *settled == Settled::Done));
        }
    }

    /// Workers and the API's chore, until the guard is dropped.
    fn work(&self) -> DropGuard {
        let stop = CancellationToken::new();
        let node = Arc::clone(&self.world.node);
        let drain = stop.clone();
        tokio::spawn(async move {
            node.work(1, Stop { drain, ..Stop::default() }).await.unwrap();
        });
        tokio::spawn(self.app.clone().carry_on_redrives_until(stop.clone()));
        stop.drop_guard()
    }

    /// What the platform's refusal becomes in a letter.
    async fn words_of_a_refusal(&self, account: usize) -> Reason {
        let _working = self.work();
        let job = self.publish(1, &self.accounts[account..=account]).await.remove(0);
        let id = job.id;
        self.world.node.producer.dispatch(vec![job]);
        until("it does not die", LONG, async || self.letters(&DeadQuery::default()).await == 1)
            .await;
        let reason = self.app.dead_letter(id).await.unwrap().reason;
        let filter = DeadChoice { ids: vec![id], ..DeadChoice::default() };
        let discard = DeadDiscard { filter, ..DeadDiscard::default() };
        assert_eq!(self.app.dlq_discard(&discard).await.unwrap().discarded, 1);
        reason
    }

    async fn letters(&self, query: &DeadQuery) -> u64 {
        let groups = self.app.dead_groups(query).await.unwrap().items;
        groups.iter().map(|group| group.count).sum()
    }

    async fn until_ended(&self, redrive: &RedriveView) -> RedriveView {
        let mut now = redrive.clone();
        until("the redrive does not end", NIGHT, async || {
            now = self.app.redrive(redrive.id).await.unwrap();
            now.state != RedriveState::Running
        })
        .await;
        now
    }

    /// The texts' keys on the platform, each of which must be there once.
    fn keys(&self) -> HashSet<String> {
        let journal = self.platform.journal();
        let published = journal.iter().filter(|entry| entry.op == Op::Publish);
        let mut keys = HashSet::new();
        for entry in published {
            let key = entry.key.clone().expect("a key");
            assert!(keys.insert(key), "{entry:?} is there twice");
        }
        keys
    }
}

fn because(message: &str) -> Reason {
    let (category, class) = (Category::PlatformApi, "transient".to_owned());
    Reason { category, class, message: message.to_owned() }
}

fn everything() -> DeadRetry {
    DeadRetry { all: true, ..DeadRetry::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_letters_what_is_still_broken_stops_itself_and_the_rest_goes_out_once() {
    let night = Night::begin(40).await;
    // Most of them are of the cause that is still there.
    night.refuse(12..40).await;
    let refusal = night.words_of_a_refusal(39).await;
    let jobs = night.publish(250, &night.accounts).await;
    let place: HashMap<Uuid, usize> =
        night.accounts.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let cause = |job: &NewJob| (place[&job.account.unwrap()] / 4).min(3);
    night
        .die(&jobs, |job| match cause(job) {
            3 => refusal.clone(),
            n => because(CAUSES[n]),
        })
        .await;
    let groups = night.app.dead_groups(&DeadQuery::default()).await.unwrap().items;
    let counts: Vec<u64> = groups.iter().map(|group| group.count).collect();
    assert_eq!(counts, [7_000, 1_000, 1_000, 1_000]);
    let still_broken = groups.iter().find(|group| group.message == refusal.message).unwrap();

    let _working = night.work();
    let dry = DeadRetry { dry_run: true, ..everything() };
    let plan = night.app.dlq_retry(&dry).await.unwrap().plan;
    assert_eq!((plan.matched, plan.runnable), (10_000, 10_000));
    let begun = night.app.dlq_retry(&everything()).await.unwrap();
    assert_eq!(begun.plan, plan);
    let ended = night.until_ended(&begun.redrive.unwrap()).await;
    assert_eq!(ended.state, RedriveState::Stopped, "{ended:?}");
    let why = ended.stopped_why.unwrap();
    assert!(why.contains(&still_broken.fingerprint) && why.contains("3 times"), "{why}");
    assert_eq!(ended.put_back, 3_003);

    until("the others do not complete", NIGHT, async || night.keys().len() == 3_000).await;
    let mut left = Vec::new();
    until("some have not ended", LONG, async || {
        left = night.app.dead_groups(&DeadQuery::default()).await.unwrap().items;
        night.app.redrive(ended.id).await.unwrap().causes.iter().all(|cause| cause.underway == 0)
    })
    .await;
    let left: Vec<_> = left.iter().map(|group| (&group.fingerprint, group.count)).collect();
    assert_eq!(left, [(&still_broken.fingerprint, 7_000)]);
    assert_eq!(night.keys().len(), 3_000, "and nothing was published twice");
    let audit = night.app.audits(&Default::default()).await.unwrap().items;
    assert_eq!((audit[0].action.as_str(), audit[0].count), ("dlq.retry", 3_003));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_dies_saves_the_others_and_one_that_lives_lets_them_go() {
    let night = Night::begin(1).await;
    night.refuse(0..1).await;
    let refusal = night.words_of_a_refusal(0).await;
    let jobs = night.publish(20, &night.accounts).await;
    night.die(&jobs, |_| refusal.clone()).await;
    let _working = night.work();
    let canary = DeadRetry { canary: Some(2), ..everything() };
    let begun = night.app.dlq_retry(&canary).await.unwrap().redrive.unwrap();
    let ended = night.until_ended(&begun).await;
    assert_eq!((ended.state, ended.put_back), (RedriveState::Stopped, 2), "{ended:?}");
    assert!(ended.stopped_why.unwrap().contains("the canary died"));

    night.refuse(0..0).await;
    let begun = night.app.dlq_retry(&canary).await.unwrap().redrive.unwrap();
    let ended = night.until_ended(&begun).await;
    assert_eq!((ended.state, ended.put_back), (RedriveState::Done, 20), "{ended:?}");
    until("they do not complete", LONG, async || night.keys().len() == 20).await;
    assert_eq!(night.letters(&DeadQuery::default()).await, 0);
    let letters = night.app.redrives(&Default::default()).await.unwrap().items;
    assert_eq!(letters.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_survives_its_process_keeps_its_rate_and_is_stopped_by_a_person() {
    let night = Night::begin(1).await;
    let jobs = night.publish(30, &night.accounts).await;
    night.die(&jobs, |_| because(CAUSES[0])).await;
    let slow = DeadRetry { rate: Some(1), ..everything() };
    // Nobody carries it on: whoever began it is gone.
    let begun = night.app.dlq_retry(&slow).await.unwrap().redrive.unwrap();
    let _working = night.work();
    until("nothing is put back", LONG, async || {
        night.app.redrive(begun.id).await.unwrap().put_back >= 2
    })
    .await;
    let why = Why { reason: Some("too early".to_owned()) };
    let stopped = night.app.stop_redrive(begun.id, &why).await.unwrap();
    assert_eq!(stopped.state, RedriveState::Stopped);
    assert!(stopped.stopped_why.as_ref().unwrap().contains("too early"), "{stopped:?}");
    let waited = stopped.ended_at.unwrap().since(stopped.started_at).as_secs();
    assert!(stopped.put_back <= waited + 1, "{} jobs in {waited} s", stopped.put_back);
    assert!(night.app.stop_redrive(begun.id, &why).await.is_err(), "it has ended");
}

#[tokio::test]
async fn a_letter_tells_its_whole_story_and_is_put_back_with_other_arguments() {
    let night = Night::begin(2).await;
    let job = night.publish(1, &night.accounts[..1]).await.remove(0);
    let id: JobId = job.id;
    night.die(std::slice::from_ref(&job), |_| because("wrong post")).await;
    let path = format!("/api/dlq/{id}");
    let shown = night.world.ask("GET", &path).await.body;
    assert_eq!(shown["details"]["args"].to_string(), job.args.replace(' ', ""), "{shown}");
    assert_eq!(shown["details"]["account"], night.accounts[0].to_string());
    assert_eq!(shown["details"]["put_back"], json!([]));

    let retry = format!("{path}/retry");
    let wrong = night.world.post(&retry, json!({"args": {"publicaton_id": "x"}})).await;
    wrong.assert_problem(422);
    assert!(wrong.fields().contains(&"/args/publicaton_id"), "{}", wrong.body);
    let other = night.publish(1, &night.accounts[1..]).await.remove(0);
    let edit = DeadEdit {
        args: serde_json::from_str(&other.args).unwrap(),
        merge: true,
        reason: Some("the other one was meant".to_owned()),
    };
    let planned = night.app.dlq_edit(id, &edit).await.unwrap();
    assert_eq!(planned.plan.runnable, 1);
    let back = night.world.node.ledger.job(id).await.unwrap().unwrap().job;
    assert_eq!((&back.args, back.account), (&other.args, other.account));
    let audit = night.app.audits(&Default::default()).await.unwrap().items.remove(0);
    assert_eq!(
        (audit.action.as_str(), audit.why.unwrap().as_str()),
        ("dlq.edit", "the other one was meant")
    );
    assert_eq!(audit.detail["old_args"].to_string(), job.args);
    let lineage = night.world.node.ledger.lineage(id).await.unwrap();
    assert_eq!((lineage.len(), lineage[0].message.as_str()), (1, "wrong post"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_something_newer_made_needless_is_left_alone_unless_it_is_named() {
    let night = Night::begin(1).await;
    let sync = ConnectorSync::of(night.accounts[0]);
    let syncs = [night.made(&sync).await, night.made(&sync).await];
    let posts = night.publish(2, &night.accounts).await;
    let again: PostPublication = serde_json::from_str(&posts[1].args).unwrap();
    let repeated = night.made(&again).await;
    night.die(&[&syncs[..], &posts[..], &[repeated]].concat(), |_| because(CAUSES[0])).await;
    let plan = async |retry: &DeadRetry| {
        let dry = DeadRetry { dry_run: true, ..retry.clone() };
        let plan = night.app.dlq_retry(&dry).await.unwrap().plan;
        (plan.matched, plan.runnable, plan.done, plan.superseded)
    };
    // Of the two for one account, one is enough.
    assert_eq!(plan(&everything()).await, (5, 4, 0, 1));
    let working = night.work();
    let newer = [night.made(&sync).await, night.made(&again).await];
    night.world.node.producer.dispatch(newer.to_vec());
    for job in &newer {
        until("it does not complete", LONG, async || {
            night.world.ask("GET", &format!("/api/jobs/{}", job.id)).await.body["state"]
                == "completed"
        })
        .await;
    }
    drop(working);
    // The publication's own job was completed with it; that of another one for it is a letter yet.
    assert_eq!(plan(&everything()).await, (4, 1, 1, 2));
    let shown = night.app.dead_letter(syncs[0].id).await.unwrap().details.unwrap();
    assert_eq!(shown.superseded_by, Some(newer[0].id));
    let named = DeadChoice { ids: vec![syncs[0].id], ..DeadChoice::default() };
    let named = DeadRetry { filter: named, ..DeadRetry::default() };
    assert_eq!(plan(&named).await, (1, 1, 0, 0));

    let planned = night.app.dlq_retry(&everything()).await.unwrap().plan;
    assert_eq!((planned.runnable, planned.done, planned.superseded), (1, 1, 2));
    assert_eq!(night.letters(&DeadQuery::default()).await, 2);
    assert_eq!(night.app.dlq_retry(&named).await.unwrap().plan.runnable, 1);
    assert_eq!(night.letters(&DeadQuery::default()).await, 1);
}

#[tokio::test]
async fn letters_are_filtered_exported_and_discarded_by_name_only() {
    let night = Night::begin(2).await;
    let jobs = night.publish(150, &night.accounts).await;
    night.die(&jobs, |_| because(CAUSES[1])).await;
    let account = night.accounts[0].to_string();
    let export = format!("/api/dlq/export?account={account}&reason=for%20the%20platform");
    let exported = night.world.ask("GET", &export).await;
    let lines = exported.body.as_str().unwrap().lines();
    let letters: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 150);
    assert!(letters.iter().all(|letter| letter["details"]["account"] == account.as_str()));
    let noted = &night.app.audits(&Default::default()).await.unwrap().items[0];
    assert_eq!((noted.action.as_str(), noted.count), ("dlq.export", 150));
    assert_eq!(noted.why.as_deref(), Some("for the platform"));
    for path in ["/api/dlq", "/api/dlq/groups"] {
        let refused = night.world.ask("GET", &format!("{path}?reason=x")).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), ["/reason"]);
    }

    for (body, field) in [
        (json!({"filter": {}}), "/filter"),
        (json!({}), "/filter"),
        (json!({"filter": {"kind": "post_publication"}, "all": true}), "/all"),
        (json!({"filter": {"queue": "post_publication.sandbx"}}), "/filter/queue"),
        (json!({"filter": {"died_after": "soon"}}), "/filter/died_after"),
        (json!({"filter": {"acount": account}}), "/filter/acount"),
    ] {
        for path in ["/api/dlq/retry", "/api/dlq/discard"] {
            let refused = night.world.post(path, body.clone()).await;
            refused.assert_problem(422);
            assert_eq!(refused.fields(), [field], "{path} {body}: {}", refused.body);
        }
    }
    for number in [json!(0), json!(-1), json!(1_000_000_000)] {
        for field in ["canary", "rate"] {
            let body = json!({"all": true, field: number});
            let refused = night.world.post("/api/dlq/retry", body).await;
            refused.assert_problem(422);
            assert_eq!(refused.fields(), [format!("/{field}")], "{number}: {}", refused.body);
        }
    }
    let none = json!({"filter": {"died_before": "1h"}});
    let discarded = night.world.post("/api/dlq/discard", none).await.body;
    assert_eq!((&discarded["plan"]["matched"], &discarded["discarded"]), (&json!(0), &json!(0)));
    let mine = json!({"filter": {"account": account}, "dry_run": true});
    let planned = night.world.post("/api/dlq/discard", mine).await.body;
    assert_eq!((&planned["plan"]["matched"], &planned["discarded"]), (&json!(150), &json!(0)));
    let all = json!({"all": true, "reason": "of no use any more"});
    let discarded = night.world.post("/api/dlq/discard", all).await.body;
    assert_eq!(discarded["discarded"], 300, "{discarded}");
    assert_eq!(night.letters(&DeadQuery::default()).await, 0);
    let job = night.world.ask("GET", &format!("/api/jobs/{}", jobs[0].id)).await.body;
    assert_eq!(job["state"], "cancelled");
}
