//! The scripts: one for each operation, so that each is one atomic step.

use redis::Cmd;

/// A script and the name that the server knows it by.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    sha: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, sha: redis::Script::new(source).get_hash().to_owned() }
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
    ($($name:ident: $file:literal),* $(,)?) => {
        /// All scripts; what each does, takes and returns is written on top of its file.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self { $($name: Script::new(include_str!(concat!("scripts/", $file))),)* }
            }
        }
    };
}

scripts! {
    push: "push.lua",
    claim: "claim.lua",
    settle: "settle.lua",
    renew: "renew.lua",
    reassert: "reassert.lua",
    reap: "reap.lua",
    remove: "remove.lua",
    held: "held.lua",
    find: "find.lua",
    depth: "depth.lua",
    open: "open.lua",
    holders: "holders.lua",
    heal: "heal.lua",
    permits: "permits.lua",
    elect: "elect.lua",
    announce: "announce.lua",
    roster: "roster.lua",
    block: "block.lua",
    reserve: "reserve.lua",
    room: "room.lua",
    trim: "trim.lua",
    begin_refill: "begin_refill.lua",
    widen: "widen.lua",
    end_refill: "end_refill.lua",
    observe: "observe.lua",
    switch: "switch.lua",
    hold: "hold.lua",
    shut: "shut.lua",
    heal_gate: "heal_gate.lua",
}

/// Puts a wake token back; sent as a whole, since it is rarely needed.
pub(super) const WAKE: &str = include_str!("scripts/wake.lua");
