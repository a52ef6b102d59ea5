//! Every route of the API, each with what it needs of its caller and what is said of it: there is no
//! other way to add one.

mod moving;
mod posts;
mod retention;
mod schedules;
mod sets;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use serde_json::json;

use super::describe::Tag::{Jobs, Letters, Logins, Operations, Publishing, Service};
use super::describe::{
    ACCEPTED, BAD_GATEWAY, CONFLICT, CREATED, Content, FORBIDDEN, INTERNAL_SERVER_ERROR,
    NO_CONTENT, NOT_FOUND, OK, PERMANENT_REDIRECT, SERVICE_UNAVAILABLE, UNAUTHORIZED,
    UNPROCESSABLE_ENTITY, URI_TOO_LONG,
};
use super::entry::admit;
use super::route::{Route, delete, get, health_page, post};
use super::{Api, document, login, oauth as connect, page, routes};
use crate::app::types::{words, *};
use crate::auth::Need::{self, Cancel, Operate, Produce, Read};

/// An id, for examples.
const ID: &str = "0198f3a0-0000-7000-8000-000000000001";

/// What is done with a job, once its id is known.
const OF_JOB: &[&str] = &["getJob", "whyJobWaits", "cancelJob"];

/// What is done with an account, once its id is known.
const OF_CONNECTOR: &[&str] = &["syncConnector", "disconnectConnector"];

/// What a route says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The address, with names in braces for what varies.
    pub path: &'static str,
    /// What it takes of its caller; `None` for nothing.
    pub need: Option<Need>,
}

/// All of them.
pub(super) fn table() -> Vec<Route> {
    let chapters = [
        jobs(),
        schedules::chapter(),
        publishing(),
        posts::chapter(),
        sets::chapter(),
        moving::chapter(),
        oauth(),
        letters(),
        redrives(),
        effects(),
        retention::chapter(),
        queues(),
        logins(),
        service(),
    ];
    chapters.into_iter().flatten().collect()
}

fn jobs() -> Vec<Route> {
    let job = json!({ "kind": "data_cleanup", "args": { "scope": "jobs", "dry_run": true } });
    let jobs = json!({ "jobs": [{ "kind": "data_cleanup" }, job] });
    vec![
        get(Read, "/api/jobs", routes::jobs)
            .says(Jobs, "listJobs", "Lists jobs")
            .query::<JobsQuery>()
            .ok::<Page<JobView>>()
            .links("/items/0/id", OF_JOB),
        post(Produce, "/api/jobs", routes::enqueue)
            .says(Jobs, "enqueueJob", "Enqueues a job")
            .body::<EnqueueJob>(job)
            .once()
            .traced()
            .answers::<Enqueued>(ACCEPTED, "It is recorded, and will run.")
            .links("/id", OF_JOB)
            .answers::<Enqueued>(OK, "Another job holds its unique key; this is that job.")
            .links("/id", OF_JOB),
        post(Produce, "/api/jobs/bulk", routes::enqueue_bulk)
            .says(Jobs, "enqueueJobs", "Enqueues jobs")
            .more(
                "All or none. Jobs whose unique key another holds are answered with that job. One \
                 may wait for others of the same request, by what these are called in `ref`.",
            )
            .body::<EnqueueBulk>(jobs)
            .once()
            .traced()
            .answers::<EnqueuedBulk>(ACCEPTED, "They are recorded; in the order asked for.")
            .links("/jobs/0/id", OF_JOB),
        get(Read, "/api/jobs/{id}", routes::job)
            .says(Jobs, "getJob", "Shows a job and its attempts")
            .ok::<JobView>(),
        delete(Cancel, "/api/jobs/{id}", routes::cancel)
            .says(Jobs, "cancelJob", "Cancels a job")
            .more("The job stays on record, as `cancelled`. Cancelling it again changes nothing.")
            .query::<Why>()
            .ok::<CancelledJob>()
            .refuses(CONFLICT, "It has ended already."),
        get(Read, "/api/jobs/{id}/why", routes::why)
            .says(Jobs, "whyJobWaits", "Why it does not run")
            .more("Or what became of it.")
            .ok::<WhyView>(),
    ]
}

