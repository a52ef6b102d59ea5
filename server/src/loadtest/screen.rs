//! What a person sees while a load test runs: a bar on a terminal, a line a scenario elsewhere.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::tally::Tally;

/// Between two looks at the counts.
const EVERY: Duration = Duration::from_millis(250);

/// Says what goes on, on stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    quiet: bool,
}

/// A bar that moves by itself, until it is dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    moving: Option<JoinHandle<()>>,
}

impl Screen {
    /// Says nothing if `quiet`: whoever reads JSON wants no bars.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Says a line, unless it is gone.
    pub(crate) fn say(self, line: &str) {
        if !self.quiet {
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Says what somebody must know, whoever reads the answer.
    pub(crate) fn warn(self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// A bar for something that takes about so long.
    pub(crate) fn bar(self, name: &str, takes: Duration) -> Bar {
        let bar = if self.quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(u64::try_from(takes.as_millis()).unwrap_or(u64::MAX))
        };
        let template = "  {prefix:15} {bar:30} {elapsed:>4}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.tick();
        Bar { bar, moving: None }
    }
}

impl Bar {
    /// Says what is being done.
    pub(crate) fn say(&mut self, words: impl Into<String>) {
        self.stop();
        self.bar.set_message(words.into());
    }

    /// Shows what `tally` counts, from now on.
    pub(crate) fn follow(&mut self, tally: &Tally) {
        self.stop();
        let (bar, tally) = (self.bar.clone(), tally.clone());
        self.moving = Some(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                let (asked, done, failed) = tally.sums();
                bar.set_message(format!("{asked} asked, {done} done, {failed} failed"));
                let elapsed = u64::try_from(bar.elapsed().as_millis()).unwrap_or(u64::MAX);
                bar.set_position(elapsed.min(bar.length().unwrap_or(elapsed)));
            }
        }));
    }

    fn stop(&mut self) {
        if let Some(moving) = self.moving.take() {
            moving.abort();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.stop();
        self.bar.finish_and_clear();
    }
}
