//! What a post holds, in its row and, once frozen, in a publication's: the text in a column of its own,
//! the rest as JSON, which a post of nothing but text has none of.

use postworks::job::FieldError;
use postworks::on_db;
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Error, Store};
use crate::platforms::Link;

/// What a post holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The text; it may be empty if there is an image.
    pub text: String,
    /// What stands over it, on platforms that have titles.
    pub title: Option<String>,
    /// A page that it points to.
    pub link: Option<Link>,
    /// Images, in their order.
    pub images: Vec<PostImage>,
}

/// An image of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostImage {
    /// The image.
    pub media_id: Uuid,
    /// What it shows, for those who do not see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alt: String,
}

/// A change of what a post holds; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    /// Another text.
    pub text: Option<String>,
    /// Another title, or none any more.
    pub title: Option<Option<String>>,
    /// Another link, or none any more.
    pub link: Option<Option<Link>>,
    /// Other images.
    pub images: Option<Vec<PostImage>>,
}

/// What is in the row's JSON.
#[derive(Serialize, Deserialize)]
struct More {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<PostImage>,
}

impl Content {
    /// Nothing but a text.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Whether it is nothing but a text.
    pub fn is_plain(&self) -> bool {
        self.title.is_none() && self.link.is_none() && self.images.is_empty()
    }

    /// What keeps it from being a post, if anything.
    pub fn fault(&self) -> Option<FieldError> {
        if self.text.contains('\0') {
            return Some(FieldError::new("/text", "must not hold the character U+0000"));
        }
        let says_nothing = self.text.trim().is_empty() && self.images.is_empty();
        says_nothing
            .then(|| FieldError::new("/text", "must not be empty, unless there is an image"))
    }

    /// The JSON beside the text; `None` if there is nothing but the text.
    pub(super) fn more(&self) -> Result<Option<String>, Error> {
        if self.is_plain() {
            return Ok(None);
        }
        let Self { title, link, images, .. } = self.clone();
        let more = serde_json::to_string(&More { title, link, images });
        more.map(Some).map_err(|error| Error::Corrupt(format!("content that is no JSON: {error}")))
    }

    /// From its columns.
    pub(super) fn read(text: String, more: Option<&str>) -> Result<Self, Error> {
        let Some(more) = more else { return Ok(Self::of_text(text)) };
        let More { title, link, images } = serde_json::from_str(more)
            .map_err(|error| Error::Corrupt(format!("the content of a post: {error}")))?;
        Ok(Self { text, title, link, images })
    }
}

impl Revision {
    /// What the post holds after it.
    pub fn of(&self, before: &Content) -> Content {
        let Content { text, title, link, images } = before.clone();
        Content {
            text: self.text.clone().unwrap_or(text),
            title: self.title.clone().unwrap_or(title),
            link: self.link.clone().unwrap_or(link),
            images: self.images.clone().unwrap_or(images),
        }
    }
}

impl Store {
    /// What these publications that are there hold: as it is frozen, or as it would be now.
    pub async fn contents_of(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Content)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(Uuid, String, Option<String>)> = on_db!(&self.db, pool => {
            let mut query = QueryBuilder::new(
                "SELECT publications.id, COALESCE(frozen_text, posts.text), \
                 CASE WHEN frozen_text IS NULL THEN posts.content ELSE frozen_content END \
                 FROM publications JOIN posts ON posts.id = publications.post_id \
                 WHERE publications.id IN (",
            );
            let mut places = query.separated(", ");
            for id in ids {
                places.push_bind(*id);
            }
            query.push(")");
            query.build_query_as().fetch_all(pool).await
        })?;
        let contents = rows
            .into_iter()
            .map(|(id, text, more)| Ok((id, Content::read(text, more.as_deref())?)));
        contents.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_text_has_no_json_and_the_rest_comes_back_as_it_was() {
        let plain = Content::of_text("hello");
        assert_eq!(plain.more().unwrap(), None);
        assert_eq!(Content::read("hello".into(), None).unwrap(), plain);
        let url = "https://example.org/a".parse().unwrap();
        let whole = Content {
            title: Some("a title".into()),
            link: Some(Link { url, title: None, description: Some("of it".into()) }),
            images: vec![PostImage { media_id: Uuid::from_u128(7), alt: "a \"cat\"".into() }],
            ..plain
        };
        let more = whole.more().unwrap();
        assert_eq!(Content::read("hello".into(), more.as_deref()).unwrap(), whole);
        assert!(Content::read(String::new(), Some("7")).is_err());
    }

    #[test]
    fn a_revision_changes_what_it_names_and_takes_away_what_it_says() {
        let before = Content { title: Some("old".into()), ..Content::of_text("hello") };
        assert_eq!(Revision::default().of(&before), before);
        let change = Revision { title: Some(None), text: Some("hi".into()), ..Revision::default() };
        assert_eq!(change.of(&before), Content::of_text("hi"));
    }

    #[test]
    fn a_post_says_something_or_shows_something() {
        let fault = |content: &Content| content.fault().map(|fault| fault.field);
        assert_eq!(fault(&Content::of_text("x")), None);
        assert_eq!(fault(&Content::of_text(" \n")).as_deref(), Some("/text"));
        assert_eq!(fault(&Content::of_text("a\0b")).as_deref(), Some("/text"));
        let titled = Content { title: Some("t".into()), ..Content::default() };
        assert_eq!(fault(&titled).as_deref(), Some("/text"));
        let image = PostImage { media_id: Uuid::nil(), alt: String::new() };
        assert_eq!(fault(&Content { images: vec![image], ..Content::default() }), None);
    }
}
