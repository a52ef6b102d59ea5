//! The verbs, with what their help says, and who carries each out.

use clap::Subcommand;
use clap_complete::Shell;
use postworks_workers::role::WorkerArgs;

use super::failure::Failure;
use super::{
    Context, apikey, audit, breaker, config, connector, demo, dlq, doctor, effects, enqueue,
    ingress, job, keys, loadtest, media, post, publication, queue, roles, schedule, set, tenant,
    top, up, user,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the API and workers in one process
    #[command(after_help = "\
Without DATABASE_URL and REDIS_URL everything is in one file below POSTWORKS_DATA_DIR
(./.postworks), and anybody on this machine may use the API; with both, `up` uses PostgreSQL and
Redis, and callers bring an API key or log in. POSTWORKS_AUTH=on|off says otherwise.

With --workers auto (and both) workers are processes of their own, as many as the load calls for, up
to one for each processor or autoscale.max_workers; they drain when `up` does.

Examples:
  postworks up
  postworks up --listen 127.0.0.1:0 --concurrency 20
  postworks up --workers auto")]
    Up(up::UpArgs),
    /// Publish to a sandbox platform that fails, and count what arrives
    #[command(after_help = "\
Everything lives in a temporary folder and is gone afterwards.

Examples:
  postworks demo
  postworks demo --jobs 200 --seed 7")]
    Demo(demo::DemoArgs),
    /// Put load on Postworks, measure, and report
    #[command(after_help = "\
Without addresses it starts a Redis and a PostgreSQL of its own in temporary folders. With
--database-url and --redis-url (or DATABASE_URL and REDIS_URL) it works on those servers: in a
database that it makes and drops, under keys that it removes; such servers are loaded, but neither
stopped nor wiped.

Scenarios: database (statements on the real tables), queue (jobs arrive at a rate, at a slow and
unreliable platform), redis (its commands), api (requests), failover (no connection left, Redis
restarted and wiped, a worker killed), breaking-point (the highest rate that can be sustained).
Times count from when something was due, so a system that stalls is charged for all that waited.

A profile says how much and how long. One of your own needs only what it changes, and runs the
scenarios that it names:
  [system]
  workers = 4
  [queue]
  rate = 500
  sustain = \"10m\"

Ctrl-C ends it in good order, with a report of what was measured until then. Exit codes: 0 every
target that was measured held, 1 one was missed or a scenario broke off, 69 no servers, 75 stopped
early, 78 the profile or the targets are not right.

Examples:
  postworks loadtest
  postworks loadtest queue breaking-point --seed 7
  postworks loadtest --profile reference --out report
  postworks loadtest --profile ours.toml --targets ours-targets.toml
  postworks loadtest compare logs/loadtest/2026-01-31T12-00-00Z logs/loadtest/2026-02-28T12-00-00Z")]
    Loadtest(loadtest::LoadtestArgs),
    /// Run the HTTP API
    #[command(after_help = "\
Needs DATABASE_URL and REDIS_URL. Callers bring an API key, or log in; with POSTWORKS_AUTH=off
anybody may do anything, and it listens on loopback only.

Examples:
  postworks apikey create --role admin
  postworks api --listen 127.0.0.1:7000")]
    Api(roles::ApiArgs),
    /// Run jobs
    #[command(after_help = "\
Needs DATABASE_URL and REDIS_URL. The first SIGTERM lets running jobs finish within the grace and
hands back the rest; the second ends at once.

Examples:
  postworks worker
  postworks worker --queues 'post_publication.*,data_cleanup' --concurrency 50")]
    Worker(WorkerArgs),
    /// Run the sandbox: a social platform for demos and tests
    #[command(after_help = "\
It is a test double: accounts and posts live in memory, and faults are made on demand.

Example:
  postworks sandbox --listen 127.0.0.1:7001 --journal journal.ndjson")]
    Sandbox(roles::SandboxArgs),
    /// Take over the tasks of other queues' producers
    #[command(subcommand)]
    Ingress(ingress::IngressCommand),
    /// Enqueue a job
    #[command(after_help = "\
Examples:
  postworks enqueue data_cleanup
  postworks enqueue data_cleanup --arg scope=jobs --arg dry_run=true
  postworks enqueue connector_sync --json '{\"connector_id\": \"0198f3a0-…\"}' --unique-key daily
  postworks enqueue connector_sync --arg connector_id=0198f3a0-… --delay 5m
  postworks enqueue connector_sync --arg connector_id=0198f3a0-… --unique-key ann --debounce 5s
  postworks enqueue data_cleanup --after 0198f3a0-… 0198f3a1-… --on-failure continue")]
    Enqueue(enqueue::EnqueueArgs),
    /// Accounts on platforms
    #[command(
        subcommand,
        after_help = "\
Examples:
  postworks connector add --platform bluesky --base-url https://bsky.social \\
      --identifier ann.example.com --secret-file app-password.txt
  postworks connector list --state needs_reauth
  postworks connector remove 0198f3a0-0000-7000-8000-000000000001"
    )]
    Connector(connector::ConnectorCommand),
    /// Publications: show, move to another time
    #[command(
        subcommand,
        after_help = "\
A publication that is being sent, or may have been, stays where it is; once a move is confirmed,
nothing goes out at the old time. What is not given stays as it is.

