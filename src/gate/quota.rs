//! The quotas that an operator set, and which of them a job's calls count for.

use std::collections::HashMap;

use uuid::Uuid;

use crate::broker::{Call, Scope};
use crate::job::{Flow, Queue};

/// The quotas of each queue that has any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas(HashMap<Queue, QueueQuotas>);

/// What the jobs of one queue count for. All queues of a platform have the same `app` and `account`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueQuotas {
    /// The quota of all calls to the platform.
    pub app: Option<Flow>,
    /// That of each account.
    pub account: Option<Flow>,
    /// That of the queue's own calls.
    pub endpoint: Option<Flow>,
}

impl Quotas {
    /// These quotas; queues without any are left out.
    pub fn new(queues: impl IntoIterator<Item = (Queue, QueueQuotas)>) -> Self {
        let some = |quotas: &QueueQuotas| *quotas != QueueQuotas::default();
        Self(queues.into_iter().filter(|(_, quotas)| some(quotas)).collect())
    }

    /// Whether a queue's jobs count for any.
    pub fn limit(&self, queue: &Queue) -> bool {
        self.0.contains_key(queue)
    }

    /// A job's call as the broker is asked for it. A job that has a head start is urgent.
    pub fn call(&self, queue: &Queue, account: Option<Uuid>, priority_s: u32) -> Call {
        let of = self.0.get(queue).copied().unwrap_or_default();
        let app = queue.platform().map(|platform| Scope::App(platform.to_owned()));
        let scopes = [
            app.zip(of.app),
            account.map(Scope::Account).zip(of.account),
            Some(Scope::Endpoint(queue.clone())).zip(of.endpoint),
        ];
        Call { account, quotas: scopes.into_iter().flatten().collect(), urgent: priority_s > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_for_what_its_queue_and_account_have() {
        let flow = |ordinary| Some(Flow { apart_us: 1, ordinary, urgent: 9 });
        let queue = Queue::parse("post_publication.bluesky").unwrap();
        let all = QueueQuotas { app: flow(1), account: flow(2), endpoint: flow(3) };
        let other = Queue::parse("data_cleanup").unwrap();
        let quotas = Quotas::new([(queue.clone(), all), (other.clone(), QueueQuotas::default())]);
        assert!(quotas.limit(&queue) && !quotas.limit(&other));
        let ann = Uuid::from_u128(1);
        let scopes = |call: Call| call.quotas.into_iter().map(|(scope, _)| scope);
        let of_ann: Vec<_> = scopes(quotas.call(&queue, Some(ann), 0)).collect();
        let app = Scope::App("bluesky".to_owned());
        let endpoint = Scope::Endpoint(queue.clone());
        assert_eq!(of_ann, [app.clone(), Scope::Account(ann), endpoint.clone()]);
        assert_eq!(scopes(quotas.call(&queue, None, 0)).collect::<Vec<_>>(), [app, endpoint]);
        assert_eq!(scopes(quotas.call(&other, Some(ann), 0)).count(), 0);
        assert!(quotas.call(&queue, None, 1).urgent && !quotas.call(&queue, None, 0).urgent);
    }
}
