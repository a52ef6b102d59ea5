//! Publishing: the publications and their jobs come into being together or not at all.

use std::collections::HashMap;

use postworks::job::{
    FieldError, InvalidRequest, NewJob, PostPublication, Queue, Request, Timestamp,
};
use postworks::ledger::{SqlLedger, Tx, until_sure};
use postworks::on_tx;
use uuid::Uuid;

use super::media::shown;
use super::replies::Answers;
use super::sets::waiting_for;
use super::{Content, Error, Reply, ScheduledSet, Store, Window};
use crate::platforms::{Draft, Refusal};

/// Most accounts in one request.
const CONNECTORS_MAX: usize = 100;
/// The version of the jobs of posts that are nothing but text, which programs before images send as well.
const PLAIN: u16 = 1;

/// Whether the platform of a name would take a post.
pub type Fits = dyn Fn(&str, &Draft<'_>) -> Result<(), Refusal> + Send + Sync;

/// What to publish, and where.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The post.
    pub post_id: Uuid,
    /// The accounts, each once.
    pub connector_ids: Vec<Uuid>,
    /// When; now if absent.
    pub at: Option<Timestamp>,
    /// Until when, if that matters.
    pub window: Option<Window>,
    /// What it answers; then there is one account.
    pub reply: Option<Reply>,
}

/// A publication that was scheduled.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The publication.
    pub publication_id: Uuid,
    /// Its account.
    pub connector_id: Uuid,
    /// Its job, recorded; the caller pushes it to the broker.
    pub job: NewJob,
}

impl Store {
    /// Schedules a post on some accounts: a publication and its job for each, in one transaction.
    ///
    /// `prepare` makes a job of a request, as the engine's producer does; the queue and the
    /// account are filled in here. Whether it fits the platforms is not looked at.
    pub async fn publish(
        &self,
        publish: &Publish,
        prepare: impl Fn(Request) -> Result<NewJob, InvalidRequest>,
    ) -> Result<Vec<Scheduled>, Error> {
        Ok(self.publish_set(publish, None, &|_, _| Ok(()), prepare).await?.publications)
    }

    /// The same of a post that `fits` its platforms, and whatever the publications belong to: the set,
    /// and the `callback` that waits for all of them.
    pub async fn publish_set(
        &self,
        publish: &Publish,
        callback: Option<NewJob>,
        fits: &Fits,
        prepare: impl Fn(Request) -> Result<NewJob, InvalidRequest>,
    ) -> Result<ScheduledSet, Error> {
        check(&publish.connector_ids)?;
        let wanted = wanted(&mut self.db.begin().await?, publish, fits).await?;
        let mut scheduled = Vec::with_capacity(publish.connector_ids.len());
        for (connector_id, platform) in publish.connector_ids.iter().zip(&wanted.platforms) {
            let mut row = self.schedule(publish, *connector_id, platform, &prepare)?;
            // Whoever knows only text must not send it without the rest.
            if wanted.is_plain {
                row.job.kind_version = PLAIN;
            }
            row.job.waits = wanted.answers.waits(publish.window.is_some());
            scheduled.push(row);
        }
        let jobs = scheduled.iter().map(|row| row.job.id).collect();
        let callback = callback.map(|job| waiting_for(job, jobs));
        let set = ScheduledSet { id: self.new_id(), publications: scheduled, callback };
        let recorded = until_sure(|| self.record(publish, &wanted.answers, &set)).await;
        recorded.map_err(|error| match &publish.reply {
            Some(reply) => reply.fault(error),
            None => error,
        })?;
        Ok(set)
    }

    /// Writes publications and their jobs, all or none. Repeated, it finds them there.
    async fn record(
        &self,
        publish: &Publish,
        answers: &Answers,
        set: &ScheduledSet,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        self.insert_set(&mut tx, publish.post_id, set).await?;
        for row in &set.publications {
            self.insert(&mut tx, publish, answers, set.id, row).await?;
        }
        let jobs = set.clone().into_jobs();
        SqlLedger::enqueue_in(&mut tx, &jobs).await?;
        Ok(tx.commit().await?)
    }

    fn schedule(
        &self,
        publish: &Publish,
        connector_id: Uuid,
        platform: &str,
        prepare: &impl Fn(Request) -> Result<NewJob, InvalidRequest>,
    ) -> Result<Scheduled, Error> {
        let publication_id = self.new_id();
        let mut request = Request::of(&PostPublication { publication_id })
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        request.policy.run_at = publish.at;
        // One live job a publication, also when somebody enqueues another by hand.
        request.policy.unique_key = Some(publication_id.to_string());
        let mut job = prepare(request).map_err(|InvalidRequest(faults)| {
            // To this caller the job's time is called `at`.
            let at = |fault: FieldError| match fault.field.as_str() {
                "/run_at" => FieldError::new("/at", fault.message),
                _ => fault,
            };
            Error::Fields(faults.into_iter().map(at).collect())
        })?;
        job.queue = Queue::of_platform(&job.kind, platform)
            .map_err(|_| Error::Corrupt(format!("the platform {platform:?}")))?;
        job.account = Some(connector_id);
        if let Some(window) = publish.window {
            if window.not_after <= job.run_at {
                return Err(Error::field("/not_after", "must be later than at, and than now"));
            }
            let life = job.expires_at.since(job.run_at);
            job.expires_at = Window::expires_at(publish.window, job.run_at, life);
        }
        Ok(Scheduled { publication_id, connector_id, job })
    }

