//! The routes of retention.

use serde_json::json;

use crate::api::describe::Tag::Operations;
use crate::api::retention;
use crate::api::route::{Route, delete, get, post};
use crate::app::types::{KeptView, Page, SetRetention, Why};
use crate::auth::Need::{Operate, Read};

pub(super) fn chapter() -> Vec<Route> {
    let month = json!({ "keep": "30d", "reason": "as the contract says" });
    vec![
        get(Read, "/api/retention", retention::list)
            .says(Operations, "listRetention", "Tells how long a tenant keeps what is its own")
            .ok::<Page<KeptView>>(),
        post(Operate, "/api/retention/{scope}", retention::set)
            .says(Operations, "setRetention", "Sets how long a tenant keeps something")
            .more("The next cleanup goes by it. Numbers of posts go in whole months where nobody keeps them.")
            .body::<SetRetention>(month)
            .ok::<KeptView>(),
        delete(Operate, "/api/retention/{scope}", retention::clear)
            .says(Operations, "clearRetention", "Lets the configuration say it again")
            .query::<Why>()
            .ok::<KeptView>(),
    ]
}
