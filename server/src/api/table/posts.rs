//! The routes of posts and of the images that they show.

use serde_json::json;

use crate::api::describe::Tag::Publishing;
use crate::api::describe::{CONFLICT, CREATED, Content, NOT_FOUND, OK, UNSUPPORTED_MEDIA_TYPE};
use crate::api::route::{Route, get, patch, post};
use crate::api::{media, posts};
use crate::app::types::{
    AddPost, Created, MediaView, Page, PageQuery, Post, RevisePost, RevisedPost,
};
use crate::auth::Need::{Produce, Read};

/// What is done with a post, once its id is known.
const OF_POST: &[&str] = &["movePost", "revisePost"];

pub(super) fn chapter() -> Vec<Route> {
    let other = json!({ "text": "hello, all of you", "reason": "a typo" });
    vec![
        get(Read, "/api/posts", posts::list)
            .says(Publishing, "listPosts", "Lists posts")
            .query::<PageQuery>()
            .ok::<Page<Post>>()
            .links("/items/0/id", OF_POST),
        post(Produce, "/api/posts", posts::add)
            .says(Publishing, "addPost", "Writes a post")
            .more(
                "A text, and what else it holds: images that were uploaded before, a link, a title. \
                 Whether a platform takes all of it is looked at when it is published there.",
            )
            .body::<AddPost>(json!({ "text": "hello" }))
            .once()
            .answers::<Created>(CREATED, "It is kept.")
            .links("/id", OF_POST),
        patch(Produce, "/api/posts/{id}", posts::revise)
            .says(Publishing, "revisePost", "Changes a post")
            .more(
                "What is left out stays as it is. Publications that have not begun send the new \
                 revision, and must fit their platforms; those that have begun keep theirs.",
            )
            .body::<RevisePost>(other)
            .ok::<RevisedPost>()
            .refuses(CONFLICT, "It has too many publications."),
        post(Produce, "/api/media", media::add)
            .says(Publishing, "addMedia", "Uploads an image")
            .more(
                "The body is the image. What it is, its bytes say; the same bytes are kept once. One \
                 that no post has goes after a while, as [retention] says.",
            )
            .raw_body(media::TYPES)
            .answers::<MediaView>(CREATED, "It is kept.")
            .links("/id", &["getMedia"])
            .refuses(UNSUPPORTED_MEDIA_TYPE, "The body is not said to be such an image."),
        get(Read, "/api/media/{id}", media::show)
            .says(Publishing, "getMedia", "Shows an image")
            .answers_with(OK, "The image.", Content::Bytes(media::TYPES)),
        get(None, "/media/{id}/{signature}", media::show_public)
            .says(Publishing, "getPublicMedia", "Shows an image to a platform")
            .more(
                "Platforms that fetch images themselves are given such an address, if \
                 `api.public_url` is set. Whoever has it sees the image.",
            )
            .answers_with(OK, "The image.", Content::Bytes(media::TYPES))
            .refuses(NOT_FOUND, "The address was not made here, or the image is gone."),
    ]
}
