//! The list of handlers: which kind is run by what, from which queues.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;

use super::JobContext;
use crate::job::{
    Catalog, CatalogError, ErrorClass, Job, JobError, Kind, KindSpec, Queue, QueuePattern,
};

/// Does the work of one kind.
///
/// A handler never retries, sleeps, acknowledges or logs its failures: it returns an error of the
/// right class, and the engine does the rest.
#[async_trait]
pub trait Handler<J: Job>: Send + Sync + 'static {
    /// Runs one attempt.
    async fn handle(&self, job: J, cx: &JobContext) -> Result<(), JobError>;

    /// The class of an attempt that its timeout cut off in the middle.
    ///
    /// By default an effect may have happened and must not be repeated blindly, and everything
    /// else may run again.
    fn interrupted(&self, _queue: &Queue) -> ErrorClass {
        if J::EFFECT { ErrorClass::Unknown { repeatable: false } } else { ErrorClass::Transient }
    }

    /// Whether it also gets jobs whose time is over (`cx.expires_at`), to end them itself: it has
    /// records of its own about them. By default such a job dies without being run.
    fn ends_expired(&self) -> bool {
        false
    }
}

/// The handlers of a program, by kind and queue.
#[derive(Clone, Default)]
pub struct Registry {
    catalog: Catalog,
    routes: HashMap<Kind, Route>,
    queues: BTreeMap<Queue, ()>,
}

/// A kind's handler behind its type.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) spec: Arc<KindSpec>,
    pub(super) handler: Arc<dyn Dispatch>,
}

/// A handler that decodes its own arguments.
#[async_trait]
pub(super) trait Dispatch: Send + Sync {
    async fn dispatch(&self, args: &str, cx: &JobContext) -> Result<(), JobError>;
    fn interrupted(&self, queue: &Queue) -> ErrorClass;
    fn ends_expired(&self) -> bool;
}

struct Typed<J, H> {
    handler: H,
    job: PhantomData<fn(J)>,
}

#[async_trait]
impl<J: Job, H: Handler<J>> Dispatch for Typed<J, H> {
    async fn dispatch(&self, args: &str, cx: &JobContext) -> Result<(), JobError> {
        let job: J = crate::job::decode_args(args).map_err(|fault| {
            JobError::new(ErrorClass::Bug, format!("cannot decode the arguments: {fault}"))
        })?;
        self.handler.handle(job, cx).await
    }

    fn interrupted(&self, queue: &Queue) -> ErrorClass {
        self.handler.interrupted(queue)
    }

    fn ends_expired(&self) -> bool {
        self.handler.ends_expired()
    }
}

impl Registry {
    /// Adds the handler of a kind, and the queues its jobs wait in.
    ///
    /// # Errors
    /// The kind or one of its aliases is taken.
    pub fn add<J: Job>(
        &mut self,
        handler: impl Handler<J>,
        queues: impl IntoIterator<Item = Queue>,
    ) -> Result<(), CatalogError> {
        self.catalog.add::<J>()?;
        let spec = Arc::new(KindSpec::of::<J>()?);
        let handler: Arc<dyn Dispatch> = Arc::new(Typed { handler, job: PhantomData });
        let mut names = vec![spec.kind.clone()];
        for alias in spec.aliases {
            names.push(Kind::parse(alias)?);
        }
        for name in names {
            self.routes
                .insert(name, Route { spec: Arc::clone(&spec), handler: Arc::clone(&handler) });
        }
        self.queues.extend(queues.into_iter().map(|queue| (queue, ())));
        Ok(())
    }

    /// Changes the kinds' constants, as the configuration does.
    pub fn configure(&mut self, change: impl FnOnce(&mut Catalog)) {
        change(&mut self.catalog);
        for (kind, route) in &mut self.routes {
            if let Some(spec) = self.catalog.get(kind.as_str()) {
                route.spec = Arc::new(spec.clone());
            }
        }
    }

    /// The kinds, for producers.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Every queue that has a handler, in name order.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.keys()
    }

    /// The queues that one of the patterns chooses, in name order.
    pub fn chosen(&self, patterns: &[QueuePattern]) -> Vec<Queue> {
        self.queues()
            .filter(|queue| patterns.iter().any(|pattern| pattern.matches(queue)))
            .cloned()
            .collect()
    }

    /// Every kind that is known here, also under its older names, with its version.
    pub(super) fn versions(&self) -> Vec<(Kind, u16)> {
        self.routes.iter().map(|(kind, route)| (kind.clone(), route.spec.version)).collect()
    }

    pub(super) fn route(&self, kind: &Kind) -> Option<&Route> {
        self.routes.get(kind)
    }
}
