//! The scripts: one for each operation, so that each is one atomic step.

use redis::Cmd;

use crate::broker::Operation;

/// A script and the name that the server knows it by.
#[derive(Debug)]
pub(super) struct Script {
    /// What it is for, in metrics.
    pub(super) operation: Operation,
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(operation: Operation, source: &'static str) -> Self {
        Self { operation, source, sha: redis::Script::new(source).get_hash().to_owned() }
    }

    /// A call with `keys`; the caller adds the arguments.
    pub(super) fn call(&self, keys: &[String]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha).arg(keys.len()).arg(keys);
        call
    }

    /// The same call with the script itself instead of its name, which also makes it known. One
    /// step, so that nothing can make the server forget it in between.
    pub(super) fn whole(&self, call: &Cmd) -> Cmd {
        let mut args = call.args_iter().filter_map(|arg| match arg {
            redis::Arg::Simple(arg) => Some(arg),
            _ => None,
        });
        let mut named = |expected: &[u8]| args.next().is_some_and(|arg| arg == expected);
        if !(named(b"EVALSHA") && named(self.sha.as_bytes())) {
            return call.clone();
        }
        let mut whole = redis::cmd("EVAL");
        whole.arg(self.source);
        for arg in args {
            whole.arg(arg);
        }
        whole
    }
}

macro_rules! scripts {
    ($($name:ident: $file:literal, $operation:ident;)*) => {
        /// All scripts; what each does, takes and returns is written on top of its file.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self {
                    $($name: Script::new(
                        Operation::$operation,
                        include_str!(concat!("scripts/", $file)),
                    ),)*
                }
            }
        }
    };
}

scripts! {
    push: "push.lua", Push;
    claim: "claim.lua", Claim;
    settle: "settle.lua", Settle;
    renew: "renew.lua", Renew;
    reassert: "reassert.lua", Reassert;
    reap: "reap.lua", Reap;
    remove: "remove.lua", Remove;
    held: "held.lua", Reap;
    find: "find.lua", Find;
    depth: "depth.lua", Depth;
    open: "open.lua", Open;
    holders: "holders.lua", Reap;
    heal: "heal.lua", Look;
    permits: "permits.lua", Look;
    elect: "elect.lua", Elect;
    office: "office.lua", Elect;
    announce: "announce.lua", Roster;
    roster: "roster.lua", Roster;
    block: "block.lua", Limit;
    reserve: "reserve.lua", Limit;
    room: "room.lua", Limit;
    trim: "trim.lua", Window;
    begin_refill: "begin_refill.lua", Window;
    widen: "widen.lua", Window;
    end_refill: "end_refill.lua", Window;
    observe: "observe.lua", Gate;
    switch: "switch.lua", Gate;
    hold: "hold.lua", Gate;
    shut: "shut.lua", Gate;
    heal_gate: "heal_gate.lua", Gate;
}

/// Puts a wake token back; sent as a whole, since it is rarely needed.
pub(super) const WAKE: &str = include_str!("scripts/wake.lua");