Examples:
  postworks publication show 0198f3a0-…
  postworks publication move 0198f3a0-… --at 2026-03-02T09:00:00Z --reason 'the talk moved'
  postworks publication move 0198f3a0-… --not-after 2026-03-02T10:00:00Z --late skip
  postworks publication move 0198f3a0-… --no-window"
    )]
    Publication(publication::PublicationCommand),
    /// Posts: write, edit, move all of one's publications to another time
    #[command(
        subcommand,
        after_help = "\
An image is a file or the id of one that was uploaded, and after a colon what it shows. Publications
that have not begun take what is edited; those that have begun keep what they have.

Examples:
  postworks post add --text 'we have opened' --link https://example.org/news
  postworks post add --text 'hello' --image cat.jpg:'a cat, asleep' --image 0198f3a0-…
  postworks post edit 0198f3a0-… --text 'we have opened at last' --no-link
  postworks post move 0198f3a0-… --at 2026-03-02T09:00:00Z --not-after 2026-03-02T10:00:00Z"
    )]
    Post(post::PostCommand),
    /// Images that posts show: upload, show
    #[command(
        subcommand,
        after_help = "\
The same image is kept once. One that no post has goes after retention.media.

Examples:
  postworks media add cat.jpg
  postworks media show 0198f3a0-…
  postworks media show 0198f3a0-… --out cat.jpg"
    )]
    Media(media::MediaCommand),
    /// Jobs: show, why, list, cancel
    #[command(
        subcommand,
        after_help = "\
Examples:
  postworks job list --state running
  postworks job show 0198f3a0-…
  postworks job why 0198f3a0-…
  postworks job cancel 0198f3a0-…"
    )]
    Job(job::JobCommand),
    /// Publication sets, the publications of one request: show, cancel, retry
    #[command(
        subcommand,
        after_help = "\
POST /api/publish answers with the set's id. A set is open until each of its publications has ended;
then it is completed, partly or failed.

Examples:
  postworks set show 0198f3a0-…
  postworks set cancel 0198f3a0-… --reason 'the wrong picture'
  postworks set retry 0198f3a0-…"
    )]
    Set(set::SetCommand),
    /// Jobs that are made again and again
    #[command(
        subcommand,
        after_help = "\
A cron with one minute and one hour is a time of day: where the clock skips it, it comes at the
first moment after; where the clock repeats it, once. Every other cron is a rhythm in real time.
Each time is had once, by however many workers there are.

