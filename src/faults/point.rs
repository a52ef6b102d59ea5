//! The moments at which the fault suite kills or freezes a process.

/// Declares the points: each with its name in the environment and what has just happened there.
macro_rules! points {
    ($($point:ident, $name:literal, $about:literal;)*) => {
        /// A moment in the life of a job.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $about] $point,)*
        }

        impl Point {
            /// Every point, in the order in which a job comes by.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$point),*];

            /// Its name in `POSTWORKS_FAILPOINTS`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }

            /// What has just happened when a process passes it.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$point => $about,)* }
            }
        }
    };
}

points! {
    ClaimAnswered, "claim.answered",
        "The broker has leased jobs to this worker, which knows nothing of them: the answer is lost.";
    ClaimHeld, "claim.held",
        "The worker holds the jobs it claimed, and has asked the ledger nothing yet.";
    StampDone, "stamp.done",
        "The ledger has written the claim's token over those of earlier claims.";
    PoisonRun, "poison.run",
        "A handler has begun to publish a text that begins with `poison`.";
    IntentBefore, "intent.before",
        "The handler runs, and nothing says yet that a request is about to leave.";
    IntentCommitted, "intent.committed",
        "The publication is marked `sending`; the request has not left.";
    PublishAnswered, "publish.answered",
        "The platform has the post; nobody has read its answer.";
    OutcomeBefore, "outcome.before",
        "The answer is read; that the post is out is not recorded.";
    VerdictRecorded, "verdict.recorded",
        "The ledger knows how the job ended; the broker still holds its lease.";
    RetryRecorded, "retry.recorded",
        "The ledger knows when the job runs again; the broker still holds its lease.";
    SettleAnswered, "settle.answered",
        "The broker has ended the lease; the answer is lost.";
    RenewAnswered, "renew.answered",
        "The leases were renewed; the answer is lost.";
    DrainBegun, "drain.begun",
        "The worker was told to stop and claims nothing more; its jobs still run.";
    EnqueueCommitted, "enqueue.committed",
        "Jobs were committed; the caller has no answer and the broker no push.";
}
