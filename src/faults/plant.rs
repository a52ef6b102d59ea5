//! The bugs that are put in on purpose, to test the suite that has to find them.

/// Declares the bugs: each with its name in the environment and what it breaks.
macro_rules! plants {
    ($($plant:ident, $name:literal, $about:literal;)*) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Plant {
            $(#[doc = $about] $plant,)*
        }

        impl Plant {
            /// Every bug.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$plant),*];

            /// Its name in `POSTWORKS_PLANT`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$plant => $name,)* }
            }

            /// What it breaks.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$plant => $about,)* }
            }
        }
    };
}

plants! {
    AckWithoutToken, "ack_without_token",
        "The ledger takes a verdict of anybody, whatever token a later claim has stamped.";
    EnqueueBeforeCommit, "enqueue_before_commit",
        "Jobs are pushed to the broker before they are committed.";
    BlindResend, "blind_resend",
        "A publication that may be out is sent again without a key and without looking.";
    LeaseAsEffectGuard, "lease_as_effect_guard",
        "Nothing marks a publication before it is sent: only the lease stands before the effect.";
    UnflaggedSweep, "unflagged_sweep",
        "What is handed out again is not checked in the ledger before it runs.";
    AckBeforeRun, "ack_before_run",
        "A job is settled when it is claimed, before it runs.";
    ForgetRefill, "forget_refill",
        "Nothing is pushed anew from the ledger, whatever the broker lost.";
    NoRenewal, "no_renewal",
        "No lease is renewed: a job that takes longer than one is given to somebody else.";
    BurnOnDrain, "burn_on_drain",
        "A job that a stopping worker hands back has spent an attempt.";
    CountLostCommitTwice, "count_lost_commit_twice",
        "A verdict whose answer was lost counts again when it is repeated.";
    TellToken, "tell_token",
        "A new access token is written to the log.";
}
