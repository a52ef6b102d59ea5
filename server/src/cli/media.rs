//! `postworks media …`: images that posts show.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use postworks_workers::images;
use uuid::Uuid;

use super::failure::{Exit, Failure};
use super::output::{list, say};
use super::{Context, target};
use crate::app::types::MediaView;

/// Longest file that is read: more than any API takes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// What to do with images.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MediaCommand {
    /// Upload an image: JPEG, PNG, GIF or WebP
    Add {
        /// The image
        file: PathBuf,
    },
    /// Show what an image is, or save it
    Show {
        /// The image's id
        id: Uuid,
        /// Where to save it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(super) async fn run(context: &Context, command: MediaCommand) -> Result<(), Failure> {
    match command {
        MediaCommand::Add { file } => {
            let image = read_image(&file)?;
            let added = target::choose(context).await?.add_media(image).await?;
            context.format.say(&added, |added| added.id.to_string())
        }
        MediaCommand::Show { id, out } => {
            let bytes = target::choose(context).await?.media(id).await?;
            if let Some(out) = out {
                std::fs::write(&out, &bytes).map_err(|error| unusable(&out, &error))?;
                return say(&format!("{} bytes in {}", bytes.len(), out.display()));
            }
            let measured = images::measure(&bytes);
            let measured =
                measured.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            let shown = MediaView {
                id,
                kind: measured.kind.as_str().to_owned(),
                bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                width: measured.width,
                height: measured.height,
            };
            context.format.say(&shown, summary)
        }
    }
}

/// The bytes of a file, if they are an image.
pub(super) fn read_image(file: &Path) -> Result<Vec<u8>, Failure> {
    let opened = std::fs::File::open(file).map_err(|error| unusable(file, &error))?;
    let mut bytes = Vec::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unusable(file, &error))?;
    let wrong = |words: &str| Failure::new(Exit::Usage, format!("{}: {words}", file.display()));
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(&format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    images::measure(&bytes).map_err(|error| wrong(&error.to_string()))?;
    Ok(bytes)
}

fn unusable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot use {}: {error}", file.display()))
}

fn summary(media: &MediaView) -> String {
    list(&[
        ("id", media.id.to_string()),
        ("kind", media.kind.clone()),
        ("bytes", media.bytes.to_string()),
        ("pixels", format!("{} x {}", media.width, media.height)),
    ])
}
