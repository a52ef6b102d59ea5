//! What comes over the wire from the Threads API, after its reference (Media Retrieval, Insights,
//! User), version 1.0.

use serde::Deserialize;
use serde_json::Value;

use crate::platforms::meta::{Listed, time};
use crate::platforms::{Numbers, RemotePost};

/// A post in a list of the account's posts, or of its answers.
#[derive(Deserialize)]
pub(in crate::platforms) struct Thread {
    id: String,
    text: Option<String>,
    timestamp: Option<String>,
}

impl Listed for Thread {
    const FIELDS: &'static str = "id,text,timestamp";

    fn into_post(self) -> RemotePost {
        RemotePost {
            remote_id: self.id,
            created_at: self.timestamp.as_deref().and_then(time),
            text: self.text.unwrap_or_default(),
        }
    }
}

/// The insights of one post: a list of metrics, each with one value over its whole life.
#[derive(Deserialize)]
pub(super) struct Insights {
    data: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    values: Vec<Value>,
}

impl Insights {
    pub(super) const METRICS: &'static str = "views,likes,replies,reposts";

    pub(super) fn numbers(&self) -> Numbers {
        let value = |name: &str| {
            let metric = self.data.iter().find(|metric| metric.name == name)?;
            metric.values.first()?["value"].as_u64()
        };
        Numbers {
            likes: value("likes"),
            reposts: value("reposts"),
            replies: value("replies"),
            views: value("views"),
        }
    }
}

/// What an account says of itself.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    pub(super) username: Option<String>,
    pub(super) threads_biography: Option<String>,
}
