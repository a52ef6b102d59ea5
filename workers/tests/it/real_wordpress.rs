//! The WordPress client against a real blog: each fact that the client leans on.

mod reading;
mod refusals;

use postworks::clock::SystemClock;
use postworks::job::{ErrorClass, JobError};
use postworks_workers::platforms::http::{HttpOptions, Timeouts};
use postworks_workers::platforms::wordpress::WordPressClient;
use postworks_workers::platforms::{
    Account, Committed, Image, ImageKind, Link, NetworkPolicy, Outgoing, Platform, Preparation,
    Prepared, Published,
};
use postworks_workers::testing::lossy_proxy::{Loss, LossyProxy};
use postworks_workers::testing::wordpress::{WordPressAccount, WordPressServer};
use secrecy::SecretString;
use uuid::Uuid;

/// A blog, somebody who writes on it, and a client.
struct World {
    server: WordPressServer,
    owner: WordPressAccount,
    account: Account,
    client: WordPressClient,
}

impl World {
    async fn start() -> Self {
        Self::on(WordPressServer::start().await).await
    }

    async fn on(server: WordPressServer) -> Self {
        let owner = server.create_account("alice").await;
        let account = account(&server, &owner);
        Self { server, owner, account, client: client() }
    }

    /// The account as it is reached through a proxy.
    async fn behind_proxy(&self) -> (LossyProxy, Account) {
        let proxy = LossyProxy::start(self.server.address()).await;
        let base_url = format!("http://{}", proxy.address()).parse().unwrap();
        (proxy, Account { base_url, ..self.account.clone() })
    }

    async fn publish(&self, post: &Outgoing) -> Result<Published, JobError> {
        self.publish_as(&self.account, post, &mut Prepared::NOTHING.clone()).await
    }

    /// What an attempt does: it goes on from what an earlier one has kept.
    async fn publish_as(
        &self,
        account: &Account,
        post: &Outgoing,
        kept: &mut Prepared,
    ) -> Result<Published, JobError> {
        publish(&self.client, account, &self.owner.password, post, kept).await
    }
}

async fn publish(
    client: &WordPressClient,
    account: &Account,
    access: &SecretString,
    post: &Outgoing,
    kept: &mut Prepared,
) -> Result<Published, JobError> {
    let ready = client.prepare(account.with(access), post, kept.clone()).await?;
    let Preparation::Ready(prepared) = ready else { panic!("a blog has it at once") };
    *kept = prepared;
    match client.commit(account.with(access), post, kept).await? {
        Committed::Published(published) => Ok(published),
        other => panic!("a blog takes every post: {other:?}"),
    }
}

fn account(server: &WordPressServer, owner: &WordPressAccount) -> Account {
    Account {
        connector_id: Uuid::now_v7(),
        base_url: server.url(),
        identifier: owner.login.clone(),
        remote_id: Some(owner.id.to_string()),
        target: None,
        signed_in_at: None,
    }
}

fn client() -> WordPressClient {
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true });
    WordPressClient::new(&options, SystemClock::shared()).unwrap()
}

fn post(text: &str) -> Outgoing {
    Outgoing::of_text(Uuid::now_v7(), text.to_owned(), "2026-03-01T09:30:00.250Z".parse().unwrap())
}

/// Everything that a post can have.
fn rich(text: &str) -> Outgoing {
    Outgoing {
        title: Some("A <b>title</b> & more".to_owned()),
        link: Some(Link {
            url: "https://example.org/?a=1&b=2".parse().unwrap(),
            title: Some("A page".to_owned()),
            description: None,
        }),
        images: vec![
            image(ImageKind::Png, PNG, "A \"dot\" & no <b>line</b>"),
            image(ImageKind::Gif, GIF, "Another [dot]"),
        ],
        ..post(text)
    }
}