fn publishing() -> Vec<Route> {
    let account = json!({ "platform": "bluesky", "base_url": "https://bsky.social",
        "identifier": "ann.bsky.social", "secret": "an app password" });
    let publish = json!({ "post_id": ID, "connector_ids": [ID] });
    vec![
        get(Read, "/api/connectors", routes::connectors)
            .says(Publishing, "listConnectors", "Lists accounts")
            .more("With `state=needs_reauth`: those that a person must connect again.")
            .query::<ConnectorsQuery>()
            .ok::<Page<Connector>>()
            .links("/items/0/id", OF_CONNECTOR),
        post(Produce, "/api/connectors", routes::add_connector)
            .says(Publishing, "addConnector", "Connects an account")
            .more("One that is connected already keeps its id, and its parked jobs run again.")
            .body::<AddConnector>(account)
            .answers::<Created>(CREATED, "It is connected.")
            .links("/id", OF_CONNECTOR),
        post(Produce, "/api/connectors/{id}/sync", routes::sync)
            .says(Publishing, "syncConnector", "Fetches an account's posts")
            .traced()
            .answers::<Enqueued>(ACCEPTED, "It will be synchronised.")
            .answers::<Enqueued>(OK, "It is being synchronised, or about to be: by this job."),
        delete(Produce, "/api/connectors/{id}", routes::disconnect)
            .says(Publishing, "disconnectConnector", "Disconnects an account")
            .more(
                "Its tokens are gone, and its jobs are cancelled. It is listed as `disconnecting` \
                 until its rows have gone, too; disconnecting it again changes nothing.",
            )
            .query::<Why>()
            .ok::<DisconnectedView>(),
        post(Produce, "/api/publish", routes::publish)
            .says(Publishing, "publish", "Publishes a post on accounts")
            .body::<Publish>(publish)
            .once()
            .traced()
            .answers::<Publications>(ACCEPTED, "It will be published, now or at its time.")
            .links("/publications/0/id", &["getPublication", "movePublication", "resolveEffect"])
            .links("/publications/0/job_id", OF_JOB)
            .links("/set_id", sets::OF_SET),
        get(Read, "/api/publications/{id}", routes::publication)
            .says(Publishing, "getPublication", "Shows a publication")
            .ok::<Publication>(),
    ]
}

fn oauth() -> Vec<Route> {
    let other = "It is another account than the one to connect again, or known by another name.";
    let platform = "The platform did not answer, or not as it should. Begin anew.";
    let off = "There is no such platform, or [platforms.NAME.oauth] is not set for it.";
    let not_begun = "This browser has not begun it, or too long ago.";
    let mut page = get(None, "/api/oauth/{platform}/callback", connect::show)
        .says(
            Publishing,
            "finishOAuthInBrowser",
            "Connects the account that a browser consented to",
        )
        .more(
            "Where the platform sends a browser back to. It must be the one that began, within ten \
             minutes: by the cookie that it got.",
        )
        .query::<OAuthAnswer>()
        .answers_with(OK, "It is connected. A page that says so.", Content::Text(&["text/html"]));
    for (status, words) in [
        (FORBIDDEN, not_begun),
        (NOT_FOUND, off),
        (CONFLICT, other),
        (URI_TOO_LONG, "The query is longer than the API takes."),
        (UNPROCESSABLE_ENTITY, "The state or the code is not good, or consent was refused."),
        (INTERNAL_SERVER_ERROR, "Something is broken in the server."),
        (BAD_GATEWAY, platform),
        (SERVICE_UNAVAILABLE, "Something is not there now."),
    ] {
        page = page.answers_with(status, words, Content::Page);
    }
    vec![
        post(Produce, "/api/oauth/{platform}/start", connect::start)
            .says(Publishing, "startOAuth", "Begins to connect an account over OAuth")
            .more(
                "Answers where its owner consents, and gives the browser a cookie. Whoever began \
                 may also bring the platform's answer themselves.",
            )
            .optional_body::<StartOAuth>()
            .ok::<OAuthStarted>()
            .refuses(NOT_FOUND, off)
            .refuses(
                CONFLICT,
                "api.public_url is not set, the platform is switched off, or too many are begun.",
            ),
        page,
        post(None, "/api/oauth/{platform}/callback", connect::finish)
            .says(Publishing, "finishOAuth", "Connects the account that was consented to")
            .more(
                "For programs that take the browser back themselves: with the key or the access \
                 token of whoever began, or with the browser's cookie. One that is connected \
                 already keeps its id, and its parked jobs run again.",
            )
            .body::<OAuthAnswer>(json!({ "state": "…", "code": "…" }))
            .answers::<Created>(CREATED, "It is connected.")
            .links("/id", &["syncConnector"])
            .refuses(UNAUTHORIZED, "Nobody shows that it was they who began.")
            .refuses(NOT_FOUND, off)
            .refuses(CONFLICT, other)
            .refuses(BAD_GATEWAY, platform),
    ]
}

