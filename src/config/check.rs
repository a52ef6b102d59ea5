//! Ranges, and what must hold between settings.

use std::time::Duration;

use url::{Host, Url};

use super::Config;
use crate::job::schedule::Cron;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const HOUR: Duration = seconds(3_600);
const DAY: Duration = seconds(24 * 3_600);
/// No fleet is larger.
const WORKERS_MAX: u32 = 10_000;
/// No retention is longer: a hundred years, so that no date overflows.
const FOR_EVER: Duration = seconds(100 * 366 * 24 * 3_600);

/// Every key out of its range, and what the range is.
pub(super) fn check(config: &Config) -> Vec<(String, String)> {
    let mut faults = Faults(Vec::new());
    api(config, &mut faults);
    worker(config, &mut faults);
    lease(config, &mut faults);
    retry(config, &mut faults);
    breaker(config, &mut faults);
    admission(config, &mut faults);
    autoscale(config, &mut faults);
    advertise(config, &mut faults);
    slots(config, &mut faults);
    oauth(config, &mut faults);
    sync(config, &mut faults);
    retention(config, &mut faults);
    faults.0
}

struct Faults(Vec<(String, String)>);

impl Faults {
    fn unless(&mut self, holds: bool, key: &str, message: impl Into<String>) {
        if !holds {
            self.0.push((key.to_owned(), message.into()));
        }
    }

    fn span(&mut self, key: &str, span: Duration, least: Duration, most: Duration) {
        self.unless((least..=most).contains(&span), key, {
            let (least, most) =
                (humantime::format_duration(least), humantime::format_duration(most));
            format!("must be {least} to {most}")
        });
    }

    fn number(&mut self, key: &str, number: u32, least: u32, most: u32) {
        let message = format!("must be {least} to {most}");
        self.unless((least..=most).contains(&number), key, message);
    }
}

fn api(config: &Config, faults: &mut Faults) {
    let api = &config.api;
    let limit = api.body_limit.0;
    // Longer arguments would not fit into an envelope (ENVELOPE_BYTES_MAX).
    faults.unless((1 << 10..=64 << 10).contains(&limit), "api.body_limit", "must be 1KiB to 64KiB");
    faults.unless(
        (limit..=16 << 20).contains(&api.bulk_body_limit.0),
        "api.bulk_body_limit",
        "must be at least api.body_limit and at most 16MiB",
    );
    faults.unless(
        (1 << 10..=32 << 20).contains(&api.media_limit.0),
        "api.media_limit",
        "must be 1KiB to 32MiB",
    );
    if let Some(url) = &api.public_url {
        let plain = url.username().is_empty() && url.query().is_none();
        let message = "must be an address without a user and a query, such as \
                       https://postworks.example.org";
        faults.unless(plain, "api.public_url", message);
        let safe = url.scheme() == "https" || is_loopback(url);
        let message = "must be https, or on loopback: what OAuth sends there is a secret";
        faults.unless(safe, "api.public_url", message);
    }
    faults.span("api.request_timeout", api.request_timeout, Duration::from_millis(100), HOUR);
    faults.span("api.head_timeout", api.head_timeout, Duration::from_millis(100), HOUR);
    faults.number("api.requests_max", api.requests_max, 1, 100_000);
    faults.number("api.rate_limit", api.rate_limit, 0, 1_000_000);
    faults.number("api.rate_burst", api.rate_burst, 1, 10_000_000);
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn worker(config: &Config, faults: &mut Faults) {
    let worker = &config.worker;
    faults.unless(!worker.queues.is_empty(), "worker.queues", "must name a queue; [\"*\"] is all");
    faults.number("worker.concurrency", worker.concurrency, 1, 10_000);
    faults.span("worker.grace", worker.grace, Duration::ZERO, HOUR);
    let prefix = &config.broker.prefix;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    faults.unless(
        (1..=40).contains(&prefix.len()) && prefix.chars().all(plain),
        "broker.prefix",
        "must be 1 to 40 letters, digits, '_', '-' or '.'",
    );
    faults.number("broker.window", config.broker.window, 100, 1_000_000);
    faults.number("ledger.pool_size", config.ledger.pool_size, 1, 1_000);
    let (least, most) = (Duration::from_millis(50), seconds(300));
    faults.span("ledger.acquire_timeout", config.ledger.acquire_timeout, least, most);
}

fn lease(config: &Config, faults: &mut Faults) {
    let lease = &config.lease;
    faults.span("lease.duration", lease.duration, Duration::from_millis(200), HOUR);
    faults.span("lease.renew", lease.renew, Duration::from_millis(20), HOUR);
    // Two lost renewals must not cost a worker that lives its jobs.
    faults.unless(
        lease.renew.saturating_mul(3) < lease.duration,
        "lease.renew",
        "must be less than a third of lease.duration",
    );
}

fn retry(config: &Config, faults: &mut Faults) {
    let retry = &config.retry;
    for (key, span) in [("retry.base", retry.base), ("retry.cap", retry.cap)] {
        if let Some(span) = span {
            faults.span(key, span, Duration::from_millis(1), DAY);
        }
    }
    if let (Some(base), Some(cap)) = (retry.base, retry.cap) {
        faults.unless(base <= cap, "retry.base", "must not be more than retry.cap");
    }
    faults.span("retry.reauth_wait", retry.reauth_wait, Duration::ZERO, 365 * DAY);
    for (name, kind) in &config.kinds {
        let key = |last: &str| format!("kinds.{name}.{last}");
        if let Some(timeout) = kind.timeout {
            faults.span(&key("timeout"), timeout, Duration::from_millis(10), DAY);
        }
        if let Some(attempts) = kind.max_attempts {
            faults.number(&key("max_attempts"), attempts, 1, 100);
        }
        if let Some(after) = kind.expires_after {
            let least = kind.timeout.unwrap_or(seconds(1));
            let most = seconds(366 * 24 * 3_600);
            let message = "must be at least the kind's timeout and at most 366d";
            faults.unless((least..=most).contains(&after), &key("expires_after"), message);
        }
    }
}

fn breaker(config: &Config, faults: &mut Faults) {
    let breaker = &config.breaker;
    faults.number("breaker.calls_min", breaker.calls_min, 1, 1_000_000);
    faults.number("breaker.bad_percent", breaker.bad_percent, 1, 100);
    faults.span("breaker.slow", breaker.slow, Duration::from_millis(1), DAY);
    for (key, span) in
        [("breaker.cooldown", breaker.cooldown), ("breaker.cooldown_max", breaker.cooldown_max)]
    {
        faults.span(key, span, Duration::from_millis(100), DAY);
    }
    faults.unless(
        breaker.cooldown <= breaker.cooldown_max,
        "breaker.cooldown",
        "must not be more than breaker.cooldown_max",
    );
}

fn admission(config: &Config, faults: &mut Faults) {
    let bounds = &config.admission;
    if let Some(depth) = bounds.depth {
        let message = "must be 1 to 10000000, or 0 for no bound";
        faults.unless(depth <= 10_000_000, "admission.depth", message);
    }
    for (key, span, most) in [
        ("admission.oldest", bounds.oldest, DAY),
        ("admission.postgres_wait", bounds.postgres_wait, seconds(60)),
    ] {
        if let Some(span) = span {
            faults.span(key, span, Duration::from_millis(10), most);
        }
    }
}

fn autoscale(config: &Config, faults: &mut Faults) {
    let scale = &config.autoscale;
    faults.number("autoscale.min_workers", scale.min_workers, 0, WORKERS_MAX);
    if let Some(most) = scale.max_workers {
        faults.number("autoscale.max_workers", most, 1, WORKERS_MAX);
        faults.unless(
            scale.min_workers <= most,
            "autoscale.min_workers",
            "must not be more than autoscale.max_workers",
        );
    }
    faults.number("autoscale.utilisation_percent", scale.utilisation_percent, 10, 100);
    faults.number("autoscale.depth", scale.depth, 1, 10_000_000);
    for (key, span, least) in [
        ("autoscale.drain_within", scale.drain_within, seconds(1)),
        ("autoscale.wait", scale.wait, Duration::from_millis(10)),
        ("autoscale.cooldown", scale.cooldown, Duration::ZERO),
    ] {
        faults.span(key, span, least, DAY);
    }
    faults.span("autoscale.every", scale.every, Duration::from_millis(100), seconds(60));
}

fn advertise(config: &Config, faults: &mut Faults) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:[]".contains(c);
    for (key, text) in
        [("api.advertise", &config.api.advertise), ("worker.advertise", &config.worker.advertise)]
    {
        let fits = text.as_ref().is_none_or(|text| text.len() <= 255 && text.chars().all(plain));
        faults.unless(fits, key, "must be a host, or a host and a port, such as 10.0.0.7:9090");
    }
}

