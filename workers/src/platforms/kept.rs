//! What a client keeps of a preparation, in a form of its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Prepared;

/// What is kept, if it is of this form.
pub(super) fn read<T: DeserializeOwned>(prepared: &Prepared) -> Option<T> {
    T::deserialize(&prepared.0).ok()
}

/// As it is kept.
pub(super) fn write<T: Serialize>(kept: &T) -> Prepared {
    Prepared(serde_json::to_value(kept).unwrap_or_default())
}
