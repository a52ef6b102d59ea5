//! What scripted platforms are like: how each keeps a repeat from publishing twice.

use std::time::Duration;

use postworks::job::SyncStream;
use postworks_workers::platforms::{Descriptor, Idempotency, KeyScope, Limits, Secret};

const fn descriptor(name: &'static str, idempotency: Idempotency, reconciles: bool) -> Descriptor {
    let secret = Secret::RefreshToken;
    let streams = &[SyncStream::Posts];
    Descriptor {
        name,
        idempotency,
        reconciles,
        secret,
        target: None,
        oauth: None,
        limits: Limits::text_only(20),
        streams,
        price: None,
        local: true,
    }
}

const FOR_EVER: Idempotency = Idempotency::ClientKey { lifetime: None, scope: KeyScope::Account };
const FOR_A_DAY: Idempotency = Idempotency::ClientKey {
    lifetime: Some(Duration::from_secs(24 * 3_600)),
    scope: KeyScope::Account,
};

pub(crate) static KEYED: Descriptor = descriptor("keyed", FOR_EVER, false);
pub(crate) static FORGETFUL: Descriptor = descriptor("forgetful", FOR_A_DAY, false);
pub(crate) static FORGETFUL_ASKED: Descriptor = descriptor("forgetful_asked", FOR_A_DAY, true);
pub(crate) static ASKED: Descriptor = descriptor("asked", Idempotency::None, true);
pub(crate) static BLIND: Descriptor = descriptor("blind", Idempotency::None, false);
pub(crate) static SESSIONS: Descriptor = Descriptor {
    secret: Secret::Password,
    ..descriptor("sessions", Idempotency::DeterministicId, false)
};

/// Knows a key of the sign-in that sent it, for a day, and can be asked.
pub(crate) static SIGNED: Descriptor = Descriptor {
    secret: Secret::Password,
    ..descriptor("signed", Idempotency::ClientKey { lifetime: None, scope: KeyScope::SignIn }, true)
};

/// Has all streams.
pub(crate) static FOLLOWED: Descriptor =
    Descriptor { streams: &SyncStream::ALL, ..descriptor("followed", FOR_EVER, false) };
