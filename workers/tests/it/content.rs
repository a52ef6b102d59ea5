//! What posts hold: images, links and titles, what publications keep of them, and which images go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use postworks::clock::Clock as _;
use postworks::job::{CleanupScope, DataCleanup, Job as _, JobError, PostPublication};
use postworks::ledger::{AuditEntry, AuditFilter, Db, Ledger as _};
use postworks_workers::handlers::CleanUp;
use postworks_workers::images::measure;
use postworks_workers::platforms::{
    Descriptor, ImageKind, ImageLimits, Length, Limits, Link, Originals, Refusal,
};
use postworks_workers::store::{
    Content, Error, Post, PostImage, PublicationState, Publish, Revised, Revision, Scheduled, Store,
};
use postworks_workers::testing::pictures;
use uuid::Uuid;

use crate::scripted::{KEYED, SECRET};
use crate::world::{World, on_both};

on_both! {
    the_same_bytes_are_kept_once,
    a_post_keeps_what_it_holds,
    an_image_that_is_not_there_is_named_and_nothing_is_kept,
    what_has_begun_keeps_its_revision_and_what_has_not_takes_the_new_one,
    a_revision_that_changes_nothing_is_none,
    a_revision_that_would_not_do_changes_nothing,
    freezing_and_revising_at_once_never_disagree,
    an_image_stays_as_long_as_a_post_has_or_had_it,
    what_is_sent_has_its_images_in_order_and_where_they_are_found,
    what_only_newer_programs_can_send_is_not_run_by_older_ones,
}

/// A platform that takes images and replies.
pub(crate) static SHOWING: Descriptor = Descriptor {
    name: "showing",
    limits: Limits {
        text_required: false,
        images: Some(ImageLimits {
            max: 4,
            required: false,
            kinds: &[ImageKind::Jpeg, ImageKind::Png, ImageKind::Webp],
            bytes_max: 1 << 20,
            alt: Length::chars(100),
            rules: &[],
        }),
        replies: true,
        ..Limits::text_only(20)
    },
    ..KEYED
};

const DAY_S: u64 = 24 * 3_600;

/// Counts how often images are read.
struct Counting {
    store: Store,
    reads: AtomicUsize,
}

#[async_trait]
impl Originals for Counting {
    async fn original(&self, image: Uuid) -> Result<Bytes, JobError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.original(image).await
    }
}

impl Counting {
    fn of(world: &World) -> Arc<Self> {
        Arc::new(Self { store: world.store.clone(), reads: AtomicUsize::new(0) })
    }

