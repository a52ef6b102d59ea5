//! The configuration's promises.

use secrecy::SecretString;

use super::*;
use crate::gate::quota::{QueueQuotas, Quotas};
use crate::job::{KindSpec, Quota};

fn faults(sources: &Sources) -> Vec<String> {
    Config::load(sources).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn env(vars: &[(&str, &str)]) -> Sources {
    Sources::default().env(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

#[test]
fn the_defaults_load_alone_and_change_no_kind() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:7000");
    assert_eq!(config.api.body_limit, ByteSize(65_536));
    assert_eq!(config.worker.metrics_listen, None);
    let plain = Catalog::builtin().unwrap();
    let mut configured = plain.clone();
    config.apply(&mut configured);
    let constants =
        |spec: &KindSpec| (spec.timeout, spec.retry, spec.expires_after, spec.durability);
    for (plain, configured) in plain.iter().zip(configured.iter()) {
        let policy = &config.kinds[plain.kind.as_str()];
        assert!(policy.timeout.is_some() && policy.max_attempts.is_some(), "{}", plain.kind);
        assert!(policy.expires_after.is_some() && policy.durability.is_some(), "{}", plain.kind);
        assert_eq!(constants(plain), constants(configured), "{}", plain.kind);
    }
}

#[test]
fn every_default_has_a_comment() {
    let keys = DEFAULTS.lines().skip_while(|line| !line.starts_with('['));
    let mut before = "";
    let mut section = "";
    for line in keys {
        if line.starts_with('[') {
            section = line;
        }
        let named = section.starts_with("[kinds.") || section.starts_with("[platforms.");
        if line.contains(" = ") && !line.starts_with('#') && !named {
            assert!(before.starts_with("# "), "{line:?} in {section}");
        }
        before = line;
    }
}

#[test]
fn later_layers_win() {
    let sources = env(&[
        ("POSTWORKS__WORKER__CONCURRENCY", "7"),
        ("POSTWORKS__WORKER__QUEUES", "post_publication.*, data_cleanup"),
        ("POSTWORKS__PLATFORMS__BLUESKY__ENABLED", "false"),
        ("OTHER__WORKER__CONCURRENCY", "9"),
    ])
    .file("my.toml", "[worker]\nconcurrency = 5\ngrace = \"1m\"\n[lease]\nduration = \"20s\"\n")
    .flag("worker.grace", Some("3s"))
    .flag("api.listen", None::<String>);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.worker.concurrency, 7);
    assert_eq!(config.worker.grace, Duration::from_secs(3));
    assert_eq!(config.lease.duration, Duration::from_secs(20));
    assert_eq!(config.worker.queues.len(), 2);
    assert!(!config.platform_enabled("bluesky"));
    let printed = config.print();
    assert!(printed.contains("concurrency = 7  # POSTWORKS__WORKER__CONCURRENCY\n"), "{printed}");
    assert!(printed.contains("grace = \"3s\"  # --grace\n"), "{printed}");
    assert!(printed.contains("duration = \"20s\"  # my.toml:5\n"), "{printed}");
    assert!(Config::load(&Sources::default().file("printed", printed)).is_ok());
}

#[test]
fn all_faults_are_reported_at_once_with_their_places() {
    let sources = env(&[("POSTWORKS__WORKER__CONCURENCY", "7"), ("POSTWORKS__LEASE__RENEW", "4s")])
        .file(
            "my.toml",
            "[api]\nlisten = \"everywhere\"\nbody_limit = 12\n\n[ledger]\npool_size = 0\n\
             [kinds.post_publicaton]\ntimeout = \"1s\"\n[admission]\ndeep = 1\n\
             [broker]\nwindow = 99\n",
        )
        .flag("worker.grace", Some("soon"));
    let faults = faults(&sources);
    let all = faults.join("\n");
    for expected in [
        "worker.concurency (POSTWORKS__WORKER__CONCURENCY): unknown key; did you mean concurrency?",
        "lease.renew (POSTWORKS__LEASE__RENEW): must be less than a third of lease.duration",
        "api.listen (my.toml:2): \"everywhere\" is no address",
        "api.body_limit (my.toml:3): invalid type: integer `12`",
        "ledger.pool_size (my.toml:6): must be 1 to 1000",
        "broker.window (my.toml:12): must be 100 to 1000000",
        "kinds.post_publicaton (my.toml:7): unknown key; did you mean post_publication?",
        "admission.deep (my.toml:10): unknown key; did you mean depth?",
        "worker.grace (--grace): \"soon\" is no duration",
    ] {
        assert!(all.contains(expected), "{expected}\nis missing in\n{all}");
    }
    assert_eq!(faults.len(), 9, "{all}");
}

#[test]
fn a_bound_of_admission_is_a_figure_or_switched_off() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.admission.depth, Some(10_000));
    let off = env(&[
        ("POSTWORKS__ADMISSION__DEPTH", "0"),
        ("POSTWORKS__ADMISSION__OLDEST", ""),
        ("POSTWORKS__ADMISSION__POSTGRES_WAIT", ""),
    ]);
    let off = Config::load(&off).unwrap().admission;
    assert_eq!(
        (off.depth, off.oldest, off.redis_memory, off.postgres_wait),
        (None, None, None, None)
    );
    let text = "[admission]\ndepth = \"\"\nredis_memory = \"90%\"\n";
    let some = Config::load(&Sources::default().file("my.toml", text)).unwrap().admission;
    assert_eq!((some.depth, some.redis_memory), (None, Some(90)));
    let all = faults(&env(&[
        ("POSTWORKS__ADMISSION__DEPTH", "10000001"),
        ("POSTWORKS__ADMISSION__OLDEST", "1ms"),
        ("POSTWORKS__ADMISSION__REDIS_MEMORY", "101%"),
        ("POSTWORKS__API__REQUESTS_MAX", "0"),
    ]))
    .join("\n");
    for expected in [
        "admission.depth (POSTWORKS__ADMISSION__DEPTH): must be 1 to 10000000, or 0 for no bound",
        "admission.oldest (POSTWORKS__ADMISSION__OLDEST): must be 10ms to 1day",
        "admission.redis_memory (POSTWORKS__ADMISSION__REDIS_MEMORY): \"101%\" is no part",
        "api.requests_max (POSTWORKS__API__REQUESTS_MAX): must be 1 to 100000",
    ] {
        assert!(all.contains(expected), "{expected}\nis missing in\n{all}");
    }
}