Examples:
  postworks schedule add nightly data_cleanup --cron '30 4 * * *' --zone Europe/Berlin
  postworks schedule add sync-ann connector_sync --arg connector_id=0198f3a0-… \\
      --cron '*/15 * * * *' --jitter 5m --missed skip
  postworks schedule next nightly 3
  postworks schedule pause nightly --reason 'the database moves'
  postworks schedule run-now nightly
  postworks schedule fires nightly"
    )]
    Schedule(schedule::ScheduleCommand),
    /// Dead letters: jobs that need a person
    #[command(
        subcommand,
        after_help = "\
Examples:
  postworks dlq groups
  postworks dlq list --filter category=auth --filter died_after=2h
  postworks dlq retry --filter queue=post_publication.bluesky --dry-run
  postworks dlq retry 0198f3a0-… --reason 'the account is back'
  postworks dlq retry --filter fingerprint=4f1c22aa90b3d7e1 --canary 10 --rate 50
  postworks dlq retry 0198f3a0-… --arg connector_id=0198f3a1-…
  postworks dlq discard --filter category=expired --filter died_before=7d
  postworks dlq export > dead.jsonl"
    )]
    Dlq(dlq::DlqCommand),
    /// Publications that may be out, which nobody knows
    #[command(
        subcommand,
        after_help = "\
Examples:
  postworks effects list
  postworks effects resolve 0198f3a0-… --as published --remote-id post_4711
  postworks effects resolve 0198f3a0-… --as absent --retry"
    )]
    Effects(effects::EffectsCommand),
    /// Who did what by hand, and why
    #[command(
        subcommand,
        after_help = "\
Every command that changes something by hand is noted with who did it (cli:user@host, user:email,
apikey:id, or api where callers need not say) and how many things it changed; --reason TEXT adds why.

Examples:
  postworks audit list --since 8h
  postworks audit list --action dlq.retry -o json"
    )]
    Audit(audit::AuditCommand),
    /// Queues: what is in them, pause, resume
    #[command(
        subcommand,
        after_help = "\
Examples:
  postworks queue list
  postworks queue pause post_publication.bluesky --reason 'wrong text went out'
  postworks queue resume post_publication.bluesky"
    )]
    Queue(queue::QueueCommand),
    /// Circuit breakers, one for each queue: list, open, close
    #[command(
        subcommand,
        after_help = "\
A breaker opens by itself when half of a platform's calls fail, for the whole fleet, and tries a few
calls after its cooldown. Nothing is claimed meanwhile, and no attempt is lost.

Examples:
  postworks breaker list
  postworks breaker open connector_sync.bluesky --reason 'they are migrating'
  postworks breaker close connector_sync.bluesky"
    )]
    Breaker(breaker::BreakerCommand),
    /// Watch queues, breakers and dead letters, and act on them
    #[command(after_help = "\
Keys: arrows select, p and r pause and resume the queue, o and c open and close its breaker, d shows
its dead letters by cause, R puts those of a cause back, / filters, ? explains, q quits. Whatever
changes something asks first. NO_COLOR takes the colours away. Where stdout is no terminal, one
picture is printed.

Examples:
  postworks top
  postworks --server http://10.0.0.7:7000 top --every 5s
  postworks -o json top")]
    Top(top::TopArgs),
    /// People who may log in to the API
    #[command(
        subcommand,
        after_help = "\
Talks to the database itself, never to an API: PostgreSQL if DATABASE_URL and REDIS_URL are set,
else the embedded one below POSTWORKS_DATA_DIR.

Roles: readonly looks; producer also enqueues, posts, connects accounts, publishes and cancels;
operator looks, cancels, and runs dead letters, queues, breakers and unknown outcomes; admin may
do everything.

Examples:
  postworks user create --email ann@example.org --password-file password.txt --role operator
  postworks user list
  postworks user disable ann@example.org"
    )]
    User(user::UserCommand),
    /// Keys that programs ask the API with
    #[command(
        subcommand,
        after_help = "\
Talks to the database itself, as `postworks user` does, whose help explains the roles. Client
commands send the key in POSTWORKS_API_KEY.

Examples:
  postworks apikey create --role producer --name 'the shop' > key.txt
  POSTWORKS_API_KEY_FILE=key.txt postworks job list
  postworks apikey list
  postworks apikey revoke 0198f3a0-…"
    )]
    Apikey(apikey::ApiKeyCommand),
    /// Keys that accounts' secrets are sealed with
    #[command(
        subcommand,
        after_help = "\
Talks to the database itself, as `postworks user` does, and seals with the first key of
POSTWORKS_KEYS, which must be those of the nodes.

