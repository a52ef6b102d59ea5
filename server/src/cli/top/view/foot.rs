//! The foot of the screen: what went wrong or well, what is asked, which keys there are.

use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::words::span;
use super::{Palette, shown};
use crate::cli::top::ask::Wish;
use crate::cli::top::model::{Model, Page, Prompt, Word, in_words};

const KEYS: &str = "q quit  ? help  / filter  d dead letters  p pause  r resume  o open  c close";
const KEYS_CAUSES: &str = "q quit  ? help  d back  R put back  p pause  r resume  o open  c close";

/// Whether the picture is what is there now; else what was said last.
pub(super) fn draw_status(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let line = match (model.stale(), &model.trouble, &model.word) {
        (Some(age), Some(trouble), _) => {
            Line::from(format!("as of {} ago: {}", span(age), shown(trouble))).style(palette.bad())
        }
        (Some(age), None, _) => {
            Line::from(format!("as of {} ago: no answer yet", span(age))).style(palette.warn())
        }
        (None, _, Some(Word::Bad(word))) => Line::from(shown(word)).style(palette.bad()),
        (None, _, Some(Word::Good(word))) => Line::from(shown(word)).style(palette.good()),
        (None, _, None) if !model.filter.is_empty() => {
            Line::from(format!("only queues with {:?} in their names", model.filter))
                .style(palette.warn())
        }
        (None, _, None) => Line::default(),
    };
    frame.render_widget(line, area);
}

/// What is asked, or the keys.
pub(super) fn draw_prompt(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let Some(prompt) = &model.prompt else {
        let keys = if model.page == Page::Queues { KEYS } else { KEYS_CAUSES };
        frame.render_widget(Line::from(keys).style(palette.faint()), area);
        return;
    };
    match prompt {
        Prompt::Filter { .. } => draw_input(frame, area, "only queues with: ", &model.filter),
        Prompt::Reason { wish, queue, text } => {
            let question = format!("{} {queue}, for this reason: ", verb(*wish));
            draw_input(frame, area, &question, text);
        }
        Prompt::Confirm { wish, queue, .. } => {
            let question = format!("{} {queue}? y does it, any other key does not", verb(*wish));
            frame.render_widget(Line::from(question).style(palette.strong()), area);
        }
        Prompt::PutBack { plan, .. } => {
            let question = match plan {
                None => "put back …".to_owned(),
                Some(plan) => format!("put back {}? y/n", in_words(*plan)),
            };
            frame.render_widget(Line::from(question).style(palette.strong()), area);
        }
    }
}

fn verb(wish: Wish) -> &'static str {
    match wish {
        Wish::Pause => "pause",
        Wish::Resume => "resume",
        Wish::Open => "hold open the breaker of",
        Wish::Close => "close the breaker of",
    }
}

/// A question and the end of what is typed, with the cursor behind it.
fn draw_input(frame: &mut Frame<'_>, area: Rect, question: &str, text: &str) {
    let question = Span::raw(question.to_owned());
    let room = usize::from(area.width).saturating_sub(question.width() + 1);
    let mut tail = text;
    while Span::raw(tail).width() > room {
        let mut rest = tail.chars();
        rest.next();
        tail = rest.as_str();
    }
    let line = Line::from(vec![question, Span::raw(tail)]);
    let x = area.x.saturating_add(u16::try_from(line.width()).unwrap_or(u16::MAX));
    frame.render_widget(&line, area);
    frame.set_cursor_position((x.min(area.right().saturating_sub(1)), area.y));
}

const HELP: &[&str] = &[
    "up, down, j, k, PgUp, PgDn   select",
    "d, Enter   dead letters of the queue by cause; again: back",
    "R          put those of the selected cause back: first what it would do",
    "p, r       pause the queue, resume it",
    "o, c       hold its breaker open, close it",
    "/          only queues with this in their names; Esc: all",
    "q, Ctrl-C  quit",
    "",
    "READY    due and unclaimed        OLDEST  how long the oldest has waited",
    "LATER    waiting for their time   +/-/S   came less ended, a second",
    "RUN      running                  RUNS/S  runs that ended in the process",
    "DEAD     for a person                     that answers, a second",
    "STATE    paused; the breaker: open, held (open by hand), trying (a few",
    "         calls); wait: the platform asked for it; ?: Redis is away",
    "",
    "Whatever changes something asks for a y first, and is in the audit.",
];

/// What the keys and columns are, over everything.
pub(super) fn draw_help(frame: &mut Frame<'_>, area: Rect, palette: Palette) {
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or(0) + 4;
    let (width, height) = (u16::try_from(width), u16::try_from(HELP.len() + 2));
    let column = Layout::horizontal([Constraint::Max(width.unwrap_or(80))]).flex(Flex::Center);
    let [column] = column.areas(area);
    let row = Layout::vertical([Constraint::Max(height.unwrap_or(24))]).flex(Flex::Center);
    let [place] = row.areas(column);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    let block = Block::bordered().title(" any key goes back ").border_style(palette.busy());
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
