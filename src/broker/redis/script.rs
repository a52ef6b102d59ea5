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

    /// Makes the script known to the server.
    pub(super) fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        load
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
    reap: "reap.lua",
    remove: "remove.lua",
    held: "held.lua",
    find: "find.lua",
    depth: "depth.lua",
    open: "open.lua",
    holders: "holders.lua",
    heal: "heal.lua",
}

/// Puts a wake token back; sent as a whole, since it is rarely needed.
pub(super) const WAKE: &str = include_str!("scripts/wake.lua");