    fn as_keeper(self: &Arc<Self>) -> Arc<dyn Originals> {
        Arc::clone(self) as Arc<dyn Originals>
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

async fn upload(world: &World, bytes: &[u8]) -> Uuid {
    world.store.add_media(measure(bytes).unwrap(), bytes).await.unwrap().id
}

fn image(media_id: Uuid, alt: &str) -> PostImage {
    PostImage { media_id, alt: alt.to_owned() }
}

async fn newest(world: &World) -> Post {
    world.store.posts(None, 1).await.unwrap().pop().unwrap()
}

/// The post on the world's account and some others.
async fn publish(world: &World, post_id: Uuid, others: &[Uuid]) -> Vec<Scheduled> {
    let connector_ids = [&[world.account][..], others].concat();
    let publish = Publish { post_id, connector_ids, at: None, window: None, reply: None };
    world.store.publish(&publish, |request| world.prepare(request)).await.unwrap()
}

fn note(world: &World) -> AuditEntry {
    world.note("post.revise", "")
}

fn text(text: &str) -> Revision {
    Revision { text: Some(text.to_owned()), ..Revision::default() }
}

async fn revise(world: &World, post: Uuid, to: &Revision) -> Result<Revised, Error> {
    world.store.revise(post, to, &|_, _| Ok(()), &note(world)).await
}

/// The revision, those that take it, and those that keep an earlier one.
async fn revised(world: &World, post: Uuid, to: &Revision) -> (i64, Vec<Uuid>, Vec<(Uuid, i64)>) {
    match revise(world, post, to).await.unwrap() {
        Revised::Done { revision, takes, keeps } => (revision, takes, keeps),
        other => panic!("{other:?}"),
    }
}

async fn noted(world: &World) -> usize {
    let filter = AuditFilter { limit: 100, ..AuditFilter::default() };
    let entries = world.ledger().audits(&filter).await.unwrap();
    entries.iter().filter(|entry| entry.action == "post.revise").count()
}

#[track_caller]
fn fields(error: Error) -> Vec<String> {
    let Error::Fields(faults) = error else { panic!("{error}") };
    faults.into_iter().map(|fault| fault.field).collect()
}

async fn the_same_bytes_are_kept_once(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (png, jpeg) = (pictures::png(5, 4), pictures::jpeg(33, 9));
    let first = world.store.add_media(measure(&png).unwrap(), &png).await.unwrap();
    assert_eq!((first.kind, first.bytes), (ImageKind::Png, png.len()));
    assert_eq!((first.width, first.height), (5, 4));
    assert_eq!(upload(&world, &png).await, first.id);
    let other = upload(&world, &jpeg).await;
    assert_ne!(other, first.id);
    let (media, bytes) = world.store.media(other).await.unwrap().unwrap();
    assert_eq!((media.kind, media.width, media.height), (ImageKind::Jpeg, 33, 9));
    assert_eq!(bytes, jpeg);
    assert!(world.store.media(Uuid::nil()).await.unwrap().is_none());
}

async fn a_post_keeps_what_it_holds(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let plain = world.store.add_post("hello").await.unwrap();
    let post = newest(&world).await;
    assert_eq!((post.id, post.content.clone()), (plain, Content::of_text("hello")));
    assert_eq!((post.revision, post.revised_at), (1, None));
    let id = upload(&world, &pictures::gif()).await;
    let whole = Content {
        text: String::new(),
        title: Some("a title".to_owned()),
        link: Some(Link {
            url: "https://example.org/a?b=c".parse().unwrap(),
            title: Some("its title".to_owned()),
            description: None,
        }),
        images: vec![image(id, "one"), image(id, "the same again")],
    };
    world.store.add_content(&whole).await.unwrap();
    assert_eq!(newest(&world).await.content, whole);
}

async fn an_image_that_is_not_there_is_named_and_nothing_is_kept(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (there, nobody) = (upload(&world, &pictures::png(1, 1)).await, Uuid::nil());
    let images = vec![image(nobody, ""), image(there, ""), image(Uuid::max(), "")];
    let content = Content { images, ..Content::of_text("hello") };
    let refused = world.store.add_content(&content).await.unwrap_err();
    assert_eq!(fields(refused), ["/images/0/media_id", "/images/2/media_id"]);
    assert!(world.store.posts(None, 9).await.unwrap().is_empty());
    let refused = world.store.add_content(&Content::of_text(" ")).await.unwrap_err();
    assert_eq!(fields(refused), ["/text"]);
}

async fn what_has_begun_keeps_its_revision_and_what_has_not_takes_the_new_one(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let bob = world.connect("bob", SECRET).await.id;
    let png = upload(&world, &pictures::png(2, 2)).await;
    let first = Content { images: vec![image(png, "a dot")], ..Content::of_text("one") };
    let post = world.store.add_content(&first).await.unwrap();
    let made = publish(&world, post, &[bob]).await;
    let (begun, waits) = (made[0].publication_id, made[1].publication_id);
    assert_eq!(world.store.freeze(begun).await.unwrap().content, first);
    let change = Revision { images: Some(Vec::new()), ..text("two") };
    assert_eq!(revised(&world, post, &change).await, (2, vec![waits], vec![(begun, 1)]));
    let frozen = world.store.freeze(begun).await.unwrap();
    assert_eq!((&frozen.content, frozen.revision), (&first, 1));
    let sent = first;
    let frozen = world.store.freeze(waits).await.unwrap();
    assert_eq!((frozen.content, frozen.revision), (Content::of_text("two"), 2));
    assert_eq!(world.row(begun).await.revision, Some(1));
    assert_eq!(world.row(waits).await.revision, Some(2));
    let post_now = newest(&world).await;
    assert_eq!((post_now.revision, post_now.content.text.as_str()), (2, "two"));
    assert!(post_now.revised_at.is_some());
    let keeps = vec![(begun, 1), (waits, 2)];
    assert_eq!(revised(&world, post, &text("three")).await, (3, vec![], keeps));
    assert_eq!(noted(&world).await, 2);
    let later = publish(&world, post, &[]).await[0].publication_id;
    let held = world.store.contents_of(&[begun, waits, later, post]).await.unwrap();
    let of_text = |(id, text)| (id, Content::of_text(text));
    let expected = [(begun, sent), of_text((waits, "two")), of_text((later, "three"))];
    assert_eq!(held.into_iter().collect::<HashMap<_, _>>(), HashMap::from(expected));
}

async fn a_revision_that_changes_nothing_is_none(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let post = world.store.add_post("hello").await.unwrap();
    let waits = publish(&world, post, &[]).await[0].publication_id;
    for _ in 0..2 {
        assert_eq!(revised(&world, post, &text("hello, all")).await, (2, vec![waits], vec![]));
    }
    assert_eq!(noted(&world).await, 1);
    assert!(matches!(revise(&world, Uuid::nil(), &text("x")).await.unwrap(), Revised::Missing));
}

async fn a_revision_that_would_not_do_changes_nothing(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let post = world.store.add_post("hello").await.unwrap();
    let made = publish(&world, post, &[]).await;
    let unknown = Revision { images: Some(vec![image(Uuid::nil(), "")]), ..Revision::default() };
    for (change, field) in [(text(" "), "/text"), (unknown, "/images/0/media_id")] {
        assert_eq!(fields(revise(&world, post, &change).await.unwrap_err()), [field]);
    }
    let fits = |platform: &str, draft: &postworks_workers::platforms::Draft<'_>| match draft.text {
        "long" => Err(Refusal { field: "/text".into(), words: format!("{platform} takes less") }),
        _ => Ok(()),
    };
    let long = text("long");
    let refused = world.store.revise(post, &long, &fits, &note(&world)).await.unwrap_err();
    let id = made[0].publication_id;
    assert!(refused.to_string().starts_with("/text: showing takes less"), "{refused}");
    assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    let post_now = newest(&world).await;
    assert_eq!((post_now.revision, post_now.content.text.as_str()), (1, "hello"));
    assert_eq!(noted(&world).await, 0);
    // What has begun does not take it and need not fit it, nor need what nobody will send.
    world.store.freeze(id).await.unwrap();
    let cancelled = publish(&world, post, &[]).await[0].job.id;
    world.ledger().cancel(cancelled, world.clock.now(), None).await.unwrap();
    world.store.revise(post, &long, &fits, &note(&world)).await.unwrap();
}

/// Whoever is told that a publication takes a revision finds that it did, and likewise what it keeps.
async fn freezing_and_revising_at_once_never_disagree(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let mut others = Vec::new();
    for n in 0..5 {
        others.push(world.connect(&format!("bob{n}"), SECRET).await.id);
    }
    for round in 0..8 {
        let post = world.store.add_post("one").await.unwrap();
        let made = publish(&world, post, &others).await;
        let freezing = made.iter().map(|row| {
            let (store, id) = (world.store.clone(), row.publication_id);
            tokio::spawn(async move { store.freeze(id).await.unwrap().revision })
        });
        let freezing: Vec<_> = freezing.collect();
        let (revision, takes, keeps) = revised(&world, post, &text("two")).await;
        assert_eq!((revision, takes.len() + keeps.len()), (2, made.len()), "round {round}");
        for (row, frozen) in made.iter().zip(freezing) {
            let expected = if takes.contains(&row.publication_id) { 2 } else { 1 };
            assert_eq!(frozen.await.unwrap(), expected, "round {round}");
        }
    }
}

async fn clean(world: &World, scope: CleanupScope) {
    let job = DataCleanup { scope: Some(scope), dry_run: false };
    world.attempt(CleanUp(world.worker()), job).await.unwrap();
}

async fn an_image_stays_as_long_as_a_post_has_or_had_it(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let (used, other) = (pictures::png(3, 1), pictures::png(1, 3));
    let (had, unused) = (upload(&world, &used).await, upload(&world, &other).await);
    let first = Content { images: vec![image(had, "")], ..Content::of_text("one") };
    let post = world.store.add_content(&first).await.unwrap();
    let id = publish(&world, post, &[]).await[0].publication_id;
    world.store.freeze(id).await.unwrap();
    revised(&world, post, &Revision { images: Some(Vec::new()), ..Revision::default() }).await;
    let there = async || {
        let found = [had, unused].map(|id| world.store.media(id));
        let [had, unused] = found;
        (had.await.unwrap().is_some(), unused.await.unwrap().is_some())
    };
    world.advance(6 * DAY_S);
    clean(&world, CleanupScope::Media).await;
    assert_eq!(there().await, (true, true), "it is kept for a week");
    // Uploaded again, it is as good as new.
    assert_eq!(upload(&world, &other).await, unused);
    world.advance(2 * DAY_S);
    clean(&world, CleanupScope::Media).await;
    assert_eq!(there().await, (true, true));
    world.advance(6 * DAY_S);
    clean(&world, CleanupScope::Media).await;
    assert_eq!(there().await, (true, false));
    // What the publication froze is still sent.
    let frozen = world.store.freeze(id).await.unwrap();
    let keeper = Counting::of(&world).as_keeper();
    let post = world.store.outgoing(id, frozen, None, &keeper).await.unwrap();
    assert_eq!(post.images[0].bytes.read().await.unwrap(), used);
    world.publish(id).await.unwrap();
    assert_eq!(world.row(id).await.state, PublicationState::Published);
    world.advance(181 * DAY_S);
    clean(&world, CleanupScope::Media).await;
    assert_eq!(there().await, (true, false));
    clean(&world, CleanupScope::Publications).await;
    clean(&world, CleanupScope::Media).await;
    assert_eq!(there().await, (false, false));
}

async fn what_is_sent_has_its_images_in_order_and_where_they_are_found(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let all = [pictures::png(1, 1), pictures::jpeg(8, 8), pictures::webp()];
    let mut images = Vec::new();
    for (n, bytes) in all.iter().enumerate() {
        images.push(image(upload(&world, bytes).await, &format!("number {n}")));
    }
    images.reverse();
    let content = Content { images: images.clone(), ..Content::of_text("three") };
    let post = world.store.add_content(&content).await.unwrap();
    let id = publish(&world, post, &[]).await[0].publication_id;
    let frozen = world.store.freeze(id).await.unwrap();
    let public = "https://app.example/jobs/".parse().unwrap();
    let counting = Counting::of(&world);
    let keeper = counting.as_keeper();
    let sent = world.store.outgoing(id, frozen.clone(), Some(&public), &keeper).await.unwrap();
    let lengths: Vec<usize> = sent.images.iter().map(|image| image.bytes.length()).collect();
    assert_eq!(lengths, [all[2].len(), all[1].len(), all[0].len()]);
    assert_eq!(counting.reads(), 0, "a worker holds many posts, and their images are large");
    assert_eq!((sent.publication_id, sent.text.as_str()), (id, "three"));
    assert_eq!(sent.created_at, frozen.at);
    for (n, (image, asked)) in sent.images.iter().zip(&images).enumerate() {
        assert_eq!((image.id, image.alt.as_str()), (asked.media_id, asked.alt.as_str()));
        assert_eq!(image.bytes.read().await.unwrap(), all[2 - n]);
        assert_eq!(counting.reads(), n + 1);
        let url = image.url.as_ref().unwrap().as_str();
        let start = format!("https://app.example/jobs/media/{}/", image.id);
        let signature = url.strip_prefix(&start).unwrap_or_else(|| panic!("{url}"));
        assert!(world.store.keys().signs_media(image.id, signature), "{url}");
    }
    let kinds: Vec<ImageKind> = sent.images.iter().map(|image| image.kind).collect();
    assert_eq!(kinds, [ImageKind::Webp, ImageKind::Jpeg, ImageKind::Png]);
    let sent = world.store.outgoing(id, frozen, None, &keeper).await.unwrap();
    assert!(sent.images.iter().all(|image| image.url.is_none()));
}

async fn what_only_newer_programs_can_send_is_not_run_by_older_ones(db: Db) {
    let world = World::new(db, &SHOWING).await;
    let png = upload(&world, &pictures::png(1, 1)).await;
    let shown = Content { images: vec![image(png, "")], ..Content::default() };
    for (content, version) in [(Content::of_text("x"), 1), (shown, PostPublication::VERSION)] {
        let post = world.store.add_content(&content).await.unwrap();
        let job = publish(&world, post, &[]).await[0].job.id;
        let job = world.ledger().job(job).await.unwrap().unwrap().job;
        assert_eq!(job.kind_version, version, "{content:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_its_tenants_own() {
    use postworks::job::Tenant;
    use postworks::testing::postgres_server::PostgresServer;
    let server = PostgresServer::launch().await;
    let world = World::new(server.db().await, &SHOWING).await;
    let png = pictures::png(2, 1);
    let ours = upload(&world, &png).await;
    let other = world.store.for_tenant(Tenant::from_uuid(Uuid::from_u128(7)));
    assert!(other.media(ours).await.unwrap().is_none());
    let content = Content { images: vec![image(ours, "")], ..Content::of_text("mine") };
    assert_eq!(fields(other.add_content(&content).await.unwrap_err()), ["/images/0/media_id"]);
    let theirs = other.add_media(measure(&png).unwrap(), &png).await.unwrap().id;
    assert_ne!(theirs, ours, "the same bytes of another tenant");
    assert!(world.store.for_tenant(Tenant::DEFAULT).media(theirs).await.unwrap().is_none());
    let content = Content { images: vec![image(theirs, "")], ..Content::of_text("mine") };
    let post = other.add_content(&content).await.unwrap();
    let revise = world.store.for_tenant(Tenant::DEFAULT);
    let revised = revise.revise(post, &text("stolen"), &|_, _| Ok(()), &note(&world)).await;
    assert!(matches!(revised.unwrap(), Revised::Missing));
    let change = Revision { images: Some(vec![image(ours, "")]), ..Revision::default() };
    let refused = other.revise(post, &change, &|_, _| Ok(()), &note(&world)).await.unwrap_err();
    assert_eq!(fields(refused), ["/images/0/media_id"]);
    // Nor does it go by another's policy or for another's want of a post.
    world.advance(8 * DAY_S);
    clean(&world, CleanupScope::Media).await;
    assert!(world.store.media(ours).await.unwrap().is_none());
    assert!(other.media(theirs).await.unwrap().is_some());
}
