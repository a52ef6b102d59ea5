//! The processes of a blog: a shell, the database, and PHP.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::scripts;

/// Starting takes half a second; this is for machines under load, and for a database that was killed.
const START_LIMIT: Duration = Duration::from_secs(60);
/// What is said when the two servers can be asked.
const MARKS: [&str; 2] = ["mariadbd: ready for connections", ") started"];
/// What the database says at its end, if it was not killed.
pub(super) const STOPPED: &str = "mariadbd: Shutdown complete";

/// Where a blog is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The folder of all that it has.
    pub(super) data: PathBuf,
    /// Where on its site it is: nothing, or a path that begins with `/`.
    pub(super) path: String,
    pub(super) port: u16,
}

impl Place {
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.data.join("database")
    }

    fn site(&self) -> PathBuf {
        self.data.join("site")
    }

    /// What people upload, and plugins.
    pub(super) fn content(&self) -> PathBuf {
        self.site().join(self.path.trim_start_matches('/')).join("wp-content")
    }

    /// A program that finds the scripts, and by what these are told the blog.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(scripts())
            .env("BLOG_URL", self.url())
            .env("BLOG_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("BLOG_ROOT", self.site())
            .env("BLOG_CONTENT", self.content())
            .env("BLOG_DATABASE", self.database())
            .env("BLOG_SOCKET", self.data.join("socket"))
            // A database that starts clears away what another one is writing to a folder of both.
            .env("TMPDIR", &self.data);
        command
    }
}

/// The processes, as long as they run.
#[derive(Debug)]
pub(super) struct Running {
    shell: Child,
    lines: UnboundedReceiver<String>,
    /// Ends when no process has the pipe any more.
    reading: JoinHandle<()>,
}

impl Running {
    /// Starts them and waits until both servers can be asked.
    pub(super) async fn start(place: &Place) -> Self {
        let mut shell = place
            .command("sh")
            .arg("serve.sh")
            .process_group(0)
            // Its end is theirs, should we be killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a shell");
        let stdout = shell.stdout.take().expect("a piped stdout");
        let (say, lines) = unbounded_channel();
        let reading = std::thread::spawn(move || {
            let said = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
            // Read on, whoever listens: a server that writes to a closed pipe ends.
            said.for_each(|line| drop(say.send(String::from_utf8_lossy(&line).into_owned())));
        });
        let mut running = Self { shell, lines, reading };
        running.hear(&MARKS).await;
        running
    }

    /// Waits until all of this was said, in any order.
    pub(super) async fn hear(&mut self, marks: &[&str]) {
        let mut said = Vec::new();
        let mut left = marks.to_vec();
        let heard = async {
            while !left.is_empty() {
                let Some(line) = self.lines.recv().await else { break };
                left.retain(|mark| !line.contains(mark));
                said.push(line);
            }
        };
        let in_time = tokio::time::timeout(START_LIMIT, heard).await.is_ok();
        assert!(in_time && left.is_empty(), "nobody said {left:?}:\n{}", said.join("\n"));
    }

    /// Kills all of them at once, and waits until none is left.
    pub(super) fn kill(mut self) {
        drop(self.shell.stdin.take());
        let _ = self.reading.join();
        let _ = self.shell.wait();
    }
}
