//! Publishing in two phases, as Instagram and Threads do: a container is made and worked on, which
//! nobody sees, and one request publishes it. A container says whether it was published, so that a
//! lost answer costs no doubt.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Created, Graph, Listed};
use crate::platforms::call::Step;
use crate::platforms::look_back::{Listing, Shown};
use crate::platforms::{Account, Outgoing, Preparation, Prepared, Published, Reconciled, Sought};

/// How long a container is left alone before it is asked for again. Meta advises once a minute, and
/// half a minute before the first time; images are mostly ready at once.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// A container that is not ready by then is made anew; Meta advises to give up after 5 minutes.
const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);
/// A container that failed is made anew after this: a person may have mended what was wrong.
const FAILED_KEPT: Duration = Duration::from_secs(60 * 60);

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
    pub(in crate::platforms) account: &'a Account,
    pub(in crate::platforms) access: &'a SecretString,
}

/// What is kept between two runs: the single images of a carousel, and the container.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
    container: Option<String>,
    made_at: Timestamp,
}

enum State {
    Ready,
    Works,
    Published,
    /// It was not published within a day.
    Expired,
    /// There is no such container.
    Gone,
    Failed(String),
}

#[derive(Deserialize)]
struct Permalink {
    permalink: Option<String>,
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

impl Word<'_> {
    pub(in crate::platforms) async fn prepare(
        &self,
        post: &Outgoing,
        text: &str,
        so_far: &Prepared,
    ) -> Result<Preparation, JobError> {
        let (kept, mut state) = match so_far.read::<Kept>()? {
            Some(kept) => {
                let state = self.state(&kept).await?;
                (Some(kept), state)
            }
            None => (None, State::Gone),
        };
        let now = self.graph.now();
        let mut kept = match kept {
            Some(kept) if !state.is_lost(now.since(kept.made_at)) => kept,
            _ => {
                let kept = self.begin(post, text).await?;
                state = self.state(&kept).await?;
                kept
            }
        };
        if kept.container.is_none() && matches!(state, State::Ready) {
            let children = kept.items.join(",");
            let mut fields = vec![("media_type", "CAROUSEL"), ("children", children.as_str())];
            self.say(&mut fields, post, text);
            kept.container = Some(self.make(&fields).await?);
            state = self.state(&kept).await?;
        }
        match state {
            State::Ready | State::Published => Ok(Preparation::Ready(Prepared::of(&kept)?)),
            State::Failed(why) => Err(self.error(ErrorClass::Invalid, &why)),
            State::Works | State::Expired | State::Gone => {
                let until = now.after(ASKED_AGAIN_AFTER);
                Ok(Preparation::Waits { so_far: Prepared::of(&kept)?, until })
            }
        }
    }

    pub(in crate::platforms) async fn commit(
        &self,
        prepared: &Prepared,
    ) -> Result<Published, JobError> {
        let Some(container) = prepared.read::<Kept>()?.and_then(|kept| kept.container) else {
            return Err(self.error(ErrorClass::Bug, "there is no container"));
        };
        let fields = [("creation_id", container.as_str())];
        let path = self.path(self.dialect.publish);
        let (account, access) = (self.account, self.access);
        let answer = self.graph.post(Step::Publish, account, access, &path, &fields).await?;
        let call = self.graph.call(account, Step::Publish, std::slice::from_ref(&access));
        let Created { id } = self.graph.value(call, &answer)?;
        Ok(self.published(id).await)
    }

    /// Whether the container was published, and as what.
    pub(in crate::platforms) async fn reconcile<T: Listed>(
        &self,
        post: &Outgoing,
        text: &str,
        prepared: &Prepared,
        sought: Sought<'_>,
    ) -> Result<Reconciled, JobError> {
        let kept = prepared.read::<Kept>()?.filter(|kept| kept.container.is_some());
        let Some(kept) = kept else { return Ok(Reconciled::Absent) };
        match self.state(&kept).await? {
            State::Published => {}
            State::Ready | State::Expired | State::Failed(_) => return Ok(Reconciled::Absent),
            State::Works => return Ok(Reconciled::Unsure("it is still being published".into())),
            State::Gone => return Ok(Reconciled::Unsure("its container is gone".into())),
        }
        let list = match (self.dialect.replies, &post.reply_to) {
            (Some(replies), Some(_)) => replies,
            _ => self.dialect.make,
        };
        let path = self.path(list);
        let (posts, is_whole) =
            self.graph.posts_since::<T>(self.account, self.access, &path, sought.from()).await?;
        let published = |remote_id| Published { remote_id, remote_url: None };
        let shown = posts.into_iter().map(|found| Shown::of(found, published)).collect();
        let listing = Listing { shown, is_whole };
        Ok(match listing.look_for(text, None, sought, str::to_owned) {
            Reconciled::Absent => {
                Reconciled::Unsure("it was published, and is not in the list of posts".into())
            }
            found => found,
        })
    }