fn slots(config: &Config, faults: &mut Faults) {
    let kinds = config.kinds.iter().map(|(name, kind)| (format!("kinds.{name}"), kind.slots));
    let platforms = config.platforms.iter();
    let platforms = platforms.map(|(name, one)| (format!("platforms.{name}"), one.slots));
    for (section, slots) in kinds.chain(platforms) {
        if let Some(slots) = slots {
            faults.number(&format!("{section}.slots"), slots, 1, 10_000);
        }
    }
}

fn oauth(config: &Config, faults: &mut Faults) {
    for (name, oauth) in config.oauth() {
        for key in oauth.missing() {
            let key = format!("platforms.{name}.oauth.{key}");
            faults.unless(false, &key, "must be set, as others of its section are");
        }
    }
}

fn sync(config: &Config, faults: &mut Faults) {
    let every = config.sync.every;
    if !every.is_zero() {
        faults.span("sync.every", every, seconds(1), 30 * DAY);
    }
    faults.unless(config.sync.look_back <= 30 * DAY, "sync.look_back", "must be at most 30d");
}

fn retention(config: &Config, faults: &mut Faults) {
    let kept = &config.retention;
    for (key, span) in [
        ("retention.jobs", kept.jobs),
        ("retention.dead_letters", kept.dead_letters),
        ("retention.remote_posts", kept.remote_posts),
        ("retention.metrics", kept.metrics),
        ("retention.publications", kept.publications),
        ("retention.audit", kept.audit),
        ("retention.redrives", kept.redrives),
        ("retention.events", kept.events),
        ("retention.media", kept.media),
    ] {
        faults.unless(span <= FOR_EVER, key, "must be at most 36600d");
    }
    faults.number("retention.batch", kept.batch, 1, 1_000);
    if let Some(Err(found)) = kept.cleanup.as_deref().map(|cron| Cron::parse(cron, "UTC")) {
        let words: Vec<String> = found.into_iter().map(|fault| fault.message).collect();
        faults.unless(false, "retention.cleanup", words.join("; "));
    }
}
