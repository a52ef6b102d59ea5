//! The list of queues, and a sentence about the selected one.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Wrap};

use super::state::{State, Weight};
use super::words::{count, rate, signed, span};
use super::{Palette, WIDE, shown};
use crate::app::types::{GateView, QueueView};
use crate::cli::top::model::Model;
use crate::cli::top::picture::{Tempo, oldest};

/// A queue's row.
struct Seen<'a> {
    queue: &'a QueueView,
    gate: Option<&'a GateView>,
    tempo: Option<Tempo>,
    state: State,
}

/// A column: its head, its width, and what is in it.
struct Column {
    head: &'static str,
    width: Constraint,
    cell: fn(&Seen<'_>, Palette) -> Line<'static>,
}

fn right(text: String) -> Line<'static> {
    Line::from(text).alignment(Alignment::Right)
}

fn number(n: u64, palette: Palette) -> Line<'static> {
    let style = if n == 0 { palette.faint() } else { ratatui::style::Style::new() };
    right(count(n)).style(style)
}

/// A number that the broker's node may not be there to tell.
fn known(n: Option<u64>, palette: Palette) -> Line<'static> {
    n.map_or_else(|| right("?".to_owned()).style(palette.warn()), |n| number(n, palette))
}

const NAME: Column = Column {
    head: "QUEUE",
    width: Constraint::Min(20),
    cell: |seen, _| Line::from(seen.queue.queue.to_string()),
};
const READY: Column = Column {
    head: "READY",
    width: Constraint::Length(6),
    cell: |seen, palette| known(seen.queue.ready, palette),
};
const DELAYED: Column = Column {
    head: "LATER",
    width: Constraint::Length(6),
    cell: |seen, palette| known(seen.queue.delayed, palette),
};
const RUNNING: Column = Column {
    head: "RUN",
    width: Constraint::Length(5),
    cell: |seen, palette| match seen.queue.running {
        Some(n) if n > 0 => number(n, palette).style(palette.good()),
        n => known(n, palette),
    },
};
const DEAD: Column = Column {
    head: "DEAD",
    width: Constraint::Length(5),
    cell: |seen, palette| match seen.queue.dead {
        0 => number(0, palette),
        n => number(n, palette).style(palette.bad()),
    },
};
const OLDEST: Column = Column {
    head: "OLDEST",
    width: Constraint::Length(6),
    cell: |seen, palette| match oldest(seen.queue) {
        None => right("-".to_owned()).style(palette.faint()),
        Some(oldest) => right(span(oldest)),
    },
};
const RUNS: Column = Column {
    head: "RUNS/S",
    width: Constraint::Length(6),
    cell: |seen, _| right(seen.tempo.and_then(|t| t.runs).map_or_else(|| "-".to_owned(), rate)),
};
const NET: Column = Column {
    head: "+/-/S",
    width: Constraint::Length(6),
    cell: |seen, _| right(seen.tempo.map_or_else(|| "-".to_owned(), |t| signed(t.net))),
};
const CALLS: Column = Column {
    head: "CALLS",
    width: Constraint::Length(6),
    cell: |seen, _| right(told(seen.gate.and_then(|gate| gate.calls))),
};
const BAD: Column = Column {
    head: "BAD",
    width: Constraint::Length(5),
    cell: |seen, palette| match seen.gate.and_then(|gate| gate.bad) {
        Some(bad) if bad > 0 => right(told(Some(bad))).style(palette.warn()),
        bad => right(told(bad)),
    },
};
const STATE: Column = Column {
    head: "STATE",
    width: Constraint::Length(8),
    cell: |seen, palette| {
        Line::from(seen.state.word.clone()).style(weight(seen.state.weight, palette))
    },
};
const STATE_WIDE: Column = Column {
    head: "STATE",
    width: Constraint::Fill(1),
    cell: |seen, palette| {
        let word = Span::styled(shown(&seen.state.sentence), weight(seen.state.weight, palette));
        Line::from(word)
    },
};

fn told(n: Option<u32>) -> String {
    n.map_or_else(|| "-".to_owned(), |n| count(n.into()))
}

fn weight(weight: Weight, palette: Palette) -> ratatui::style::Style {
    match weight {
        Weight::None => palette.faint(),
        Weight::Some => palette.warn(),
        Weight::Much => palette.bad(),
    }
}

/// The columns that fit.
fn columns(width: u16, knows_runs: bool) -> Vec<Column> {
    let mut columns = vec![NAME, READY, DELAYED, RUNNING, DEAD, OLDEST];
    if width >= WIDE {
        columns[0].width = Constraint::Length(32);
        columns.extend([RUNS, NET, CALLS, BAD, STATE_WIDE]);
    } else {
        columns.extend([if knows_runs { RUNS } else { NET }, STATE]);
    }
    columns
}

/// Rows for what is said of the selected queue, at most.
const ABOUT: u16 = 2;

/// How many rows everything takes.
pub(super) fn height(model: &Model) -> u16 {
    let rows = u16::try_from(model.queues().len()).unwrap_or(u16::MAX);
    rows.saturating_add(1 + ABOUT)
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let columns = columns(area.width, !model.runs.is_empty());
    let queues = model.queues();
    let seen: Vec<Seen<'_>> = queues.iter().map(|queue| see(model, queue)).collect();
    let rows = seen.iter().map(|seen| {
        columns.iter().map(|column| Cell::from(Text::from((column.cell)(seen, palette)))).collect()
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let head = columns.iter().map(|column| {
        let left = matches!(column.head, "QUEUE" | "STATE");
        if left { Line::from(column.head) } else { right(column.head.to_owned()) }
    });
    let table = Table::new(rows, columns.iter().map(|column| column.width))
        .header(head.collect::<Row<'_>>().style(palette.head()))
        .row_highlight_style(palette.selected());
    let chosen = model.queue().map(|(at, _)| at);
    let about = chosen.and_then(|at| seen.get(at)).map(|seen| about(seen, palette));
    let about = about.unwrap_or_default();
    let is_long = about.width() > usize::from(area.width);
    let parts = [Constraint::Fill(1), Constraint::Length(if is_long { ABOUT } else { 1 })];
    let [list, below] = Layout::vertical(parts).areas(area);
    frame.render_widget(Paragraph::new(about).wrap(Wrap { trim: true }), below);
    frame.render_stateful_widget(table, list, &mut TableState::new().with_selected(chosen));
    if queues.is_empty() {
        let empty = format!("no queue's name has {:?} in it; Esc shows all", model.filter);
        let rows = Rect { y: list.y + 1, height: list.height.saturating_sub(1), ..list };
        frame.render_widget(Paragraph::new(empty).wrap(Wrap { trim: true }), rows);
    }
}

/// What holds the queue's jobs back, in a sentence.
fn about(seen: &Seen<'_>, palette: Palette) -> Line<'static> {
    let style = weight(seen.state.weight, palette);
    Line::from(vec![
        Span::styled(format!("{}: ", seen.queue.queue), palette.strong()),
        Span::styled(shown(&seen.state.sentence), style),
    ])
}

fn see<'a>(model: &'a Model, queue: &'a QueueView) -> Seen<'a> {
    let gate = model.picture.breaker(&queue.queue);
    let tempo = model.tempo.get(&queue.queue).copied();
    Seen { queue, gate, tempo, state: State::of(queue, gate, model.now) }
}
