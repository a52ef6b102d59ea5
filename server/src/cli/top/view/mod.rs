//! Draws the model. Nothing here asks anything or changes what it draws.

mod causes;
mod foot;
mod palette;
mod queues;
mod state;
pub(super) mod words;

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline};

pub(super) use palette::Palette;
pub(super) use state::State;
use words::{count, rate, signed};

use super::model::{Model, Page};
use super::picture::Tempo;
use crate::cli::output::plain;

/// From this width on there is room for more columns.
const WIDE: u16 = 120;
/// Rows of the curves beside their titles, and from which height of the screen on more.
const CURVE_ROWS: u16 = 2;
const CURVE_ROWS_TALL: u16 = 5;
const TALL: u16 = 34;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, palette: Palette) {
    let curve_rows = if frame.area().height >= TALL { CURVE_ROWS_TALL } else { CURVE_ROWS };
    let rows = [
        Constraint::Length(2),
        Constraint::Length(1 + curve_rows),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, curves, body, status, prompt] = Layout::vertical(rows).areas(frame.area());
    draw_head(frame, head, model, palette);
    draw_curves(frame, curves, model, palette);
    if model.page == Page::Queues {
        // Dead letters have what the queues leave, and two fifths if these would leave less.
        let least = causes::height(model).min(body.height * 2 / 5);
        let most = body.height.saturating_sub(least);
        let parts = [Constraint::Length(queues::height(model).min(most)), Constraint::Fill(1)];
        let [upper, lower] = Layout::vertical(parts).areas(body);
        queues::draw(frame, upper, model, palette);
        causes::draw_some(frame, lower, model, palette);
    } else {
        causes::draw_page(frame, body, model, palette);
    }
    foot::draw_status(frame, status, model, palette);
    foot::draw_prompt(frame, prompt, model, palette);
    if model.explains {
        foot::draw_help(frame, frame.area(), palette);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let [title, sums] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let at = model.picture.at.to_string();
    let time = at.get(11..19).unwrap_or(&at);
    let right = Line::from(format!("{}{time} UTC", workers(model, area.width >= WIDE)));
    let name = Line::from(vec![
        Span::styled("postworks top", palette.strong()),
        Span::raw(format!("  {}", shown(&model.whom))),
    ]);
    let width = u16::try_from(right.width()).unwrap_or(0);
    let parts = [Constraint::Fill(1), Constraint::Length(width)];
    let [left_area, right_area] = Layout::horizontal(parts).spacing(1).areas(title);
    frame.render_widget(name, left_area);
    frame.render_widget(right.alignment(Alignment::Right), right_area);

    let totals = model.totals();
    let part =
        |n: u64, what: &str, style: Style| Span::styled(format!("{} {what}  ", count(n)), style);
    let if_any = |n: u64, style: Style| if n > 0 { style } else { palette.faint() };
    let (paused, open) = (totals.paused as u64, totals.open as u64);
    let mut spans = vec![
        part(totals.ready, "ready", palette.strong()),
        part(totals.delayed, "later", if_any(totals.delayed, palette.strong())),
        part(totals.running, "running", if_any(totals.running, palette.good())),
        part(totals.dead, "dead", if_any(totals.dead, palette.bad())),
        part(paused, "paused", if_any(paused, palette.warn())),
        part(open, if open == 1 { "breaker" } else { "breakers" }, if_any(open, palette.bad())),
    ];
    if let Some(breakers) = spans.last_mut() {
        breakers.content = format!("{} not closed", breakers.content.trim_end()).into();
    }
    frame.render_widget(Line::from(spans), sums);
}

/// How many workers there are, and how busy, if anybody knows.
fn workers(model: &Model, is_wide: bool) -> String {
    let Some(seen) = &model.picture.workers else { return String::new() };
    let mut text = match seen.workers {
        1 => "1 worker".to_owned(),
        n => format!("{} workers", count(n.into())),
    };
    text.push_str(&format!(", {}/{} busy", count(seen.busy_slots), count(seen.slots)));
    if is_wide {
        text.push_str(&format!(", {} would do", count(seen.desired_workers.into())));
    }
    text + "  "
}

/// What waits, and what is done, in the last looks; the newest to the right.
fn draw_curves(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let totals = model.totals();
    let tempo = Tempo::sum(model.tempo.values());
    let mut waiting = format!("{} waiting", count(totals.ready));
    if !model.tempo.is_empty() {
        waiting.push_str(&format!(", {}/s", signed(tempo.net)));
    }
    if model.runs.is_empty() {
        draw_curve(frame, area, waiting, &model.waiting, palette);
        return;
    }
    let halves = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2);
    let [left, right] = halves.areas(area);
    draw_curve(frame, left, waiting, &model.waiting, palette);
    let runs = tempo.runs.map_or_else(|| "-".to_owned(), rate);
    draw_curve(frame, right, format!("{runs} runs/s"), &model.runs, palette);
}

fn draw_curve(
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    history: &VecDeque<u64>,
    palette: Palette,
) {
    let rows = [Constraint::Length(1), Constraint::Fill(1)];
    let [above, curve] = Layout::vertical(rows).areas(area);
    let seen: Vec<u64> = history.iter().rev().take(curve.width.into()).copied().collect();
    let most = seen.iter().copied().max().unwrap_or(0);
    let scale = Span::styled(format!("  (most {})", count(most)), palette.faint());
    frame.render_widget(Line::from(vec![Span::raw(title), scale]), above);
    let line = Sparkline::default()
        .data(seen)
        .max(most.max(1))
        .direction(RenderDirection::RightToLeft)
        .style(palette.busy());
    frame.render_widget(line, curve);
}

/// Text from elsewhere, in one line.
fn shown(text: &str) -> String {
    plain(text)
}

#[cfg(test)]
mod tests;
