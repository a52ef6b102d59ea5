//! One run of a server's process.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::find;
use crate::testing::interrupts::Interrupts;

/// How the folders of private servers are named.
pub(super) const FOLDER_PREFIX: &str = "pwpg-";
/// The file whose lock says that a folder's owner lives.
const OWNER: &str = "owner.lock";
/// Starts before we give up. A killed server's sessions need a moment to notice, and no new one
/// starts before the last of them is gone.
const STARTS_MAX: usize = 400;
/// A folder younger than this is let be.
const FRESH: Duration = Duration::from_secs(60);
/// So many lines of what a server said are kept, to be shown when a test fails.
const LINES_MAX: usize = 60;
/// How long one start may take; crash recovery included.
const START_MAX: Duration = Duration::from_secs(60);

/// Where folders of private servers are made: short, since a socket's path has 107 bytes at most,
/// and open to the user the server runs as.
pub(super) fn base() -> PathBuf {
    let short = Path::new("/tmp");
    if short.is_dir() { short.to_owned() } else { std::env::temp_dir() }
}

/// Gives a file to the user the server runs as.
pub(super) fn give(path: &Path) {
    if let Some((uid, gid)) = find::user() {
        std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            .expect("give a file to the server's user");
    }
}

/// A program of PostgreSQL, to be run as the right user and in English.
pub(super) fn command(name: &str) -> Command {
    let mut command = Command::new(find::program(name));
    command.env("LC_ALL", "C").stdin(Stdio::null()).current_dir(base());
    if let Some((uid, gid)) = find::user() {
        command.gid(gid.as_raw()).uid(uid.as_raw());
    }
    command
}

/// Takes the lock that keeps [`sweep`] away from a folder.
pub(super) fn own(folder: &Path) -> File {
    let file = File::create(folder.join(OWNER)).expect("make a lock file");
    file.lock().expect("lock a file of our own");
    file
}

/// Stops servers whose tests were killed before they could, and removes their folders.
pub(super) fn sweep() {
    for entry in std::fs::read_dir(base()).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) {
            continue;
        }
        // A fresh folder may not have its owner's lock yet.
        let age = entry.metadata().and_then(|folder| folder.modified()).map(|made| made.elapsed());
        if !age.is_ok_and(|age| age.is_ok_and(|age| age > FRESH)) {
            continue;
        }
        let Ok(owner) = File::open(folder.join(OWNER)) else { continue };
        if owner.try_lock().is_err() {
            continue;
        }
        let pid = std::fs::read_to_string(folder.join("data/postmaster.pid"))
            .ok()
            .and_then(|text| text.lines().next()?.trim().parse().ok());
        if let Some(pid) = pid.filter(|pid| serves(*pid, &folder)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let _ = std::fs::remove_dir_all(&folder);
    }
}

/// Whether this process is the server of that folder, and not one that got its number later.
fn serves(pid: i32, folder: &Path) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()))
}

/// A server's process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: Log,
}

/// The last lines that a server said.
type Log = Arc<Mutex<VecDeque<String>>>;

impl Running {
    /// Starts a server on a data folder, with its socket in `socket`; returns when it answers.
    pub(super) fn start(
        data: &Path,
        socket: &Path,
        settings: &[&str],
        interrupts: Interrupts,
    ) -> Self {
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match Self::try_start(data, socket, settings, interrupts) {
                Ok(running) => return running,
                Err(log) if log.contains("is still in use") || log.contains("lock file") => {
                    last = log;
                }
                Err(log) => panic!("the private PostgreSQL server did not start:\n{log}"),
            }
        }
        panic!("the private PostgreSQL server did not start again:\n{last}");
    }

    fn try_start(
        data: &Path,
        socket: &Path,
        settings: &[&str],
        interrupts: Interrupts,
    ) -> Result<Self, String> {
        let mut command = command("postgres");
        interrupts.tell(&mut command);
        command.arg("-D").arg(data).arg("-k").arg(socket);
        let common = [
            "listen_addresses=",
            "max_connections=100",
            "shared_buffers=32MB",
            "max_wal_size=256MB",
            // After a crash, sync the file system rather than each of a thousand files.
            "recovery_init_sync_method=syncfs",
            "logging_collector=off",
            "log_destination=stderr",
        ];
        for setting in common.iter().chain(settings) {
            command.arg("-c").arg(setting);
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run the postgres program");
        let stderr = child.stderr.take().expect("it is piped");
        let (say, said) = mpsc::channel();
        let log = Log::default();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || follow(stderr, &lines, &say));
        match said.recv_timeout(START_MAX) {
            Ok(true) => Ok(Self { child, log }),
            Ok(false) => {
                let _ = child.wait();
                Err(joined(&log))
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("not ready within {START_MAX:?}"))
            }
        }
    }

    /// How it is, and what it said last: for a test that failed.
    pub(super) fn last_words(&mut self) -> String {
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("ended with {status}"),
            _ => "runs".to_owned(),
        };
        format!("the private PostgreSQL server {state}; it said last:\n{}", joined(&self.log))
    }

    /// Sends a signal and waits for the end.
    pub(super) fn end(mut self, how: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), how);
        // One that is frozen would never hear of it.
        self.tell(Signal::SIGCONT);
        let _ = self.child.wait();
    }

    /// Sends a signal to the server and to each of its sessions.
    pub(super) fn tell(&self, signal: Signal) {
        let server = self.pid();
        // The server first: what is frozen starts no more sessions.
        let _ = kill(Pid::from_raw(server), signal);
        for session in children(server) {
            let _ = kill(Pid::from_raw(session), signal);
        }
    }

    /// The server's process and those of its sessions.
    pub(super) fn pids(&self) -> Vec<i32> {
        let mut pids = children(self.pid());
        pids.insert(0, self.pid());
        pids
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }
}

/// The processes that this one has started.
fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            // The name before may hold spaces; the parent is the second field after it.
            let (_, after) = stat.rsplit_once(") ")?;
            let is_child = after.split(' ').nth(1)?.parse() == Ok(parent);
            is_child.then(|| process.file_name().to_str()?.parse().ok())?
        })
        .collect()
}

/// Reads what the server says: one message when it is ready, or when it ended before. Reads on to the
/// end, since a full pipe would stop the server.
fn follow(stderr: ChildStderr, log: &Log, say: &mpsc::Sender<bool>) {
    let mut ready = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if !ready && line.contains("database system is ready to accept connections") {
            ready = true;
            let _ = say.send(true);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
    if !ready {
        let _ = say.send(false);
    }
}

fn joined(log: &Log) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter().map(|line| format!("{line}\n")).collect()
}
