//! Publishing in two phases, as Instagram and Threads do: a container is made and worked on, which
//! nobody sees, and one request publishes it. A container says whether it was published, so that a
//! lost answer costs no doubt. How long one is good for: [`super::kept`].

use std::time::Duration;

use postworks::job::{ErrorClass, JobError};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::kept::{Kept, State};
use super::{Created, Graph, Listed};
use crate::platforms::answer::printable;
use crate::platforms::call::Step;
use crate::platforms::look_back::{Listing, Shown};
use crate::platforms::{
    Bearer, Committed, Outgoing, Preparation, Prepared, Published, Reconciled, Sought,
};

/// How long a container is left alone before it is asked for again. Meta advises once a minute, and
/// half a minute before the first time; images are mostly ready at once.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How a platform words what all of them do.
pub(in crate::platforms) struct Dialect {
    /// Where containers are made; posts are listed there, too.
    pub(in crate::platforms) make: &'static str,
    /// Where one is published.
    pub(in crate::platforms) publish: &'static str,
    /// The field of a container that says how far it is, and the one that says what went wrong.
    pub(in crate::platforms) status: [&'static str; 2],
    /// The text's name.
    pub(in crate::platforms) text: &'static str,
    /// What a container of a text alone, and one of an image, calls itself, if it has to.
    pub(in crate::platforms) kinds: [Option<&'static str>; 2],
    /// Where answers to posts are listed, if not with the others.
    pub(in crate::platforms) replies: Option<&'static str>,
}

/// Speaks for one account in one dialect.
pub(in crate::platforms) struct Word<'a> {
    pub(in crate::platforms) graph: &'a Graph,
    pub(in crate::platforms) dialect: &'static Dialect,
    pub(in crate::platforms) by: Bearer<'a>,
}

#[derive(Deserialize)]
struct Permalink {
    permalink: Option<String>,
}

impl Word<'_> {
    /// One thing is made a run, and kept before the next: a worker that ends loses one.
    pub(in crate::platforms) async fn prepare(
        &self,
        post: &Outgoing,
        so_far: &Prepared,
    ) -> Result<Preparation, JobError> {
        let now = self.graph.now();
        let mut kept = so_far.read()?.unwrap_or_else(|| Kept::nothing(now));
        let mut state = self.state(&kept, post).await?;
        if kept.is_lost(&state, now) {
            (kept, state) = (Kept::nothing(now), State::Unmade);
        }
        let until = match state {
            State::Unmade => {
                self.make_next(&mut kept, post).await?;
                now
            }
            State::Works | State::Expired | State::Gone => now.after(ASKED_AGAIN_AFTER),
            State::Ready | State::Published => {
                kept.ready = true;
                kept.published = matches!(state, State::Published);
                return Ok(Preparation::Ready(Prepared::of(&kept)?));
            }
            State::Failed { why, passes } => {
                let class = if passes { ErrorClass::Transient } else { ErrorClass::Invalid };
                let hidden = addresses(post);
                let why = printable(&why, &hidden.iter().collect::<Vec<_>>());
                return Err(self.error(class, &why));
            }
        };
        Ok(Preparation::Waits { so_far: Prepared::of(&kept)?, until })
    }

    /// Publishes the container. One that says it is published is never named again: what Meta makes
    /// of that nobody knows.
    pub(in crate::platforms) async fn commit(
        &self,
        prepared: &Prepared,
    ) -> Result<Committed, JobError> {
        let Some(Kept { container: Some(container), published, .. }) = prepared.read()? else {
            return Err(self.error(ErrorClass::Bug, "there is no container"));
        };
        if published {
            return Ok(Committed::AlreadyThere { remote_id: None });
        }
        let call = self.by.call(self.graph.api, Step::Publish);
        let fields = [("creation_id", container.as_str())];
        let path = self.path(self.dialect.publish);
        let answer = self.graph.post(call, self.by, &path, &fields).await?;
        let Created { id } = answer.value(call)?;
        Ok(Committed::Published(Published { remote_id: id, remote_url: None }))
    }

    /// Whether the container was published, and as what.
    pub(in crate::platforms) async fn reconcile<T: Listed>(
        &self,
        post: &Outgoing,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let kept = prepared.read::<Kept>()?.filter(|kept| kept.container.is_some());
        let Some(kept) = kept else { return Ok(Reconciled::Absent) };
        match self.state(&kept, post).await? {
            State::Published => {}
            State::Unmade | State::Ready | State::Expired | State::Failed { .. } => {
                return Ok(Reconciled::Absent);
            }
            State::Works => return Ok(Reconciled::Unsure("it is still being published".into())),
            State::Gone => return Ok(Reconciled::Unsure("its container is gone".into())),
        }
        let list = match (self.dialect.replies, &post.reply_to) {
            (Some(replies), Some(_)) => replies,
            _ => self.dialect.make,
        };
        let path = self.path(list);
        let (posts, is_whole) = self.graph.posts_since::<T>(self.by, &path, sought.from()).await?;
        let published = |remote_id| Published { remote_id, remote_url: None };
        let shown = posts.into_iter().map(|found| Shown::of(found, published)).collect();
        let listing = Listing { shown, is_whole };
        Ok(match listing.look_for(&post.text_with_link(), None, sought, str::to_owned) {
            Reconciled::Alike(found) => Reconciled::Alike(found),
            // It is there, as the container says; which one it is nobody knows.
            _ => Reconciled::Unsure(
                "it was published, and is not found in the list of posts: find it and record its id"
                    .into(),
            ),
        })
    }

