//! The routes that move what is to be published.

use serde_json::json;

use crate::api::describe::CONFLICT;
use crate::api::describe::Tag::Publishing;
use crate::api::moving;
use crate::api::route::{Route, patch, post};
use crate::app::types::{MovePost, MovePublication, MovedPost, Publication};
use crate::auth::Need::Produce;

pub(super) fn chapter() -> Vec<Route> {
    let lifted = json!({ "not_after": null, "reason": "late is better than never" });
    let tomorrow = json!({ "at": "2030-03-02T09:00:00Z", "not_after": "2030-03-02T10:00:00Z",
        "late": "skip" });
    vec![
        patch(Produce, "/api/publications/{id}", moving::publication)
            .says(Publishing, "movePublication", "Moves a publication to another time")
            .more(
                "Or changes its window alone. Once it is answered, the publication is not sent at \
                 its old time. What is left out stays as it is.",
            )
            .body::<MovePublication>(lifted)
            .ok::<Publication>()
            .refuses(CONFLICT, "It is being sent, or it or its job has ended."),
        post(Produce, "/api/posts/{id}/move", moving::post)
            .says(Publishing, "movePost", "Moves a post's publications to another time")
            .more("All that have not begun; of the others it says why they were not moved.")
            .body::<MovePost>(tomorrow)
            .ok::<MovedPost>()
            .refuses(CONFLICT, "There are more than are moved together."),
    ]
}