#[test]
fn a_section_is_no_value_and_a_value_no_section() {
    let all = faults(
        &env(&[("POSTWORKS__WORKER", "1"), ("POSTWORKS__WORKER__GRACE__X", "1")])
            .file("my.toml", "api = 5\n[lease.renew]\nx = 1\n"),
    )
    .join("\n");
    assert!(all.contains("worker (POSTWORKS__WORKER): is a section"), "{all}");
    assert!(all.contains("worker.grace.x (POSTWORKS__WORKER__GRACE__X): is a value"), "{all}");
    assert!(all.contains("api (my.toml:1): is a section"), "{all}");
    assert!(all.contains("lease.renew (my.toml:2): invalid type: map"), "{all}");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let all = faults(&Sources::default().file("my.toml", "[api]\nlisten = \n"));
    assert!(all[0].starts_with("my.toml:2: is no TOML"), "{all:?}");
}

#[test]
fn a_kind_of_the_program_may_be_set_too() {
    let text = "[kinds.send_digest]\ntimeout = \"5s\"\n";
    assert_eq!(faults(&Sources::default().file("my.toml", text)).len(), 1);
    let sources = Sources::default().file("my.toml", text).kinds(["send_digest".to_owned()]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.kinds["send_digest"].timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.kinds["send_digest"].max_attempts, None);
}

