//! How the engine's own types look in JSON, for documents of the API: the engine knows no schemas.
//!
//! What has a closed set of words takes them from the engine's own list.

use std::borrow::Cow;

use postworks::broker::Position;
use postworks::job::family::OnFailure as OnParentFailure;
use postworks::job::schedule::{Missed, Overlap};
use postworks::job::{self, Catalog};
use postworks::ledger;
use postworks_workers::{platforms, store};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use uuid::Uuid;

use crate::app::audit::REASON_CHARS_MAX;

/// Anything but white space, as Unicode has it, and no U+0000, which no database takes.
const NOT_BLANK: &str = concat!(
    r"^[^\u0000]*[^\u0000\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029",
    r"\u202f\u205f\u3000][^\u0000]*$"
);

/// Words that are each one of a list, under a name of their own.
macro_rules! closed {
    ($($(#[doc = $doc:literal])+ $name:ident: $all:expr;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let description = concat!($($doc, "\n"),+).trim();
                json_schema!({ "type": "string", "enum": json!($all), "description": description })
            }
        }
    )*};
}

closed! {
    /// Where a job is in its life.
    State: job::State::ALL;
    /// The heading under which a dead letter is filed.
    Category: job::Category::ALL;
    /// A kind that can be enqueued. Its name in `PascalCase` is taken too.
    KnownKind: kinds();
    /// What a `data_cleanup` cleans.
    CleanupScope: job::CleanupScope::ALL;
    /// What is a tenant's own, and kept as long as the tenant says.
    TenantScope: job::CleanupScope::OF_TENANTS;
    /// What a `connector_sync` fetches.
    SyncStream: job::SyncStream::ALL.map(job::SyncStream::as_str);
    /// Whether a redrive goes on.
    RedriveState: ledger::RedriveState::ALL;
    /// Whether an account can be worked for, a person must connect it again, or one disconnected it.
    ConnectorState: store::ConnectorState::ALL.map(store::ConnectorState::as_str);
    /// What happened to an account.
    EventKind: store::EventKind::ALL.map(store::EventKind::as_str);
    /// How far a publication is: `sending` may be out, `failed` surely is not.
    PublicationState: store::PublicationState::ALL.map(store::PublicationState::as_str);
    /// What becomes of times of a schedule that nobody was there for: nothing, one job for all of them,
    /// or a job each, for the newest 100 at most, a second apart.
    MissedPolicy: Missed::ALL.map(Missed::as_str);
    /// What becomes of a schedule's time that comes while the job of the last one is not done: nothing,
    /// or a job all the same.
    OverlapPolicy: Overlap::ALL.map(Overlap::as_str);
    /// What frees a unique key: the end of the job that holds it, or the start of a run.
    KeyHeldUntil: job::UniqueUntil::ALL.map(job::UniqueUntil::as_str);
    /// What becomes of a job of which a parent did not complete: it is dead, too, or it waits for the
    /// others all the same.
    OnFailure: OnParentFailure::ALL;
    /// How far a publication set is: `partly` if everything has ended and some is published, `failed`
    /// if nothing is known to be.
    SetState: store::SetState::ALL.map(store::SetState::as_str);
    /// What becomes of a publication that is late: it is not sent any more, or all the same.
    LatePolicy: store::Late::ALL;
    /// What an image is.
    ImageKind: platforms::ImageKind::ALL.map(platforms::ImageKind::as_str);
    /// How a breaker stands: all calls pass, some do, or none do.
    BreakerState: Position::ALL.map(Position::as_str);
}

fn kinds() -> Vec<job::Kind> {
    // A kind that cannot be registered fails every test of the registry.
    let catalog = Catalog::builtin().unwrap_or_default();
    catalog.iter().map(|spec| spec.kind.clone()).collect()
}

/// Words of a form, described where they stand.
macro_rules! formed {
    ($($(#[doc = $doc:literal])+ $name:ident: $schema:tt;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

formed! {
    /// A point in time, RFC 3339. Answers give it in UTC, with milliseconds.
    Time: { "type": "string", "format": "date-time" };
    /// A point in time, or how long ago it was.
    Moment: {
        "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "pattern": "^(0|[0-9]{1,4}(s|m|h|d|w))$" }
        ]
    };
    /// A queue's name: the kind, and the platform where the kind has one.
    Queue: {
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]{0,59}(\\.[a-z][a-z0-9_]{0,59})?$",
        "examples": ["post_publication.bluesky"]
    };
    /// A queue's name, or the start of queues' names and a `*`.
    QueuePattern: {
        "type": "string",
        "pattern": "^([a-z0-9_.]+\\*?|\\*)$",
        "maxLength": 120,
        "examples": ["post_publication.*"]
    };
    /// A kind's name. Answers may have kinds that only newer programs know.
    Kind: { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,59}$" };
    /// A schedule's name.
    ScheduleName: { "type": "string", "pattern": "^[a-z0-9_-]{1,60}$" };
    /// How long something is kept.
    KeepTime: { "type": "string", "pattern": "^([1-9][0-9]{0,3}d|(2[4-9]|[3-9][0-9]|[1-9][0-9]{2,4})h)$" };
    /// The cause of dead letters.
    Fingerprint: { "type": "string", "pattern": "^[0-9a-fA-F]{16}$" };
    /// Where a page ended.
    Cursor: { "type": "string", "pattern": "^b[0-9a-f]{32}$" };
    /// A reason that a person gives.
    Why: { "type": "string", "maxLength": REASON_CHARS_MAX, "pattern": NOT_BLANK };
    /// Text that is not empty.
    Words: { "type": "string", "pattern": NOT_BLANK };
    /// Any text that a database takes.
    Name: { "type": "string", "pattern": "^[^\\u0000]*$" };
    /// Any object.
    Object: { "type": "object" };
    /// An object, words or nothing.
    Detail: { "type": ["object", "string", "null"] };
}

/// The arguments of a job that is enqueued: which ones follows from its kind.
#[derive(Debug)]
pub(crate) enum Args {}

impl JsonSchema for Args {
    fn schema_name() -> Cow<'static, str> {
        "JobArgs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let any_of = [
            generator.subschema_for::<SyncArgs>(),
            generator.subschema_for::<ConnectorArgs>(),
            generator.subschema_for::<PublicationArgs>(),
            generator.subschema_for::<CleanupArgs>(),
        ];
        json_schema!({
            "description": "A job's arguments: which ones follows from its kind.",
            "anyOf": any_of
        })
    }
}