    /// Where people see a post is asked for by itself. If that fails the post is there all the same.
    async fn published(&self, id: String) -> Published {
        let asked =
            self.graph.find(self.account, self.access, &id, &[("fields", "permalink")]).await;
        let remote_url = asked.ok().flatten().and_then(|found: Permalink| found.permalink);
        Published { remote_id: id, remote_url }
    }

    /// Makes the container; or, of several images, what it will be made of.
    async fn begin(&self, post: &Outgoing, text: &str) -> Result<Kept, JobError> {
        let made_at = self.graph.now();
        let [of_text, of_image] = self.dialect.kinds;
        let mut items = Vec::new();
        let container = match post.images.as_slice() {
            [] => {
                let mut fields: Fields<'_> =
                    of_text.map(|it| ("media_type", it)).into_iter().collect();
                self.say(&mut fields, post, text);
                Some(self.make(&fields).await?)
            }
            several => {
                let single = several.len() == 1;
                for image in several {
                    let url = image.url.as_ref().ok_or_else(|| self.unreachable())?;
                    let mut fields: Fields<'_> =
                        of_image.map(|it| ("media_type", it)).into_iter().collect();
                    fields.push(("image_url", url.as_str()));
                    if !image.alt.is_empty() {
                        fields.push(("alt_text", &image.alt));
                    }
                    if single {
                        self.say(&mut fields, post, text);
                    } else {
                        fields.push(("is_carousel_item", "true"));
                    }
                    items.push(self.make(&fields).await?);
                }
                if single { items.pop() } else { None }
            }
        };
        Ok(Kept { items, container, made_at })
    }

    /// What belongs to the post as a whole.
    fn say<'a>(&self, fields: &mut Fields<'a>, post: &'a Outgoing, text: &'a str) {
        if !text.is_empty() {
            fields.push((self.dialect.text, text));
        }
        fields.extend(post.reply_to.as_deref().map(|id| ("reply_to_id", id)));
    }

    async fn make(&self, fields: &[(&str, &str)]) -> Result<String, JobError> {
        let (account, access) = (self.account, self.access);
        let path = self.path(self.dialect.make);
        let answer = self.graph.post(Step::Upload, account, access, &path, fields).await?;
        let call = self.graph.call(account, Step::Upload, std::slice::from_ref(&access));
        self.graph.value(call, &answer).map(|created: Created| created.id)
    }

    /// How far the container is; before there is one, how far all that it is made of are.
    async fn state(&self, kept: &Kept) -> Result<State, JobError> {
        if let Some(container) = &kept.container {
            return self.state_of(container).await;
        }
        for item in &kept.items {
            match self.state_of(item).await? {
                State::Ready | State::Published => {}
                other => return Ok(other),
            }
        }
        Ok(State::Ready)
    }

    async fn state_of(&self, id: &str) -> Result<State, JobError> {
        let [status, why] = self.dialect.status;
        let fields = [status, why].join(",");
        let found: Option<Value> =
            self.graph.find(self.account, self.access, id, &[("fields", &fields)]).await?;
        let Some(found) = found else { return Ok(State::Gone) };
        Ok(match found[status].as_str().unwrap_or_default() {
            "FINISHED" => State::Ready,
            "PUBLISHED" => State::Published,
            "EXPIRED" => State::Expired,
            "ERROR" => {
                let why = found[why].as_str().unwrap_or("no reason was given");
                State::Failed(format!("it could not make a post of this: {why}"))
            }
            _ => State::Works,
        })
    }

    /// The path of one of the account's edges.
    pub(in crate::platforms) fn path(&self, edge: &str) -> String {
        format!("{}/{edge}", self.account.remote_id.as_deref().unwrap_or("me"))
    }

    fn unreachable(&self) -> JobError {
        let name = self.graph.descriptor.name;
        let words = format!(
            "{name} fetches images itself, and where it finds this instance is not known: set \
             api.public_url"
        );
        self.error(ErrorClass::Invalid, &words)
    }

    fn error(&self, class: ErrorClass, words: &str) -> JobError {
        self.graph.call(self.account, Step::Upload, &[]).error(class, words)
    }
}

impl State {
    /// Whether it comes to nothing, and a new one must be made.
    fn is_lost(&self, age: Duration) -> bool {
        match self {
            Self::Ready | Self::Published => false,
            Self::Works => age > STUCK_AFTER,
            Self::Failed(_) => age > FAILED_KEPT,
            Self::Expired | Self::Gone => true,
        }
    }
}
