//! `postworks top`: queues, breakers and dead letters as they are now, and keys to act on them.
//!
//! `model` and `view` are pure: keys and answers change the one, the other draws it.

mod ask;
#[cfg(test)]
mod fixture;
mod keys;
mod model;
mod picture;
mod screen;
mod text;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use postworks::clock::{Clock as _, SystemClock};
use postworks::config::parse_duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use self::ask::Desk;
use self::keys::{Step, press};
use self::model::Model;
use self::picture::Picture;
use self::screen::Screen;
use self::view::Palette;
use super::failure::Failure;
use super::output::Format;
use super::{Context, Target, target};

/// How often ages are drawn anew, at least.
const BEAT: Duration = Duration::from_secs(1);

/// Arguments of `postworks top`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopArgs {
    /// How often to look (100ms to 1h)
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_every)]
    every: Duration,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(3_600);
    if bounds.contains(&every) { Ok(every) } else { Err("must be from 100ms to 1h".to_owned()) }
}

pub(super) async fn run(context: &Context, args: TopArgs) -> Result<(), Failure> {
    let whom = target::named(context)?;
    let target = target::choose(context).await?;
    // Who cannot be reached now is told so as by any other command.
    let first = Picture::take(target.as_ref(), None, SystemClock.now()).await?;
    if context.format == Format::Json || !io::stdout().is_terminal() {
        return context.format.say(&first, text::of);
    }
    let model = Model::new(whom, args.every, first);
    watch(target.as_ref(), model, Palette::of_environment()).await
}

/// Shows it until the person has seen enough, or this process is told to end.
async fn watch(target: &dyn Target, mut model: Model, palette: Palette) -> Result<(), Failure> {
    let (mut term, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut desk = Desk::new(target, model.every);
    let mut screen = Screen::open()?;
    let mut events = EventStream::new();
    loop {
        model.now = SystemClock.now();
        screen.draw(|frame| view::draw(frame, &model, palette))?;
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match press(&mut model, key) {
                    Step::Stay => {}
                    Step::Ask(ask) => desk.ask(ask),
                    Step::Quit => return Ok(()),
                },
                // Whatever else happened, the size for one, is drawn.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            answer = desk.answer() => match answer {
                Some(answer) => model.take(answer).into_iter().for_each(|ask| desk.ask(ask)),
                None => desk.ask(model.look()),
            },
            _ = beat.tick() => {}
            _ = term.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}
