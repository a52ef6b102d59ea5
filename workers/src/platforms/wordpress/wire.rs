//! What is sent to WordPress and comes back: its REST API, `wp/v2`.
//! <https://developer.wordpress.org/rest-api/reference/>

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The fields of [`User`]: `_fields` has the blog leave out all else.
pub(super) const USER: &str = "id,name,description,capabilities";
/// The fields of [`Post`].
pub(super) const POST: &str = "id,status,link";
/// The fields of [`Media`].
pub(super) const MEDIA: &str = "id,source_url,alt_text";
/// The fields of [`Listed`].
pub(super) const LISTED: &str = "id,date,date_gmt,title,content";

/// Whose password it is, as only they see it (`context=edit`).
#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    /// What they may do on the blog: `true` by their names. Plugins add values of their own.
    #[serde(default)]
    pub(super) capabilities: HashMap<String, Value>,
}

/// A post, as far as publishing goes.
#[derive(Deserialize)]
pub(super) struct Post {
    pub(super) id: u64,
    pub(super) status: String,
    /// Where people see it.
    #[serde(default)]
    pub(super) link: String,
}

/// An image that the blog has.
#[derive(Deserialize)]
pub(super) struct Media {
    pub(super) id: u64,
    pub(super) source_url: String,
    #[serde(default)]
    pub(super) alt_text: String,
}

/// A post in a list, as its writer sees it.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) id: u64,
    /// When it was published, by the blog's own clock.
    pub(super) date: String,
    /// The same in UTC, without saying so.
    pub(super) date_gmt: String,
    pub(super) title: Written,
    pub(super) content: Written,
}

/// HTML as it was written, before the blog makes a page of it.
#[derive(Deserialize)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) raw: String,
}

/// A post that nobody sees yet.
#[derive(Serialize)]
pub(super) struct Draft<'a> {
    pub(super) status: &'static str,
    pub(super) slug: &'a str,
    pub(super) title: String,
    pub(super) content: String,
    /// The image that stands for the post, in lists and over it; 0 for none.
    pub(super) featured_media: u64,
}

/// What makes a draft a post.
#[derive(Serialize)]
pub(super) struct Publish {
    pub(super) status: &'static str,
    /// Empty: the blog makes one of the title, as it does of posts that are written in it.
    pub(super) slug: &'static str,
}

/// What an image shows.
#[derive(Serialize)]
pub(super) struct Described<'a> {
    pub(super) alt_text: &'a str,
}
