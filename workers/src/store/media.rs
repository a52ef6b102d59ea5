//! Images that posts show. The same bytes are kept once for each tenant, and no image goes while a post
//! has it, or had it in a revision that a publication may have kept.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postworks::job::{FieldError, JobError};
use postworks::ledger::{Tx, until_sure};
use postworks::{on_db, on_tx};
use sha2::{Digest as _, Sha256};
use sqlx::QueryBuilder;
use url::Url;
use uuid::Uuid;

use super::{Content, Error, PostImage, Store};
use crate::images::Measured;
use crate::platforms::{Draft, DraftImage, Image, ImageKind, Original, Originals};

/// An image, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// Its id.
    pub id: Uuid,
    /// What it is.
    pub kind: ImageKind,
    /// How many bytes it has.
    pub bytes: usize,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    width: i64,
    height: i64,
    bytes: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Facts {
    id: Uuid,
    kind: String,
    width: i64,
    height: i64,
    size: i64,
}

fn kind(name: &str) -> Result<ImageKind, Error> {
    ImageKind::parse(name).ok_or_else(|| Error::Corrupt(format!("an image of the kind {name:?}")))
}

fn side(pixels: i64) -> Result<u32, Error> {
    u32::try_from(pixels).map_err(|_| Error::Corrupt(format!("an image of {pixels} pixels")))
}

/// What is known of the images of a post, for [`Draft`]s of it.
#[derive(Debug, Default)]
pub(super) struct Shown(HashMap<Uuid, Media>);

/// Reads the [`Facts`] of images.
macro_rules! facts {
    ($images:expr, $executor:expr) => {{
        let mut query = QueryBuilder::new(
            "SELECT id, kind, width, height, CAST(length(bytes) AS bigint) AS size FROM media \
             WHERE id IN (",
        );
        let mut list = query.separated(", ");
        for image in $images {
            list.push_bind(image.media_id);
        }
        query.push(")").build_query_as().fetch_all($executor).await
    }};
}

impl Shown {
    fn of(rows: Vec<Facts>) -> Result<Self, Error> {
        let media = |row: Facts| {
            let bytes = usize::try_from(row.size).unwrap_or(usize::MAX);
            let (kind, width, height) = (kind(&row.kind)?, side(row.width)?, side(row.height)?);
            Ok((row.id, Media { id: row.id, kind, bytes, width, height }))
        };
        Ok(Self(rows.into_iter().map(media).collect::<Result<_, Error>>()?))
    }

    /// The post as platforms' limits look at it.
    pub(super) fn draft<'a>(&self, content: &'a Content, is_reply: bool) -> Draft<'a> {
        let image = |image: &'a PostImage| {
            let Media { kind, bytes, width, height, .. } = *self.0.get(&image.media_id)?;
            Some(DraftImage { kind, bytes, width, height, alt: &image.alt })
        };
        Draft {
            text: &content.text,
            link: content.link.as_ref().map(|link| link.url.as_str()),
            images: content.images.iter().filter_map(image).collect(),
            // Whoever judges it knows.
            is_public: false,
            is_reply,
        }
    }
}

impl Store {
    /// Keeps an image, which was measured. One that is there already is found by its bytes, and counts
    /// as uploaded just now.
    pub async fn add_media(&self, measured: Measured, bytes: &[u8]) -> Result<Media, Error> {
        const SQL: &str = "INSERT INTO media (id, kind, sha256, bytes, width, height, added_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (tenant_id, sha256) DO UPDATE SET added_at = excluded.added_at \
             RETURNING id";
        let Measured { kind, width, height } = measured;
        let (new, sha256) = (self.new_id(), Sha256::digest(bytes));
        let id = until_sure(|| async {
            let mut tx = self.db.begin().await?;
            let id: Uuid = on_tx!(&mut tx, conn => sqlx::query_scalar(SQL)
                .bind(new)
                .bind(kind.as_str())
                .bind(sha256.as_slice())
                .bind(bytes)
                .bind(i64::from(width))
                .bind(i64::from(height))
                .bind(self.now().as_millis())
                .fetch_one(conn)
                .await)?;
            tx.commit().await?;
            Ok::<_, Error>(id)
        })
        .await?;
        Ok(Media { id, kind, bytes: bytes.len(), width, height })
    }