fn letters() -> Vec<Route> {
    let retry = json!({ "filter": { "category": "platform_api", "died_after": "2h" },
        "dry_run": true });
    let discard = json!({ "filter": { "category": "expired" }, "dry_run": true });
    let edit = json!({ "args": { "dry_run": true }, "merge": true });
    vec![
        get(Read, "/api/dlq", routes::dead_letters)
            .says(Letters, "listDeadLetters", "Lists dead letters")
            .query_but::<DeadQuery>(&["reason"])
            .ok::<Page<DeadLetterView>>()
            .links("/items/0/id", &["getDeadLetter", "editDeadLetter", "getJob"]),
        get(Read, "/api/dlq/{id}", routes::dead_letter)
            .says(Letters, "getDeadLetter", "Tells a dead job's whole story")
            .ok::<DeadLetterView>(),
        get(Read, "/api/dlq/groups", routes::dead_groups)
            .says(Letters, "groupDeadLetters", "Counts dead letters by their cause")
            .more("The most numerous first, at most 100 causes.")
            .query_but::<DeadQuery>(&["cursor", "reason"])
            .ok::<Page<DeadGroupView>>()
            .links("/items/0/example", &["getDeadLetter", "editDeadLetter"]),
        get(Read, "/api/dlq/export", routes::dlq_export)
            .says(Letters, "exportDeadLetters", "Writes dead letters out")
            .more(
                "One JSON document a line, with everything that is known of the job. \
                 Whoever exports is noted in the audit.",
            )
            .query_but::<DeadQuery>(&["limit", "cursor"])
            .answers_with(OK, "As many lines as there are letters.", Content::Lines),
        post(Operate, "/api/dlq/retry", routes::dlq_retry)
            .says(Letters, "retryDeadLetters", "Puts dead letters back")
            .more(
                "More than 1,000, a canary or a rate make it a redrive, which goes on in \
                 the background.",
            )
            .body::<DeadRetry>(retry)
            .answers::<Planned>(ACCEPTED, "What became, or will become, of them.")
            .links("/redrive/id", &["getRedrive", "stopRedrive"]),
        post(Operate, "/api/dlq/discard", routes::dlq_discard)
            .says(Letters, "discardDeadLetters", "Ends dead letters for good")
            .body::<DeadDiscard>(discard)
            .answers::<Discarded>(ACCEPTED, "What they were, and how many were ended."),
        post(Operate, "/api/dlq/{id}/retry", routes::dlq_edit)
            .says(Letters, "editDeadLetter", "Puts a job back with other arguments")
            .body::<DeadEdit>(edit)
            .answers::<Planned>(ACCEPTED, "What became of it."),
    ]
}

