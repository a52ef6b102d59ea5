//! A private Redis for one test, or one load test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::interrupts::Interrupts;

/// Programs that will do, the first that is found.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// Where programs are looked for before `PATH`, from the working directory upwards.
const TOOLS: &str = ".tools/bin";
/// Settings of one that writes an append-only file.
const DURABLE: [&str; 6] = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
/// Where it keeps its append-only file.
const APPENDONLY: &str = "appendonlydir";
/// Longest wait for a start or an end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it answers; a start takes about 30 ms.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A private Redis: its own process, folder and socket, gone when this value is.
///
/// Everything here panics when it does not work: a test without its server must not pass.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    program: PathBuf,
    /// A configuration that the server itself may rewrite, as sentinels do.
    config: Option<String>,
    settings: Vec<String>,
    interrupts: Interrupts,
    process: Option<Child>,
}

impl RedisServer {
    /// Whether this machine has a program to start.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// Starts one that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts one that writes an append-only file, and so survives [`Self::restart`] and
    /// [`Self::kill9`].
    pub fn start_durable() -> Self {
        Self::start_with(&DURABLE)
    }

    /// The same for a load test, which hears interrupts from the terminal for it.
    pub fn start_measured() -> Self {
        Self::prepared(&DURABLE, None, Interrupts::Kept)
    }

    /// Starts one with these command-line settings.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::prepared(settings, None, Interrupts::Heard)
    }

    /// Starts one as a sentinel that begins with this configuration.
    #[cfg(feature = "testing")]
    pub(super) fn start_sentinel(config: &str, settings: &[&str]) -> Self {
        let settings = [settings, &["--sentinel"]].concat();
        Self::prepared(&settings, Some(config.to_owned()), Interrupts::Heard)
    }

    fn prepared(settings: &[&str], config: Option<String>, interrupts: Interrupts) -> Self {
        let program = find_program();
        let folder = tempfile::Builder::new()
            .prefix("pw-redis-")
            .tempdir()
            .expect("a folder for a private Redis");
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { folder, program, config, settings, interrupts, process: None };
        server.resume();
        server
    }

    /// Where it listens: a socket in its folder, no port.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its folder, with the append-only file if there is one.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it was started and not ended since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the private Redis runs").id()
    }

    /// Stops it in good order and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Kills it, as a crash would.
    pub fn kill9(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// A copy of its append-only file as it is now, for [`Self::roll_back`].
    pub fn copy_of_disk(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder for a copy");
        copy_files(&self.folder.path().join(APPENDONLY), copy.path());
        copy
    }

    /// Kills it, and starts it again with nothing on its disk.
    pub fn wipe(&mut self) {
        self.kill9();
        let _ = fs::remove_dir_all(self.folder.path().join(APPENDONLY));
        self.resume();
    }

    /// Kills it, and starts it again from an older copy of its append-only file.
    pub fn roll_back(&mut self, copy: &TempDir) {
        self.kill9();
        let files = self.folder.path().join(APPENDONLY);
        fs::remove_dir_all(&files).expect("an append-only file to replace");
        copy_files(copy.path(), &files);
        self.resume();
    }

    /// Stops it from doing anything while its connections stay open, as a hanging machine would.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill9`], in the same folder.
    pub fn resume(&mut self) {
        self.begin_to_resume();
        self.until_it_answers();
    }

    /// The same, but returns at once: it may still be loading what it has on disk.
    pub fn begin_to_resume(&mut self) {
        assert!(self.process.is_none(), "the private Redis runs already");
        let log = fs::File::create(self.log()).expect("a log file");
        let mut command = Command::new(&self.program);
        self.interrupts.tell(&mut command);
        let process = command
            .args(self.config_file())
            .args(["--port", "0", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the private Redis starts");
        self.process = Some(process);
    }

    /// Sends a command in Redis' inline form, as in `CONFIG SET maxmemory 1`, and answers what
    /// came back, as it came.
    pub fn command(&self, line: &str) -> String {
        self.try_command(line).expect("the private Redis answers")
    }

    /// A connection for commands while the server takes no new ones.
    pub fn operator(&self) -> Operator {
        let stream = UnixStream::connect(self.socket()).expect("the private Redis listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Operator(BufReader::new(stream))
    }

    /// The same for a server that may be down.
    pub(super) fn try_command(&self, line: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // A sentinel knows no QUIT; its answers are short enough to be whole at the end.
        let is_sentinel = self.config.is_some();
        let farewell = if is_sentinel { "" } else { "QUIT\r\n" };
        stream.write_all(format!("{line}\r\n{farewell}").as_bytes())?;
        if is_sentinel {
            stream.shutdown(Shutdown::Write)?;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let answer = answer.trim_end();
        Ok(if is_sentinel { answer } else { answer.trim_end_matches("+OK").trim_end() }.to_owned())
    }

    fn until_it_answers(&mut self) {
        let start = Instant::now();
        loop {
            if self.try_command("PING").is_ok_and(|answer| answer == "+PONG") {
                return;
            }
            let process = self.process.as_mut().expect("it was just started");
            let ended = process.try_wait().expect("a child can be waited for");
            if let Some(status) = ended {
                panic!("the private Redis ended at once ({status}):\n{}", self.log_text());
            }
            assert!(start.elapsed() < PATIENCE, "no answer from Redis:\n{}", self.log_text());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Its configuration's file, made at the first start.
    fn config_file(&self) -> Option<PathBuf> {
        let config = self.config.as_ref()?;
        let file = self.folder.path().join("redis.conf");
        if !file.exists() {
            fs::write(&file, config).expect("a configuration of our own");
        }
        Some(file)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        // It may have ended by itself; then there is nothing to do.
        let _ = kill(Pid::from_raw(pid), signal);
    }

    fn end(&mut self, signal: Signal) {
        if self.process.is_some() {
            self.signal(signal);
        }
        let Some(mut process) = self.process.take() else { return };
        process.wait().expect("a child can be waited for");
        let _ = fs::remove_file(self.socket());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }

    fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// A connection that stays open.
#[derive(Debug)]
pub struct Operator(BufReader<UnixStream>);

impl Operator {
    /// Sends a command in Redis' inline form; answers the first line of what came back.
    pub fn command(&mut self, line: &str) -> String {
        let mut answer = String::new();
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("the private Redis listens");
        self.0.read_line(&mut answer).expect("the private Redis answers");
        answer.trim_end().to_owned()
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder to copy to");
    for file in fs::read_dir(from).expect("a folder to copy") {
        let file = file.expect("a file to copy");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

fn find_program() -> PathBuf {
    program().unwrap_or_else(|| {
        panic!(
            "a Redis 7 is needed: run `make setup`, install redis-server or valkey-server, or put \
             one into {TOOLS}"
        )
    })
}

fn program() -> Option<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    let tools = here.ancestors().map(|folder| folder.join(TOOLS));
    let path = std::env::var_os("PATH").unwrap_or_default();
    tools
        .chain(std::env::split_paths(&path))
        .flat_map(|folder| PROGRAMS.map(|program| folder.join(program)))
        .find(|program| program.is_file())
}