/// Mirrors of the engine's structs; tests hold them to the originals.
macro_rules! mirrors {
    ($($(#[$attr:meta])+ $name:ident { $($(#[$of_field:meta])+ $field:ident: $type:ty,)+ })*) => {$(
        #[derive(Debug, JsonSchema)]
        $(#[$attr])+
        #[allow(dead_code, reason = "only its schema is of use")]
        pub(crate) struct $name {
            $($(#[$of_field])+ $field: $type,)+
        }
    )*};
}

mirrors! {
    /// Of `connector_sync`.
    #[serde(deny_unknown_fields)]
    SyncArgs {
        /// The account.
        connector_id: Uuid,
        /// What to fetch, at once; if absent, all that the platform has, each if it is due.
        #[serde(default)]
        #[schemars(with = "Vec<SyncStream>")]
        streams: Vec<String>,
    }
    /// Of `token_refresh`.
    #[serde(deny_unknown_fields)]
    ConnectorArgs {
        /// The account.
        connector_id: Uuid,
    }
    /// Of `post_publication`.
    #[serde(deny_unknown_fields)]
    PublicationArgs {
        /// The publication: the post, the account and what became of it.
        publication_id: Uuid,
    }
    /// Of `data_cleanup`.
    #[serde(deny_unknown_fields)]
    CleanupArgs {
        /// What to clean; everything if absent.
        scope: Option<CleanupScope>,
        /// Only count what would go.
        #[serde(default)]
        dry_run: bool,
    }
    /// Why a run failed.
    Reason {
        /// Where it is filed.
        category: Category,
        /// The failure's class.
        class: String,
        /// Words for a person.
        message: String,
    }
    /// A time a dead job was put back.
    PutBackOnce {
        /// How often it had been put back then; 1 is the first time.
        n: u32,
        /// When.
        at: Time,
        /// By which redrive, if one in the background did it.
        redrive: Option<Uuid>,
        /// When it had died.
        died_at: Time,
        /// Of what.
        category: Category,
        /// Its cause.
        fingerprint: String,
        /// In words.
        message: String,
    }
    /// A wrong value in a request.
    FieldError {
        /// Where, as a JSON pointer such as `/args/publication_id`; empty for the whole document.
        field: String,
        /// What is wrong, and what would be right.
        message: String,
    }
    /// That a process answers.
    Liveness {
        /// `ok`.
        status: String,
    }
    /// Whether a process can work.
    Readiness {
        /// `ok` or `unavailable`.
        status: String,
        /// The names of the probes that failed.
        missing: Vec<String>,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use postworks::job::Timestamp;
    use serde::Serialize;

    use super::*;

    /// The mirror has the original's fields, no more and no fewer.
    fn held<M: JsonSchema>(original: &impl Serialize) {
        let schema = SchemaGenerator::default().into_root_schema_for::<M>();
        let mirrored: BTreeSet<&String> =
            schema.get("properties").unwrap().as_object().unwrap().keys().collect();
        let value = serde_json::to_value(original).unwrap();
        let fields: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(mirrored, fields, "{}", M::schema_name());
    }

    #[test]
    fn what_is_mirrored_has_the_fields_of_the_original() {
        let (id, at) = (Uuid::nil(), Timestamp::default());
        let streams = vec![job::SyncStream::Posts];
        held::<SyncArgs>(&job::ConnectorSync { connector_id: id, streams });
        held::<ConnectorArgs>(&job::TokenRefresh { connector_id: id });
        held::<PublicationArgs>(&job::PostPublication { publication_id: id });
        let scope = Some(job::CleanupScope::Jobs);
        held::<CleanupArgs>(&job::DataCleanup { scope, dry_run: true });
        let (category, message) = (job::Category::Bug, String::new());
        held::<Reason>(&job::Reason { category, class: message.clone(), message: message.clone() });
        held::<FieldError>(&job::FieldError::new("", ""));
        held::<PutBackOnce>(&ledger::PutBackOnce {
            n: 1,
            at,
            redrive: None,
            died_at: at,
            category,
            fingerprint: message.clone(),
            message,
        });
        held::<Readiness>(&postworks_workers::health::Readiness { status: "ok", missing: vec![] });
    }

    #[test]
    fn every_kind_and_its_arguments_are_told() {
        assert_eq!(kinds().len(), 4, "say which arguments a new kind has, in JobArgs");
    }
}