#[test]
fn of_a_kinds_and_a_platforms_slots_the_smaller_holds() {
    let queue = |name| Queue::parse(name).unwrap();
    let [both, kind, neither] =
        ["post_publication.bluesky", "post_publication.sandbox", "data_cleanup"].map(queue);
    let queues = [both.clone(), kind.clone(), neither];
    assert_eq!(Config::load(&Sources::default()).unwrap().slots(&queues), HashMap::new());
    let sources = env(&[("POSTWORKS__PLATFORMS__BLUESKY__SLOTS", "4")])
        .file("my.toml", "[kinds.post_publication]\nslots = 9\n");
    let slots = Config::load(&sources).unwrap().slots(&queues);
    assert_eq!(slots, HashMap::from([(both, 4), (kind, 9)]));
}

#[test]
fn slots_that_make_no_sense_are_refused_with_a_hint() {
    for (text, expected) in [
        ("[kinds.data_cleanup]\nslots = 0\n", "kinds.data_cleanup.slots (my.toml:2): must be 1 to"),
        ("[platforms.bluesky]\nslots = \"few\"\n", "\"few\" is no whole number"),
        ("[platforms.bluesky]\nslot = 3\n", "unknown key; did you mean slots?"),
        ("[platforms.bluesky]\nslots = -3\n", "-3 is no whole number"),
    ] {
        let all = faults(&Sources::default().file("my.toml", text));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains(expected), "{all:?}");
    }
}

#[test]
fn a_value_may_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("size");
    std::fs::write(&path, " 3\n").unwrap();
    let path = path.display().to_string();
    let config = Config::load(&env(&[("POSTWORKS__LEDGER__POOL_SIZE_FILE", &path)])).unwrap();
    assert_eq!(config.ledger.pool_size, 3);
    let missing = faults(&env(&[("POSTWORKS__LEDGER__POOL_SIZE_FILE", "/none")]));
    assert!(missing[0].contains("cannot be read"), "{missing:?}");
}

