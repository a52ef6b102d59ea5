//! `postworks top`: on a terminal of its own, as a person has it, and for scripts.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use postworks::job::Category;
use tokio::process::{Child, Command};

use crate::cli::postworks;
use crate::fleet::{LONG, until};
use crate::world::World;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal with the view on it.
struct Terminal {
    child: Child,
    keyboard: File,
    /// What it shows, as a terminal understands what is written to it.
    screen: Arc<Mutex<vt100::Parser>>,
    /// Keeps the terminal there, so that its settings can be read when the program has ended.
    line: OwnedFd,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let stdio = || std::process::Stdio::from(pair.slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_postworks"), "top"])
            .args(args)
            .env_clear()
            .env("TERM", "xterm-256color")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keyboard = File::from(pair.master);
        let mut glass = keyboard.try_clone().unwrap();
        let (rows, columns) = (NonZero::new(ROWS).unwrap(), NonZero::new(COLUMNS).unwrap());
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = glass.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self { child, keyboard, screen, line: pair.slave }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    async fn until_shown(&self, words: &str) {
        let shows = async || self.text().contains(words);
        until(&format!("{words:?} is not shown"), LONG, shows).await;
    }

    /// Waits for its end; answers its exit code. The terminal must be as it was.
    async fn ends(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(LONG, self.child.wait()).await.expect("it ends").unwrap();
        let given_back = async || !self.screen.lock().unwrap().screen().alternate_screen();
        until("the screen is not given back", LONG, given_back).await;
        let modes = tcgetattr(&self.line).unwrap().local_flags;
        assert!(modes.contains(LocalFlags::ICANON | LocalFlags::ECHO), "{modes:?}");
        assert!(!self.screen.lock().unwrap().screen().hide_cursor());
        ended.code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pauses_a_queue_and_puts_a_dead_letter_back_by_keys() {
    let world = World::start().await;
    let (url, serving) = world.serve().await;
    let dead = world.enqueue().await;
    world.kill(dead, Category::Invalid).await;
    let mut terminal = Terminal::start(&["--server", &url, "--every", "200ms"]);
    terminal.until_shown("1 dead").await;

    terminal.types("/data\r");
    terminal.until_shown("only queues with \"data\"").await;
    terminal.types("p");
    terminal.until_shown("pause data_cleanup, for this reason:").await;
    terminal.types("wrong text went out\r");
    terminal.until_shown("pause data_cleanup? y does it").await;
    let queues = world.ask("GET", "/api/queues").await.body;
    assert!(queues["items"].as_array().unwrap().iter().all(|queue| queue["paused"].is_null()));
    terminal.types("y");
    terminal.until_shown("data_cleanup is paused").await;
    let queues = world.ask("GET", "/api/queues").await.body;
    let paused = queues["items"].as_array().unwrap().iter().find(|q| q["queue"] == "data_cleanup");
    assert_eq!(paused.unwrap()["paused"]["why"], "wrong text went out");
    let audit = world.ask("GET", "/api/audit").await.body;
    assert_eq!(audit["items"][0]["action"], "queue.pause");
    assert_eq!(audit["items"][0]["why"], "wrong text went out");

    terminal.types("d");
    terminal.until_shown("data_cleanup: 1 dead letters by cause").await;
    terminal.types("R");
    terminal.until_shown("put back 1 of 1? y/n").await;
    let job = format!("/api/jobs/{dead}");
    assert_eq!(world.ask("GET", &job).await.body["state"], "dead");
    terminal.types("y");
    terminal.until_shown("1 put back").await;
    assert_eq!(world.ask("GET", &job).await.body["state"], "ready");

    terminal.types("d");
    terminal.until_shown("1 ready").await;
    drop(serving);
    terminal.until_shown("ago: no answer from").await;
    assert!(terminal.text().contains("1 ready"), "the last picture stays: {}", terminal.text());
    terminal.types("q");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_the_view_gives_the_terminal_back() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let mut interrupted = Terminal::start(&["--server", &url]);
    let terminated = Terminal::start(&["--server", &url]);
    interrupted.until_shown("q quit").await;
    terminated.until_shown("q quit").await;
    interrupted.types("p\u{3}");
    assert_eq!(interrupted.ends().await, Some(0));
    let pid = i32::try_from(terminated.child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(terminated.ends().await, Some(0));
}

#[tokio::test]
async fn a_script_gets_one_picture_as_text_or_json() {
    let world = World::start().await;
    let (url, _serving) = world.serve().await;
    let dead = world.enqueue().await;
    world.kill(dead, Category::Invalid).await;
    let text = postworks(&["--server", &url, "top"], &[]).await;
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert!(
        text.stdout.contains("data_cleanup") && text.stdout.contains("1 dead"),
        "{}",
        text.stdout
    );
    assert!(!text.stdout.contains('\u{1b}'), "{:?}", text.stdout);
    let json = postworks(&["--server", &url, "top", "-o", "json"], &[]).await.json();
    let queues = json["queues"].as_array().unwrap();
    let cleanup = queues.iter().find(|queue| queue["queue"] == "data_cleanup").unwrap();
    assert_eq!(cleanup["dead"], 1);
    assert_eq!(json["breakers"].as_array().unwrap().len(), queues.len());
    assert_eq!(json["dead_groups"][0]["count"], 1);
    let nobody = postworks(&["--server", "http://127.0.0.1:1", "top"], &[]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (69, ""), "{}", nobody.stderr);
    let often = postworks(&["top", "--every", "1ms"], &[]).await;
    assert_eq!(often.code, 2);
    assert!(often.stderr.contains("from 100ms to 1h"), "{}", often.stderr);
}
