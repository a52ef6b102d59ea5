//! What requests to platforms cost: how long they take, and how many connections are opened.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::BoxFuture;
use postworks::job::ErrorClass;
use postworks::telemetry::metrics::{PLATFORM_CONNECTIONS, PLATFORM_REQUEST};
use tower::util::MapFutureLayer;

use super::call::{Call, Step};

tokio::task_local! {
    /// The platform whose request is being sent.
    static PLATFORM: &'static str;
}

/// What an answer that is no failure counts as.
const OK: &str = "ok";

/// Sends a request of a platform: connections that are opened for it are counted.
pub(super) async fn sending<T>(platform: &'static str, request: impl Future<Output = T>) -> T {
    PLATFORM.scope(platform, request).await
}

/// How long an exchange took. It is told when this is dropped, since only whoever reads the answer
/// knows what it means.
pub(crate) struct Took {
    platform: &'static str,
    step: Step,
    span: Duration,
    class: Cell<&'static str>,
}

impl Took {
    /// An exchange of this request took so long; it went well unless somebody says otherwise.
    pub(crate) fn new(call: Call<'_>, span: Duration) -> Self {
        Self { platform: call.api.descriptor.name, step: call.step, span, class: Cell::new(OK) }
    }

    /// It was a failure of this class.
    pub(crate) fn failed(&self, class: ErrorClass) {
        self.class.set(class.as_str());
    }
}

impl Drop for Took {
    fn drop(&mut self) {
        let labels = [self.platform, self.step.as_str(), self.class.get()];
        PLATFORM_REQUEST.spread(&labels).record(self.span);
    }
}

/// Counts the connections that a client opens. The client asks for one from within the request that
/// needs it, but may finish opening it after that request found another.
pub(super) fn counting<F, T, E>()
-> MapFutureLayer<impl Fn(F) -> BoxFuture<'static, Result<T, E>> + Clone>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    MapFutureLayer::new(|opening: F| -> BoxFuture<'static, Result<T, E>> {
        let platform = PLATFORM.try_with(|platform| *platform).ok();
        Box::pin(async move {
            let opened = opening.await;
            if let (Some(platform), Ok(_)) = (platform, &opened) {
                PLATFORM_CONNECTIONS.count(&[platform]).increment(1);
            }
            opened
        })
    })
}