fn environment(vars: &[(&str, &str)]) -> Result<Environment, ConfigErrors> {
    Environment::read(|name| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn an_empty_environment_is_an_embedded_one() {
    let environment = environment(&[("DATABASE_URL", ""), ("REDIS_URL", " ")]).unwrap();
    assert!(environment.stores.is_none());
    assert_eq!(environment.data_dir.display().to_string(), "./.postworks");
    assert!(environment.auth.is_none() && !environment.allow_loopback && environment.rate_limit);
    let told = environment.stores_for("api").unwrap_err().to_string();
    assert!(told.contains("postworks up"), "{told}");
}

#[test]
fn one_store_without_the_other_is_refused_with_what_to_do() {
    for (name, url) in
        [("DATABASE_URL", "postgres://u:hush@h/d"), ("REDIS_URL", "redis://:hush@h:6379")]
    {
        let told = environment(&[(name, url)]).unwrap_err().to_string();
        assert!(told.contains("set both") && told.contains("or neither"), "{told}");
        assert!(told.contains(name) && !told.contains("hush"), "{told}");
    }
    let both = [("DATABASE_URL", "postgres://u:p@h/d"), ("REDIS_URL", "redis://h:6379")];
    assert!(environment(&both).unwrap().stores.is_some());
    let wrong = [("DATABASE_URL", "mysql://u:hush@h/d"), ("REDIS_URL", "redis://h")];
    let told = environment(&wrong).unwrap_err().to_string();
    assert!(told.contains("postgres://") && !told.contains("hush"), "{told}");
}

#[test]
fn a_wrong_address_of_redis_is_answered_with_the_right_form() {
    for (address, words) in [
        ("localhost:6379", "REDIS_URL: must be an address that starts with redis://"),
        ("sentinel://:hush@a,b/main", "did you mean redis+sentinel://"),
        ("redis+sentinel://:hush@a,b", "names no master"),
        ("rediss://:hush@h", "asks for TLS"),
        ("rediss+cluster://:hush@h", "asks for TLS"),
        ("redis+cluster://:hush@a,b/1", "a Cluster has database 0 only"),
        ("redis+cluster://:hush@", "names no host"),
    ] {
        let both = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", address)];
        let told = environment(&both).unwrap_err().to_string();
        assert!(told.contains(words) && !told.contains("hush"), "{address}: {told}");
    }
    for address in ["redis+sentinel://a,b:1/main", "redis+cluster://a,b:1", "valkey+cluster://a"] {
        let both = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", address)];
        assert!(environment(&both).unwrap().stores.is_some());
    }
}

#[test]
fn a_bad_key_is_named_without_its_bytes() {
    let keys = format!("{KEY},k2:hush!,k3:AAAA,{KEY}");
    let told = environment(&[("POSTWORKS_KEYS", &keys)]).unwrap_err();
    assert_eq!(told.0.len(), 3, "{told}");
    let told = told.to_string();
    assert!(told.contains("key 2 (\"k2\") is no base64"), "{told}");
    assert!(told.contains("key 3 (\"k3\") has 3 bytes"), "{told}");
    assert!(told.contains("key 4 (\"k1\") is there twice"), "{told}");
    assert!(!told.contains("hush") && !told.contains("AAEC"), "{told}");
    let good = environment(&[("POSTWORKS_KEYS", KEY)]).unwrap();
    assert_eq!((good.keys[0].id.as_str(), good.keys[0].bytes[31]), ("k1", 31));
    assert!(!format!("{good:?}").contains("31"), "{good:?}");
}

#[test]
fn switches_are_on_or_off() {
    let limits = |vars: &[(&str, &str)]| environment(vars).unwrap().rate_limit;
    assert!(!limits(&[("DISABLE_RATE_LIMITING", "true")]));
    assert!(!limits(&[("POSTWORKS_RATE_LIMIT", "off")]));
    assert!(environment(&[("POSTWORKS_AUTH", "perhaps")]).is_err());
    assert!(environment(&[("POSTWORKS_ALLOW_LOOPBACK", "1")]).unwrap().allow_loopback);
}

#[test]
fn callers_must_prove_who_they_are_unless_everything_is_embedded_or_somebody_says_otherwise() {
    let stores = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
    for (vars, setting, auth) in [
        (&[][..], "", false),
        (&stores, "", true),
        (&stores, "off", false),
        (&[], "on", true),
        (&[stores[0], stores[1], ("POSTWORKS_AUTH", "off")], "on", false),
        (&[("POSTWORKS_AUTH", "on")], "off", true),
    ] {
        let sources = Sources::default().file("my.toml", format!("[api]\nauth = {setting:?}\n"));
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.auth(&environment(vars).unwrap()), auth, "{vars:?} {setting:?}");
    }
    let all = faults(&Sources::default().file("my.toml", "[api]\nauth = \"perhaps\"\n"));
    assert!(all[0].contains("api.auth (my.toml:2): \"perhaps\" is neither"), "{all:?}");
}

#[test]
fn a_password_is_never_shown() {
    let shown = |text: &str| without_password(&SecretString::from(text));
    assert_eq!(shown("postgres://u:hush@h/d"), "postgres://u:***@h/d");
    assert_eq!(shown("redis://h:6379"), "redis://h:6379");
    assert_eq!(shown("postgres://h/d?user=u&password=hush"), "postgres://h/d?***");
    assert_eq!(shown("hush"), "***");
    let sentinels = "redis+sentinel://u:hush@a,b:7/main?sentinel_password=hush";
    assert_eq!(shown(sentinels), "redis+sentinel://u:***@a:26379,b:7/main/0");
    assert_eq!(shown("redis+sentinel://:hush@a,b/m?pass=hush"), "***");
    assert_eq!(shown("redis+cluster://u:hush@a,b:7"), "redis+cluster://u:***@a:6379,b:7");
    assert_eq!(shown("redis+cluster://:hush@a,b/m"), "***");
}

#[test]
fn a_platforms_quotas_are_those_of_its_queues() {
    let queues = ["post_publication.sandbox", "connector_sync.sandbox", "data_cleanup"]
        .map(|name| Queue::parse(name).unwrap());
    assert_eq!(Config::load(&Sources::default()).unwrap().quotas(&queues), Quotas::default());
    let sources = env(&[("POSTWORKS__PLATFORMS__SANDBOX__QUOTAS__APP", "100/1m")]).file(
        "my.toml",
        "[platforms.sandbox.quotas]\naccount = \"20/1m\"\nurgent_reserve = \"0%\"\n\
         endpoints.post_publication = \"1/1s\"\n",
    );
    let config = Config::load(&sources).unwrap();
    let flow = |text: &str| Some(text.parse::<Quota>().unwrap().flow(0));
    let sync = QueueQuotas { app: flow("100/1m"), account: flow("20/1m"), endpoint: None };
    let post = QueueQuotas { endpoint: flow("1/1s"), ..sync };
    let [posts, syncs, cleanup] = queues;
    let expected = Quotas::new([(posts.clone(), post), (syncs.clone(), sync)]);
    assert_eq!(config.quotas(&[posts, syncs, cleanup]), expected);
    assert!(Config::load(&Sources::default().file("printed", config.print())).is_ok());
}

#[test]
fn quotas_that_make_no_sense_are_refused_with_a_hint() {
    for (line, expected) in [
        (
            "app = \"many\"",
            "sandbox.quotas.app (my.toml:2): \"many\" is no quota such as \"300/5m\"",
        ),
        ("app = 300", "sandbox.quotas.app (my.toml:2): invalid type: integer `300`"),
        ("account = \"0/5m\"", "must be of 1 to 1000000 calls"),
        ("urgent_reserve = \"51%\"", "\"51%\" is no part such as \"10%\", from 0% to 50%"),
        ("urgent_reserve = \"10\"", "is no part such as"),
        ("acount = \"\"", "unknown key; did you mean account?"),
        (
            "endpoints.post_publication = \"1\"",
            "endpoints.post_publication (my.toml:2): \"1\" is no",
        ),
        ("endpoints.send_digest = \"1/1s\"", "endpoints.send_digest (my.toml:2): unknown key"),
    ] {
        let text = format!("[platforms.sandbox.quotas]\n{line}\n");
        let all = faults(&Sources::default().file("my.toml", text));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains(expected), "{all:?}");
    }
    let text = "[platforms.sandbox.quotas.endpoints]\nsend_digest = \"1/1s\"\n";
    let sources = Sources::default().file("my.toml", text).kinds(["send_digest".to_owned()]);
    let queue = Queue::parse("send_digest.sandbox").unwrap();
    assert!(Config::load(&sources).unwrap().quotas(std::slice::from_ref(&queue)).limit(&queue));
}