    /// An image: what it is, and its bytes.
    pub async fn media(&self, id: Uuid) -> Result<Option<(Media, Bytes)>, Error> {
        const SQL: &str = "SELECT kind, width, height, bytes FROM media WHERE id = $1";
        let row: Option<Row> =
            on_db!(&self.db, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        let Some(row) = row else { return Ok(None) };
        let (kind, width, height) = (kind(&row.kind)?, side(row.width)?, side(row.height)?);
        let media = Media { id, kind, bytes: row.bytes.len(), width, height };
        Ok(Some((media, row.bytes.into())))
    }

    /// Where anybody who has the address finds an image of this instance, which is found at `public`.
    /// `None` if no key is there to sign it with.
    pub fn public_media_url(&self, public: &Url, id: Uuid) -> Option<Url> {
        let signature = self.keys.media_signature(id)?;
        let mut url = public.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["media", &id.to_string(), &signature]);
        Some(url)
    }

    /// The images of a post, in their order; with their addresses if this instance is found at
    /// `public`. Their bytes are read from `keeper` when they are wanted.
    pub(super) async fn images(
        &self,
        images: &[PostImage],
        public: Option<&Url>,
        keeper: &Arc<dyn Originals>,
    ) -> Result<Vec<Image>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Facts> = on_db!(&self.db, pool => facts!(images, pool))?;
        let found = Shown::of(rows)?;
        let image = |PostImage { media_id, alt }: &PostImage| {
            let id = *media_id;
            let media = found.0.get(&id).ok_or_else(|| gone(id))?;
            let keeper = Arc::clone(keeper);
            Ok(Image {
                id,
                kind: media.kind,
                bytes: Original::Kept { image: id, length: media.bytes, keeper },
                width: media.width,
                height: media.height,
                alt: alt.clone(),
                url: public.and_then(|public| self.public_media_url(public, id)),
            })
        };
        images.iter().map(image).collect()
    }
}

fn gone(id: Uuid) -> Error {
    Error::Corrupt(format!("a post with the image {id}, which is gone"))
}

#[async_trait]
impl Originals for Store {
    async fn original(&self, image: Uuid) -> Result<Bytes, JobError> {
        let found = self.media(image).await.and_then(|found| found.ok_or_else(|| gone(image)));
        let (_, bytes) = found.map_err(|error| error.into_job_error(self.now()))?;
        Ok(bytes)
    }
}

/// What is known of these images.
pub(super) async fn shown(tx: &mut Tx, images: &[PostImage]) -> Result<Shown, Error> {
    if images.is_empty() {
        return Ok(Shown::default());
    }
    let rows: Vec<Facts> = on_tx!(tx, conn => facts!(images, conn))?;
    Shown::of(rows)
}

/// Lets a post have these images, in its transaction; from then on none of them goes before it does.
///
/// # Errors
/// [`Error::Fields`]: there are not all of them.
pub(super) async fn attach(tx: &mut Tx, post: Uuid, images: &[PostImage]) -> Result<(), Error> {
    if images.is_empty() {
        return Ok(());
    }
    // Held, so that no cleanup takes one meanwhile, and in one order.
    let held = match tx {
        Tx::Postgres(_) => ") ORDER BY id FOR KEY SHARE",
        Tx::Sqlite(_) => ")",
    };
    let found: Vec<Uuid> = on_tx!(&mut *tx, conn => {
        let mut query = QueryBuilder::new("SELECT id FROM media WHERE id IN (");
        let mut list = query.separated(", ");
        for image in images {
            list.push_bind(image.media_id);
        }
        query.push(held).build_query_scalar().fetch_all(conn).await
    })?;
    let missing = |(at, image): (usize, &PostImage)| {
        let missing = !found.contains(&image.media_id);
        missing.then(|| FieldError::new(format!("/images/{at}/media_id"), "no media with this id"))
    };
    let faults: Vec<FieldError> = images.iter().enumerate().filter_map(missing).collect();
    if !faults.is_empty() {
        return Err(Error::Fields(faults));
    }
    Ok(on_tx!(tx, conn => {
        let mut query = QueryBuilder::new("INSERT INTO post_media (post_id, media_id) ");
        query.push_values(&found, |mut row, media| {
            row.push_bind(post).push_bind(*media);
        });
        query.push(" ON CONFLICT DO NOTHING").build().execute(conn).await.map(drop)
    })?)
}