A key is changed while everything runs. Add the new one to the end of POSTWORKS_KEYS on every node,
and start the nodes again one by one; put it first on every node, and do so again; rotate. The old
one may go once the list says so.

No role starts without a key that has sealed something. If one is lost for good, `give-up` deletes
what it has sealed; those accounts wait for a person to connect them again.

Examples:
  postworks keys list
  postworks keys rotate --dry-run
  postworks keys rotate --reason 'ann has left'
  postworks keys give-up k1 --yes"
    )]
    Keys(keys::KeysCommand),
    /// Tenants, whose rows are kept apart
    #[command(
        subcommand,
        after_help = "\
Whoever asks the API sees the rows of their own tenant, and no others. The tenant `default`, who is
there from the start, also looks after queues and breakers. Needs PostgreSQL.

Examples:
  postworks tenant create acme
  postworks apikey create --role admin --tenant acme
  postworks job list --tenant acme"
    )]
    Tenant(tenant::TenantCommand),
    /// Bring the database's tables up to date
    #[command(
        after_help = "Needs DATABASE_URL and REDIS_URL. Safe to run again, and while workers run."
    )]
    Migrate,
    /// Look for what keeps things from working
    #[command(after_help = "\
Looks at the environment, the configuration, PostgreSQL and Redis, and says what each finding means
and what to do. Exit codes: 0 nothing fails (there may be warnings), 1 a check fails, 69 a store
cannot be reached, 78 the configuration or the tables.

Examples:
  postworks doctor
  postworks -o json doctor")]
    Doctor,
    /// Check or print the configuration
    #[command(
        subcommand,
        after_help = "\
Defaults < a file (--config, POSTWORKS_CONFIG) < POSTWORKS__SECTION__KEY < flags.

Examples:
  postworks config print > postworks.toml
  POSTWORKS__WORKER__CONCURRENCY=7 postworks config check"
    )]
    Config(config::ConfigCommand),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  postworks completions bash > /etc/bash_completion.d/postworks"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Does what the verb says.
pub(super) async fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Up(args) => up::run(context, args).await,
        Verb::Demo(args) => roles::run_demo(context, args).await,
        Verb::Loadtest(args) => Box::pin(loadtest::run(context, args)).await,
        Verb::Api(args) => roles::run_api(context, args).await,
        Verb::Worker(args) => roles::run_worker(context, args).await,
        Verb::Sandbox(args) => roles::run_sandbox(args).await,
        Verb::Ingress(command) => ingress::run(context, command).await,
        Verb::Enqueue(args) => enqueue::run(context, args).await,
        Verb::Connector(command) => connector::run(context, command).await,
        Verb::Publication(command) => publication::run(context, command).await,
        Verb::Post(command) => post::run(context, command).await,
        Verb::Media(command) => media::run(context, command).await,
        Verb::Job(command) => job::run(context, command).await,
        Verb::Schedule(command) => schedule::run(context, command).await,
        Verb::Set(command) => set::run(context, command).await,
        Verb::Dlq(command) => dlq::run(context, command).await,
        Verb::Effects(command) => effects::run(context, command).await,
        Verb::Audit(command) => audit::run(context, command).await,
        Verb::Queue(command) => queue::run(context, command).await,
        Verb::Breaker(command) => breaker::run(context, command).await,
        Verb::Top(args) => top::run(context, args).await,
        Verb::User(command) => user::run(context, command).await,
        Verb::Apikey(command) => apikey::run(context, command).await,
        Verb::Keys(command) => keys::run(context, command).await,
        Verb::Tenant(command) => tenant::run(context, command).await,
        Verb::Migrate => roles::run_migrate(context).await,
        Verb::Doctor => doctor::run(context).await,
        Verb::Config(command) => config::run(context, command),
        Verb::Completions { shell } => config::completions(shell),
    }
}