fn redrives() -> Vec<Route> {
    vec![
        get(Read, "/api/dlq/redrives", routes::redrives)
            .says(Letters, "listRedrives", "Lists redrives")
            .query::<PageQuery>()
            .ok::<Page<RedriveView>>()
            .links("/items/0/id", &["getRedrive", "stopRedrive"]),
        get(Read, "/api/dlq/redrives/{id}", routes::redrive)
            .says(Letters, "getRedrive", "Shows a redrive")
            .ok::<RedriveView>(),
        post(Operate, "/api/dlq/redrives/{id}/stop", routes::stop_redrive)
            .says(Letters, "stopRedrive", "Stops a redrive")
            .query::<Why>()
            .ok::<RedriveView>()
            .refuses(CONFLICT, "It has ended already."),
    ]
}

fn effects() -> Vec<Route> {
    let found = json!({ "as": "absent", "retry": true, "reason": "looked at the account" });
    vec![
        get(Read, "/api/effects", routes::effects)
            .says(Operations, "listEffects", "Lists publications that may be out")
            .more("Nobody knows whether they are; each says what it needs.")
            .query::<PageQuery>()
            .ok::<Page<EffectView>>()
            .links("/items/0/id", &["getPublication", "resolveEffect"]),
        post(Operate, "/api/effects/{id}/resolve", routes::resolve_effect)
            .says(Operations, "resolveEffect", "Says what became of a publication")
            .body::<ResolveEffect>(found)
            .ok::<EffectResolved>()
            .refuses(
                CONFLICT,
                "Nothing is unknown about it, a request may still be under way, or the post is \
                 another publication's.",
            ),
        get(Read, "/api/events", routes::events)
            .says(Operations, "listEvents", "Tells what happened to accounts")
            .more(
                "Oldest first. Who asks again with `after` set to the last answer's `next` misses \
                 nothing.",
            )
            .query::<EventsQuery>()
            .ok::<EventFeed>(),
        get(Read, "/api/audit", routes::audits)
            .says(Operations, "listAudit", "Lists what people did")
            .query::<AuditQuery>()
            .ok::<Page<AuditView>>(),
    ]
}

fn queues() -> Vec<Route> {
    let pause = "Lets nothing more be claimed from a queue";
    let no_queue = "There is no such queue. Taken for one without work, it would lose its workers.";
    vec![
        get(Read, "/api/queues", routes::queues)
            .says(Operations, "listQueues", "Lists queues and what is in them")
            .ok::<Page<QueueView>>()
            .links("/items/0/queue", &["pauseQueue", "resumeQueue"]),
        post(Operate, "/api/queues/{name}/pause", routes::pause)
            .says(Operations, "pauseQueue", pause)
            .optional_body::<Why>()
            .ok::<GateView>(),
        post(Operate, "/api/queues/{name}/resume", routes::resume)
            .says(Operations, "resumeQueue", "Lets a queue go on")
            .optional_body::<Why>()
            .ok::<GateView>(),
        get(Read, "/api/autoscale", routes::autoscale)
            .says(Operations, "getAutoscale", "Says how many workers there should be")
            .query::<AutoscaleQuery>()
            .ok::<AutoscaleView>()
            .refuses(NOT_FOUND, no_queue),
        get(Read, "/sd/prometheus", routes::scrape_targets)
            .says(Operations, "listScrapeTargets", "Lists the metrics pages of who lives")
            .more("As Prometheus' `http_sd_configs` reads it.")
            .ok::<Vec<ScrapeTargets>>(),
        get(Read, "/api/breakers", routes::gates)
            .says(Operations, "listBreakers", "Lists breakers")
            .ok::<Page<GateView>>()
            .links("/items/0/name", &["openBreaker", "closeBreaker"]),
        post(Operate, "/api/breakers/{name}/open", routes::open_breaker)
            .says(Operations, "openBreaker", "Opens a breaker")
            .more("It stays open until somebody closes it.")
            .optional_body::<Why>()
            .ok::<GateView>(),
        post(Operate, "/api/breakers/{name}/close", routes::close_breaker)
            .says(Operations, "closeBreaker", "Closes a breaker")
            .optional_body::<Why>()
            .ok::<GateView>(),
    ]
}

