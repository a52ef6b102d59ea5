//! A network of its own for a test: loopback, and one way out, for all addresses, that leads nowhere.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

/// What takes the place of a cable: what goes into one end is counted there and comes out of the
/// other, where nobody takes it. No addresses are asked for or announced, so nothing but what a
/// program sends is ever counted.
const SET_UP: &str = "\
link set lo up
link add out0 type veth peer name out1
link set out0 addrgenmode none arp off multicast off
link set out1 addrgenmode none arp off multicast off
link set out1 up
link set out0 up
address add 192.0.2.254/32 dev out0
address add 2001:db8::254/128 dev out0 nodad
route add default dev out0
route add ::/0 dev out0
";

/// The network that a test is alone in.
pub(super) struct Alone(());

/// Packets that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// To others.
    pub(super) out: u64,
    /// To this machine itself.
    pub(super) lo: u64,
}

/// Runs a test on a thread that has a network of its own; so have the threads that it starts.
///
/// Panics, and says what is missing, where no such network can be made.
pub(super) fn alone(test: impl AsyncFnOnce(Alone) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let network = Alone::make();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test(network));
    });
    if let Err(panicked) = thread.join() {
        std::panic::resume_unwind(panicked);
    }
}

impl Alone {
    fn make() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!(
                "this test counts packets in a network namespace, which only root (CAP_SYS_ADMIN) \
                 may make: {error}; run it as root"
            )
        });
        let network = Self(());
        network.ip(SET_UP);
        assert_eq!(network.sent(), Sent { out: 0, lo: 0 }, "packets before anybody sent any");
        network
    }

    /// Gives this machine one more address.
    pub(super) fn own(&self, address: &str) {
        // Otherwise the kernel lets nobody bind it until it has looked, later, whether others have it.
        let at_once = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev lo {at_once}\n"));
    }

    /// Runs commands of `ip`, a line each.
    fn ip(&self, commands: &str) {
        // The child is in the network of the thread that starts it.
        let child = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!("this test needs `ip`, from the package iproute2"),
            _ => panic!("`ip` does not start: {error}"),
        });
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "`ip` cannot set up the network (veth, IPv6): {said}");
    }

    /// What was sent so far.
    pub(super) fn sent(&self) -> Sent {
        let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        // After the name come eight columns of what was received, then bytes and packets sent.
        let packets = |device: &str| {
            let line = devices.lines().find_map(|line| line.trim().strip_prefix(device));
            let columns = line.unwrap_or_else(|| panic!("no device {device} in {devices}"));
            columns.split_whitespace().nth(9).unwrap().parse().unwrap()
        };
        Sent { out: packets("out0:"), lo: packets("lo:") }
    }
}