#[test]
fn how_workers_are_counted_is_checked_like_the_rest() {
    let scale = Config::load(&Sources::default()).unwrap().autoscale;
    assert_eq!((scale.min_workers, scale.max_workers), (1, None));
    assert_eq!((scale.depth, scale.wait), (5_000, Duration::from_secs(3)));
    let sources = env(&[
        ("POSTWORKS__AUTOSCALE__MAX_WORKERS", "4"),
        ("POSTWORKS__AUTOSCALE__MIN_WORKERS", "5"),
        ("POSTWORKS__AUTOSCALE__UTILISATION_PERCENT", "101"),
        ("POSTWORKS__AUTOSCALE__DRAIN_WITHIN", "0s"),
        ("POSTWORKS__AUTOSCALE__EVERY", "2h"),
        ("POSTWORKS__AUTOSCALE__COOL_DOWN", "1s"),
        ("POSTWORKS__WORKER__ADVERTISE", "http://host:9"),
    ]);
    let all = faults(&sources).join("\n");
    for expected in [
        "autoscale.min_workers (POSTWORKS__AUTOSCALE__MIN_WORKERS): must not be more than",
        "autoscale.utilisation_percent (POSTWORKS__AUTOSCALE__UTILISATION_PERCENT): must be 10 to 100",
        "autoscale.drain_within (POSTWORKS__AUTOSCALE__DRAIN_WITHIN): must be 1s to 1day",
        "autoscale.every (POSTWORKS__AUTOSCALE__EVERY): must be 100ms to 1m",
        "unknown key; did you mean cooldown?",
        "worker.advertise (POSTWORKS__WORKER__ADVERTISE): must be a host, or a host and a port",
    ] {
        assert!(all.contains(expected), "{expected}\nis missing in\n{all}");
    }
}