fn logins() -> Vec<Route> {
    let off = "Nobody logs in here: authentication is switched off.";
    let login = json!({ "email": "ann@example.org", "password": "correct horse battery" });
    let refresh = json!({ "refresh_token": "pwr_…" });
    vec![
        post(None, "/api/auth/login", login::login)
            .says(Logins, "logIn", "Exchanges a password for tokens")
            .body::<Login>(login)
            .ok::<Tokens<'_>>()
            .refuses(UNAUTHORIZED, "The email or the password is wrong.")
            .refuses(NOT_FOUND, off),
        post(None, "/api/auth/refresh", login::refresh)
            .says(Logins, "refreshTokens", "Exchanges a refresh token for the next pair")
            .more(
                "Each is good once. One that comes again ends the login, except within ten \
                 seconds from the same client.",
            )
            .body::<Refresh>(refresh)
            .ok::<Tokens<'_>>()
            .refuses(UNAUTHORIZED, "It is wrong, used, too old or revoked.")
            .refuses(NOT_FOUND, off),
        post(Read, "/api/auth/logout", login::logout)
            .says(Logins, "logOut", "Ends a login")
            .answers_with(NO_CONTENT, "It is ended, with all its tokens.", Content::Empty)
            .refuses(CONFLICT, "An API key is no login.")
            .refuses(NOT_FOUND, off),
    ]
}

fn service() -> Vec<Route> {
    let not_ready = "It cannot: `missing` names what is not there.";
    let recent = "Tells what `/readyz` does, up to two seconds late: for any number of askers.";
    let document = "This document";
    vec![
        health_page("/livez")
            .says(Service, "isAlive", "Whether the process answers")
            .ok::<words::Liveness>(),
        health_page("/readyz")
            .says(Service, "isReady", "Whether it can work")
            .ok::<words::Readiness>()
            .answers::<words::Readiness>(SERVICE_UNAVAILABLE, not_ready),
        health_page("/health")
            .says(Service, "health", "Whether it could work just now")
            .more(recent)
            .ok::<words::Readiness>()
            .answers::<words::Readiness>(SERVICE_UNAVAILABLE, not_ready),
        health_page("/api/health")
            .says(Service, "apiHealth", "Whether it could work just now")
            .more(recent)
            .ok::<words::Readiness>()
            .answers::<words::Readiness>(SERVICE_UNAVAILABLE, not_ready),
        health_page("/metrics")
            .says(Service, "metrics", "What it counts, for Prometheus")
            .answers_with(OK, "The exposition.", Content::Text(&["text/plain"])),
        get(None, "/api/openapi.json", document::serve)
            .says(Service, "getDocument", document)
            .ok::<words::Object>(),
        get(None, "/openapi.json", document::serve)
            .says(Service, "getDocumentAtRoot", document)
            .ok::<words::Object>(),
        get(None, "/api/docs/", page::show)
            .says(Service, "showDocs", "This document, to read and to try")
            .answers_with(OK, "A page.", Content::Text(&["text/html"])),
        get(None, "/api/docs", page::lead)
            .says(Service, "findDocs", "Leads to the page")
            .answers_with(PERMANENT_REDIRECT, "It is at `/api/docs/`.", Content::Empty),
        get(None, "/api/docs/{file}", page::file)
            .says(Service, "getDocsFile", "What the page is made of")
            .answers_with(OK, "The file.", Content::Text(&["text/css", "text/javascript"])),
    ]
}

/// What every route needs, for documents and tests.
pub fn declared() -> Vec<Declared> {
    let say = |Route { method, path, need, .. }| Declared { method, path, need };
    table().into_iter().map(say).collect()
}

/// A router of them all, each guarded as it says.
pub(super) fn guarded(api: &Api) -> Router {
    let add = |router: Router<Api>, Route { path, need, serve, .. }| {
        let Some(serve) = serve else { return router };
        router.route(path, serve.route_layer(from_fn_with_state((api.clone(), need), admit)))
    };
    table().into_iter().fold(Router::new(), add).with_state(api.clone())
}
