//! What keeps queues' jobs from running.

use postworks::job::{Queue, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;

/// Who holds a queue back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Holder")]
pub struct HolderView {
    /// Since when.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// Who: `cli:user@host`, `user:email`, `apikey:id`, or `api` for whoever need not say.
    pub by: String,
    /// The person's own words.
    pub why: Option<String>,
}

/// A queue's gate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Gate")]
pub struct GateView {
    /// The queue, which is also its breaker's name.
    #[schemars(with = "words::Queue")]
    pub name: Queue,
    /// Who paused the queue, if it is paused.
    pub paused: Option<HolderView>,
    /// The breaker: closed, half open or open. Null while the broker cannot be asked.
    #[schemars(with = "Option<words::BreakerState>")]
    pub state: Option<String>,
    /// Who opened the breaker by hand, if somebody did.
    pub forced_by: Option<HolderView>,
    /// Until when nothing is claimed: the breaker's cooldown, or a window of the platform.
    #[schemars(with = "Option<words::Time>")]
    pub until: Option<Timestamp>,
    /// Calls of the whole fleet that decide about the breaker: of the last ten seconds, or, once it
    /// opened, all since.
    pub calls: Option<u32>,
    /// Those of them that failed or were slow.
    pub bad: Option<u32>,
    /// Whether workers know what people want. If not, they will once the broker is back.
    pub applied: bool,
}

/// Why a job does not run, or what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Waiting")]
pub struct WhyView {
    /// One word.
    pub reason: String,
    /// One sentence.
    pub detail: String,
    /// When it will run, as far as anybody can tell.
    #[schemars(with = "Option<words::Time>")]
    pub eta: Option<Timestamp>,
}
