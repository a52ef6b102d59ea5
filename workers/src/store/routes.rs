//! Which queue a job belongs to: its kind's, for the platform of the account it is about.

use std::collections::HashMap;

use postworks::job::{
    ConnectorSync, FieldError, Job, Kind, NewJob, PostPublication, Queue, TokenRefresh,
};
use postworks::on_db;
use serde::Deserialize;
use uuid::Uuid;

use super::{Error, Store};

/// Where a job goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The queue.
    pub queue: Queue,
    /// The account whose jobs wait together, if the job is about one.
    pub account: Option<Uuid>,
}

/// The row that a job's arguments name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Publication(Uuid),
    Connector(Uuid),
}

impl Store {
    /// Where a job of `kind` with these arguments goes.
    ///
    /// # Errors
    /// [`Error::Fields`] if the arguments name a row that is not there.
    pub async fn route(&self, kind: &Kind, args: &str) -> Result<Route, Error> {
        let mut routes = self.routes(&[(kind, args)]).await?;
        routes.pop().unwrap_or_else(|| Ok(plain(kind))).map_err(|fault| Error::Fields(vec![fault]))
    }

    /// Puts prepared jobs into their platforms' queues and fills in their accounts; answers the
    /// jobs that name missing rows, with their places in `jobs`, and leaves those as they are.
    pub async fn route_jobs(&self, jobs: &mut [NewJob]) -> Result<Vec<(usize, FieldError)>, Error> {
        let named: Vec<_> = jobs.iter().map(|job| (&job.kind, job.args.as_str())).collect();
        let routes = self.routes(&named).await?;
        let mut faults = Vec::new();
        for (n, (job, route)) in jobs.iter_mut().zip(routes).enumerate() {
            match route {
                Ok(route) => (job.queue, job.account) = (route.queue, route.account),
                Err(fault) => faults.push((n, fault)),
            }
        }
        Ok(faults)
    }

    /// The publication that a job is about, if it is about one.
    pub fn publication_of(&self, kind: &Kind, args: &str) -> Option<Uuid> {
        match about(kind, args)? {
            About::Publication(id) => Some(id),
            About::Connector(_) => None,
        }
    }

    async fn routes(
        &self,
        jobs: &[(&Kind, &str)],
    ) -> Result<Vec<Result<Route, FieldError>>, Error> {
        let about: Vec<Option<About>> = jobs.iter().map(|(kind, args)| about(kind, args)).collect();
        let ids = |pick: fn(About) -> Option<Uuid>| -> Vec<Uuid> {
            let mut ids: Vec<Uuid> = about.iter().flatten().copied().filter_map(pick).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let publications = ids(|about| match about {
            About::Publication(id) => Some(id),
            About::Connector(_) => None,
        });
        let connectors = ids(|about| match about {
            About::Connector(id) => Some(id),
            About::Publication(_) => None,
        });
        let publications = self.places(PUBLICATIONS, &publications).await?;
        let connectors = self.places(CONNECTORS, &connectors).await?;
        jobs.iter()
            .zip(about)
            .map(|((kind, _), about)| {
                let place = match about {
                    None => return Ok(Ok(plain(kind))),
                    Some(About::Publication(id)) => publications.get(&id),
                    Some(About::Connector(id)) => connectors.get(&id),
                };
                let Some((account, platform)) = place else { return Ok(Err(missing(about))) };
                let queue = Queue::of_platform(kind, platform)
                    .map_err(|_| Error::Corrupt(format!("the platform {platform:?}")))?;
                Ok(Ok(Route { queue, account: Some(*account) }))
            })
            .collect()
    }

    /// The account and platform of each row that is there.
    async fn places(
        &self,
        select: &'static str,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, (Uuid, String)>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, Uuid, String)> = on_db!(&self.db, pool => {
            let mut query = sqlx::QueryBuilder::new(select);
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")").build_query_as().fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(id, account, platform)| (id, (account, platform))).collect())
    }
}

const PUBLICATIONS: &str = "SELECT p.id, c.id, c.platform FROM publications p \
     JOIN connectors c ON c.id = p.connector_id WHERE c.disconnected_at IS NULL AND p.id IN (";
const CONNECTORS: &str = "SELECT id, id, platform FROM connectors \
     WHERE disconnected_at IS NULL AND id IN (";

/// A kind that speaks to no platform has one queue.
fn plain(kind: &Kind) -> Route {
    Route { queue: Queue::of_kind(kind), account: None }
}

/// The row a job is about. Arguments that cannot be read are the engine's to refuse.
fn about(kind: &Kind, args: &str) -> Option<About> {
    #[derive(Deserialize)]
    struct Named {
        publication_id: Option<Uuid>,
        connector_id: Option<Uuid>,
    }
    let named: Named = serde_json::from_str(args).ok()?;
    match kind.as_str() {
        PostPublication::KIND => named.publication_id.map(About::Publication),
        ConnectorSync::KIND | TokenRefresh::KIND => named.connector_id.map(About::Connector),
        _ => None,
    }
}

fn missing(about: Option<About>) -> FieldError {
    match about {
        Some(About::Connector(_)) => {
            FieldError::new("/args/connector_id", "no connector with this id")
        }
        _ => FieldError::new("/args/publication_id", "no publication with this id"),
    }
}