fn image(kind: ImageKind, bytes: &'static [u8], alt: &str) -> Image {
    let bytes = bytes.into();
    Image { id: Uuid::now_v7(), kind, bytes, width: 1, height: 1, alt: alt.to_owned(), url: None }
}

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
    \0\0\0\rIDATx\xdacd\xf8\xcfP\x0f\0\x03\x86\x01\x80Z4}k\0\0\0\0IEND\xaeB`\x82";
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\
    \x01\0\0\x02\x01D\0;";
const WEBP: &[u8] = b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

fn class<T: std::fmt::Debug>(result: Result<T, JobError>) -> ErrorClass {
    result.unwrap_err().class()
}

const UNKNOWN: ErrorClass = ErrorClass::Unknown { repeatable: true };

#[tokio::test]
async fn a_post_sent_again_is_the_same_post() {
    let world = World::start().await;
    let post = Outgoing { title: Some("Hello, world".to_owned()), ..post("Here I am.") };
    let mut kept = Prepared::NOTHING;
    let first = world.publish_as(&world.account, &post, &mut kept).await.unwrap();
    let there = world.server.posts().await;
    let again = world.publish_as(&world.account, &post, &mut kept).await.unwrap();
    assert_eq!((&again, world.server.posts().await), (&first, there.clone()));

    let [there] = <[_; 1]>::try_from(there).unwrap();
    assert_eq!((there.status.as_str(), there.slug.as_str()), ("publish", "hello-world"));
    assert_eq!(first.remote_id, there.id.to_string());
    assert_eq!(first.remote_url.as_deref(), Some(there.link.as_str()));
    let (status, page) = world.server.look_at(&there.link).await;
    assert_eq!((status, page.as_slice()), (200, b"Hello, world".as_slice()), "people see it");
}

#[tokio::test]
async fn a_draft_is_seen_by_nobody() {
    let world = World::start().await;
    let (access, post) = (&world.owner.password, rich("Not yet"));
    world.client.prepare(world.account.with(access), &post, Prepared::NOTHING).await.unwrap();
    let [there] = <[_; 1]>::try_from(world.server.posts().await).unwrap();
    assert_eq!(there.status, "draft");
    assert_eq!(world.server.look_at(&there.link).await.0, 404);
    let page = world.client.posts(world.account.with(access), None).await.unwrap();
    assert_eq!(page.posts, []);
}

#[tokio::test]
async fn eight_at_once_make_one_post() {
    let world = World::start().await;
    let (access, post) = (&world.owner.password, post("Once"));
    let ready = world.client.prepare(world.account.with(access), &post, Prepared::NOTHING).await;
    let Preparation::Ready(prepared) = ready.unwrap() else { panic!("a blog has it at once") };
    let attempts =
        (0..8).map(|_| world.client.commit(world.account.with(access), &post, &prepared));
    for result in futures_util::future::join_all(attempts).await {
        result.unwrap();
    }
    assert_eq!(world.server.posts().await.len(), 1);
}

/// Requests that publishing makes, in order: the draft is sought, an image is sought, sent and described,
/// the next one is, the draft is written, and it is published.
const REQUESTS: [&str; 8] = [
    "GET /?rest_route=/wp/v2/posts&slug=",
    "GET /?rest_route=/wp/v2/media&slug=",
    "POST /?rest_route=/wp/v2/media&slug=",
    "POST /?rest_route=/wp/v2/media/",
    "-2&orderby",
    "-2&_fields",
    "POST /?rest_route=/wp/v2/posts&",
    "POST /?rest_route=/wp/v2/posts/",
];

#[tokio::test]
async fn a_lost_answer_to_any_request_leaves_one_post_and_each_image_once() {
    let world = World::start().await;
    let (proxy, account) = world.behind_proxy().await;
    let losses = [Loss::Answer, Loss::Request];
    for (round, loss) in losses.into_iter().enumerate() {
        for (number, lost) in REQUESTS.into_iter().enumerate() {
            let (post, mut kept) =
                (rich(&format!("Round {round}, request {number}")), Prepared::NOTHING);
            proxy.lose(loss, lost, 1);
            let broken = world.publish_as(&account, &post, &mut kept).await;
            let is_commit = number == REQUESTS.len() - 1;
            let expected = if is_commit { UNKNOWN } else { ErrorClass::Transient };
            assert_eq!(class(broken), expected, "{loss:?} of {lost}");
            let published = world.publish_as(&account, &post, &mut kept).await.unwrap();
            let newest = world.server.posts().await.remove(0);
            assert_eq!(published.remote_id, newest.id.to_string());
            assert_ne!(newest.featured, 0, "{loss:?} of {lost}");
        }
    }
    let (posts, media) = (world.server.posts().await, world.server.media().await);
    assert!(posts.iter().all(|post| post.status == "publish"), "{posts:?}");
    assert_eq!((posts.len(), media.len()), (16, 32));
    assert!(media.iter().all(|media| !media.alt.is_empty()), "{media:?}");
}

/// Kills the blog and its database, all their processes, once, at a place in WordPress's own code.
const KILL_ONCE: &str = "add_action(HOOK, function () {
    $done = WP_CONTENT_DIR . '/killed';
    if (defined('REST_REQUEST') && !file_exists($done)) { touch($done); posix_kill(0, 9); }
}, 10, 3);";

#[tokio::test]
async fn a_blog_that_is_killed_in_the_middle_has_the_post_once_and_whole() {
    // The image is there and not yet described; the draft is, and not yet its image over it; it is
    // published, and not all is done that follows from that.
    for hook in ["rest_insert_attachment", "rest_insert_post", "transition_post_status"] {
        let mut world = World::start().await;
        let plugin = KILL_ONCE.replace("HOOK", &format!("'{hook}'"));
        world.server.add_plugin("kill", &plugin);
        let (post, mut kept) = (rich("Whole"), Prepared::NOTHING);
        let broken = world.publish_as(&world.account, &post, &mut kept).await;
        broken.expect_err(hook);
        world.server.restart().await;
        let published = world.publish_as(&world.account, &post, &mut kept).await.unwrap();

        let [there] = <[_; 1]>::try_from(world.server.posts().await).unwrap();
        let media = world.server.media().await;
        assert_eq!((there.status.as_str(), media.len()), ("publish", 2), "{hook}");
        assert_eq!(published.remote_url.as_deref(), Some(there.link.as_str()), "{hook}");
        assert_eq!(there.featured, media[1].id, "{hook}");
        assert!(media.iter().all(|media| media.alt.contains("dot")), "{hook}: {media:?}");
    }
}

#[tokio::test]
async fn a_commit_that_dies_with_the_blog_is_repeated_and_changes_nothing() {
    let mut world = World::start().await;
    let (post, mut kept) = (post("Once"), Prepared::NOTHING);
    let (proxy, account) = world.behind_proxy().await;
    proxy.lose(Loss::Answer, "POST /?rest_route=/wp/v2/posts/", 1);
    assert_eq!(class(world.publish_as(&account, &post, &mut kept).await), UNKNOWN);
    world.server.kill();
    let down = world.publish_as(&world.account, &post, &mut kept).await;
    assert_eq!(class(down), ErrorClass::NotSent);
    world.server.restart().await;
    let there = world.server.posts().await;
    assert_eq!(there[0].status, "publish", "the first request was applied");
    world.publish_as(&world.account, &post, &mut kept).await.unwrap();
    assert_eq!(world.server.posts().await, there);
}

#[tokio::test]
async fn a_post_that_somebody_published_by_hand_is_not_published_again() {
    let world = World::start().await;
    let (access, post) = (&world.owner.password, post("By hand"));
    world.client.prepare(world.account.with(access), &post, Prepared::NOTHING).await.unwrap();
    let draft = world.server.posts().await.remove(0);
    world.server.edit(draft.id, &serde_json::json!({ "status": "publish" })).await;
    let published = world.publish(&post).await.unwrap();
    assert_eq!(published.remote_id, draft.id.to_string());
    assert_eq!(world.server.posts().await.len(), 1);
}

#[tokio::test]
async fn images_are_kept_with_their_words_and_the_first_stands_for_the_post() {
    let world = World::start().await;
    let rich = rich("With images");
    let webp = image(ImageKind::Webp, WEBP, "");
    let images = rich.images.iter().cloned().chain([webp]).collect();
    world.publish(&Outgoing { images, ..rich }).await.unwrap();

    let there = world.server.posts().await.remove(0);
    let mut media = world.server.media().await;
    media.reverse();
    assert_eq!(there.featured, media[0].id);
    // WordPress keeps no markup there; the post itself has every character.
    let alts: Vec<&str> = media.iter().map(|media| media.alt.as_str()).collect();
    assert_eq!(alts, ["A \"dot\" & no line", "Another [dot]", ""]);
    for (media, bytes) in media.iter().zip([PNG, GIF, WEBP]) {
        assert_eq!(world.server.look_at(&media.url).await, (200, bytes.to_vec()));
        assert!(there.content.contains(&format!("src=\"{}\"", media.url)), "{}", there.content);
    }
    let alt = "alt=\"A &quot;dot&quot; &amp; no &lt;b&gt;line&lt;/b&gt;\"";
    assert!(there.content.contains(alt), "{}", there.content);
    assert!(there.content.contains("alt=\"Another &#091;dot]\""), "{}", there.content);
    assert_eq!(there.title, "A &lt;b&gt;title&lt;/b&gt; &amp; more");
}

#[tokio::test]
async fn nothing_that_a_person_writes_is_taken_for_code() {
    let world = World::start().await;
    world.server.add_plugin("code", "add_shortcode('code', fn () => 'EXECUTED');");
    let text = "A [code] & a <script>alert(1)</script>\nthe next line: \\n \u{1F600}\n\n&lt; again";
    world.publish(&post(text)).await.unwrap();
    let there = world.server.posts().await.remove(0);
    let shown = world.server.rendered(there.id).await;
    assert!(!shown.contains("EXECUTED") && !shown.contains("<script"), "{shown}");
    let page = world.client.posts(world.account.with(&world.owner.password), None).await.unwrap();
    assert_eq!(page.posts[0].text, text);
}

#[tokio::test]
async fn a_blog_below_a_path_and_one_without_worded_addresses_are_blogs_too() {
    let below = World::on(WordPressServer::start_below("/news/blog").await).await;
    let published = below.publish(&rich("Below")).await.unwrap();
    let url = published.remote_url.unwrap();
    assert_eq!(url, format!("{}/a-btitle-b-more/", below.server.url()));
    assert_eq!(below.server.look_at(&url).await.0, 200);
    let media = below.server.media().await.remove(0);
    assert_eq!(below.server.look_at(&media.url).await, (200, GIF.to_vec()));

    let plain = World::start().await;
    plain.server.add_plugin("plain", "add_filter('pre_option_permalink_structure', fn () => '');");
    let published = plain.publish(&rich("Plain")).await.unwrap();
    let url = published.remote_url.unwrap();
    assert_eq!(url, format!("{}?p={}", plain.server.url(), published.remote_id));
    assert_eq!(plain.server.look_at(&url).await.0, 200);
    plain.client.sign_in(&plain.account, &plain.owner.password).await.unwrap();
}

#[tokio::test]
async fn a_post_without_a_title_has_an_address_all_the_same() {
    let world = World::start().await;
    let published = world.publish(&post("Untitled")).await.unwrap();
    let there = world.server.posts().await.remove(0);
    assert!(!there.slug.starts_with("p-"), "{}", there.slug);
    assert_eq!(world.server.look_at(&published.remote_url.unwrap()).await.0, 200);
}

#[tokio::test]
async fn a_blog_that_does_not_answer_in_time_is_asked_again() {
    let world = World::start().await;
    let (proxy, account) = world.behind_proxy().await;
    let timeouts = Timeouts { total: std::time::Duration::from_millis(300), ..Timeouts::default() };
    let options = HttpOptions::new(NetworkPolicy { allow_loopback: true }).with_timeouts(timeouts);
    let hasty = WordPressClient::new(&options, SystemClock::shared()).unwrap();
    proxy.lose(Loss::AnswerSilently, "users/me", 1);
    let error = hasty.sign_in(&account, &world.owner.password).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
}