    async fn insert(
        &self,
        tx: &mut Tx,
        publish: &Publish,
        answers: &Answers,
        set_id: Uuid,
        row: &Scheduled,
    ) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO publications \
             (id, post_id, connector_id, job_id, created_at, scheduled_at, set_id, not_after, late, \
                 reply_to, in_reply_to) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
        Ok(on_tx!(tx, conn => sqlx::query(SQL)
            .bind(row.publication_id)
            .bind(publish.post_id)
            .bind(row.connector_id)
            .bind(row.job.id.as_uuid())
            .bind(self.now().as_millis())
            .bind(row.job.run_at.as_millis())
            .bind(set_id)
            .bind(publish.window.map(|window| window.not_after.as_millis()))
            .bind(publish.window.map(|window| window.late.as_str()))
            .bind(&answers.remote_id)
            .bind(answers.publication)
            .execute(conn)
            .await
            .map(drop))?)
    }
}

fn check(connector_ids: &[Uuid]) -> Result<(), Error> {
    if !(1..=CONNECTORS_MAX).contains(&connector_ids.len()) {
        let words = format!("must name 1 to {CONNECTORS_MAX} accounts");
        return Err(Error::field("/connector_ids", words));
    }
    let mut first = HashMap::new();
    for (n, id) in connector_ids.iter().enumerate() {
        if let Some(before) = first.insert(id, n) {
            let words = format!("is the same account as /connector_ids/{before}");
            return Err(Error::field(format!("/connector_ids/{n}"), words));
        }
    }
    Ok(())
}

/// What is to be published, looked up.
struct Wanted {
    /// The platform of each account, in order.
    platforms: Vec<String>,
    /// Whether any program that ever published can send it.
    is_plain: bool,
    answers: Answers,
}

/// Looks up what is to be published; every id that is none is named, and every account whose platform
/// would not take the post.
async fn wanted(tx: &mut Tx, publish: &Publish, fits: &Fits) -> Result<Wanted, Error> {
    const POST: &str = "SELECT text, content FROM posts WHERE id = $1";
    const CONNECTOR: &str =
        "SELECT platform FROM connectors WHERE id = $1 AND disconnected_at IS NULL";
    let mut faults = Vec::new();
    let post: Option<(String, Option<String>)> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(POST).bind(publish.post_id).fetch_optional(conn).await
    })?;
    if post.is_none() {
        faults.push(FieldError::new("/post_id", "no post with this id"));
    }
    let mut platforms = Vec::with_capacity(publish.connector_ids.len());
    for (n, id) in publish.connector_ids.iter().enumerate() {
        let platform: Option<String> = on_tx!(&mut *tx, conn => {
            sqlx::query_scalar(CONNECTOR).bind(id).fetch_optional(conn).await
        })?;
        match platform {
            Some(platform) => platforms.push(platform),
            None => faults
                .push(FieldError::new(format!("/connector_ids/{n}"), "no connector with this id")),
        }
    }
    let Some((text, more)) = post.filter(|_| faults.is_empty()) else {
        return Err(Error::Fields(faults));
    };
    let content = Content::read(text, more.as_deref())?;
    let answers = Answers::find(tx, publish.reply.as_ref(), &publish.connector_ids).await?;
    let shown = shown(tx, &content.images).await?;
    let draft = shown.draft(&content, publish.reply.is_some());
    let refusal = |(n, platform): (usize, &String)| {
        let refusal = fits(platform, &draft).err()?;
        Some(fault(n, publish.reply.as_ref(), refusal))
    };
    faults.extend(platforms.iter().enumerate().filter_map(refusal));
    if !faults.is_empty() {
        return Err(Error::Fields(faults));
    }
    let is_plain = content.is_plain() && publish.reply.is_none();
    Ok(Wanted { platforms, is_plain, answers })
}

/// What a platform would not take, said of the request that names post and account.
fn fault(n: usize, reply: Option<&Reply>, Refusal { field, words }: Refusal) -> FieldError {
    match reply.filter(|_| field == "/reply_to") {
        Some(reply) => FieldError::new(reply.field(), words),
        None => {
            FieldError::new(format!("/connector_ids/{n}"), format!("{words} (the post's {field})"))
        }
    }
}
