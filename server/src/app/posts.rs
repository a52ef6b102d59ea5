//! Posts: checks what they hold, keeps them, changes them.

use postworks::job::FieldError;
use postworks_workers::platforms::{Draft, Link, Refusal};
use postworks_workers::store::{self, Content, Revised, Revision};
use url::Url;
use uuid::Uuid;

use super::accounts::{BASE_URL_BYTES_MAX, TEXT_CHARS_MAX, text};
use super::paging::Wanted;
use super::types::{
    AddPost, Created, KeptRevision, Page, PageQuery, Post, PostImage, PostLink, RevisePost,
    RevisedPost,
};
use super::{App, Error};

/// Longest title of a post or of a link, in characters.
pub(super) const TITLE_CHARS_MAX: usize = 500;
/// Longest description of a link, in characters.
pub(super) const DESCRIPTION_CHARS_MAX: usize = 2_000;
/// Longest description of an image, in characters; each platform has its own, smaller limit.
pub(super) const ALT_CHARS_MAX: usize = 10_000;
/// Most images of a post; each platform has its own, smaller limit.
pub(super) const IMAGES_MAX: usize = 20;

impl App {
    /// Keeps a post.
    pub async fn add_post(&self, post: &AddPost) -> Result<Created, Error> {
        let mut faults = Vec::new();
        let content = Content {
            text: checked_text(&mut faults, &post.text),
            title: post.title.as_deref().map(|title| checked_title(&mut faults, "/title", title)),
            link: post.link.as_ref().and_then(|link| checked_link(&mut faults, link)),
            images: checked_images(&mut faults, &post.images),
        };
        if faults.is_empty() {
            faults.extend(content.fault());
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        Ok(Created { id: self.store.add_content(&content).await? })
    }

    /// Lists posts.
    pub async fn posts(&self, query: &PageQuery) -> Result<Page<Post>, Error> {
        let wanted = Wanted::read(query.limit, query.cursor.as_deref())?;
        let found = self.store.posts(wanted.before, wanted.probe()).await?;
        Ok(wanted.page(found.into_iter().map(Post::from).collect(), |row| row.id))
    }

    /// Changes what a post holds. Publications that have not begun take it; the others keep theirs.
    ///
    /// # Errors
    /// There is no such post, or it would not do: here, or on a platform where it is to be sent.
    pub async fn revise_post(&self, id: Uuid, wanted: &RevisePost) -> Result<RevisedPost, Error> {
        let mut faults = Vec::new();
        let revision = Revision {
            text: wanted.text.as_deref().map(|text| checked_text(&mut faults, text)),
            title: wanted.title.as_ref().map(|title| {
                title.as_deref().map(|title| checked_title(&mut faults, "/title", title))
            }),
            link: wanted
                .link
                .as_ref()
                .map(|link| link.as_ref().and_then(|link| checked_link(&mut faults, link))),
            images: wanted.images.as_ref().map(|images| checked_images(&mut faults, images)),
        };
        if revision == Revision::default() {
            faults.push(FieldError::new("/text", "is missing: give text, title, link or images"));
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let note = self.note("post.revise", id.to_string(), wanted.reason.as_deref())?;
        match self.store.revise(id, &revision, &self.fits(), &note).await? {
            Revised::Missing => Err(Error::NotFound(format!("there is no post {id}"))),
            Revised::TooMany => {
                let most = store::REVISED_MAX;
                let words = format!("post {id} has more than {most} publications: write another");
                Err(Error::Conflict(words))
            }
            Revised::Done { revision, takes, keeps } => {
                let keeps = keeps.into_iter().map(|(id, revision)| KeptRevision { id, revision });
                Ok(RevisedPost { id, revision, takes, keeps: keeps.collect() })
            }
        }
    }

    /// Whether a platform would take a post. One that this program does not know takes none, which
    /// who publishes finds out.
    pub(super) fn fits(
        &self,
    ) -> impl Fn(&str, &Draft<'_>) -> Result<(), Refusal> + Send + Sync + use<> {
        let platforms = self.node.platforms.clone();
        let is_public = self.node.config.api.public_url.is_some();
        move |name, draft| match platforms.get(name) {
            Ok(platform) => {
                let draft = Draft { is_public, ..draft.clone() };
                platform.descriptor().limits.check(name, &draft)
            }
            Err(_) => Ok(()),
        }
    }
}

fn chars(faults: &mut Vec<FieldError>, field: &str, text: &str, max: usize) {
    if text.chars().count() > max {
        faults.push(FieldError::new(field, format!("must be at most {max} characters")));
    } else if text.contains('\0') {
        faults.push(FieldError::new(field, "must not hold the character U+0000"));
    }
}

/// Whether it may be empty depends on the rest.
fn checked_text(faults: &mut Vec<FieldError>, text: &str) -> String {
    chars(faults, "/text", text, TEXT_CHARS_MAX);
    text.to_owned()
}

fn checked_title(faults: &mut Vec<FieldError>, field: &str, title: &str) -> String {
    words(faults, field, title, TITLE_CHARS_MAX);
    title.to_owned()
}

/// Text that says something.
fn words(faults: &mut Vec<FieldError>, field: &str, words: &str, max: usize) {
    let before = faults.len();
    text(faults, field, words, 4 * max);
    if faults.len() == before {
        chars(faults, field, words, max);
    }
}

fn checked_link(faults: &mut Vec<FieldError>, link: &PostLink) -> Option<Link> {
    let PostLink { url, title, description } = link;
    if let Some(title) = title {
        words(faults, "/link/title", title, TITLE_CHARS_MAX);
    }
    if let Some(description) = description {
        words(faults, "/link/description", description, DESCRIPTION_CHARS_MAX);
    }
    match page(url) {
        Ok(url) => Some(Link { url, title: title.clone(), description: description.clone() }),
        Err(message) => {
            faults.push(FieldError::new("/link/url", message));
            None
        }
    }
}

/// The address of a page, which anybody will see.
fn page(text: &str) -> Result<Url, String> {
    const FORM: &str = "must be the address of a page, such as https://example.org/news";
    if text.len() > BASE_URL_BYTES_MAX {
        return Err(format!("must be at most {BASE_URL_BYTES_MAX} bytes"));
    }
    let url = Url::parse(text).map_err(|_| FORM.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(FORM.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{FORM}, with no user or password in it"));
    }
    Ok(url)
}

fn checked_images(faults: &mut Vec<FieldError>, images: &[PostImage]) -> Vec<store::PostImage> {
    if images.len() > IMAGES_MAX {
        faults.push(FieldError::new("/images", format!("must hold at most {IMAGES_MAX} images")));
        return Vec::new();
    }
    let image = |(at, PostImage { media_id, alt }): (usize, &PostImage)| {
        chars(faults, &format!("/images/{at}/alt"), alt, ALT_CHARS_MAX);
        store::PostImage { media_id: *media_id, alt: alt.clone() }
    };
    images.iter().enumerate().map(image).collect()
}

impl From<store::Post> for Post {
    fn from(row: store::Post) -> Self {
        let Content { text, title, link, images } = row.content;
        let link = link.map(|link| PostLink {
            url: link.url.into(),
            title: link.title,
            description: link.description,
        });
        let images = images
            .into_iter()
            .map(|store::PostImage { media_id, alt }| PostImage { media_id, alt });
        Self {
            id: row.id,
            text,
            title,
            link,
            images: images.collect(),
            revision: Some(row.revision).filter(|revision| *revision > 1),
            created_at: row.created_at,
            revised_at: row.revised_at,
        }
    }
}
