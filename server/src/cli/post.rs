//! `postworks post …`: what is to be published.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::failure::{Exit, Failure};
use super::media::read_image;
use super::output::list;
use super::publication::{self, PostMoveArgs};
use super::target::Target;
use super::{Context, target};
use crate::app::types::{AddPost, PostImage, PostLink, RevisePost, RevisedPost};

/// What to do with posts.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PostCommand {
    /// Write a post
    Add(PostAddArgs),
    /// Change a post: what has not begun to be sent takes it
    Edit(PostEditArgs),
    /// Move all of a post's publications that have not begun to another time
    Move(PostMoveArgs),
}

/// What a post holds.
#[derive(Debug, Clone, Args)]
pub(crate) struct ContentArgs {
    /// The title, for platforms that have one
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// A page that it points to
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    /// The page's title
    #[arg(long, value_name = "TEXT", requires = "link")]
    link_title: Option<String>,
    /// What the page is about
    #[arg(long, value_name = "TEXT", requires = "link")]
    link_description: Option<String>,
    /// An image, a file or the id of one that was uploaded, and what it shows; may be repeated
    #[arg(long = "image", value_name = "FILE|ID[:ALT]")]
    images: Vec<String>,
}

/// Arguments of `post add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PostAddArgs {
    /// The text; it may be left out if there is an image
    #[arg(long, required_unless_present = "images")]
    text: Option<String>,
    #[command(flatten)]
    content: ContentArgs,
}

/// Arguments of `post edit`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PostEditArgs {
    /// The post's id
    id: Uuid,
    /// Another text
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    content: ContentArgs,
    /// Take the title away
    #[arg(long, conflicts_with = "title")]
    no_title: bool,
    /// Take the link away
    #[arg(long, conflicts_with = "link")]
    no_link: bool,
    /// Take the images away
    #[arg(long, conflicts_with = "images")]
    no_images: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ContentArgs {
    fn link(&self) -> Option<PostLink> {
        let (title, description) = (self.link_title.clone(), self.link_description.clone());
        self.link.clone().map(|url| PostLink { url, title, description })
    }

    /// The images; files are uploaded, once all of them are known to be images.
    async fn images(&self, target: &dyn Target) -> Result<Vec<PostImage>, Failure> {
        let named: Vec<(Named, String)> =
            self.images.iter().map(|text| named(text)).collect::<Result<_, _>>()?;
        let mut images = Vec::with_capacity(named.len());
        for (named, alt) in named {
            let media_id = match named {
                Named::Media(id) => id,
                Named::File(bytes) => target.add_media(bytes).await?.id,
            };
            images.push(PostImage { media_id, alt });
        }
        Ok(images)
    }
}

/// An image as a flag names it.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Media(Uuid),
    File(Vec<u8>),
}

/// The image that a flag names, and its description: what comes after a colon. A file may have colons
/// in its name.
fn named(text: &str) -> Result<(Named, String), Failure> {
    let ends = text.match_indices(':').map(|(at, _)| at).chain([text.len()]);
    for end in ends {
        let (name, alt) = text.split_at(end);
        let alt = alt.strip_prefix(':').unwrap_or(alt).to_owned();
        if let Ok(id) = Uuid::try_parse(name) {
            return Ok((Named::Media(id), alt));
        }
        if Path::new(name).is_file() {
            return Ok((Named::File(read_image(&PathBuf::from(name))?), alt));
        }
    }
    let message = format!("--image {text}: there is no such file, and it is no id");
    Err(Failure::new(Exit::Usage, message))
}

pub(super) async fn run(context: &Context, command: PostCommand) -> Result<(), Failure> {
    match command {
        PostCommand::Add(PostAddArgs { text, content }) => {
            let target = target::choose(context).await?;
            let post = AddPost {
                text: text.unwrap_or_default(),
                title: content.title.clone(),
                link: content.link(),
                images: content.images(target.as_ref()).await?,
            };
            let created = target.add_post(&post).await?;
            context.format.say(&created, |created| created.id.to_string())
        }
        PostCommand::Edit(args) => edit(context, args).await,
        PostCommand::Move(args) => publication::move_post(context, args).await,
    }
}

async fn edit(context: &Context, args: PostEditArgs) -> Result<(), Failure> {
    let PostEditArgs { id, text, content, no_title, no_link, no_images, reason } = args;
    let target = target::choose(context).await?;
    let images = content.images(target.as_ref()).await?;
    let wanted = RevisePost {
        text,
        title: if no_title { Some(None) } else { content.title.clone().map(Some) },
        link: if no_link { Some(None) } else { content.link().map(Some) },
        images: Some(images).filter(|images| no_images || !images.is_empty()),
        reason,
    };
    context.format.say(&target.revise_post(id, &wanted).await?, revised)
}

fn revised(post: &RevisedPost) -> String {
    let mut text = list(&[
        ("id", post.id.to_string()),
        ("revision", post.revision.to_string()),
        ("publications that take it", post.takes.len().to_string()),
        ("publications that keep an earlier one", post.keeps.len().to_string()),
    ]);
    for kept in &post.keeps {
        text.push_str(&format!("\n  {} keeps {}", kept.id, kept.revision));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_a_file_or_an_id_and_says_what_is_to_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        let image = postworks_workers::testing::pictures::png(1, 1);
        let path = folder.path().join("a:b.png");
        std::fs::write(&path, &image).unwrap();
        let path = path.to_str().unwrap();
        let id = Uuid::from_u128(7);
        let file = || Named::File(image.clone());
        for (text, expected) in [
            (path.to_owned(), (file(), String::new())),
            (format!("{path}:a cat: asleep"), (file(), "a cat: asleep".to_owned())),
            (id.to_string(), (Named::Media(id), String::new())),
            (format!("{id}:a cat"), (Named::Media(id), "a cat".to_owned())),
        ] {
            assert_eq!(named(&text).unwrap(), expected, "{text}");
        }
        let text = folder.path().join("text.png");
        std::fs::write(&text, "hello").unwrap();
        for (text, words) in [
            ("nowhere.png:x".to_owned(), "no such file"),
            (text.to_str().unwrap().to_owned(), "no JPEG, PNG, GIF or WebP"),
        ] {
            let failure = named(&text).unwrap_err();
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }
}