    /// Where people see a post.
    pub(in crate::platforms) async fn address(&self, id: &str) -> Result<Option<String>, JobError> {
        let fields = [("fields", "permalink")];
        let found: Option<Permalink> = self.graph.find(self.by, id, &fields).await?;
        Ok(found.and_then(|found| found.permalink))
    }

    /// Makes what is missing: the next image of several, or the container.
    async fn make_next(&self, kept: &mut Kept, post: &Outgoing) -> Result<(), JobError> {
        let [of_text, of_image] = self.dialect.kinds;
        let (several, next) = (post.images.len() > 1, post.images.get(kept.items.len()));
        let (text, children) = (post.text_with_link(), kept.items.join(","));
        let kind = match next {
            Some(_) => of_image,
            None if several => Some("CAROUSEL"),
            None => of_text,
        };
        let mut fields: Vec<_> = kind.map(|kind| ("media_type", kind)).into_iter().collect();
        if let Some(image) = next {
            let url = image.url.as_ref().ok_or_else(|| self.unreachable())?;
            fields.push(("image_url", url.as_str()));
            if !image.alt.is_empty() {
                fields.push(("alt_text", &image.alt));
            }
        } else if several {
            fields.push(("children", &children));
        }
        let is_item = several && next.is_some();
        if is_item {
            fields.push(("is_carousel_item", "true"));
        } else {
            // What belongs to the post as a whole.
            if !text.is_empty() {
                fields.push((self.dialect.text, &text));
            }
            fields.extend(post.reply_to.as_deref().map(|id| ("reply_to_id", id)));
        }
        let made = self.make(post, &fields).await?;
        kept.made_at = self.graph.now();
        if is_item {
            kept.items.push(made);
        } else {
            kept.container = Some(made);
        }
        Ok(())
    }

    async fn make(&self, post: &Outgoing, fields: &[(&str, &str)]) -> Result<String, JobError> {
        let hidden = addresses(post);
        let secrets: Vec<&SecretString> = std::iter::once(self.by.access).chain(&hidden).collect();
        let call = self.by.account.call(self.graph.api, Step::Upload, &secrets);
        let path = self.path(self.dialect.make);
        let answer = self.graph.post(call, self.by, &path, fields).await?;
        answer.value(call).map(|created: Created| created.id)
    }

    /// How far the container is; before there is one, how far all that it is made of are.
    async fn state(&self, kept: &Kept, post: &Outgoing) -> Result<State, JobError> {
        if kept.published {
            return Ok(State::Published);
        }
        if let Some(container) = &kept.container {
            return self.state_of(container).await;
        }
        if kept.items.len() == post.images.len() {
            for item in &kept.items {
                match self.state_of(item).await? {
                    // An item is published with its carousel, and as good for it then.
                    State::Ready | State::Published => {}
                    other => return Ok(other),
                }
            }
        }
        Ok(State::Unmade)
    }

    async fn state_of(&self, id: &str) -> Result<State, JobError> {
        let [status, why] = self.dialect.status;
        let fields = [status, why].join(",");
        let found: Option<Value> = self.graph.find(self.by, id, &[("fields", &fields)]).await?;
        let Some(found) = found else { return Ok(State::Gone) };
        let text = |field: &str| found[field].as_str();
        Ok(State::read(text(status).unwrap_or_default(), text(why)))
    }

    /// The path of one of the account's edges.
    pub(in crate::platforms) fn path(&self, edge: &str) -> String {
        format!("{}/{edge}", self.by.account.remote_id.as_deref().unwrap_or("me"))
    }

    fn unreachable(&self) -> JobError {
        let name = self.graph.api.descriptor.name;
        let words = format!(
            "{name} fetches images itself, and this instance has no addresses for them: \
             api.public_url is not set, or no key is there to sign them with"
        );
        self.error(ErrorClass::Invalid, &words)
    }

    fn error(&self, class: ErrorClass, words: &str) -> JobError {
        self.by.call(self.graph.api, Step::Upload).error(class, words)
    }
}

/// The addresses of a post's images. Whoever has one sees the image: errors do not show them.
fn addresses(post: &Outgoing) -> Vec<SecretString> {
    let urls = post.images.iter().filter_map(|image| image.url.as_ref());
    urls.map(|url| url.as_str().into()).collect()
}
